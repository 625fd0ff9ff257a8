"""What picks as many elements as there are: NonZero, Unique, Compress, NonMaxSuppression.

``keras.ops.nonzero`` tells which. The size of its result is known at run time only, which
TensorFlow and torch can do, and JAX outside of a compiled function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["compress", "non_max_suppression", "non_zero", "unique"]

_STEPS = 1024
"""NonMaxSuppression picks boxes one after another, each a call of one small model; at most so many."""
_PAIRS = 2**26
"""Unique along an axis compares its entries in pairs, at most so many numbers at once."""


def places(x: Any) -> Any:
    """The places of a vector that are not 0; torch's Keras gives them a second axis."""
    return ops.reshape(ops.nonzero(x)[0], (-1,))


def digits(flat: Any, sizes: Sequence[Any]) -> list[Any]:
    """What a row-major number is along each axis."""
    found = []
    for size in reversed(sizes[1:]):
        found.append(ops.mod(flat, size))
        flat = ops.floor_divide(flat, size)
    return [flat, *reversed(found)]


def non_zero(call: Call) -> Any:
    """NonZero: a row of places for every axis."""
    x, dims = call.tensor(0), call.dims(0)
    if not dims:
        raise UnsupportedError("its input is a scalar")
    sizes = [0, *map(call.parts.sizes.length, dims[1:])]
    return ops.stack(digits(places(ops.reshape(x, (-1,))), sizes), axis=0)


def compress(call: Call) -> Any:
    """Compress: the entries along an axis, or all elements, for which the condition is true."""
    known = call.constant(1)
    if known is not None:
        kept: Any = np.flatnonzero(known.array).astype(np.int32)
    else:
        kept = places(call.tensor(1))
    x = call.tensor(0)
    axis = call.attribute("axis")
    if axis is None:
        return ops.take(ops.reshape(x, (-1,)), kept, axis=0)
    return ops.take(x, kept, axis=axis % len(x.shape))


def unique(call: Call) -> Any:
    """Unique: after sorting, an element that differs from the one before it begins a group."""
    x = call.tensor(0)
    axis = call.attribute("axis")
    if axis is None:
        x, axis = ops.reshape(x, (-1,)), 0
        key = x
    else:
        axis %= len(x.shape)
        key = _ranks(x, axis)
    order = ops.argsort(key, axis=0)
    turned = ops.take(key, order, axis=0)
    differs = ops.cast(ops.not_equal(turned[(slice(1, None),)], turned[(slice(0, -1),)]), "int32")
    begins = ops.concatenate([plus(ops.zeros_like(order[(slice(0, 1),)], dtype="int32"), 1), differs], axis=0)
    starts = places(begins)
    total = ops.reshape(ops.sum(ops.ones_like(order, dtype="int32")), (1,))
    counts = ops.subtract(ops.concatenate([starts[(slice(1, None),)], total], axis=0), starts)
    firsts = ops.take(order, starts, axis=0)
    groups = ops.subtract(ops.cumsum(begins, axis=0), 1)
    inverse = ops.take(groups, ops.argsort(order, axis=0), axis=0)
    if not call.attribute("sorted", 1):
        appearance = ops.argsort(firsts, axis=0)
        firsts, counts = (ops.take(v, appearance, axis=0) for v in (firsts, counts))
        inverse = ops.take(ops.argsort(appearance, axis=0), inverse, axis=0)
    return [ops.take(x, firsts, axis=axis), firsts, inverse, counts]


def _ranks(x: Any, axis: int) -> Any:
    """For every entry along an axis, how many others come before it, first number first."""
    rank, size = len(x.shape), x.shape[axis]
    if size is None or None in x.shape:
        raise UnsupportedError("it needs to know the sizes of what it compares")
    if size * int(np.prod(x.shape)) > _PAIRS:
        raise UnsupportedError(f"it compares {size} entries with each other")
    rows = ops.transpose(x, (axis, *(a for a in range(rank) if a != axis)))
    rows = ops.reshape(rows, (size, -1))
    more, less = (f(ops.expand_dims(rows, 1), ops.expand_dims(rows, 0)) for f in (ops.greater, ops.less))
    sign = ops.subtract(ops.cast(more, "int32"), ops.cast(less, "int32"))
    place = ops.argmax(ops.abs(sign), axis=-1, keepdims=True)
    behind = ops.greater(ops.take_along_axis(sign, place, axis=-1), 0)
    return ops.sum(ops.cast(behind, "int32"), axis=(1, 2))


def non_max_suppression(call: Call) -> Any:
    """NonMaxSuppression: the best box that is left, again and again, and what overlaps it goes."""
    boxes, scores = call.tensor(0), call.tensor(1)
    count = boxes.shape[1]
    if None in (count, scores.shape[1]):
        raise UnsupportedError("it needs to know the number of boxes and of classes")
    if not call.has(2):
        limit: Any = 0
    else:
        known = call.constant(2)
        limit = int(known.array.reshape(-1)[0]) if known is not None else None
    steps = count if limit is None else min(count, limit)
    if steps > _STEPS:
        raise UnsupportedError(f"it picks up to {steps} boxes one after another")
    order = ops.argsort(ops.negative(scores), axis=-1)
    ranks = ops.cast(ops.argsort(order, axis=-1), "int32")
    if call.has(4):
        ranks = ops.where(ops.greater(scores, ops.reshape(call.tensor(4), ())), ranks, count)
    overlap = ops.reshape(call.tensor(3), ()) if call.has(3) else ops.cast(call.parts.zero(), scores.dtype)
    step = _step(call, boxes.shape, scores.shape, boxes.dtype, overlap.dtype)
    boxes = _corners(boxes, bool(call.attribute("center_point_box", 0)))
    picked = [ops.zeros_like(ranks[..., :1])]
    for _ in range(steps):
        ranks, pick = step([boxes, ranks, overlap])
        picked.append(pick)
    picks = ops.concatenate(picked, axis=-1)[..., 1:]
    chosen = ops.greater_equal(picks, 0)
    if limit is None:
        turn = np.arange(steps, dtype=np.int32)
        allowed = ops.less(turn, ops.cast(ops.reshape(call.tensor(2), ()), "int32"))
        chosen = ops.logical_and(chosen, allowed)
    where = places(ops.reshape(chosen, (-1,)))
    batch, classes, _ = digits(where, (0, scores.shape[1], steps))
    return ops.stack([batch, classes, ops.take(ops.reshape(picks, (-1,)), where, axis=0)], axis=1)


def _corners(boxes: Any, centred: bool) -> Any:
    """Boxes as their lower and higher corner."""
    a, b = boxes[..., :2], boxes[..., 2:]
    if centred:
        half = ops.divide(b, 2.0)
        return ops.concatenate([ops.subtract(a, half), plus(a, half)], axis=-1)
    return ops.concatenate([ops.minimum(a, b), ops.maximum(a, b)], axis=-1)


def _step(call: Call, boxes: Any, scores: Any, dtype: str, limit: str) -> Any:
    """One turn as a model: ranks of the boxes that are left (else their number) in, ranks and pick out."""
    count = boxes[1]
    corners = keras.Input(batch_shape=boxes, dtype=dtype, name="boxes")
    ranks = keras.Input(batch_shape=scores, dtype="int32", name="ranks")
    overlap = keras.Input(batch_shape=(), dtype=limit, name="overlap")
    best = ops.min(ranks, axis=-1, keepdims=True)
    hot = ops.logical_and(ops.equal(ranks, best), ops.less(best, count))
    every = ops.expand_dims(corners, 1)
    mine = ops.sum(ops.where(ops.expand_dims(hot, -1), every, 0.0), axis=2, keepdims=True)
    low, high = ops.maximum(mine[..., :2], every[..., :2]), ops.minimum(mine[..., 2:], every[..., 2:])
    shared = ops.prod(ops.maximum(ops.subtract(high, low), 0.0), axis=-1)
    areas = [ops.prod(ops.subtract(v[..., 2:], v[..., :2]), axis=-1) for v in (mine, every)]
    real = ops.logical_and(ops.greater(shared, 0.0), ops.greater(ops.minimum(*areas), 0.0))
    union = ops.subtract(plus(*areas), shared)
    covered = ops.greater(ops.divide(shared, ops.where(real, union, 1.0)), overlap)
    gone = ops.logical_or(hot, ops.logical_and(real, covered))
    found = ops.less(best, count)
    pick = ops.where(found, ops.cast(ops.argmin(ranks, axis=-1, keepdims=True), "int32"), -1)
    left = ops.where(gone, count, ranks)
    name = call.walk.names.unique(f"{call.name()}_step")
    return call.parts.keep(keras.Model([corners, ranks, overlap], [left, pick], name=name))
