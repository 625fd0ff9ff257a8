"""Constants are folded to what onnxruntime computes of them, or not at all."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.pipeline import convert
from onnx_nhwc.passes.shapes.fold import is_random
from tests.support.law import onnxruntime

FLOATS = np.random.default_rng(3).standard_normal((2, 4, 5, 6)).astype(np.float32)
ROIS = np.array([[0.3, 0.2, 3.1, 4.4], [1.0, 1.0, 4.0, 2.0]], np.float32)


def model_of(
    op: str, opset: int, inputs: list[np.ndarray], attributes: dict[str, Any], dtype: int
) -> onnx.ModelProto:
    """``y = x + Cast(op(constants))``, and the constant as another output, through an Abs."""
    constants = [numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(inputs)]
    node = helper.make_node(op, [c.name for c in constants], ["folded"], **attributes)
    cast = helper.make_node("Cast", ["folded"], ["cast"], to=dtype)
    outer = helper.make_node("Add", ["x", "cast"], ["y"])
    x = helper.make_tensor_value_info("x", dtype, [])
    y = helper.make_tensor_value_info("y", dtype, None)
    graph = helper.make_graph([node, cast, outer], "folding", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


CASES = {
    "Softmax flattens": ("Softmax", 11, [FLOATS], {"axis": 1}),
    "LogSoftmax flattens": ("LogSoftmax", 11, [FLOATS], {}),
    "Hardmax flattens": ("Hardmax", 11, [FLOATS], {"axis": 2}),
    "asymmetric pads": ("MaxPool", 12, [FLOATS], {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2]}),
    "ceil_mode": (
        "AveragePool",
        19,
        [FLOATS],
        {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1], "ceil_mode": 1},
    ),
    "parameters of four axes": (
        "BatchNormalization",
        9,
        [FLOATS, *(np.arange(1, 5, dtype=np.float32) * k for k in (1, 2, 3, 4))],
        {},
    ),
    "norm of order 1": ("LpNormalization", 13, [FLOATS], {"axis": 1, "p": 1}),
    "nearest, ties": (
        "Resize",
        13,
        [FLOATS, np.zeros(0, np.float32), np.array([1, 1, 1.5, 0.5], np.float32)],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "round_prefer_ceil"},
    ),
    "antialias": (
        "Resize",
        18,
        [FLOATS, np.zeros(0, np.float32), np.array([1, 1, 0.6, 0.7], np.float32)],
        {"mode": "linear", "antialias": 1},
    ),
    "no offset of half a pixel": (
        "RoiAlign",
        10,
        [FLOATS, ROIS, np.array([0, 1], np.int64)],
        {"output_height": 3, "output_width": 2, "sampling_ratio": 2},
    ),
    "indices of the whole tensor": (
        "MaxUnpool",
        11,
        [FLOATS[:1, :1, :2, :2], np.array([[[[5, 7], [13, 15]]]], np.int64)],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    "negative axes": ("Unsqueeze", 11, [FLOATS[0, 0]], {"axes": [-1, -3]}),
    "division of negative integers": ("Div", 14, [np.array([-7, 7, -8]), np.array([2, -2, 3])], {}),
    "negative remainder": ("Mod", 13, [np.array([-7, 7, -8]), np.array([2, -2, 3])], {}),
    "wraps": ("Cast", 13, [np.array([2**31 + 5, -1])], {"to": TensorProto.INT32}),
    "fill": ("ConstantOfShape", 9, [np.array([2, 3])], {}),
    "an empty result": ("NonZero", 13, [np.zeros((2, 3), np.float32)], {}),
    "int4": ("QuantizeLinear", 21, [FLOATS, np.float32(0.3)], {"output_dtype": TensorProto.INT4}),
    "float8": ("Cast", 19, [FLOATS], {"to": TensorProto.FLOAT8E4M3FN}),
    "bfloat16": ("Cast", 13, [FLOATS], {"to": TensorProto.BFLOAT16}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_folded_is_what_onnxruntime_computes(name: str) -> None:
    op, opset, inputs, attributes = CASES[name]
    source = model_of(op, opset, inputs, attributes, TensorProto.FLOAT)
    model = ir.from_proto(source)
    convert(model, Options(io="keep"))
    result = ir.to_proto(model)
    assert op not in {node.op_type for node in result.graph.node} - {"Add"}
    fed = {"x": np.zeros((), np.float32)}
    for expected, actual in zip(onnxruntime(source, fed), onnxruntime(result, fed), strict=True):
        np.testing.assert_array_equal(expected, actual)


LEFT = {
    "RandomNormalLike": ("RandomNormalLike", 13, [FLOATS], {}),
    "Bernoulli": ("Bernoulli", 15, [np.full((2, 3), 0.5, np.float32)], {}),
    "Dropout in training": ("Dropout", 13, [FLOATS, np.float32(0.5), np.bool_(True)], {}),
    "DequantizeLinear": ("DequantizeLinear", 13, [np.int8([[1, 2]]), np.float32(0.5), np.int8(1)], {}),
    "what onnxruntime cannot run": ("Softsign", 22, [np.float64([1])], {}),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_random_quantised_or_unknown_is_left_as_it_is(name: str) -> None:
    op, opset, inputs, attributes = LEFT[name]
    model = ir.from_proto(model_of(op, opset, inputs, attributes, TensorProto.FLOAT))
    convert(model, Options(io="keep"))
    assert op in {node.op_type for node in ir.to_proto(model).graph.node}


def test_dropout_was_in_training_unless_told_otherwise() -> None:
    """Before opset 7; then it never is, until opset 12 gave it an input that says so."""
    for opset, told, drawn in ((6, {}, True), (6, {"is_test": 1}, False), (10, {}, False), (13, {}, False)):
        x = ir.val("x", shape=(2,), dtype=ir.DataType.FLOAT)
        node = ir.node("Dropout", [x], told)
        ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": opset})
        assert is_random(node) == drawn


def test_shape_arithmetic_needs_no_runtime() -> None:
    """Moves, fills and integers are folded without onnxruntime, whose import takes long."""
    script = """
import sys
import onnx, onnx_ir as ir
from onnx_nhwc.passes import ChannelsLast
graph = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["": 17]>
g (float[2, 3, 4, 5] x) => (float[2, n] y)
<int64[1] zero = {0}, int64 one = {1}, int64[1] minus = {-1}, int64[2] fill = {1, 1}> {
    s = Shape (x)  a = Gather (s, zero)  b = Mul (a, one)  c = Concat <axis = 0> (b, minus)
    r = Reshape (x, c)  f = ConstantOfShape (fill)  t = Transpose <perm = [1, 0]> (f)  y = Add (r, t) }''')
model = ir.from_proto(graph)
ChannelsLast()(model)
print(sorted({node.op_type for node in model.graph}), "onnxruntime" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['Add', 'Reshape'] False"
