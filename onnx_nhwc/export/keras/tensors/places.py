"""Slices and pads along an axis whose size or bounds are known at run time only: places that are taken."""

from __future__ import annotations

from typing import Any

from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["FAR", "between", "extended", "repeated"]

FAR = 2**31 - 1
"""A bound from here on means the end of the axis."""


def between(call: Call, x: Any, axis: int, bounds: tuple[Dim, Dim], step: int = 1) -> Any:
    """What lies between two bounds; those below 0 count from behind."""
    sizes = call.parts.sizes
    size = sizes.length(call.dims(0)[axis])
    low, high = (0, size) if step > 0 else (-1, _minus(size, 1))
    start, end = (_clipped(_counted(sizes.length(bound), size), low, high) for bound in bounds)
    span = _minus(end, start) if step > 0 else _minus(start, end)
    count = sizes.name(ops.floor_divide(plus(span, abs(step) - 1), abs(step)))
    return ops.take(x, plus(ops.multiply(sizes.range(count), step), start), axis=axis)


def _minus(a: Any, b: Any) -> Any:
    return a - b if isinstance(a, int) and isinstance(b, int) else ops.subtract(a, b)


def _clipped(number: Any, low: Any, high: Any) -> Any:
    if isinstance(number, int) and isinstance(high, int):
        return max(min(number, high), low)
    return ops.maximum(ops.minimum(number, high), low)


def _counted(bound: Any, size: Any) -> Any:
    """A bound counted from the front."""
    if not isinstance(bound, int):
        return ops.where(ops.less(bound, 0), plus(bound, size), bound)
    bound = min(max(bound, -FAR), FAR)
    return _minus(size, -bound) if bound < 0 else bound


def extended(call: Call, x: Any, axis: int, pads: tuple[Dim, Dim], mode: str, value: Any = 0) -> Any:
    """Pad one axis, or cut it where an amount is negative."""
    sizes, own = call.parts.sizes, call.dims(0)[axis]
    places = ops.subtract(sizes.range(sizes.total(own, *pads)), sizes.length(pads[0]))
    size = sizes.length(own)
    last = _minus(size, 1)
    period = _minus(last, _minus(0, last))
    if mode in ("constant", "edge"):
        inside = _clipped(places, 0, last)
    elif mode == "wrap":
        inside = ops.mod(places, size)
    elif mode == "reflect":
        turn = ops.mod(places, _clipped(period, 1, FAR))
        inside = ops.minimum(turn, ops.subtract(period, turn))
    else:
        raise UnsupportedError(f"mode '{mode}' is not known")
    y = ops.take(x, inside, axis=axis)
    if mode != "constant":
        return y
    along = tuple(-1 if i == axis else 1 for i in range(len(x.shape)))
    return ops.where(ops.reshape(ops.equal(places, inside), along), y, value)


def repeated(call: Call, x: Any, axis: int, times: Dim) -> Any:
    """Repeat an axis as a whole."""
    sizes, own = call.parts.sizes, call.dims(0)[axis]
    return ops.take(x, ops.mod(sizes.range(own * times), sizes.length(own)), axis=axis)
