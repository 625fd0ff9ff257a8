"""Slices and pads by places that are computed, where the size of the result is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["padded", "sliced"]


def _per_axis(call: Call, index: int, axes: int, rank: int, default: int) -> list[Any]:
    """One number of an input for every axis of the data, of which input ``axes`` names some."""
    numbers = ops.cast(call.tensor(index), "int32")
    if not call.has(axes):
        return [numbers[i] for i in range(rank)]
    named = ops.mod(ops.cast(call.tensor(axes), "int32"), rank)
    found = []
    for axis in range(rank):
        mine = ops.equal(named, axis)
        total = ops.sum(ops.where(mine, numbers, 0))
        found.append(ops.where(ops.any(mine), total, default))
    return found


def sliced(call: Call) -> Any:
    """Slice from places that are computed, if the size of its result is known."""
    x, after = call.tensor(0), call.result()
    if after is None or None in x.shape:
        raise UnsupportedError("its starts are computed at run time")
    rank = len(after)
    starts = _per_axis(call, 1, 3, rank, 0)
    steps = _per_axis(call, 4, 3, rank, 1) if call.has(4) else [1] * rank
    for axis, (start, step) in enumerate(zip(starts, steps, strict=True)):
        size = x.shape[axis]
        start = ops.where(ops.less(start, 0), plus(start, size), start)
        last = ops.where(ops.less(step, 0), size - 1, size)
        start = ops.minimum(ops.maximum(start, 0), last)
        places = plus(ops.multiply(np.arange(after[axis], dtype=np.int32), step), start)
        x = ops.take(x, ops.clip(places, 0, max(size - 1, 0)), axis=axis)
    return x


def padded(call: Call) -> Any:
    """Pad by amounts that are computed, if the size of its result is known."""
    x, after = call.tensor(0), call.result()
    if after is None or None in x.shape:
        raise UnsupportedError("its pads are computed at run time")
    rank, mode = len(after), call.attribute("mode", "constant")
    pads = ops.reshape(ops.cast(call.tensor(1), "int32"), (2, -1))[0]
    value = ops.cast(ops.reshape(call.tensor(2), ()), x.dtype) if call.has(2) else None
    named = ops.mod(ops.cast(call.tensor(3), "int32"), rank) if call.has(3) else None
    outside: Any = None
    for axis, size in enumerate(x.shape):
        before = pads[axis] if named is None else ops.sum(ops.where(ops.equal(named, axis), pads, 0))
        places = ops.subtract(np.arange(after[axis], dtype=np.int32), before)
        if mode == "wrap":
            inside = ops.mod(places, size)
        elif mode == "reflect":
            turn = ops.mod(places, max(2 * (size - 1), 1))
            inside = ops.minimum(turn, ops.subtract(2 * (size - 1), turn))
        else:
            inside = ops.clip(places, 0, size - 1)
        if mode == "constant":
            shape = [-1 if i == axis else 1 for i in range(rank)]
            away = ops.reshape(ops.not_equal(places, inside), shape)
            outside = away if outside is None else ops.logical_or(outside, away)
        x = ops.take(x, inside, axis=axis)
    if outside is None:
        return x
    return ops.where(outside, ops.zeros_like(x) if value is None else value, x)
