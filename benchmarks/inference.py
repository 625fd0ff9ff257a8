"""Counts what the conversion leaves in a graph, then times the graph on onnxruntime."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as rt

import onnx_nhwc
from benchmarks.measure import alternate, median, ratio
from benchmarks.networks import Array, Network
from onnx_nhwc.passes.algebra.layout import invert

DIALECTS = ("functions", "standard")
SPATIAL = {"AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "MaxPool", "Resize"}
Row = dict[str, Any]


def measure(network: Network, seconds: float) -> Row:
    """Counts and, if ``seconds`` is not 0, times of one network."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.onnx"
        onnx.save(network.load(), source)
        reports = {}
        for dialect in DIALECTS:
            reports[dialect] = onnx_nhwc.convert_file(
                source, Path(folder) / f"{dialect}.onnx", dialect=dialect, verify=False
            )
        row: Row = {"network": network.name, "source": _counts(source)}
        for dialect in DIALECTS:
            summary = reports[dialect].summary
            row["source"]["bytes_moved"] = summary.bytes_before
            row[dialect] = _counts(Path(folder) / f"{dialect}.onnx")
            row[dialect]["bytes_moved"] = summary.bytes_after
        if seconds:
            perms = {d: reports[d].summary.inputs for d in DIALECTS}
            outputs = {d: reports[d].summary.outputs for d in DIALECTS}
            _time(row, Path(folder), network.inputs(), perms, outputs, seconds)
    return row


def _counts(path: Path) -> Row:
    model = onnx.load(path, load_external_data=False)
    kinds = Counter(f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in model.graph.node)
    return {
        "nodes": len(model.graph.node),
        "transposes": kinds["Transpose"],
        "channels_first": sum(kinds[name] for name in SPATIAL),
        "operators": dict(sorted(kinds.items())),
    }


def _time(
    row: Row,
    folder: Path,
    feeds: dict[str, Array],
    perms: dict[str, dict[str, tuple[int, ...]]],
    outputs: dict[str, dict[str, tuple[int, ...]]],
    seconds: float,
) -> None:
    sessions = {}
    for name in ("source", *DIALECTS):
        optimized = folder / f"{name}.optimized.onnx"
        sessions[name] = session(folder / f"{name}.onnx", optimized)
        row[name]["optimized"] = _counts(optimized)
    last = {
        d: {x: np.ascontiguousarray(np.transpose(v, perms[d][x])) for x, v in feeds.items()} for d in DIALECTS
    }
    inverse = {x: invert(p) for x, p in perms["functions"].items()}

    def through_copy() -> Any:
        arrays = {x: np.ascontiguousarray(np.transpose(v, inverse[x])) for x, v in last["functions"].items()}
        return sessions["source"].run(None, arrays)

    def fed(name: str, arrays: dict[str, Array]) -> Callable[[], Any]:
        return lambda: sessions[name].run(None, arrays)

    contenders = {"source": fed("source", feeds), "source_through_copy": through_copy}
    contenders |= {dialect: fed(dialect, last[dialect]) for dialect in DIALECTS}
    row["differs_by"] = _difference(sessions, feeds, last, outputs)
    times = alternate(contenders, seconds)
    row["rounds"] = len(times["source"])
    row["milliseconds"] = {name: median(times, name) for name in times}
    row["ratio"] = {name: ratio(times, name, "source") for name in times}


def session(path: Path, optimized: Path | None = None) -> rt.InferenceSession:
    """A session with one thread and all optimisations."""
    options = rt.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return rt.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _difference(
    sessions: dict[str, rt.InferenceSession],
    feeds: dict[str, Array],
    last: dict[str, dict[str, Array]],
    outputs: dict[str, dict[str, tuple[int, ...]]],
) -> float:
    """The largest difference of any output, relative to the source's largest value."""
    names = [value.name for value in sessions["source"].get_outputs()]
    expected = sessions["source"].run(None, feeds)
    worst = 0.0
    for dialect in DIALECTS:
        found = sessions[dialect].run(names, last[dialect])
        for name, want, have in zip(names, expected, found, strict=True):
            moved = np.transpose(want, outputs[dialect][name])
            assert np.isfinite(want).all(), name
            assert np.ptp(want) > 0, name
            worst = max(worst, float(np.abs(moved - have).max() / np.abs(want).max()))
    return worst
