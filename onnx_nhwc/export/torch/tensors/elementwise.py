"""Element by element: arithmetic, comparisons, activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_nhwc.export.torch.call import Call, dtype_name, is_float, literal, torch_dtype
from onnx_nhwc.export.torch.tensor import Argument, Formed, Literal
from onnx_nhwc.export.values import UnsupportedError

__all__ = [
    "activation",
    "binary",
    "bit_shift",
    "cast",
    "cast_like",
    "clip",
    "divide",
    "dropout",
    "gelu",
    "hard_sigmoid",
    "identity",
    "is_inf",
    "leaky_relu",
    "mean",
    "method",
    "modulo",
    "power",
    "prelu",
    "shrink",
    "thresholded_relu",
    "unary",
    "variadic",
    "where",
]


def operand(call: Call, index: int) -> Any:
    """An input as an operand; a constant with one element is a number, if that changes no shape."""
    constant = call.constant(index)
    if constant is not None and constant.size == 1 and not constant.trainable:
        others = [call.rank(i) for i in range(call.count) if i != index and call.has(i)]
        if others and max(others) >= len(constant.shape):
            return Literal(literal(constant.array.reshape(()).item()), constant.dtype)
    return call.x(index)


def binary(sign: str) -> Callable[[Call], str]:
    """An operator of Python."""

    def mapping(call: Call) -> str:
        a, b = operand(call, 0), operand(call, 1)
        if isinstance(a, Literal) and isinstance(b, Literal):
            a = call.tensor(0)
        return f"{a} {sign} {b}"

    return mapping


def method(name: str) -> Callable[[Call], str]:
    """A function of two tensors."""

    def mapping(call: Call) -> str:
        return f"torch.{name}({call.tensor(0)}, {call.tensor(1)})"

    return mapping


def unary(name: str) -> Callable[[Call], str]:
    """A function of one tensor."""

    def mapping(call: Call) -> str:
        return f"torch.{name}({call.tensor(0)})"

    return mapping


def variadic(name: str, sign: str = "") -> Callable[[Call], Any]:
    """An operation on any number of operands, two at a time."""

    def mapping(call: Call) -> Any:
        if call.count == 1:
            return call.walk.fact(call.value(0))
        if sign:
            return f" {sign} ".join(str(operand(call, i)) for i in range(call.count))
        text = str(call.tensor(0))
        for i in range(1, call.count):
            text = f"torch.{name}({text}, {call.tensor(i)})"
        return text

    return mapping


def mean(call: Call) -> str:
    parts = " + ".join(str(call.x(i)) for i in range(call.count))
    return f"({parts}) / {call.count}"


def divide(call: Call) -> str:
    """Integers are divided towards zero."""
    if is_float(call.dtype(0)):
        return binary("/")(call)
    return f'torch.div({call.tensor(0)}, {operand(call, 1)}, rounding_mode="trunc")'


def modulo(call: Call) -> str:
    name = "fmod" if call.attribute("fmod", 0) else "remainder"
    return f"torch.{name}({call.tensor(0)}, {operand(call, 1)})"


def power(call: Call) -> str:
    """The result has the type of the base."""
    x, exponent = call.tensor(0), operand(call, 1)
    if (
        isinstance(exponent, Literal)
        and float(exponent.text.replace("float(", "0") if "(" in exponent.text else exponent.text) == 2.0
    ):
        return f"torch.square({x})"
    dtype = call.dtype(0)
    text = f"torch.pow({x}, {exponent})"
    return text if call.dtype(1) == dtype else f"{text}.to({torch_dtype(dtype)})"


def bit_shift(call: Call) -> str:
    name = {"LEFT": "left", "RIGHT": "right"}[call.attribute("direction")]
    x, y = call.tensor(0), call.tensor(1)
    if call.dtype(0) in ("uint16", "uint32", "uint64"):
        raise UnsupportedError(f"PyTorch shifts no numbers of type {call.dtype(0)}")
    return f"torch.bitwise_{name}_shift({x}, {y})"


def where(call: Call) -> str:
    condition = call.tensor(0)
    return f"torch.where({condition}, {call.tensor(1)}, {call.tensor(2)})"


def is_inf(call: Call) -> str:
    x = call.tensor(0)
    positive, negative = (call.attribute(f"detect_{sign}", 1) for sign in ("positive", "negative"))
    if positive and negative:
        return f"torch.isinf({x})"
    if positive:
        return f"torch.isposinf({x})"
    return f"torch.isneginf({x})" if negative else f"torch.zeros_like({x}, dtype=torch.bool)"


def cast(call: Call) -> Any:
    return _cast(call, dtype_name(ir.DataType(call.attribute("to"))))


def cast_like(call: Call) -> Any:
    return _cast(call, call.dtype(1))


def _cast(call: Call, target: str) -> Any:
    before = call.dtype(0)
    if before == target:
        return identity(call)
    return f"{call.tensor(0)}.to({torch_dtype(target)})"


def identity(call: Call) -> Any:
    return call.walk.fact(call.value(0))


def dropout(call: Call) -> Any:
    """Nothing at inference; a module, so that it drops when the model is trained."""
    if call.wants(1):
        return [identity(call), f"torch.ones_like({call.tensor(0)}, dtype=torch.bool)"]
    ratio = call.attribute("ratio", 0.5)
    known = call.constant(1)
    if known is not None:
        ratio = float(known.array)
    x = call.tensor(0)
    return Formed(f"F.dropout({x}, {ratio!r}, self.training)", "nn.Dropout", (("p", ratio),), 1)


def activation(function: str, kind: str = "", *arguments: Argument) -> Callable[[Call], Any]:
    """A function of torch that a module does as well."""

    def mapping(call: Call) -> Any:
        text = f"{function}({call.tensor(0)})"
        return Formed(text, kind, arguments) if kind else text

    return mapping


def _with(call: Call, function: str, kind: str, name: str, attribute: str, default: float) -> Formed:
    value = round(float(np.float32(call.attribute(attribute, default))), 9)
    return Formed(f"{function}({call.tensor(0)}, {value!r})", kind, ((name, value),), 0)


def leaky_relu(call: Call) -> Formed:
    return _with(call, "F.leaky_relu", "nn.LeakyReLU", "negative_slope", "alpha", 0.01)


def elu(call: Call) -> Formed:
    return _with(call, "F.elu", "nn.ELU", "alpha", "alpha", 1.0)


def celu(call: Call) -> Formed:
    return _with(call, "F.celu", "nn.CELU", "alpha", "alpha", 1.0)


def gelu(call: Call) -> Formed:
    approximate = call.attribute("approximate", "none")
    more = "" if approximate == "none" else f', approximate="{approximate}"'
    return Formed(f"F.gelu({call.tensor(0)}{more})", "nn.GELU", (("approximate", approximate),))


def selu(call: Call) -> str | Formed:
    alpha, gamma = call.attribute("alpha", 1.6732632), call.attribute("gamma", 1.0507009)
    if abs(alpha - 1.6732632) < 1e-6 and abs(gamma - 1.0507009) < 1e-6:
        return Formed(f"F.selu({call.tensor(0)})", "nn.SELU")
    return f"{gamma!r} * F.elu({call.tensor(0)}, {alpha!r})"


def swish(call: Call) -> str | Formed:
    alpha = call.attribute("alpha", 1.0)
    x = call.tensor(0)
    return Formed(f"F.silu({x})", "nn.SiLU") if alpha == 1.0 else f"{x} * torch.sigmoid({alpha!r} * {x})"


def hard_sigmoid(call: Call) -> str | Formed:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    x = call.tensor(0)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return Formed(f"F.hardsigmoid({x})", "nn.Hardsigmoid")
    return f"torch.clamp({alpha!r} * {x} + {beta!r}, 0.0, 1.0)"


def softplus(call: Call) -> str:
    x = call.tensor(0)
    return f"torch.logaddexp({x}, torch.zeros_like({x}))"


def clip(call: Call) -> Any:
    """Clip; between 0 and 6 it is a ReLU6."""
    x = call.tensor(0)
    bounds = []
    for index, name in ((1, "min"), (2, "max")):
        if name in call.node.attributes:
            bounds.append(literal(call.attribute(name)))
        elif call.has(index):
            known = call.constant(index)
            bound = call.tensor(index) if known is None else literal(known.array.reshape(()).item())
            bounds.append(str(bound))
        else:
            bounds.append("")
    low, high = bounds
    if (low, high) == ("0.0", "6.0"):
        return Formed(f"F.relu6({x})", "nn.ReLU6")
    if not low and not high:
        return identity(call)
    if "§" in low + high:
        text = f"torch.maximum({x}, {low})" if low else str(x)
        return f"torch.minimum({text}, {high})" if high else text
    given = [f"min={low}"] if low else []
    given += [f"max={high}"] if high else []
    return f"torch.clamp({x}, {', '.join(given)})"


def prelu(call: Call) -> Any:
    """A slope for each channel is a module."""
    x, slope = call.tensor(0), call.constant(1)
    rank = call.rank(0)
    if slope is not None and is_float(slope.dtype):
        sizes = (1,) * (rank - len(slope.shape)) + slope.shape
        channels = slope.size
        lone = channels == 1 or (rank > 1 and sizes[1] == channels)
        if lone and len(sizes) == rank:
            load = call.loader(1, lambda a: a.reshape(-1))
            module = call.module("nn.PReLU", [("num_parameters", channels)], 1, {"weight": load}, 1)
            return f"{module}({x})"
    return f"torch.where({x} < 0, {x} * {call.x(1)}, {x})"


def shrink(call: Call) -> str:
    x, bias, limit = call.tensor(0), call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    zero = f"torch.zeros_like({x})"
    inner = f"torch.where({x} > {limit!r}, {x} - {bias!r}, {zero})"
    dtype = torch_dtype(call.dtype(0))
    return f"torch.where({x} < {-limit!r}, {x} + {bias!r}, {inner}).to({dtype})"


def thresholded_relu(call: Call) -> Formed:
    alpha = call.attribute("alpha", 1.0)
    x = call.tensor(0)
    arguments = (("threshold", alpha), ("value", 0.0))
    return Formed(f"F.threshold({x}, {alpha!r}, 0.0)", "nn.Threshold", arguments, 2)
