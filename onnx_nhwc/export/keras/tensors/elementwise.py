"""Every element alike: arithmetic, comparisons, logic, activations, casts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call, dtype_name, is_float
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes import graph as g

Mapping = Callable[[Call], Any]


def unary(function: Callable[[Any], Any]) -> Mapping:
    return lambda call: function(call.tensor(0))


def activation(name: str) -> Mapping:
    """An activation that Keras has a name for, as a layer."""

    def mapped(call: Call) -> Any:
        return call.layer(layers.Activation, activation=name)(call.tensor(0))

    return mapped


def binary(function: Callable[[Any, Any], Any]) -> Mapping:
    return lambda call: function(*both(call))


def both(call: Call) -> tuple[Any, Any]:
    """Two operands, at least one of them symbolic."""
    a, b = call.x(0), call.x(1)
    if not isinstance(a, keras.KerasTensor) and not isinstance(b, keras.KerasTensor):
        a = call.tensor(0)
    return a, b


def merged(cls: Any, function: Callable[[Any, Any], Any]) -> Mapping:
    """A layer such as Add where it merges tensors of one shape, else the operation."""

    def mapped(call: Call) -> Any:
        values = [call.x(i) for i in range(call.count)]
        symbolic = all(isinstance(v, keras.KerasTensor) for v in values)
        alike = symbolic and len({tuple(v.shape) for v in values}) == 1
        same = len({call.value(i) for i in range(call.count)}) == call.count > 1
        if alike and same and len(values[0].shape) > 1 and is_float(values[0].dtype):
            return call.layer(cls)(values)
        return variadic(function)(call)

    return mapped


def variadic(function: Callable[[Any, Any], Any]) -> Mapping:
    def mapped(call: Call) -> Any:
        if call.count == 1:
            return call.tensor(0)
        total = function(*both(call))
        for index in range(2, call.count):
            total = function(total, call.x(index))
        return total

    return mapped


def mean(call: Call) -> Any:
    total = variadic(plus)(call)
    return ops.divide(total, float(call.count))


def divide(call: Call) -> Any:
    """Div; integers are cut towards zero."""
    a, b = both(call)
    dtype = call.out_dtype()
    if is_float(dtype):
        return ops.divide(a, b)
    quotient = ops.floor_divide(a, b)
    if dtype.startswith("uint"):
        return quotient
    rest = ops.subtract(a, ops.multiply(quotient, b))
    mixed = ops.logical_and(ops.not_equal(rest, 0), ops.not_equal(ops.less(a, 0), ops.less(b, 0)))
    return plus(quotient, ops.cast(mixed, dtype))


def modulo(call: Call) -> Any:
    """Mod; ``fmod=1`` has the sign of the dividend."""
    a, b = both(call)
    dtype = call.out_dtype()
    if not call.attribute("fmod", 0):
        return ops.mod(a, b)
    if is_float(dtype):
        rest = ops.mod(ops.abs(a), ops.abs(b))
        return ops.where(ops.less(a, 0), ops.negative(rest), rest)
    if dtype.startswith("uint"):
        return ops.mod(a, b)
    rest = ops.mod(ops.abs(a), ops.abs(b))
    return ops.where(ops.less(a, 0), ops.negative(rest), rest)


def power(call: Call) -> Any:
    """Pow; the exponent may be of another type than the base, which decides."""
    a, b = both(call)
    dtype = call.out_dtype()
    exponent = call.constant(1)
    if exponent is not None and exponent.size == 1 and len(exponent.shape) <= call.rank(0):
        value = float(exponent.array.reshape(()))
        if value == 2.0:
            return ops.square(a)
        if value == 0.5 and is_float(dtype):
            return ops.sqrt(a)
    if call.dtype(0) != call.dtype(1):
        work = dtype if is_float(dtype) else "float64"
        a, b = (ops.cast(v, work) for v in (a, b))
    elif not is_float(dtype):
        a, b = (ops.cast(v, "float64") for v in (a, b))
    return ops.cast(ops.power(a, b), dtype)


def bit_shift(call: Call) -> Any:
    left = call.attribute("direction") == "LEFT"
    return (ops.left_shift if left else ops.right_shift)(*both(call))


def equal(call: Call) -> Any:
    a, b = both(call)
    return ops.equal(a, b)


def where(call: Call) -> Any:
    condition = call.tensor(0)
    a, b = call.x(1), call.x(2)
    dtype = call.out_dtype()
    if dtype == "bool" or not any(isinstance(v, keras.KerasTensor) for v in (a, b)):
        a, b = (v if hasattr(v, "dtype") else np.asarray(v, dtype) for v in (a, b))
        a, b = (v if isinstance(v, keras.KerasTensor) or np.ndim(v) else ops.cast(v, dtype) for v in (a, b))
        a, b = (call.tensor(i) if not hasattr(v, "shape") else v for i, v in ((1, a), (2, b)))
        if not isinstance(a, keras.KerasTensor) and np.ndim(a) == 0:
            a = call.tensor(1)
        if not isinstance(b, keras.KerasTensor) and np.ndim(b) == 0:
            b = call.tensor(2)
    return ops.where(condition, a, b)


def cast(call: Call) -> Any:
    """Cast; floats are cut towards zero, which Keras does as well."""
    target = dtype_name(ir.DataType(call.attribute("to")))
    return _to(call, target)


def cast_like(call: Call) -> Any:
    return _to(call, call.out_dtype())


def _to(call: Call, target: str) -> Any:
    x = call.tensor(0)
    if target == "bool":
        return ops.not_equal(x, 0) if x.dtype != "bool" else x
    return ops.cast(x, target)


def bit_cast(call: Call) -> Any:
    return ops.view(call.tensor(0), call.out_dtype())


def clip(call: Call) -> Any:
    """Clip with either bound left out; ReLU and ReLU6 are layers."""
    low, high = call.attribute("min"), call.attribute("max")
    x = call.tensor(0)
    bounds: list[Any] = [low, high]
    for i in (0, 1):
        if call.has(i + 1):
            known = call.constant(i + 1)
            bounds[i] = known.array.item() if known is not None else call.tensor(i + 1)
    low, high = bounds
    plain = isinstance(low, float) and isinstance(high, (float, type(None)))
    if plain and low == 0 and is_float(x.dtype) and (high is None or high < 1e30):
        return call.layer(layers.ReLU, max_value=high)(x)
    if low is not None:
        x = ops.maximum(x, low)
    return x if high is None else ops.minimum(x, high)


def leaky_relu(call: Call) -> Any:
    slope = call.attribute("alpha", 0.01)
    return call.layer(layers.LeakyReLU, negative_slope=slope)(call.tensor(0))


def prelu(call: Call) -> Any:
    """PRelu as a layer where the slope is a weight that spatial axes share, or not."""
    x, slope = call.tensor(0), call.constant(1)
    rank = call.rank(0)
    if slope is not None and slope.trainable and rank > 1:
        shape = (*[1] * (rank - len(slope.shape)), *slope.shape)
        if len(shape) == rank and shape[0] == 1:
            shared = [a for a in range(1, rank) if shape[a] == 1]
            layer = call.layer(layers.PReLU, 1, shared_axes=shared or None)
            y = layer(x)
            call.assign(layer.alpha, call.loader(1, lambda a: a.reshape(shape[1:])))
            return y
    zero = 0.0 if is_float(x.dtype) else 0
    return ops.where(ops.less(x, zero), ops.multiply(x, call.x(1)), x)


def elu(call: Call) -> Any:
    alpha = call.attribute("alpha", 1.0)
    return call.layer(layers.ELU, alpha=alpha)(call.tensor(0))


def celu(call: Call) -> Any:
    return ops.celu(call.tensor(0), alpha=call.attribute("alpha", 1.0))


def selu(call: Call) -> Any:
    alpha = call.attribute("alpha", 1.67326319217681884765625)
    gamma = call.attribute("gamma", 1.05070102214813232421875)
    x = call.tensor(0)
    low = ops.multiply(ops.expm1(ops.minimum(x, 0.0)), alpha)
    return ops.multiply(plus(ops.maximum(x, 0.0), low), gamma)


def gelu(call: Call) -> Any:
    return ops.gelu(call.tensor(0), approximate=call.attribute("approximate", "none") == "tanh")


def erf(call: Call) -> Any:
    """Erf; what it is nearly always part of is an exact Gelu, which LiteRT has and Erf it has not.

    before:  x - Div(sqrt 2) - Erf - Add(1) - Mul(x) - Mul(0.5)
    after:   x - gelu
    """
    found = _gelu_around(call)
    if found is None:
        return ops.erf(call.tensor(0))
    x, last = found
    y = ops.gelu(call.walk.symbolic(x), approximate=False)
    call.walk.finish(last, [y])
    return y


def _gelu_around(call: Call) -> tuple[ir.Value, ir.Node] | None:
    scaled = call.value(0).producer()
    if scaled is None or scaled.op_type not in ("Div", "Mul"):
        return None
    factor = math.sqrt(2) if scaled.op_type == "Div" else math.sqrt(0.5)
    x = _other(scaled, factor)
    add = _reader(call.node, "Add")
    if x is None or add is None or _other(add, 1.0) is not call.node.outputs[0]:
        return None
    product = _reader(add, "Mul")
    if product is None:
        return None
    rest = [v for v in product.inputs if v is not add.outputs[0]]
    half = rest[0].producer() if rest and rest[0] is not None else None
    if rest == [x]:
        last = _reader(product, "Mul")
        if last is not None and _other(last, 0.5) is product.outputs[0]:
            return x, last
    elif half is not None and half.op_type == "Mul" and _other(half, 0.5) is x:
        return x, product
    return None


def _reader(node: ir.Node, op_type: str) -> ir.Node | None:
    """What alone reads a node's result, if it is of this type."""
    output = node.outputs[0]
    uses = list(output.uses())
    if len(uses) != 1 or output.is_graph_output() or uses[0].node.op_type != op_type:
        return None
    return uses[0].node if uses[0].node.graph is node.graph else None


def _other(node: ir.Node, number: float) -> ir.Value | None:
    """The operand beside a constant of this value."""
    for i, value in enumerate(node.inputs):
        tensor = g.constant(value)
        if tensor is None or tensor.size != 1 or (i == 0 and node.op_type == "Div"):
            continue
        if math.isclose(float(tensor.numpy().reshape(())), number, rel_tol=1e-5):
            return node.inputs[1 - i]
    return None


def hard_sigmoid(call: Call) -> Any:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return ops.clip(plus(ops.multiply(call.tensor(0), alpha), beta), 0.0, 1.0)


def hard_swish(call: Call) -> Any:
    x = call.tensor(0)
    return ops.multiply(x, ops.clip(plus(ops.multiply(x, 1 / 6), 0.5), 0.0, 1.0))


def swish(call: Call) -> Any:
    x, alpha = call.tensor(0), call.attribute("alpha", 1.0)
    return ops.multiply(x, ops.sigmoid(x if alpha == 1.0 else ops.multiply(x, alpha)))


def mish(call: Call) -> Any:
    x = call.tensor(0)
    return ops.multiply(x, ops.tanh(ops.softplus(x)))


def shrink(call: Call) -> Any:
    lambd, bias = call.attribute("lambd", 0.5), call.attribute("bias", 0.0)
    x = call.tensor(0)
    dtype = x.dtype
    work = x if is_float(dtype) else ops.cast(x, "float32")
    low = ops.where(ops.less(work, -lambd), plus(work, bias), ops.zeros_like(work))
    y = ops.where(ops.greater(work, lambd), ops.subtract(work, bias), low)
    return ops.cast(y, dtype)


def thresholded_relu(call: Call) -> Any:
    x = call.tensor(0)
    keep = ops.greater(x, call.attribute("alpha", 1.0))
    return ops.where(keep, x, ops.zeros_like(x))


def is_inf(call: Call) -> Any:
    x = call.tensor(0)
    up, down = call.attribute("detect_positive", 1), call.attribute("detect_negative", 1)
    if up and down:
        return ops.isinf(x)
    if up or down:
        return ops.logical_and(ops.isinf(x), (ops.greater if up else ops.less)(x, 0.0))
    return ops.not_equal(x, x) if False else ops.zeros_like(x, dtype="bool")


def sign(call: Call) -> Any:
    x = call.tensor(0)
    if x.dtype.startswith("uint"):
        return ops.cast(ops.not_equal(x, 0), x.dtype)
    return ops.sign(x)


def round_even(call: Call) -> Any:
    return ops.round(call.tensor(0))


def dropout(call: Call) -> Any:
    """Dropout is left out, as at inference; its mask is all true."""
    x = call.tensor(0)
    if call.has(2):
        training = call.constant(2)
        ratio = call.constant(1)
        rate = float(ratio.array.reshape(())) if ratio is not None else 0.5
        if (training is None or bool(training.array.reshape(()))) and rate > 0.0:
            raise UnsupportedError("it drops at random")
    if not call.wants(1):
        return [x]
    return [x, ops.cast(ops.ones_like(x, dtype="int32"), call.out_dtype(1))]


def identity(call: Call) -> Any:
    return call.walk.fact(call.value(0))
