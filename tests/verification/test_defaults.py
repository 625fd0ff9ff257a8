"""What is written loads, and computes the same, at onnxruntime's defaults: with its own optimiser on."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.support.running import Session, converted, differences, layouts, stored

RESIZES = list(
    itertools.product(
        ("functions", "standard"), ("scales", "sizes"), (False, True), (0.5, 2.0), (1, 3), (11, 18)
    )
)


@pytest.mark.parametrize(("dialect", "how", "fed", "factor", "channels", "opset"), RESIZES)
def test_a_cubic_resize_keeps_its_transposes(
    dialect: str, how: str, fed: bool, factor: float, channels: int, opset: int
) -> None:
    """onnxruntime's optimiser would push them behind it, where it resizes axes that it cannot."""
    shape = [2, channels, 8, 10]
    factors = [1, 1, factor, factor]
    listed = np.array(factors, np.float32)
    if how == "sizes":
        listed = np.array([int(a * b) for a, b in zip(shape, factors, strict=True)], np.int64)
    empty = numpy_helper.from_array(np.zeros(0, np.float32), "empty")
    wanted = ["r", "empty", "empty", "s"] if how == "sizes" else ["r", "empty", "s"]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Resize", wanted, ["resized"], mode="cubic"),
        helper.make_node("Neg", ["resized"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    s = helper.make_tensor_value_info("s", helper.np_dtype_to_tensor_dtype(listed.dtype), [4])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * 4)
    constants = [empty] if fed else [empty, numpy_helper.from_array(listed, "s")]
    graph = helper.make_graph(nodes, "cubic", [x, s] if fed else [x], [y], constants)
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    feeds = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    feeds |= {"s": listed} if fed else {}
    result, _ = converted(source, dialect=dialect)
    perms = layouts(result)
    expected = Session(source).run(feeds)
    for optimized in (False, True):
        actual = Session(result, optimized).run(stored(feeds, perms))
        assert not differences(["y"], expected, actual, perms)
