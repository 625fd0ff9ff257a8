"""The activations of LSTM, GRU and RNN, with their alpha and beta, and the clipping before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["Activation", "activations"]

_DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_FUNCTIONS: dict[str, Callable[[Any, float, float], Any]] = {
    "relu": lambda x, a, b: ops.relu(x),
    "tanh": lambda x, a, b: ops.tanh(x),
    "sigmoid": lambda x, a, b: ops.sigmoid(x),
    "softsign": lambda x, a, b: ops.softsign(x),
    "softplus": lambda x, a, b: ops.softplus(x),
    "affine": lambda x, a, b: plus(ops.multiply(x, a), b),
    "leakyrelu": lambda x, a, b: ops.leaky_relu(x, a),
    "thresholdedrelu": lambda x, a, b: ops.where(ops.less(x, a), ops.zeros_like(x), x),
    "scaledtanh": lambda x, a, b: ops.multiply(ops.tanh(ops.multiply(x, b)), a),
    "hardsigmoid": lambda x, a, b: ops.clip(plus(ops.multiply(x, a), b), 0.0, 1.0),
    "elu": lambda x, a, b: ops.elu(x, a),
}
_KERAS = {"relu", "tanh", "sigmoid", "softsign", "softplus"}
_ALPHA = {"leakyrelu": 0.01, "thresholdedrelu": 1.0, "hardsigmoid": 0.2, "elu": 1.0,
          "affine": 0.0, "scaledtanh": 0.0}  # fmt: skip
_BETA = {"hardsigmoid": 0.5, "affine": 0.0, "scaledtanh": 0.0}
"""Which activations take an alpha and a beta, and what onnxruntime takes where the model gives none."""


@dataclass(frozen=True)
class Activation:
    """One activation of a recurrent node.

    Attributes:
        name: As ONNX names it, in lower case.
        alpha: Its first setting; 0 if it has none.
        beta: Its second setting; 0 if it has none.
        clip: What it reads is held within ``[-clip, clip]``; 0 if it is not.
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0
    clip: float = 0.0

    def __call__(self, x: Any) -> Any:
        if self.clip:
            x = ops.clip(x, -self.clip, self.clip)
        return _FUNCTIONS[self.name](x, self.alpha, self.beta)

    def keras(self, units: int, dtype: str) -> Any:
        """The argument of a Keras layer: a name where Keras has one for it, else a model of one input."""
        if self.name in _KERAS and not self.clip:
            return self.name
        x = keras.Input((units,), dtype=dtype)
        return keras.Model(x, self(x), name=self.name)


def activations(call: Call, directions: int) -> list[list[Activation]]:
    """The activations of every direction, in ONNX's order (LSTM: f g h; GRU: f g; RNN: f).

    Alphas and betas go to those that take one, in order.
    """
    default = _DEFAULT[call.op_type]
    given = call.attribute("activations") or default * directions
    names = [(n.decode() if isinstance(n, bytes) else n).lower() for n in given]
    if len(names) != len(default) * directions or any(name not in _FUNCTIONS for name in names):
        raise UnsupportedError(f"its activations are {', '.join(names)}")
    alphas = iter(call.attribute("activation_alpha") or ())
    betas = iter(call.attribute("activation_beta") or ())
    clip = float(call.attribute("clip", 0.0) or 0.0)
    found = []
    for name in names:
        alpha = next(alphas, _ALPHA[name]) if name in _ALPHA else 0.0
        beta = next(betas, _BETA[name]) if name in _BETA else 0.0
        found.append(Activation(name, float(alpha), float(beta), clip))
    each = len(default)
    return [found[i * each : (i + 1) * each] for i in range(directions)]
