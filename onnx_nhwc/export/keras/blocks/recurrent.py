"""LSTM, GRU, RNN: forward, reverse, both, with initial states, with lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.blocks.recurrent_activations import Activation, activations
from onnx_nhwc.export.keras.blocks.recurrent_steps import stepped
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import Array, UnsupportedError
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["recurrent"]

_CLASSES = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""Where Keras's gates (i f c o; z r h) are in ONNX's order (i o f c; z r h)."""
_BACKWARDS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def recurrent(call: Call) -> Any:
    """A recurrent node, a layer where Keras has one that computes it, else step by step."""
    backwards = _BACKWARDS[call.attribute("direction", "forward")]
    found = activations(call, len(backwards))
    mask, initial = _mask(call), _initial(call, len(backwards))
    if _as_layer(call, found):
        return _by_layer(call, backwards, found, initial, mask)
    each = 2 if call.op_type == "LSTM" else 1
    states = None if initial is None else [initial[i : i + each] for i in range(0, len(initial), each)]
    sequences, finals = stepped(call, _batch_first(call), backwards, found, states, mask)
    results: list[Any] = [None, None, None]
    if call.wants(0):
        results[0] = _ordered(call, ops.stack(sequences, axis=2))
    for index in (1, 2):
        if call.wants(index):
            results[index] = ops.stack([f[index - 1] for f in finals], axis=call.attribute("layout", 0))
    return results


def _by_layer(
    call: Call, backwards: Sequence[bool], found: Sequence[Sequence[Activation]], initial: Any, mask: Any
) -> Any:
    count = len(backwards)
    sequences = call.wants(0)
    states = call.wants(2) or (call.wants(1) and (sequences or count == 2))
    layer = _layer(call, backwards, found, return_sequences=sequences, return_state=states,
                   **({"zero_output_for_mask": sequences} if mask is not None else {}))  # fmt: skip
    made = layer(_batch_first(call), initial_state=initial, mask=mask)
    for index, cells in enumerate([layer.forward_layer, layer.backward_layer] if count == 2 else [layer]):
        _weights(call, cells, index)
    first, *finals = made if states else (made, made)
    results: list[Any] = [None, None, None]
    if sequences:
        first = ops.flip(first, axis=1) if backwards == (True,) else first
        results[0] = _ordered(call, _apart(call, first, count, masked=mask is not None))
    each = len(finals) // count or 1
    for index, mine in ((1, finals[::each]), (2, finals[each - 1 :: each])):
        if call.wants(index):
            results[index] = _stacked(call, index, mine)
    return results


def _time_first(call: Call) -> bool:
    """Is it the standard's operator in its usual order?"""
    return call.node.domain in g.STANDARD and not call.attribute("layout", 0)


def _batch_first(call: Call) -> Any:
    x = call.tensor(0)
    return call.transpose(x, (1, 0, 2)) if _time_first(call) else x


def _ordered(call: Call, sequence: Any) -> Any:
    """(batch, time, directions, hidden), or as the standard's operator has it."""
    return call.transpose(sequence, (1, 2, 0, 3)) if _time_first(call) else sequence


def _as_layer(call: Call, found: Sequence[Sequence[Activation]]) -> bool:
    """Does a layer of Keras compute it?"""
    if any(call.has(i) and call.constant(i) is None for i in (1, 2, 3)):
        return False
    if call.op_type != "LSTM":
        return True
    peepholes = call.has(7) and (call.constant(7) is None or bool(np.any(call.array(7))))
    alike = all(g == h for _, g, h in found)
    clipped = any(g.clip for _, g, _ in found)  # what leaves the cell is not clipped, what enters is
    return not peepholes and not call.attribute("input_forget", 0) and alike and not clipped


def _layer(
    call: Call, backwards: Sequence[bool], found: Sequence[Sequence[Activation]], **config: Any
) -> Any:
    """The layer, or the pair of layers in a Bidirectional."""
    cls = _CLASSES[call.op_type]
    if len(backwards) == 1:
        return call.layer(cls, 1, **config, **_cell(call, found[0]), go_backwards=backwards[0])
    forward, backward = (
        cls(
            name=f"{side}_{call.name(1)}",
            dtype=call.dtype(0),
            **config,
            **_cell(call, found[index]),
            go_backwards=backwards[index],
        )
        for index, side in enumerate(("forward", "backward"))
    )
    return call.layer(layers.Bidirectional, 1, layer=forward, backward_layer=backward)


def _cell(call: Call, found: Sequence[Activation]) -> dict[str, Any]:
    """What one direction computes."""
    kind, dtype = call.op_type, call.dtype(0)
    units = int(call.attribute("hidden_size") or call.walk.fact(call.value(2)).shape[-1])
    config: dict[str, Any] = {
        "units": units,
        "activation": found[-1].keras(units, dtype),
        "use_bias": call.has(3),
    }
    if kind != "RNN":
        config["recurrent_activation"] = found[0].keras(units, dtype)
    if kind == "GRU":
        config["reset_after"] = bool(call.attribute("linear_before_reset", 0))
    return config


def _mask(call: Call) -> Any:
    """Which steps lie within each sequence: (batch, time); None where all do."""
    if not call.has(4):
        return None
    lengths, x = call.constant(4), _batch_first(call)
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
        if known is not None and known.shape[1 - first] != call.shape(0)[int(_time_first(call))]:
            raise UnsupportedError("its initial state is for one batch size only")
        states.append(call.tensor(i))
    given = next((state for state in states if state is not None), None)
    if given is None:
        return None
    whole = [ops.zeros_like(given) if state is None else state for state in states]
    return [state[:, d] if first else state[d] for d in range(count) for state in whole]


def _apart(call: Call, sequence: Any, count: int, masked: bool) -> Any:
    """The directions, which Keras concatenates, on an axis of their own."""
    dims = call.walk.shapes.shape(call.node.outputs[0])
    if (
        dims is not None and not masked and not _time_first(call)
    ):  # what has a mask attached makes the layers behind obey it
        joined = (*dims[:2], Dim(sequence.shape[-1]))
        call.parts.regrouped[call.node.outputs[0]] = (joined, sequence)
    return ops.stack(ops.split(sequence, count, axis=-1) if count > 1 else [sequence], axis=2)


def _stacked(call: Call, index: int, states: list[Any]) -> Any:
    """The final states of all directions; a layer's own is also known without the axis of its one."""
    axis = call.attribute("layout", 0)
    dims = call.walk.shapes.shape(call.node.outputs[index])
    if len(states) == 1 and dims is not None:
        rest = tuple(dim for i, dim in enumerate(dims) if i != axis)
        call.parts.regrouped[call.node.outputs[index]] = (rest, states[0])
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
