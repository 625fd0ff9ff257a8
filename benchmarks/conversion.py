"""What a conversion costs: against loading and saving, by size of the graph, and in memory."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

import onnx_nhwc
from benchmarks.measure import alternate, median, peak_memory, ratio
from benchmarks.networks import Network

Row = dict[str, Any]
SIZES = (1_000, 10_000, 50_000)


def against_floor(network: Network, seconds: float) -> Row:
    """A conversion without verification against ``onnx.load`` and ``onnx.save`` of the same file."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source.onnx", Path(folder) / "out.onnx"
        onnx.save(network.load(), source)
        times = alternate(
            {
                "floor": lambda: onnx.save(onnx.load(source), out),
                "to_channels_last": lambda: onnx_nhwc.to_channels_last(source),
                "convert_file": lambda: onnx_nhwc.convert_file(source, out, verify=False),
            },
            seconds,
        )
        return {
            "network": network.name,
            "megabytes": source.stat().st_size / 1e6,
            "rounds": len(times["floor"]),
            "milliseconds": {name: median(times, name) for name in times},
            "ratio": {name: ratio(times, name, "floor") for name in times},
        }


def scaling(sizes: tuple[int, ...] = SIZES) -> list[Row]:
    """Processor seconds of a conversion of generated graphs; ``exponent`` is 1 where they grow linearly.

    A conversion has one thread, and its processor time depends less on what else runs.
    """
    rows: list[Row] = []
    for size in sizes:
        for dialect in ("functions", "standard"):
            seconds = []
            phases: dict[str, float] = {}
            model = generated(size)
            for _ in range(3 if size <= 10_000 else 1):
                work = ir.from_proto(model)
                start = time.process_time()
                summary = onnx_nhwc.passes.pipeline.convert(
                    work, onnx_nhwc.passes.pipeline.Options(dialect=dialect)
                )
                ir.to_proto(work)
                seconds.append(time.process_time() - start)
                phases = summary.seconds
            row: Row = {"nodes": len(model.graph.node), "dialect": dialect, "seconds": min(seconds)}
            row["microseconds_per_node"] = 1e6 * min(seconds) / len(model.graph.node)
            row["phases"] = phases
            before = [r for r in rows if r["dialect"] == dialect]
            if before:
                growth = math.log(row["seconds"] / before[-1]["seconds"])
                row["exponent"] = growth / math.log(row["nodes"] / before[-1]["nodes"])
            rows.append(row)
    return rows


def generated(size: int) -> onnx.ModelProto:
    """A network of about ``size`` nodes.

    Residual blocks with BatchNormalization; every fifth concatenates two branches, every seventh
    gates its channels through a Reshape to N,C and a Gemm, every eleventh shuffles its channels.
    """
    return _Builder(size).model()


class _Builder:
    channels = 8

    def __init__(self, size: int) -> None:
        self.size = size
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def model(self) -> onnx.ModelProto:
        self.constant("to_nc", np.array([0, -1]))
        self.constant("to_nchw", np.array([0, self.channels, 1, 1]))
        self.constant("grouped", np.array([0, 2, self.channels // 2, 16, 16]))
        self.constant("whole", np.array([0, self.channels, 16, 16]))
        image = "image"
        x = self.add("Conv", [image, self.kernel(self.channels, 3)], pads=[1] * 4)
        for block in range(self.size):
            if len(self.nodes) >= self.size - 3:
                break
            x = self.block(x, block)
        x = self.add("GlobalAveragePool", [x])
        x = self.add("Flatten", [x])
        x = self.add("Gemm", [x, self.random_constant(self.channels, 10)])
        graph = helper.make_graph(
            self.nodes,
            "generated",
            [helper.make_tensor_value_info(image, TensorProto.FLOAT, [1, 3, 16, 16])],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 10])],
            self.weights,
        )
        opset = helper.make_opsetid("", 17)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)

    def block(self, x: str, number: int) -> str:
        c = self.channels
        y = self.add("Relu", [self.conv_bn(x, self.kernel(c, c))])
        if number % 5 == 4:
            y = self.add("Concat", [y, self.conv_bn(x, self.kernel(c, c))], axis=1)
            y = self.add("Relu", [y])
            y = self.conv_bn(y, self.kernel(c, 2 * c))
        elif number % 7 == 6:
            gate = self.add("GlobalAveragePool", [y])
            gate = self.add("Reshape", [gate, "to_nc"])
            gate = self.add("Gemm", [gate, self.random_constant(c, c)])
            gate = self.add("Reshape", [self.add("Sigmoid", [gate]), "to_nchw"])
            y = self.add("Mul", [y, gate])
        elif number % 11 == 10:
            y = self.add("Reshape", [y, "grouped"])
            y = self.add("Transpose", [y], perm=[0, 2, 1, 3, 4])
            y = self.add("Reshape", [y, "whole"])
        y = self.conv_bn(y, self.kernel(c, c))
        return self.add("Relu", [self.add("Add", [x, y])])

    def conv_bn(self, x: str, kernel: str) -> str:
        x = self.add("Conv", [x, kernel], pads=[1] * 4)
        return self.add("BatchNormalization", [x, *self.statistics()])

    def statistics(self) -> Iterator[str]:
        for _ in range(4):
            yield self.constant("", self.random.random(self.channels, np.float32) + 0.5)

    def kernel(self, outputs: int, inputs: int) -> str:
        return self.random_constant(outputs, inputs, 3, 3)

    def random_constant(self, *shape: int) -> str:
        values = self.random.standard_normal(shape) * math.prod(shape[1:]) ** -0.5
        return self.constant("", values.astype(np.float32))

    def constant(self, name: str, values: np.ndarray[Any, Any]) -> str:
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name


def memory(gigabytes: float = 3.0) -> Row:
    """Peak resident memory of a conversion of a model with external data, and of its imports."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        source, out = Path(folder) / "source.onnx", Path(folder) / "out.onnx"
        size = _large(source, gigabytes)
        bare = peak_memory("")
        imported = peak_memory("import onnx_nhwc.api, onnx_nhwc.passes.pipeline")
        code = f"import onnx_nhwc\nonnx_nhwc.convert_file({str(source)!r}, {str(out)!r}"
        start = time.perf_counter()
        peak = peak_memory(f"{code}, verify=False)")
        return {
            "gigabytes": size / 1e9,
            "seconds": time.perf_counter() - start,
            "interpreter_mb": bare / 1e6,
            "imports_mb": imported / 1e6,
            "peak_mb": peak / 1e6,
            "above_interpreter_mb": (peak - bare) / 1e6,
        }


def _large(path: Path, gigabytes: float) -> int:
    """Write a chain of convolutions and dense layers whose weights lie beside the file."""
    width, kernel = 1024, 1024 * 1024 * 9 * 4
    count = max(1, round(gigabytes * 0.9e9 / kernel))
    rows, columns = 8192, round(gigabytes * 0.1e9 / 4 / 8192)
    data = path.with_name("source.data")
    block = np.random.default_rng(0).standard_normal(kernel // 4, np.float32) * 0.01
    weights, offset = [], 0
    with open(data, "wb") as file:
        for index in range(count + 1):
            shape = [width, width, 3, 3] if index < count else [rows, columns]
            values = np.resize(block, math.prod(shape)).tobytes()
            file.write(values)
            weights.append(_reference(f"w{index}", shape, data.name, offset, len(values)))
            offset += len(values)
    nodes = [helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], pads=[1] * 4) for i in range(count)]
    shape = numpy_helper.from_array(np.array([1, rows]), "shape")
    nodes.append(helper.make_node("Reshape", [f"x{count}", "shape"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", f"w{count}"], ["y"]))
    size = [1, width, 2, rows // width // 2]
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, size)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns])]
    graph = helper.make_graph(nodes, "large", inputs, outputs, [*weights, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return offset


def _reference(name: str, shape: list[int], file: str, offset: int, size: int) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", size)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
