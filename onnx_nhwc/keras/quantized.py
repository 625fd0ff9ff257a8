"""Quantised numbers: what they stand for, computed in floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.keras.arithmetic import plus
from onnx_nhwc.keras.call import Call
from onnx_nhwc.keras.convolution import convolve
from onnx_nhwc.keras.values import UnsupportedError


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


__all__ = [
    "dequantize",
    "dynamic_quantize",
    "matmul_integer",
    "qlinear_conv",
    "qlinear_matmul",
    "quantize",
]
