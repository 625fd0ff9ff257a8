"""LSTM, GRU and RNN step by step, for what Keras's layers do not compute.

That is peepholes, an LSTM that clips or couples its gates or has different activations inside and
outside, and weights that are computed. The formulas are ONNX's, with onnxruntime's reading of them:

    LSTM:  i = f(clip(x Wi + h Ri + Pi c + bi))      c' = F c + i g(clip(x Wc + h Rc + bc))
           F = f(clip(x Wf + h Rf + Pf c + bf))      o  = f(clip(x Wo + h Ro + Po c' + bo))
           F = 1 - i if input_forget                 h' = o h(c')

Nodes that are constants stay parameters: rows of an Embedding, trainable as a layer's kernel is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.blocks.recurrent_activations import Activation
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["stepped"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_OPERATIONS = {"LSTM": 24, "GRU": 18, "RNN": 6}
_NODES = 20_000
"""A Keras model of more nodes than this takes minutes to build."""


@dataclass(frozen=True)
class _Cell:
    """What one direction computes in one step.

    Attributes:
        op_type: LSTM, GRU or RNN.
        activations: In ONNX's order.
        recurrent: R, transposed, gate by gate: (hidden, hidden) each.
        after: The GRU's bias within what its reset gate multiplies, if it resets after the product.
        linear: Does a GRU reset after the product?
        peepholes: P, of the gates i, o, f; None if there are none.
        coupled: Is the LSTM's forget gate 1 less its input gate?
    """

    op_type: str
    activations: Sequence[Activation]
    recurrent: Sequence[Any]
    after: Any = None
    linear: bool = False
    peepholes: Sequence[Any] | None = None
    coupled: bool = False

    def step(self, x: Any, states: Sequence[Any]) -> list[Any]:
        """The states after a step; the first of them is what the step gives out.

        Args:
            x: The gates' shares of the input, biases included: (batch, gates * hidden).
            states: h, and c of an LSTM: (batch, hidden) each.
        """
        gates = ops.split(x, _GATES[self.op_type], axis=-1) if self.op_type != "RNN" else [x]
        return {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[self.op_type](gates, states)

    def _rnn(self, gates: Sequence[Any], states: Sequence[Any]) -> list[Any]:
        return [self.activations[0](self._joined(gates[0], states[0], 0))]

    def _gru(self, gates: Sequence[Any], states: Sequence[Any]) -> list[Any]:
        (h,) = states
        f, g = self.activations
        update, reset = (f(self._joined(gates[k], h, k)) for k in (0, 1))
        if self.linear:
            inner = ops.matmul(h, self.recurrent[2])
            inner = inner if self.after is None else plus(inner, self.after)
            new = g(plus(gates[2], ops.multiply(reset, inner)))
        else:
            new = g(self._joined(gates[2], ops.multiply(reset, h), 2))
        return [plus(ops.multiply(ops.subtract(1.0, update), new), ops.multiply(update, h))]

    def _lstm(self, gates: Sequence[Any], states: Sequence[Any]) -> list[Any]:
        h, c = states
        f, g, outer = self.activations
        enter, leave, forget, new = (self._joined(gate, h, k) for k, gate in enumerate(gates))
        enter = f(self._peeped(enter, c, 0))
        forget = ops.subtract(1.0, enter) if self.coupled else f(self._peeped(forget, c, 2))
        c = plus(ops.multiply(forget, c), ops.multiply(enter, g(new)))
        leave = f(self._peeped(leave, c, 1))
        return [ops.multiply(leave, outer(c)), c]

    def _joined(self, gate: Any, h: Any, k: int) -> Any:
        return plus(gate, ops.matmul(h, self.recurrent[k]))

    def _peeped(self, gate: Any, c: Any, k: int) -> Any:
        return gate if self.peepholes is None else plus(gate, ops.multiply(c, self.peepholes[k]))


def stepped(
    call: Call,
    x: Any,
    backwards: Sequence[bool],
    activations: Sequence[Sequence[Activation]],
    states: Sequence[Sequence[Any]] | None,
    mask: Any,
) -> tuple[list[Any], list[list[Any]]]:
    """Return what each direction gives out, (batch, time, hidden), and its last states.

    Args:
        call: The node.
        x: Its input, batch first: (batch, time, features).
        backwards: Does the direction run from the last step to the first?
        activations: Those of every direction.
        states: The initial states of every direction, (batch, hidden) each; None where they are zero.
        mask: Which steps lie within each sequence, (batch, time); None where all do.
    """
    steps = x.shape[1]
    if steps is None:
        raise UnsupportedError(
            "Keras has no layer for it, and how many steps it takes is known at run time only"
        )
    if steps * len(backwards) * _OPERATIONS[call.op_type] > _NODES:
        raise UnsupportedError(
            f"Keras has no layer for it, and it takes {steps} steps, too many to write out"
        )
    sequences, finals = [], []
    for direction, back in enumerate(backwards):
        cell, share = _direction(call, direction, x, activations[direction])
        zero = ops.zeros_like(ops.split(share[:, 0], _GATES[call.op_type], axis=-1)[0])
        count = 2 if call.op_type == "LSTM" else 1
        now = list(states[direction]) if states is not None else [zero] * count
        given: list[Any] = [None] * steps
        for t in range(steps - 1, -1, -1) if back else range(steps):
            new = cell.step(share[:, t], now)
            given[t] = new[0]
            if mask is not None:
                inside = mask[:, t : t + 1]
                given[t] = ops.where(inside, new[0], zero)
                new = [ops.where(inside, a, b) for a, b in zip(new, now, strict=True)]
            now = new
        sequences.append(ops.stack(given, axis=1))
        finals.append(now)
    return sequences, finals


def _direction(call: Call, index: int, x: Any, activations: Sequence[Activation]) -> tuple[_Cell, Any]:
    """A direction's cell, and the gates' shares of its input at every step."""
    kind, gates = call.op_type, _GATES[call.op_type]
    kernel, recurrent = call.tensor(1)[index], call.tensor(2)[index]
    share = ops.matmul(x, ops.transpose(kernel))
    linear = kind == "GRU" and bool(call.attribute("linear_before_reset", 0))
    after = None
    if call.has(3):
        outside, inside = ops.split(call.tensor(3)[index], 2, axis=0)
        if linear:
            update, reset, after = ops.split(inside, 3, axis=0)
            inside = ops.concatenate([update, reset, ops.zeros_like(after)], axis=0)
        share = plus(share, plus(outside, inside))
    parts = ops.split(recurrent, gates, axis=0) if gates > 1 else [recurrent]
    peepholes = ops.split(call.tensor(7)[index], 3, axis=0) if kind == "LSTM" and call.has(7) else None
    return (
        _Cell(
            kind,
            activations,
            [ops.transpose(part) for part in parts],
            after,
            linear,
            peepholes,
            kind == "LSTM" and bool(call.attribute("input_forget", 0)),
        ),
        share,
    )
