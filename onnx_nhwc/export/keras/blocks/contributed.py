"""Mappings of onnxruntime's own operators on quantised numbers, computed in floats."""

from __future__ import annotations

from typing import Any

from keras import ops

from onnx_nhwc.export.images import Images
from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.blocks.quantized import real, stored
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.images.pooling import average_pool
from onnx_nhwc.export.values import UnsupportedError

__all__ = [
    "dynamic_quantize_matmul",
    "integers_to_float",
    "qgemm",
    "qlinear_average_pool",
    "qlinear_concat",
    "qlinear_softmax",
    "qlinear_where",
]


class _OfReals(Call):
    """A node on quantised images, as if these were the numbers that they stand for."""

    def __init__(self, call: Call, images: Images) -> None:
        super().__init__(call.walk, call.parts, call.node, call.op_type, call.values, images)
        self._real = real(call, 0)

    def tensor(self, index: int = 0) -> Any:
        return self._real if index == 0 else super().tensor(index)

    def dtype(self, index: int) -> str:
        return "float32" if index == 0 else super().dtype(index)


def qlinear_average_pool(call: Call) -> Any:
    first = not call.attribute("channels_last", 0)
    return stored(call, average_pool(_OfReals(call, Images(call.rank(0) - 2, first=first))), 3)


def qlinear_concat(call: Call) -> Any:
    """Scale and zero point of the result come first, then each operand with its own."""
    operands = [real(call, index) for index in range(2, call.count, 3)]
    return stored(call, ops.concatenate(operands, axis=call.attribute("axis")), 0)


def qlinear_where(call: Call) -> Any:
    return stored(call, ops.where(call.x(0), real(call, 1), real(call, 4)), 7)


def qlinear_softmax(call: Call) -> Any:
    rank = call.rank(0)
    axis = call.attribute("axis", -1) % rank
    if call.attribute("opset", 13) < 13 and axis != rank - 1:
        raise UnsupportedError("it runs over several axes, as before opset 13")
    return stored(call, ops.softmax(real(call, 0), axis=-1 if axis == rank - 1 else axis), 3)


def _number(call: Call, index: int) -> Any:
    """An input as a float; scalars may have an axis."""
    return ops.cast(call.tensor(index), "float32")


def _less(call: Call, index: int, zero: int, *, turned: bool = False) -> Any:
    """An integer matrix minus its zero point, or that of each column, in a type in which sums are exact."""
    x = ops.cast(call.tensor(index), "float64")
    x = call.transpose(x, (1, 0)) if turned else x
    return ops.subtract(x, ops.cast(call.tensor(zero), "float64")) if call.has(zero) else x


def qgemm(call: Call) -> Any:
    """``alpha * (a b + c)`` by both scales; quantised, if the result has a scale."""
    a = _less(call, 0, 2, turned=bool(call.attribute("transA", 0)))
    y = ops.matmul(a, _less(call, 3, 5, turned=bool(call.attribute("transB", 0))))
    y = plus(y, ops.cast(call.tensor(6), "float64")) if call.has(6) else y
    scale = ops.multiply(_number(call, 1), _number(call, 4))
    y = ops.multiply(ops.cast(y, "float32"), ops.multiply(scale, call.attribute("alpha", 1.0)))
    return stored(call, y, 7) if call.has(7) else y


def integers_to_float(call: Call) -> Any:
    """MatMulIntegerToFloat."""
    product = ops.matmul(_less(call, 0, 4), _less(call, 1, 5))
    y = ops.multiply(ops.cast(product, "float32"), ops.multiply(_number(call, 2), _number(call, 3)))
    return plus(y, call.x(6)) if call.has(6) else y


def dynamic_quantize_matmul(call: Call) -> Any:
    """The left operand is quantised to uint8 by its range."""
    x = call.tensor(0)
    top, bottom = ops.maximum(ops.max(x), 0.0), ops.minimum(ops.min(x), 0.0)
    scale = ops.divide(ops.subtract(top, bottom), 255.0)
    zero = ops.clip(ops.round(ops.divide(ops.negative(bottom), scale)), 0.0, 255.0)
    steps = ops.clip(plus(ops.round(ops.divide(x, scale)), zero), 0.0, 255.0)
    product = ops.matmul(ops.cast(ops.subtract(steps, zero), "float64"), _less(call, 1, 3))
    y = ops.multiply(ops.cast(product, "float32"), ops.multiply(scale, _number(call, 2)))
    return plus(y, call.x(4)) if call.has(4) else y
