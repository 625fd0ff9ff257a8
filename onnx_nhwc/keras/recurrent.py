"""LSTM, GRU, RNN as layers: forward, reverse, both, with initial states."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.keras.call import Call
from onnx_nhwc.keras.values import Array, UnsupportedError

__all__ = ["recurrent"]

_CLASSES = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""Where Keras's gates (i f c o; z r h) are in ONNX's order (i o f c; z r h)."""
_DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softsign": "softsign",
                "Softplus": "softplus"}  # fmt: skip


def recurrent(call: Call) -> Any:
    """A recurrent node. Keras wants batch first, ONNX has time first unless ``layout`` says so."""
    _check(call)
    first = call.attribute("layout", 0) == 1
    x = call.tensor(0)
    x = x if first else call.transpose(x, (1, 0, 2))
    direction = call.attribute("direction", "forward")
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    outputs, finals, cells = [], [], []
    for index, reverse in enumerate(backwards):
        layer = _layer(call, index, reverse, len(backwards))
        result = layer(x, initial_state=_initial(call, index, first))
        _weights(call, layer, index)
        sequence, *states = result
        outputs.append(ops.flip(sequence, axis=1) if reverse else sequence)
        finals.append(states[0])
        cells.append(states[-1])
    results: list[Any] = [None, None, None]
    if call.wants(0):
        if first:
            results[0] = ops.stack(outputs, axis=2)  # batch, time, direction, hidden
        elif len(outputs) == 1:
            results[0] = ops.expand_dims(call.transpose(outputs[0], (1, 0, 2)), 1)
        else:
            results[0] = call.transpose(ops.stack(outputs, axis=1), (2, 1, 0, 3))
    for i, states in ((1, finals), (2, cells)):
        if call.wants(i):
            results[i] = ops.stack(states, axis=1 if first else 0)
    return results


def _check(call: Call) -> None:
    if call.has(4) and call.constant(4) is not None:
        lengths, steps = call.array(4), call.shape(0)[call.attribute("layout", 0)]
        if not (lengths == steps).all():
            raise UnsupportedError("its sequences are of different lengths")
    elif call.has(4):
        raise UnsupportedError("the lengths of its sequences are computed at run time")
    if call.has(7) and np.any(call.array(7, "peepholes")):
        raise UnsupportedError("Keras has no peepholes")
    if call.attribute("clip") or call.attribute("input_forget", 0):
        raise UnsupportedError("Keras neither clips nor couples gates")
    for i in (1, 2, 3):
        if call.has(i) and call.constant(i) is None:
            raise UnsupportedError("its weights are computed at run time")


def _layer(call: Call, index: int, reverse: bool, count: int) -> Any:
    kind = call.op_type
    default = _DEFAULT[kind]
    names = call.attribute("activations") or default * count
    mine = [n.decode() if isinstance(n, bytes) else n for n in names]
    mine = [n.capitalize() for n in mine[index * len(default) : (index + 1) * len(default)]]
    if (
        any(name not in _ACTIVATIONS for name in mine)
        or (kind == "LSTM" and mine[1] != mine[2])
        or call.attribute("activation_alpha")
    ):
        raise UnsupportedError(f"its activations are {', '.join(mine)}")
    units = int(call.attribute("hidden_size") or call.exporter.fact(call.value(2)).shape[-1])
    config: dict[str, Any] = {"activation": _ACTIVATIONS[mine[-1]], "use_bias": call.has(3)}
    if kind != "RNN":
        config["recurrent_activation"] = _ACTIVATIONS[mine[0]]
    if kind == "GRU":
        config["reset_after"] = bool(call.attribute("linear_before_reset", 0))
    return call.layer(
        _CLASSES[kind],
        1,
        units=units,
        return_sequences=True,
        return_state=True,
        go_backwards=reverse,
        **config,
    )


def _initial(call: Call, index: int, first: bool) -> Any:
    states = []
    for i in (5, 6) if call.op_type == "LSTM" else (5,):
        if not call.has(i):
            continue
        known = call.constant(i)
        if known is not None and not np.any(known.array):
            continue
        if known is not None and known.shape[0 if first else 1] != call.shape(0)[0 if first else 1]:
            raise UnsupportedError("its initial state is for one batch size only")
        state = call.tensor(i)
        states.append(state[:, index] if first else state[index])
    if not states:
        return None
    if call.op_type == "LSTM" and len(states) == 1:
        zeros = ops.zeros_like(states[0])
        states = [states[0], zeros] if call.has(5) else [zeros, states[0]]
    return states if len(states) > 1 else states[0]


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
