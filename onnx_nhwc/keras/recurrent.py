"""LSTM, GRU, RNN as layers: forward, reverse, both, with initial states, with lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.keras.call import Call
from onnx_nhwc.keras.values import Array, UnsupportedError
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.layout import Dim

__all__ = ["recurrent"]

_CLASSES = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""Where Keras's gates (i f c o; z r h) are in ONNX's order (i o f c; z r h)."""
_DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softsign": "softsign",
                "Softplus": "softplus"}  # fmt: skip
_BACKWARDS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def recurrent(call: Call) -> Any:
    """A recurrent node that reads batch first: the function, or the operator with ``layout=1``."""
    _check(call)
    backwards = _BACKWARDS[call.attribute("direction", "forward")]
    count = len(backwards)
    sequences = call.wants(0)
    states = call.wants(2) or (call.wants(1) and (sequences or count == 2))
    mask = _mask(call)
    layer = _layer(call, backwards, return_sequences=sequences, return_state=states,
                   **({"zero_output_for_mask": sequences} if mask is not None else {}))  # fmt: skip
    found = layer(call.tensor(0), initial_state=_initial(call, count), mask=mask)
    for index, cells in enumerate([layer.forward_layer, layer.backward_layer] if count == 2 else [layer]):
        _weights(call, cells, index)
    first, *finals = found if states else (found, found)
    results: list[Any] = [None, None, None]
    if sequences:
        first = ops.flip(first, axis=1) if backwards == (True,) else first
        results[0] = _apart(call, first, count, masked=mask is not None)
    each = len(finals) // count or 1
    for index, mine in ((1, finals[::each]), (2, finals[each - 1 :: each])):
        if call.wants(index):
            results[index] = _stacked(call, index, mine)
    return results


def _check(call: Call) -> None:
    if call.node.domain in g.STANDARD and not call.attribute("layout", 0):
        raise UnsupportedError("Keras reads batch first, and it has no such form")
    if call.has(7) and (call.constant(7) is None or np.any(call.array(7))):
        raise UnsupportedError("Keras has no peepholes")
    if call.attribute("clip") or call.attribute("input_forget", 0):
        raise UnsupportedError("Keras neither clips nor couples gates")
    for i in (1, 2, 3):
        if call.has(i) and call.constant(i) is None:
            raise UnsupportedError("its weights are computed at run time")


def _layer(call: Call, backwards: Sequence[bool], **config: Any) -> Any:
    """The layer, or the pair of layers in a Bidirectional."""
    cls = _CLASSES[call.op_type]
    if len(backwards) == 1:
        return call.layer(cls, 1, **config, **_cell(call, 0), go_backwards=backwards[0])
    forward, backward = (
        cls(
            name=f"{side}_{call.name(1)}",
            dtype=call.dtype(0),
            **config,
            **_cell(call, index),
            go_backwards=backwards[index],
        )
        for index, side in enumerate(("forward", "backward"))
    )
    return call.layer(layers.Bidirectional, 1, layer=forward, backward_layer=backward)


def _cell(call: Call, index: int) -> dict[str, Any]:
    """What one direction computes."""
    kind = call.op_type
    default = _DEFAULT[kind]
    names = call.attribute("activations") or default * (index + 1)
    mine = [n.decode() if isinstance(n, bytes) else n for n in names]
    mine = [n.capitalize() for n in mine[index * len(default) : (index + 1) * len(default)]]
    if (
        any(name not in _ACTIVATIONS for name in mine)
        or (kind == "LSTM" and mine[1] != mine[2])
        or call.attribute("activation_alpha")
    ):
        raise UnsupportedError(f"its activations are {', '.join(mine)}")
    units = int(call.attribute("hidden_size") or call.exporter.fact(call.value(2)).shape[-1])
    config: dict[str, Any] = {"units": units, "activation": _ACTIVATIONS[mine[-1]], "use_bias": call.has(3)}
    if kind != "RNN":
        config["recurrent_activation"] = _ACTIVATIONS[mine[0]]
    if kind == "GRU":
        config["reset_after"] = bool(call.attribute("linear_before_reset", 0))
    return config


def _mask(call: Call) -> Any:
    """Which steps lie within each sequence: (batch, time); None where all do."""
    if not call.has(4):
        return None
    lengths, x = call.constant(4), call.tensor(0)
    if lengths is not None and (lengths.array == x.shape[1]).all():
        return None
    step = ops.cumsum(ops.ones_like(x[:, :, 0], dtype="int32"), axis=1)
    return ops.less_equal(step, ops.expand_dims(call.tensor(4), 1))


def _initial(call: Call, count: int) -> Any:
    """The initial states, of one direction after the other; None where they are zero."""
    first = call.attribute("layout", 0)
    states: list[Any] = []
    for i in (5, 6) if call.op_type == "LSTM" else (5,):
        if not call.has(i) or g.is_zero(call.value(i)):
            states.append(None)
            continue
        known = call.constant(i)
        if known is not None and known.shape[1 - first] != call.shape(0)[0]:
            raise UnsupportedError("its initial state is for one batch size only")
        states.append(call.tensor(i))
    given = next((state for state in states if state is not None), None)
    if given is None:
        return None
    whole = [ops.zeros_like(given) if state is None else state for state in states]
    return [state[:, d] if first else state[d] for d in range(count) for state in whole]


def _apart(call: Call, sequence: Any, count: int, masked: bool) -> Any:
    """The directions, which Keras concatenates, on an axis of their own."""
    dims = call.exporter.shapes.shape(call.node.outputs[0])
    if dims is not None and not masked:  # what has a mask attached makes the layers behind obey it
        joined = (*dims[:2], Dim(sequence.shape[-1]))
        call.exporter.regrouped[call.node.outputs[0]] = (joined, sequence)
    return ops.stack(ops.split(sequence, count, axis=-1) if count > 1 else [sequence], axis=2)


def _stacked(call: Call, index: int, states: list[Any]) -> Any:
    """The final states of all directions; a layer's own is also known without the axis of its one."""
    axis = call.attribute("layout", 0)
    dims = call.exporter.shapes.shape(call.node.outputs[index])
    if len(states) == 1 and dims is not None:
        rest = tuple(dim for i, dim in enumerate(dims) if i != axis)
        call.exporter.regrouped[call.node.outputs[index]] = (rest, states[0])
    return ops.stack(states, axis=axis)


def _weights(call: Call, layer: Any, index: int) -> None:
    order = _GATES[call.op_type]

    def turned(w: Array) -> Array:
        gates = np.split(w[index], len(order), axis=0)
        return np.concatenate([gates[k] for k in order], axis=0).T

    def bias(b: Array) -> Array:
        both = np.split(b[index], 2)
        parts = [np.split(half, len(order)) for half in both]
        rows = [np.concatenate([half[k] for k in order]) for half in parts]
        after = call.op_type == "GRU" and layer.reset_after
        return np.stack(rows) if after else rows[0] + rows[1]

    call.assign(layer.cell.kernel, call.loader(1, turned))
    call.assign(layer.cell.recurrent_kernel, call.loader(2, turned))
    if call.has(3):
        call.assign(layer.cell.bias, call.loader(3, bias))
