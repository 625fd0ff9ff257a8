"""Quantised numbers: what they stand for, computed in floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.images.convolution import convolve
from onnx_nhwc.export.values import UnsupportedError


def _along(call: Call, value: Any, axis: int, x: Any) -> Any:
    """A scale or a zero point, shaped to broadcast; blocks are repeated."""
    shape = value.shape
    if len(shape) == 0 or (len(shape) == 1 and shape[0] == 1):
        return ops.reshape(value, (1,) * len(x.shape)) if len(x.shape) else ops.reshape(value, ())
    if len(shape) == 1:
        wide = [1] * len(x.shape)
        wide[axis] = -1
        return ops.reshape(value, tuple(wide))
    block = call.attribute("block_size", 0)
    if not block:
        raise UnsupportedError("its scale is of a higher rank, and no block size is given")
    wide_value = ops.repeat(value, block, axis=axis)
    key = [slice(None)] * len(shape)
    key[axis] = slice(0, x.shape[axis])
    return wide_value[tuple(key)]


def quantize(call: Call) -> Any:
    """QuantizeLinear: round half to even, add the zero point, saturate."""
    x = call.tensor(0)
    target = call.out_dtype()
    axis = call.attribute("axis", 1)
    work = "float64" if x.dtype in ("int32", "float64") else "float32"
    scale = _along(call, ops.cast(call.tensor(1), work), axis, x)
    y = ops.round(ops.divide(ops.cast(x, work), scale))
    if call.has(2):
        y = plus(y, ops.cast(_along(call, call.tensor(2), axis, x), work))
    return saturate(y, target)


def saturate(y: Any, target: str) -> Any:
    limits = np.iinfo(target)
    return ops.cast(ops.clip(y, float(limits.min), float(limits.max)), target)


def dequantize(call: Call) -> Any:
    x = call.tensor(0)
    axis = call.attribute("axis", 1)
    dtype = call.out_dtype()
    y = ops.cast(x, "int32" if x.dtype != "int32" else "float64")
    if call.has(2):
        y = ops.subtract(y, ops.cast(_along(call, call.tensor(2), axis, x), y.dtype))
    scale = _along(call, call.tensor(1), axis, x)
    return ops.multiply(ops.cast(y, dtype), ops.cast(scale, dtype))


def dynamic_quantize(call: Call) -> Any:
    """DynamicQuantizeLinear: to uint8, by the range of the data."""
    x = call.tensor(0)
    top, bottom = ops.maximum(ops.max(x), 0.0), ops.minimum(ops.min(x), 0.0)
    scale = ops.divide(ops.subtract(top, bottom), 255.0)
    zero = ops.clip(ops.round(ops.divide(ops.negative(bottom), scale)), 0.0, 255.0)
    y = plus(ops.round(ops.divide(x, scale)), zero)
    return [saturate(y, "uint8"), scale, ops.cast(zero, "uint8")]


def _less(call: Call, index: int, zero: int, rows: bool = False) -> Any:
    """An integer operand minus its zero point, in float64, where sums stay exact."""
    x = ops.cast(call.tensor(index), "float64")
    if not call.has(zero):
        return x
    point = ops.cast(call.tensor(zero), "float64")
    if rows and len(point.shape) == 1 and point.shape[0] != 1:
        point = ops.expand_dims(point, -1)
    return ops.subtract(x, point)


def matmul_integer(call: Call) -> Any:
    a, b = _less(call, 0, 2, rows=True), _less(call, 1, 3)
    return ops.cast(ops.matmul(a, b), "int32")


def _requantized(call: Call, y: Any, scales: tuple[int, int, int], zero: int) -> Any:
    """Sums of products as steps of the result, in float32, as onnxruntime computes it."""
    a, b, c = (ops.cast(call.tensor(i), "float32") for i in scales)
    factor = ops.divide(ops.multiply(a, b), c)
    y = ops.round(ops.multiply(ops.cast(y, "float32"), factor))
    if call.has(zero):
        y = plus(y, ops.cast(call.tensor(zero), "float32"))
    return saturate(y, call.out_dtype())


def qlinear_matmul(call: Call) -> Any:
    y = ops.matmul(_less(call, 0, 2, rows=True), _less(call, 3, 5))
    return _requantized(call, y, (1, 4, 6), 7)


def qlinear_conv(call: Call) -> Any:
    bias = ops.cast(call.tensor(8), "float64") if call.has(8) else None
    y = convolve(call, _less(call, 0, 2), _less(call, 3, 5), bias)
    return _requantized(call, y, (1, 4, 6), 7)


def real(call: Call, index: int) -> Any:
    """An operand that is followed by its scale and its zero point, as the number that it stands for."""
    x = ops.cast(call.tensor(index), "float32")
    if call.has(index + 2):
        x = ops.subtract(x, ops.cast(call.tensor(index + 2), "float32"))
    return ops.multiply(x, ops.cast(call.tensor(index + 1), "float32"))


def stored(call: Call, y: Any, index: int) -> Any:
    """A result by the scale at ``index`` and the zero point behind it."""
    y = ops.round(ops.divide(y, ops.cast(call.tensor(index), "float32")))
    if call.has(index + 1):
        y = plus(y, ops.cast(call.tensor(index + 1), "float32"))
    return saturate(y, call.dtype(index + 1 if call.has(index + 1) else 0))


def qlinear_pair(combine: Callable[[Any, Any], Any]) -> Callable[[Call], Any]:
    """QLinearAdd, QLinearMul."""
    return lambda call: stored(call, combine(real(call, 0), real(call, 3)), 6)


def qlinear_sigmoid(call: Call) -> Any:
    return stored(call, ops.sigmoid(real(call, 0)), 3)


def qlinear_leaky_relu(call: Call) -> Any:
    return stored(call, ops.leaky_relu(real(call, 0), call.attribute("alpha", 0.01)), 3)


def qlinear_global_average(call: Call) -> Any:
    """QLinearGlobalAveragePool: over all axes but the batch and the channels."""
    rank = call.rank(0)
    last = call.attribute("channels_last", 0)
    axes = tuple(range(1, rank - 1)) if last else tuple(range(2, rank))
    return stored(call, ops.mean(real(call, 0), axis=axes, keepdims=True), 3)


__all__ = [
    "dequantize",
    "dynamic_quantize",
    "matmul_integer",
    "qlinear_conv",
    "qlinear_global_average",
    "qlinear_leaky_relu",
    "qlinear_matmul",
    "qlinear_pair",
    "qlinear_sigmoid",
    "quantize",
    "real",
    "stored",
]
