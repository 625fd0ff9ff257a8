"""Recurrent operators: the solver chooses between time first and batch first."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.running import Session, census, converted, differences, layouts, transposes

HIDDEN, FEATURES = 3, 5


def two_layers(turned: bool) -> onnx.ModelProto:
    """A bidirectional GRU and an LSTM; ``turned``: of data that are batch first outside, as PyTorch's are."""
    rng = np.random.default_rng(0)
    shapes = {
        "w": (2, 3 * HIDDEN, FEATURES), "r": (2, 3 * HIDDEN, HIDDEN), "b": (2, 6 * HIDDEN),
        "v": (1, 4 * HIDDEN, 2 * HIDDEN), "s": (1, 4 * HIDDEN, HIDDEN),
    }  # fmt: skip
    weights = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    weights |= {"joined": np.array([0, 0, 2 * HIDDEN]), "one": np.array([1])}
    first, last = ("t", "u") if turned else ("x", "y")
    nodes = [
        helper.make_node("GRU", [first, "w", "r", "b"], ["a"], hidden_size=HIDDEN, direction="bidirectional"),
        helper.make_node("Transpose", ["a"], ["c"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["c", "joined"], ["d"]),
        helper.make_node("LSTM", ["d", "v", "s"], ["e", "h"], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["e", "one"], [last]),
    ]
    if turned:
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]))
        nodes.append(helper.make_node("Transpose", ["u"], ["y"], perm=[1, 0, 2]))
    outer = ["n", "s"] if turned else ["s", "n"]
    graph = helper.make_graph(
        nodes,
        "two_layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*outer, FEATURES])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [*outer, HIDDEN]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, "n", HIDDEN]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("turned", "options", "left", "operators"),
    [
        (True, {}, 0, {"GRUBatchFirst", "LSTMBatchFirst_012to2"}),
        (True, {"dialect": "standard"}, 3, {"GRU", "LSTM"}),
        (True, {"to": "channels-first"}, 3, {"GRU", "LSTM"}),
        (True, {"to": "channels-first", "batch_first": True}, 0, {"GRUBatchFirst", "LSTMBatchFirst_012to2"}),
        (False, {}, 1, {"GRU", "LSTM"}),
        (False, {"batch_first": True}, 2, {"GRUBatchFirst", "LSTMBatchFirst_012to2"}),
    ],
)
def test_the_solver_chooses(turned: bool, options: dict[str, object], left: int, operators: set[str]) -> None:
    source = two_layers(turned)
    result, _ = converted(source, **options)
    assert len(transposes(result)) == left
    assert {op for _, op in census(result) if op not in ("Transpose", "Reshape")} == operators
    x = np.random.default_rng(1).standard_normal((4, 7, FEATURES)).astype(np.float32)
    expected = Session(source).run({"x": x})
    for optimized in (False, True):
        actual = Session(result, optimized).run({"x": x})
        assert not differences(["y", "h"], expected, actual, layouts(result))
