"""LSTM, GRU, RNN as modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnx_nhwc.export.torch.call import Call
from onnx_nhwc.export.torch.tensor import Argument
from onnx_nhwc.export.values import Array, UnsupportedError

__all__ = ["recurrent"]

_GATES = {
    "LSTM": (0, 2, 3, 1),  # ONNX has i o f c, torch i f g o
    "GRU": (1, 0, 2),  # ONNX has z r h, torch r z n
    "RNN": (0,),
}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def recurrent(call: Call) -> Any:
    """A layer as PyTorch has it; what that has not is refused."""
    op = call.op_type
    count = 2 if call.attribute("direction", "forward") == "bidirectional" else 1
    _check(call, count)
    hidden, features = call.static(2)[-1], call.static(1)[-1]
    biased = call.has(3)
    arguments: list[Argument] = [
        ("input_size", features),
        ("hidden_size", hidden),
        ("bias", biased),
        ("batch_first", False),
        ("bidirectional", count == 2),
    ]
    if op == "RNN" and call.attribute("activations", ["Tanh"])[0] == "Relu":
        arguments.append(("nonlinearity", "relu"))
    module = call.module(f"nn.{op}", arguments, 2, _weights(call, count, hidden, biased), 1)
    x = str(call.tensor(0))
    reverse = call.attribute("direction", "forward") == "reverse"
    if reverse:
        x = f"{x}.flip(0)"
    result = call.step(f"{module}({x}{_states(call)})", "pair", ())
    y = f"{result}[0].unflatten(2, ({count}, {hidden})).transpose(1, 2)"
    if reverse:
        y = f"{y}.flip(0)"
    if op == "LSTM":
        return [y, f"{result}[1][0]", f"{result}[1][1]"]
    return [y, f"{result}[1]"]


def _check(call: Call, count: int) -> None:
    op = call.op_type
    usual = [name.lower() for name in _USUAL[op] * count]
    given = [name.lower() for name in call.attribute("activations", usual)]
    relu = op == "RNN" and given == ["relu"] * count
    if given != usual and not relu:
        raise UnsupportedError("its activations are not those of PyTorch")
    if op == "GRU" and not call.attribute("linear_before_reset", 0):
        raise UnsupportedError("PyTorch multiplies by the reset gate after the product")
    if call.attribute("layout", 0) or call.attribute("clip") or call.attribute("input_forget", 0):
        raise UnsupportedError("it has a setting that PyTorch has not")
    if call.has(4) or call.has(7):
        raise UnsupportedError("it has lengths or peepholes, which PyTorch has not")
    if any(call.constant(i) is None for i in (1, 2)) or (call.has(3) and call.constant(3) is None):
        raise UnsupportedError("its weights are computed")


def _states(call: Call) -> str:
    given = [str(call.tensor(i)) for i in (5, 6) if call.has(i)]
    if not given:
        return ""
    if call.op_type != "LSTM":
        return f", {given[0]}"
    if len(given) == 1:
        zeros = f"torch.zeros_like({given[0]})"
        given = [given[0], zeros] if call.has(5) else [zeros, given[0]]
    return f", ({', '.join(given)})"


def _weights(call: Call, count: int, hidden: int, biased: bool) -> dict[str, Callable[[], Array]]:
    gates = _GATES[call.op_type]
    found: dict[str, Callable[[], Array]] = {}
    for direction in range(count):
        end = "_reverse" if direction else ""
        for name, index in (("weight_ih", 1), ("weight_hh", 2)):
            found[f"{name}_l0{end}"] = call.loader(index, _picked(direction, gates, hidden))
        if biased:
            for name, half in (("bias_ih", 0), ("bias_hh", 1)):
                found[f"{name}_l0{end}"] = call.loader(3, _picked(direction, gates, hidden, half))
    return found


def _picked(direction: int, gates: Sequence[int], hidden: int, half: int = 0) -> Callable[[Array], Array]:
    """A direction's gates in torch's order."""
    start = half * len(gates) * hidden

    def pick(a: Array) -> Array:
        parts = [a[direction, start + g * hidden : start + (g + 1) * hidden] for g in gates]
        return np.concatenate(parts)

    return pick
