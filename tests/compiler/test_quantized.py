"""Quantised networks: a unit of DequantizeLinear, operator and QuantizeLinear stays one, in both dialects.

``tests/models/quantized`` holds small networks that onnxruntime's own quantiser wrote; weights of other
types are built here.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.running import Session, converted, differences, layouts, nodes, stored, transposes

FOLDER = Path(__file__).parents[1] / "models" / "quantized"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
DIALECTS = ("functions", "standard")
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@cache
def source(name: str) -> onnx.ModelProto:
    return onnx.load(FOLDER / f"{name}.onnx")


@cache
def result(name: str, dialect: str) -> onnx.ModelProto:
    return converted(source(name), dialect=dialect)[0]


def feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    (value,) = model.graph.input
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return {value.name: np.random.default_rng(7).standard_normal(shape).astype(np.float32)}


def step(model: onnx.ModelProto) -> float:
    """The step of the quantiser whose integers the output is."""
    last = next(node for node in model.graph.node if "y" in node.output)
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return float(scales[last.input[1]]) if last.op_type == DEQUANTIZE else 0.0


def optimized(model: onnx.ModelProto) -> Counter[str]:
    """What onnxruntime makes of a model at its defaults."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        kept = onnx.load(options.optimized_model_filepath)
    return Counter(node.op_type for node in nodes(kept.graph))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", NAMES)
def test_no_transpose_within_a_unit(name: str, dialect: str) -> None:
    """A Transpose has floats that are its own, from a DequantizeLinear to a QuantizeLinear, or no such."""
    graph = result(name, dialect).graph
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node.op_type)
    for node in graph.node:
        if node.op_type != "Transpose":
            continue
        maker = makers.get(node.input[0])
        before = "" if maker is None else maker.op_type
        after = set(readers.get(node.output[0], [""]))
        assert before in ("", DEQUANTIZE), f"a Transpose between {before} and what quantises it"
        assert (before == DEQUANTIZE) == (after == {QUANTIZE}), f"{before} - Transpose - {after}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_finds_the_same_units(name: str, dialect: str) -> None:
    before, after = optimized(source(name)), optimized(result(name, dialect))
    fused = {kind for kind in (*before, *after) if kind.startswith("Q") and kind != QUANTIZE}
    fused |= {"Conv", "ConvTranspose", "Gemm"}
    assert {kind: after[kind] for kind in fused} == {kind: before[kind] for kind in fused}


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", NAMES)
def test_equal_up_to_one_step(name: str, dialect: str, optimized: bool) -> None:
    model, other = source(name), result(name, dialect)
    given, perms = feeds(model), layouts(other)
    wanted = Session(model, optimized).run(given)
    actual = Session(other, optimized).run(stored(given, perms))
    assert not differences(["y"], wanted, actual, perms, atol=1.01 * step(model), rtol=1e-5)
    assert np.ptp(wanted[0]) > 20 * step(model)


def weighed(kind: int, scale: np.ndarray, **attributes: Any) -> onnx.ModelProto:
    """A convolution whose kernel is quantised, its result added to the same of another reader."""
    rng = np.random.default_rng(3)
    values = rng.integers(-7 if kind not in (TensorProto.UINT4, TensorProto.UINT8) else 0, 8, (8, 4, 3, 3))
    kernel = helper.make_tensor("k", kind, values.shape, values.astype(np.float32).ravel().tolist())
    zero = helper.make_tensor("z", kind, scale.shape, [0] * scale.size)
    scales = numpy_helper.from_array(scale.astype(np.float32), "s")
    graph = helper.make_graph(
        [
            helper.make_node(DEQUANTIZE, ["k", "s", "z"], ["w"], **attributes),
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "weighed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 9, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 9, 8])],
        [kernel, scales, zero],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


KINDS = {
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
    "int16": TensorProto.INT16,
    "float8": TensorProto.FLOAT8E4M3FN,
}
SCALES: dict[str, tuple[np.ndarray, dict[str, int]]] = {
    "tensor": (np.array(0.04), {}),
    "channel": (np.linspace(0.01, 0.09, 8), {"axis": 0}),
    "inner": (np.linspace(0.01, 0.09, 4), {"axis": 1}),
    "blocked": (np.linspace(0.01, 0.09, 8 * 2 * 9).reshape(8, 2, 3, 3), {"axis": 1, "block_size": 2}),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_stay_quantised(kind: str, scales: str, dialect: str) -> None:
    scale, attributes = SCALES[scales]
    model = weighed(KINDS[kind], scale, **attributes)
    other, _ = converted(model, dialect=dialect)
    kept = [tensor for tensor in other.graph.initializer if tensor.data_type == KINDS[kind]]
    assert max(int(np.prod(tensor.dims)) for tensor in kept) == 8 * 4 * 3 * 3
    assert all(t.data_type != TensorProto.FLOAT or np.prod(t.dims) < 8 * 36 for t in other.graph.initializer)
    assert all(len(perm) == 4 for perm in transposes(other))
    given, perms = feeds(model), layouts(other)
    for optimized in (False, True):
        wanted = Session(model, optimized).run(given)
        actual = Session(other, optimized).run(stored(given, perms))
        assert not differences(["y"], wanted, actual, perms)


CAPTURED = """
<ir_version: 8, opset_import: ["" : 16]>
captured (float[1,4,6,5] x, bool c) => (float[1,4,6,5] y)
<float s = {0.05}, int8 z = {0}> {
    conv = Conv <pads = [1, 1, 1, 1]> (x, w)
    q = QuantizeLinear (conv, s, z)
    d = DequantizeLinear (q, s, z)
    y = If (c) <
        then_branch = yes () => (float[1,4,6,5] a) { a = Softmax <axis = 3> (d) },
        else_branch = no () => (float[1,4,6,5] b) { flat = Flatten <axis = 2> (d)
            m = Softmax <axis = 1> (flat)
            size = Constant <value_ints = [1, 4, 6, 5]> ()
            b = Reshape (m, size) }
    >
}
"""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("to", ["channels-last", "channels-first"])
def test_what_a_body_reads_is_quantised_once_it_is_moved(dialect: str, to: str) -> None:
    """onnxruntime's optimiser ends the process at a DequantizeLinear, moved, that a body reads."""
    model = onnx.parser.parse_model(CAPTURED)
    kernel = np.random.default_rng(5).standard_normal((4, 4, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "w"))
    other, _ = converted(model, dialect=dialect, to=to)
    made = {name: node for node in other.graph.node for name in node.output}
    inside = {
        name for node in other.graph.node for a in node.attribute for n in nodes(a.g) for name in n.input
    }
    for name in inside & set(made):
        assert made[name].op_type not in ("Reshape", "Transpose"), name
    for condition in (False, True):
        rng = np.random.default_rng(7)
        given = {"x": rng.standard_normal((1, 4, 6, 5)).astype(np.float32), "c": np.array(condition)}
        wanted = Session(model, True).run(given)
        perms = layouts(other)
        actual = Session(other, True).run(stored(given, perms))
        assert not differences(["y"], wanted, actual, perms, atol=1e-5)
