"""Recurrent operators as Keras's layers: directions, states, lengths of sequences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.keras_models import (
    UnsupportedNodesError,
    differences,
    exported,
    foreign,
    keras,
    run,
    transposes,
)
from tests.models.catalogue import by_name
from tests.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

BATCH, STEPS, FEATURES, HIDDEN = 3, 4, 5, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTHS = np.array([4, 1, 2], np.int32)


def layer(
    op: str,
    direction: str,
    outputs: str,
    *,
    states: bool = False,
    lengths: str = "",
    sizes: tuple[Any, Any] = ("n", "s"),
    **attributes: Any,
) -> onnx.ModelProto:
    """A layer on ``x``, batch first outside, as PyTorch's are.

    ``outputs`` are some of Y (batch, time, directions joined), H and C. ``lengths``: fed or constant.
    A second layer, which knows no lengths, reads Y and makes another output.
    """
    count = 2 if direction == "bidirectional" else 1
    rng = np.random.default_rng(0)
    shapes = {
        "w": (count, GATES[op] * HIDDEN, FEATURES), "r": (count, GATES[op] * HIDDEN, HIDDEN),
        "b": (count, 2 * GATES[op] * HIDDEN), "v": (1, HIDDEN, count * HIDDEN), "u": (1, HIDDEN, HIDDEN),
    }  # fmt: skip
    weights: dict[str, Any] = {n: rng.uniform(-1, 1, s).astype(np.float32) for n, s in shapes.items()}
    weights |= {"joined": np.array([0, 0, -1]), "one": np.array([1])}
    ports = {"x": (TensorProto.FLOAT, [*sizes, FEATURES])}
    if lengths == "constant":
        weights["l"] = LENGTHS
    elif lengths:
        ports["l"] = (TensorProto.INT32, [sizes[0]])
    state = (TensorProto.FLOAT, [count, sizes[0], HIDDEN])
    given = ["h0", "c0"][: 2 if op == "LSTM" else 1] if states else []
    ports |= dict.fromkeys(given, state)
    names = [name if name in outputs else "" for name in ("Y", "H", "C")][: 3 if op == "LSTM" else 2]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(
            op, ["t", "w", "r", "b", "l" if lengths else "", *given], names,
            hidden_size=HIDDEN, direction=direction, **attributes,
        ),
    ]  # fmt: skip
    results = {name: state for name in names[1:] if name}
    if "Y" in outputs:
        nodes += [
            helper.make_node("Transpose", ["Y"], ["a"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", ["a", "joined"], ["c"]),
            helper.make_node("RNN", ["c", "v", "u"], ["d"], hidden_size=HIDDEN),
            helper.make_node("Squeeze", ["d", "one"], ["e"]),
            helper.make_node("Transpose", ["c"], ["first"], perm=[1, 0, 2]),
            helper.make_node("Transpose", ["e"], ["second"], perm=[1, 0, 2]),
        ]
        results["first"] = (TensorProto.FLOAT, [*sizes, count * HIDDEN])
        results["second"] = (TensorProto.FLOAT, [*sizes, HIDDEN])
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info(name, *port) for name, port in ports.items()],
        [helper.make_tensor_value_info(name, *port) for name, port in results.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(model: onnx.ModelProto) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    found = {"x": rng.standard_normal((BATCH, STEPS, FEATURES)).astype(np.float32), "l": LENGTHS}
    for value in model.graph.input:
        if value.name not in found:
            count = value.type.tensor_type.shape.dim[0].dim_value
            found[value.name] = rng.standard_normal((count, BATCH, HIDDEN)).astype(np.float32)
    return {value.name: found[value.name] for value in model.graph.input}


CASES = {
    "LSTM forward, lengths": (layer("LSTM", "forward", "Y", lengths="fed"), ["LSTM", "SimpleRNN"]),
    "LSTM bidirectional": (layer("LSTM", "bidirectional", "Y"), ["Bidirectional", "SimpleRNN"]),
    "LSTM last state": (layer("LSTM", "forward", "H", sizes=(BATCH, STEPS)), ["LSTM"]),
    "LSTM all": (
        layer("LSTM", "bidirectional", "YHC", states=True, lengths="constant"),
        ["Bidirectional", "SimpleRNN"],
    ),
    "GRU reverse, lengths": (layer("GRU", "reverse", "YH", lengths="fed"), ["GRU", "SimpleRNN"]),
    "GRU last state, lengths": (
        layer("GRU", "forward", "H", states=True, lengths="fed", linear_before_reset=1),
        ["GRU"],
    ),
    "RNN activations": (
        layer("RNN", "bidirectional", "YH", activations=["Relu", "Tanh"], sizes=(BATCH, STEPS)),
        ["Bidirectional", "SimpleRNN"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_layer_computes_the_same_without_a_transpose(name: str, tmp_path: Path) -> None:
    source, classes = CASES[name]
    one = exported(source)
    session, inputs = Session(source), feeds(source)
    expected = session.run(inputs)
    assert differences(one, session.names, expected, run(one, inputs, session.names)) == []
    assert transposes(one.model) == 0
    assert foreign(one.model) == []
    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    found = [type(op).__name__ for op in one.model.operations if isinstance(op, recurrent)]
    assert found == classes
    if "lengths" in name:
        one.model.save(tmp_path / "model.keras")
        loaded = replace(one, model=keras.saving.load_model(tmp_path / "model.keras"))
        assert differences(one, session.names, expected, run(loaded, inputs, session.names)) == []


def test_a_network_reads_as_it_was_written() -> None:
    """Both directions in one layer, the bias in the Dense, and the one Transpose that the output wants."""
    model = exported(by_name("torch/crnn.ts.batch").load()).model
    end = ["Bidirectional", "Bidirectional", "Dense", "Transpose", "Identity"]
    assert [type(op).__name__ for op in model.operations][-5:] == end
    assert "letters" in [op.name for op in model.operations]


def test_what_keras_lacks_is_refused() -> None:
    peepholes = layer("LSTM", "forward", "Y")
    (node,) = (n for n in peepholes.graph.node if n.op_type == "LSTM")
    node.input.extend(["", "", "p"])
    peepholes.graph.initializer.append(numpy_helper.from_array(np.ones((1, 3 * HIDDEN), np.float32), "p"))
    with pytest.raises(UnsupportedNodesError, match="no peepholes"):
        exported(peepholes)
    computed = layer("GRU", "forward", "Y")
    (node,) = (n for n in computed.graph.node if n.op_type == "GRU")
    node.input[1] = "z"
    scale = helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0)
    computed.graph.node.insert(0, helper.make_node("Mul", ["w", "m"], ["z"]))
    computed.graph.node.insert(0, scale)
    with pytest.raises(UnsupportedNodesError, match="weights are computed at run time"):
        exported(computed)
