"""Resize along an axis of which the size, the scale or the region is known at run time only.

The formulas are those of ``keras.taps``, on tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.taps import TIE, Mode
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["RunTimeAxis", "number", "resized"]


@dataclass(frozen=True)
class RunTimeAxis:
    """One axis; every number is a float, or a float32 scalar that is computed.

    ``places`` counts the target's elements: 0, 1, 2, ..., float32.
    """

    size: Any
    target: Any
    scale: Any
    places: Any
    start: Any = 0.0
    end: Any = 1.0


def number(value: Any) -> Any:
    """A number to compute with in float32."""
    return ops.cast(value, "float32") if isinstance(value, keras.KerasTensor) else float(np.float32(value))


def resized(x: Any, axis: int, at: RunTimeAxis, mode: Mode) -> Any:
    """Return ``x`` with one axis resized."""
    place, last = _original(at, mode.coordinates), at.size - 1.0
    if mode.kind == "nearest":
        y = ops.take(x, _index(_rounded(place, at, mode.rounding), last), axis=axis)
    elif mode.kind == "linear":
        low = ops.floor(_clipped(place, last))
        part = ops.subtract(_clipped(place, last), low)
        near, far = (ops.take(x, _index(v, last), axis=axis) for v in (low, plus(low, 1.0)))
        y = plus(near, ops.multiply(ops.subtract(far, near), _along(part, x, axis)))
    else:
        y = _cubic(x, axis, place, last, mode)
    if mode.antialias and mode.kind != "nearest":
        smooth = _antialiased(x, axis, place, at, mode)
        y = smooth if isinstance(at.scale, float) and at.scale < 1 else y
        y = y if isinstance(at.scale, float) else ops.where(ops.less(at.scale, 1.0), smooth, y)
    if mode.coordinates == "tf_crop_and_resize":
        outside = ops.logical_or(ops.less(place, 0.0), ops.greater(place, last))
        shape = tuple(-1 if i == axis else 1 for i in range(len(x.shape)))
        value = ops.full_like(y, mode.extrapolation)
        y = ops.where(ops.reshape(outside, shape), value, y)
    return y


def _original(at: RunTimeAxis, mode: str) -> Any:
    """The place in the source of each element of the target."""
    x, last = at.places, at.size - 1.0
    if mode == "align_corners":
        return ops.divide(ops.multiply(x, last), _at_least_one(at.target - 1.0))
    if mode == "asymmetric":
        return ops.divide(x, at.scale)
    if mode == "tf_half_pixel_for_nn":
        return ops.divide(plus(x, 0.5), at.scale)
    if mode == "tf_crop_and_resize":
        span = ops.multiply(ops.multiply(x, ops.subtract(at.end, at.start)), last)
        inside = ops.divide(span, _at_least_one(at.target - 1.0))
        middle = ops.multiply(ops.multiply(0.5, plus(at.start, at.end)), last)
        several = ops.greater(plus(ops.zeros_like(x), at.target), 1.0)
        return ops.where(several, plus(inside, ops.multiply(at.start, last)), plus(ops.zeros_like(x), middle))
    ratio = ops.divide(plus(x, 0.5), at.scale)
    half = ops.subtract(ratio, 0.5)
    if mode == "half_pixel":
        return half
    if mode == "pytorch_half_pixel":
        several = ops.greater(plus(ops.zeros_like(x), at.target), 1.0)
        return ops.where(several, half, ops.zeros_like(x))
    if mode == "half_pixel_symmetric":
        shrunk = ops.divide(at.target, ops.multiply(at.scale, at.size))
        offset = ops.multiply(ops.subtract(1.0, shrunk), ops.divide(at.size, 2.0))
        place = plus(_double(offset), ops.divide(_double(plus(x, 0.5)), _double(at.scale)))
        return ops.cast(ops.subtract(place, 0.5), "float32")
    raise UnsupportedError(f"the coordinates '{mode}' are not known")


def _double(value: Any) -> Any:
    """As float64: onnxruntime computes one of its formulas so, and a tie depends on the last bit."""
    return value if isinstance(value, float) else ops.cast(value, "float64")


def _at_least_one(value: Any) -> Any:
    return max(value, 1.0) if isinstance(value, float) else ops.maximum(value, 1.0)


def _rounded(place: Any, at: RunTimeAxis, rounding: str) -> Any:
    low, high = ops.floor(place), ops.ceil(place)
    beyond = ops.subtract(ops.subtract(place, low), 0.5)
    if rounding == "simple":
        smaller = ops.less(plus(ops.zeros_like(place), at.scale), 1.0)
        return ops.where(smaller, high, low)
    if rounding == "round_prefer_floor":
        return ops.where(ops.greater_equal(beyond, TIE), plus(low, 1.0), low)
    if rounding == "round_prefer_ceil":
        return ops.where(ops.greater(beyond, -TIE), plus(low, 1.0), low)
    return {"floor": low, "ceil": high}[rounding]


def _clipped(place: Any, last: Any) -> Any:
    return ops.minimum(ops.maximum(place, 0.0), last)


def _index(place: Any, last: Any) -> Any:
    return ops.cast(_clipped(place, last), "int32")


def _along(weights: Any, x: Any, axis: int) -> Any:
    shape = tuple(-1 if i == axis else 1 for i in range(len(x.shape)))
    return ops.cast(ops.reshape(weights, shape), x.dtype)


def _polynomial(distance: Any, *coefficients: float) -> Any:
    total: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        total = plus(ops.multiply(distance, total), coefficient)
    return total


def _cubic_weight(t: Any, a: float) -> Any:
    distance = ops.abs(t)
    near = _polynomial(distance, a + 2, -(a + 3), 0.0, 1.0)
    far = _polynomial(distance, a, -5 * a, 8 * a, -4 * a)
    beyond = ops.where(ops.less(distance, 2.0), far, ops.zeros_like(far))
    return ops.where(ops.less_equal(distance, 1.0), near, beyond)


def _cubic(x: Any, axis: int, place: Any, last: Any, mode: Mode) -> Any:
    low = ops.floor(place)
    part = ops.subtract(place, low)
    weights, picked = [], []
    for k in (-1.0, 0.0, 1.0, 2.0):
        source = plus(low, k)
        weight = _cubic_weight(ops.subtract(part, k), mode.cubic)
        if mode.exclude_outside:
            inside = ops.logical_and(ops.greater_equal(source, 0.0), ops.less_equal(source, last))
            weight = ops.where(inside, weight, ops.zeros_like(weight))
        weights.append(weight)
        picked.append(ops.take(x, _index(source, last), axis=axis))
    if mode.exclude_outside:
        whole = plus(plus(weights[0], weights[1]), plus(weights[2], weights[3]))
        weights = [ops.divide(weight, whole) for weight in weights]
    total: Any = None
    for weight, elements in zip(weights, picked, strict=True):
        part = ops.multiply(elements, _along(weight, x, axis))
        total = part if total is None else plus(total, part)
    return total


def _antialiased(x: Any, axis: int, place: Any, at: RunTimeAxis, mode: Mode) -> Any:
    """The filter widened by the scale, as a matrix: how many elements it reaches is not known.

    It reaches less than two sizes beyond the image, where the border goes on.
    """
    line = x[tuple(slice(None) if i == axis else 0 for i in range(len(x.shape)))]
    ones = ops.cast(ops.ones_like(line), "float32")
    support = ops.divide(1.0 if mode.kind == "linear" else 2.0, at.scale)
    centre = ops.expand_dims(plus(place, 0.5), 1)
    first = ops.floor(plus(ops.subtract(centre, support), 0.5))
    behind = ops.floor(plus(plus(centre, support), 0.5))

    def weights(shift: float) -> Any:
        own = ops.subtract(ops.cumsum(ones), 1.0)
        source = ops.expand_dims(plus(own, ops.multiply(shift, at.size)), 0)
        t = ops.multiply(plus(ops.subtract(source, centre), 0.5), at.scale)
        if mode.kind == "linear":
            weight = ops.maximum(ops.subtract(1.0, ops.abs(t)), 0.0)
        else:
            weight = _cubic_weight(t, mode.cubic)
        reached = ops.logical_and(ops.greater_equal(source, first), ops.less(source, behind))
        return ops.where(reached, weight, ops.zeros_like(weight))

    matrix = weights(0.0)
    if not mode.exclude_outside:
        before = [ops.sum(weights(s), axis=1, keepdims=True) for s in (-2.0, -1.0)]
        after = [ops.sum(weights(s), axis=1, keepdims=True) for s in (1.0, 2.0)]
        count = ops.subtract(ops.cumsum(ones), 1.0)
        is_first = ops.cast(ops.equal(count, 0.0), "float32")
        is_last = ops.cast(ops.equal(count, at.size - 1.0), "float32")
        matrix = plus(matrix, ops.multiply(plus(*before), ops.expand_dims(is_first, 0)))
        matrix = plus(matrix, ops.multiply(plus(*after), ops.expand_dims(is_last, 0)))
    matrix = ops.divide(matrix, ops.sum(matrix, axis=1, keepdims=True))
    product = ops.tensordot(x, ops.cast(matrix, x.dtype), axes=[[axis], [1]])
    order = list(range(len(x.shape) - 1))
    order.insert(axis, len(x.shape) - 1)
    return ops.transpose(product, order)
