"""What is fed to a model is legal for who reads it: onnxruntime accepts the first candidate."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import onnx_nhwc
from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.verification.demands.demand import between, exactly
from onnx_nhwc.verification.demands.following import Demands
from onnx_nhwc.verification.demands.rows import ROWS
from onnx_nhwc.verification.feeds import candidates
from onnx_nhwc.verification.runtime import Session
from tests.networks.test_operator_cases import _cases

_NOT_TOLD = {
    "test_affine_grid_2d_align_corners_expanded",
    "test_affine_grid_2d_expanded",
    "test_affine_grid_3d_align_corners_expanded",
    "test_affine_grid_3d_expanded",
}
"""Decomposed, AffineGrid no longer says that the batch in 'size' is that of 'theta'."""


def _asks(model: onnx.ModelProto) -> bool:
    fed = {value.name for value in model.graph.input}
    return any(
        name in fed and (node.op_type, index) in ROWS
        for node in model.graph.node
        for index, name in enumerate(node.input)
    )


CASES = [name for name, test in _cases().items() if name not in _NOT_TOLD and _asks(test.model)]


def first(model: onnx.ModelProto, seed: int = 0) -> tuple[Session, dict[str, Any]]:
    session = Session(model, "source", False)
    return session, next(candidates(session.inputs, seed, {}, Demands(model, ROWS)))


@pytest.mark.parametrize("name", CASES)
def test_the_operator_runs_on_what_it_is_fed(name: str) -> None:
    """All of onnx's cases whose settings are inputs, fed without a look at their own data."""
    test = _cases()[name]
    stated = dict(zip((value.name for value in test.model.graph.input), test.data_sets[0][0], strict=False))
    try:
        session, feeds = first(test.model)
        session.run(stated)
    except VerificationError as error:
        pytest.skip(str(error))  # no kernel, or sequences as inputs
    assert session.run(feeds)


def test_many_operators_are_asked() -> None:
    operators = {node.op_type for name in CASES for node in _cases()[name].model.graph.node}
    assert len(operators) > 40


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: list[str],
    **constants: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@given(st.integers(2, 9), st.integers(0, 3), st.booleans())
def test_an_index_is_followed_through_casts_views_and_shifts(size: int, by: int, squeezed: bool) -> None:
    nodes = [
        helper.make_node("Cast", ["i"], ["cast"], to=TensorProto.INT64),
        helper.make_node("Sub", ["cast", "by"], ["shifted"]),
        helper.make_node("Squeeze" if squeezed else "Identity", ["shifted"], ["moved"]),
        helper.make_node("Gather", ["x", "moved"], ["y"], axis=1),
    ]
    shapes = {"x": (TensorProto.FLOAT, [2, size]), "i": (TensorProto.INT32, [1, 5])}
    model = model_of(nodes, shapes, ["y"], by=np.int64(by))
    session, feeds = first(model, seed=size)
    assert ((feeds["i"] >= by) & (feeds["i"] < by + size)).all()
    session.run(feeds)


def test_parts_of_a_target_are_inputs() -> None:
    """Each part of a joined target is asked for its own elements."""
    nodes = [
        helper.make_node("Concat", ["one", "two"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    sizes = {
        "x": (TensorProto.FLOAT, [4, 6]),
        "one": (TensorProto.INT64, [1]),
        "two": (TensorProto.INT64, [2]),
    }
    session, feeds = first(model_of(nodes, sizes, ["y"]))
    assert session.run(feeds)[0].size == 24


def test_constants_are_read_in_their_short_forms() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (int64 first) => (int64[count] y) {
            last = Constant <value_int = 900> ()
            step = Constant <value_int = 300> ()
            y = Range (first, last, step)
        }""")
    session, feeds = first(model)
    assert session.run(feeds)[0].tolist() == [-300, 0, 300, 600]


def test_what_a_body_reads_is_asked_in_the_body() -> None:
    """An index that is captured, and one that is carried."""
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "carried"], ["a"]),
            helper.make_node("Gather", ["table", "captured"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Identity", ["again"], ["still"]),
            helper.make_node("Identity", ["carried"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.FLOAT, []),
        ],
    )
    loop = helper.make_node("Loop", ["turns", "go", "start"], ["end", "y"], body=body)
    inputs = {
        "turns": (TensorProto.INT64, []),
        "go": (TensorProto.BOOL, []),
        "start": (TensorProto.INT64, []),
        "captured": (TensorProto.INT64, []),
    }
    for seed in range(8):
        session, feeds = first(model_of([loop], inputs, ["y"], table=np.float32([1, 2])), seed)
        assert feeds["go"].all()
        assert 1 <= feeds["turns"] <= 3
        (result,) = session.run(feeds)
        assert result.shape == (feeds["turns"],)


def test_demands_of_two_readers_meet() -> None:
    both = between(0, 4).both(between(2, 9))
    assert (both.low, both.high) == (2, 4)
    assert exactly(3).both(between(0, 1)).low == 3  # contradicting: the first
    drawn = both.draw((50,), np.int64, np.random.default_rng(0))
    assert set(drawn) == {2, 3, 4}


def test_a_source_that_does_not_run_is_said_to_be_the_source() -> None:
    """A Reshape that no target fits, since another reader wants it otherwise."""
    nodes = [
        helper.make_node("Reshape", ["x", "c"], ["y"]),
        helper.make_node("Conv", ["z", "w"], ["u"]),
    ]
    sizes = {"x": (TensorProto.FLOAT, [2, 3]), "z": (TensorProto.FLOAT, [1, 2, 5, 5])}
    model = model_of(nodes, sizes, ["y", "u"], c=np.int64([4, 4]), w=np.ones((2, 2, 3, 3), np.float32))
    with pytest.raises(VerificationError, match="source itself does not run on the inputs that were made up"):
        onnx_nhwc.verify(model, model)
