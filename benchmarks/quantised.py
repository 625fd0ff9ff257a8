"""Networks quantised by onnxruntime's own quantiser, each dialect against its source in one run."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import onnx_nhwc
from benchmarks.inference import DIALECTS, session
from benchmarks.measure import alternate, median, ratio
from benchmarks.networks import Network

Row = dict[str, Any]
NAMES = ("resnet50", "mobilenetv2")
KINDS = {
    "int8, per tensor": (QuantType.QInt8, False),
    "int8, per channel": (QuantType.QInt8, True),
    "uint8, per tensor": (QuantType.QUInt8, False),
}
"""Types of activations, and whether kernels have a scale for each channel. Weights are int8."""


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Two images of noise."""

    def __init__(self, name: str) -> None:
        self.images = [
            {name: np.random.default_rng(seed).standard_normal((1, 3, 224, 224))} for seed in (0, 1)
        ]

    def get_next(self) -> dict[str, Any] | None:
        return {k: v.astype(np.float32) for k, v in self.images.pop().items()} if self.images else None


def quantised(network: Network, seconds: float) -> list[Row]:
    """Counts and times of one network in each of ``KINDS``."""
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises preprocessing
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        onnx.save(network.load(), plain)
        (name,) = network.inputs()
        for kind, (activations, per_channel) in KINDS.items():
            source = Path(folder) / "source.onnx"
            quantize_static(
                plain,
                source,
                _Images(name),
                quant_format=QuantFormat.QDQ,
                per_channel=per_channel,
                activation_type=activations,
                weight_type=QuantType.QInt8,
            )
            rows.append({"network": network.name, "kind": kind, **_measure(source, network, seconds)})
    return rows


def _measure(source: Path, network: Network, seconds: float) -> Row:
    contenders, results, row = {}, {}, Row()
    for name in ("source", *DIALECTS):
        path, feeds = source, network.inputs()
        outputs: dict[str, tuple[int, ...]] = {}
        if name != "source":
            path = source.with_name(f"{name}.onnx")
            summary = onnx_nhwc.convert_file(source, path, dialect=name, verify=False).summary
            outputs = dict(summary.outputs)
            feeds = {k: np.ascontiguousarray(v.transpose(summary.inputs[k])) for k, v in feeds.items()}
        optimized = path.with_suffix(".optimized.onnx")
        run = session(path, optimized)
        kinds = [node.op_type for node in onnx.load(optimized).graph.node]
        row[name] = {"qlinear_conv": kinds.count("QLinearConv"), "transposes": kinds.count("Transpose")}
        contenders[name] = lambda run=run, feeds=feeds: run.run(None, feeds)
        results[name] = (run.run(None, feeds)[0], next(iter(outputs.values()), None))
    step = _step(source)
    want = results["source"][0]
    row["steps"] = max(
        float(np.abs(want.transpose(results[d][1]) - results[d][0]).max() / step) for d in DIALECTS
    )
    times = alternate(contenders, seconds)
    row["rounds"] = len(times["source"])
    row["milliseconds"] = {name: median(times, name) for name in times}
    row["ratio"] = {name: ratio(times, name, "source") for name in times}
    return row


def _step(path: Path) -> float:
    """The step of the quantiser whose integers the output is."""
    graph = onnx.load(path).graph
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    scale = next(tensor for tensor in graph.initializer if tensor.name == last.input[1])
    return float(onnx.numpy_helper.to_array(scale))
