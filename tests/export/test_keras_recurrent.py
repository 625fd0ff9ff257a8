"""Recurrent operators as Keras's layers: directions, states, lengths of sequences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.models.catalogue import by_name
from tests.support.keras_models import (
    UnsupportedNodesError,
    differences,
    exported,
    foreign,
    keras,
    run,
    transposes,
)
from tests.support.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

BATCH, STEPS, FEATURES, HIDDEN = 3, 4, 5, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTHS = np.array([4, 1, 2], np.int32)


def weights_of(op: str, count: int) -> dict[str, Any]:
    """What a layer of so many directions, and the one behind it, compute with."""
    rng = np.random.default_rng(0)
    shapes = {
        "w": (count, GATES[op] * HIDDEN, FEATURES), "r": (count, GATES[op] * HIDDEN, HIDDEN),
        "b": (count, 2 * GATES[op] * HIDDEN), "v": (1, HIDDEN, count * HIDDEN), "u": (1, HIDDEN, HIDDEN),
    }  # fmt: skip
    weights: dict[str, Any] = {n: rng.uniform(-1, 1, s).astype(np.float32) for n, s in shapes.items()}
    return weights | {"joined": np.array([0, 0, -1]), "one": np.array([1])}


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
    weights = weights_of(op, count)
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


def altered(model: onnx.ModelProto, *, peepholes: bool = False, computed: bool = False) -> onnx.ModelProto:
    """The layer with peepholes, or with weights that are computed from ``x``."""
    (node,) = (n for n in model.graph.node if n.name != "second" and "w" in n.input)
    rng = np.random.default_rng(2)
    if peepholes:
        count = model.graph.initializer[0].dims[0]
        node.input.extend([""] * (7 - len(node.input)) + ["p"])
        array = rng.uniform(-1, 1, (count, 3 * HIDDEN)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, "p"))
    if computed:
        node.input[1], node.input[2] = "w2", "r2"
        extra = [
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
            helper.make_node("Mul", ["w", "m"], ["w2"]),
            helper.make_node("Mul", ["r", "m"], ["r2"]),
        ]
        for one in reversed(extra):
            model.graph.node.insert(0, one)
    return model


KNOWN: dict[str, Any] = {"sizes": ("n", STEPS)}
STEP_BY_STEP = {
    "peepholes": altered(layer("LSTM", "bidirectional", "YHC", states=True, **KNOWN), peepholes=True),
    "peepholes, lengths": altered(layer("LSTM", "reverse", "YHC", lengths="fed", **KNOWN), peepholes=True),
    "LSTM clip": layer("LSTM", "forward", "YHC", clip=0.3, **KNOWN),
    "LSTM couples": layer("LSTM", "bidirectional", "YC", input_forget=1, clip=0.5, lengths="fed", **KNOWN),
    "LSTM inside and outside": layer(
        "LSTM", "forward", "H", activations=["HardSigmoid", "Softsign", "LeakyRelu"],
        activation_alpha=[0.3, 0.2], activation_beta=[0.4], **KNOWN,
    ),
    "computed LSTM": altered(layer("LSTM", "bidirectional", "YH", lengths="fed", **KNOWN), computed=True),
    "computed GRU": altered(layer("GRU", "reverse", "YH", states=True, **KNOWN), computed=True),
    "computed GRU, linear": altered(
        layer("GRU", "bidirectional", "YH", linear_before_reset=1, clip=0.4, **KNOWN), computed=True
    ),
    "computed RNN": altered(layer("RNN", "reverse", "H", lengths="fed", **KNOWN), computed=True),
}  # fmt: skip
LAYERS = {
    "GRU clip": layer("GRU", "bidirectional", "YH", clip=0.3, lengths="fed"),
    "GRU clip, linear": layer("GRU", "reverse", "YH", clip=0.3, linear_before_reset=1),
    "RNN clip": layer("RNN", "forward", "YH", clip=0.3, activations=["ScaledTanh"],
                      activation_alpha=[0.7], activation_beta=[1.2]),
    "LSTM alphas": layer("LSTM", "forward", "YC", activations=["HardSigmoid", "Elu", "Elu"],
                         activation_alpha=[0.3, 0.5, 0.5], activation_beta=[0.4]),
    "GRU alphas": layer("GRU", "bidirectional", "Y", activation_alpha=[0.1, 0.2],
                        activations=["Sigmoid", "LeakyRelu", "Softsign", "ThresholdedRelu"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*STEP_BY_STEP, *LAYERS])
def test_all_settings_compute_the_same(name: str, tmp_path: Path) -> None:
    """Loaded again in safe mode as well; what Keras has a layer for is one, whatever its activations."""
    source = STEP_BY_STEP.get(name) or LAYERS[name]
    one = exported(source)
    session, inputs = Session(source), feeds(source)
    expected = session.run(inputs)
    assert differences(one, session.names, expected, run(one, inputs, session.names)) == []
    assert foreign(one.model) == []
    own = (keras.layers.LSTM, keras.layers.GRU, keras.layers.Bidirectional)
    found = [op for op in one.model.operations if isinstance(op, own)]
    assert len(found) == (name not in STEP_BY_STEP and "RNN" not in name)
    if name in STEP_BY_STEP:
        read = {value for node in source.graph.node for value in node.input}
        weights = [t for t in source.graph.initializer if t.name in read and t.data_type == TensorProto.FLOAT]
        trained = sum(int(np.prod(v.shape)) for v in one.model.trainable_variables)
        assert trained == sum(int(np.prod(t.dims)) for t in weights)
    one.model.save(tmp_path / "model.keras")
    loaded = replace(one, model=keras.saving.load_model(tmp_path / "model.keras"))
    assert differences(one, session.names, expected, run(loaded, inputs, session.names)) == []


def test_steps_that_are_not_known_are_refused() -> None:
    with pytest.raises(UnsupportedNodesError, match="how many steps it takes is known at run time only"):
        exported(altered(layer("LSTM", "forward", "Y"), peepholes=True))
