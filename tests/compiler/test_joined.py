"""Branches that are flattened, joined and read by one product need no Transpose, and stay one product."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnx_nhwc.verification.verdict import verify
from tests.support.running import converted, transposes

HEAD = """
<ir_version: 8, opset_import: ["" : 17]>
joined (float[2,3,8,6] x, float[2,5] v) => (float[2,7] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, k)
    b = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    fa = Flatten (a)
    size = Constant <value_ints = [0, -1]> ()
    fb = Reshape (b, size)
"""
A, B, V = 4 * 8 * 6, 4 * 4 * 3, 5
TAILS = {
    "Gemm": (A + B, "c = Concat <axis = 1> (fa, fb) y = Gemm (c, w, bias)"),
    "scaled": (B + A, "c = Concat <axis = -1> (fb, fa) y = Gemm <alpha = 0.5, beta = 3.0> (c, w, bias)"),
    "three": (A + V + B, "c = Concat <axis = 1> (fa, v, fb) y = Gemm (c, w)"),
    "Linear": (A + B, "c = Concat <axis = 1> (fa, fb) y = Gemm <transB = 1> (c, wt, bias)"),
    "MatMul": (A + B, "c = Concat <axis = 1> (fa, fb) m = MatMul (c, w) y = Add (m, bias)"),
    "twice": (A + A, "c = Concat <axis = 1> (fa, fa) y = Gemm (c, w)"),
}


def model_of(tail: str) -> onnx.ModelProto:
    size, text = TAILS[tail]
    model = onnx.parser.parse_model(HEAD + text + "}")
    rng = np.random.default_rng(5)
    weights = {"k": (4, 3, 3, 3), "w": (size, 7), "wt": (7, size), "bias": (7,)}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in weights.items()
        if name in read
    )
    return model


@pytest.mark.parametrize("tail", TAILS)
def test_the_rows_of_the_weights_go_where_the_branches_have_them(tail: str) -> None:
    model = model_of(tail)
    result, _ = converted(model)
    assert not transposes(result)
    assert sum(node.op_type in ("Gemm", "MatMul") for node in result.graph.node) == 1
    assert verify(model, result).ok


@pytest.mark.parametrize("tail", TAILS)
def test_where_nothing_moves_the_weights_are_the_source_s(tail: str) -> None:
    model = model_of(tail)
    result, _ = converted(model, to="channels-first", dialect="standard")
    name = "wt" if tail == "Linear" else "w"
    assert not transposes(result)
    (before,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    (after,) = (tensor for tensor in result.graph.initializer if tensor.name == name)
    np.testing.assert_array_equal(numpy_helper.to_array(after), numpy_helper.to_array(before))
    assert sum(node.op_type in ("Gemm", "MatMul") for node in result.graph.node) == 1
    assert verify(model, result).ok


def test_a_join_that_others_read_is_left_alone() -> None:
    size = A + B
    text = "c = Concat <axis = 1> (fa, fb) y = Gemm (c, w) z = Relu (c) }"
    head = HEAD.replace("(float[2,7] y)", f"(float[2,7] y, float[2,{size}] z)")
    model = onnx.parser.parse_model(head + text)
    rng = np.random.default_rng(5)
    for name, shape in {"k": (4, 3, 3, 3), "w": (size, 7)}.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    result, _ = converted(model)
    assert [node.op_type for node in result.graph.node].count("Gemm") == 1
    assert verify(model, result).ok
