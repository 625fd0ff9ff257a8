"""Demands that follow from sizes: targets of reshapes, lengths, axes, bounds of slices, pads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from onnx_nhwc.verification.demands.demand import Array, Demand, Row, Site, between, exactly

__all__ = [
    "any_axis",
    "axes_of",
    "cropped",
    "depth_of",
    "expanded",
    "filled",
    "one_hot",
    "padded",
    "parts_of",
    "ranged",
    "reshaped",
    "sliced",
    "taken",
]


_LAST = np.iinfo(np.int32).max


def reshaped(site: Site) -> Demand | None:
    shape, result, count = site.shape(0), site.result(), site.count
    if result is not None and sum(size is None for size in result) <= 1 and count in (None, len(result)):
        return exactly([-1 if size is None else size for size in result])
    if shape is None or count is None:
        return None
    if count == 0:
        return exactly([])
    known = site.sizes()
    if count >= len(shape):
        target = [*([1] * (count - len(shape))), *(0 if count == len(shape) else s for s in known or ())]
        return exactly(target if len(target) == count else [-1, *[1] * (count - 1)])
    return exactly([*[0] * (count - 1), -1])


def expanded(site: Site) -> Demand | None:
    result, shape = site.result(), site.sizes()
    if shape is None:
        return None
    count = len(shape) if site.count is None else site.count
    if result is not None and None not in result:
        return exactly([size for size in result if size is not None][max(0, len(result) - count) :])
    wide = [2 if size == 1 else size for size in shape]
    return exactly([*[1] * (count - len(shape)), *wide[max(0, len(shape) - count) :]])


def filled(site: Site) -> Demand | None:
    result = site.result()
    if result is not None and None not in result:
        return exactly([size for size in result if size is not None])
    return between(1, 3)


def ranged(number: int) -> Row:
    def row(site: Site) -> Demand | None:
        result = site.result()
        count = result[0] if result and result[0] else 4
        bounds = [site.constant(i) for i in range(3)]
        start, limit, step = (None if b is None or not b.size else float(b.reshape(-1)[0]) for b in bounds)
        if number == 0:
            return exactly(0 if limit is None else limit - count * (step or 1))
        if number == 1:
            return exactly((start or 0) + count * (1 if step is None else step))
        return exactly(1 if start is None or limit is None or limit >= start else -1)

    return row


def taken(site: Site) -> Demand | None:
    """K of TopK."""
    result, shape, axis = site.result(), site.shape(0), site.axis(-1)
    if result is not None and axis is not None and result[axis]:
        return exactly([result[axis]])
    size = None if shape is None or axis is None else shape[axis]
    return between(1, size or 1)


def depth_of(site: Site) -> Demand | None:
    result = site.result()
    if result:
        size = result[site.attribute("axis", -1) % len(result)]
        if size:
            return exactly(size)
    indices = site.constant(0)
    return exactly(5 if indices is None or not indices.size else max(5, int(np.max(indices)) + 1))


def one_hot(site: Site) -> Demand | None:
    depth = site.constant(1)
    return None if depth is None else between(0, float(depth.reshape(-1)[0]) - 1)


def parts_of(site: Site) -> Demand | None:
    """The sizes of the parts of Split and SplitToSequence, or the one size of all of these."""
    shape, axis = site.shape(0), site.axis(0)
    size = None if shape is None or axis is None else shape[axis]
    if size is None:
        return None
    if site.node.op_type == "SplitToSequence" and site.shape(1) == ():
        return exactly(max(1, size // 2))
    stated = [_size_of(site.result(i), axis or 0) for i in range(len(site.node.output))]
    known = [part for part in stated if part is not None]
    if len(known) == len(stated) and sum(known) == size and site.node.op_type == "Split":
        return exactly(known)
    count = len(stated) if site.node.op_type == "Split" else site.count or 1
    return exactly([size // count + (i < size % count) for i in range(count)])


def _size_of(shape: Sequence[int | None] | None, axis: int) -> int | None:
    return shape[axis] if shape else None


# ------------------------------------------------------------------------------------------ axes


def axes_of(site: Site) -> Demand | None:
    """Different axes; those that lead to the declared sizes, if these say so."""
    shape, count, result = site.shape(0), site.count, site.result()
    if shape is None or count is None:
        return None
    rank = len(shape) + (count if site.node.op_type == "Unsqueeze" else 0)
    if count == 0:
        return exactly([])
    for chosen in itertools.combinations(range(rank), min(count, rank)):
        if result is None or _fits(site, shape, result, chosen):
            return exactly(chosen if site.shape(site.index) != () else chosen[0])
    return exactly(range(min(count, rank)))


def _fits(site: Site, shape: Sequence[int | None], result: Sequence[int | None], axes: Sequence[int]) -> bool:
    op = site.node.op_type
    if op == "Unsqueeze":
        before = iter(shape)
        expected = [1 if i in axes else next(before) for i in range(len(result))]
    elif op == "Squeeze":
        if any(shape[axis] not in (1, None) for axis in axes):
            return False
        expected = [size for i, size in enumerate(shape) if i not in axes]
    elif site.attribute("keepdims", 1):
        expected = [1 if i in axes else size for i, size in enumerate(shape)]
    else:
        expected = [size for i, size in enumerate(shape) if i not in axes]
    same = (a == b or a is None or b is None for a, b in zip(expected, result, strict=False))
    return len(expected) == len(result) and all(same)


def any_axis(site: Site) -> Demand | None:
    shape = site.shape(0)
    return between(0, max(0, len(shape) - 1)) if shape is not None else exactly(0)


# ---------------------------------------------------------------------------------------- pieces


def sliced(number: int) -> Row:
    """A bound of a Slice: 1 start, 2 end, 3 axes, 4 steps."""

    def row(site: Site) -> Demand | None:
        shape, count = site.sizes(), site.count
        if shape is None or count is None:
            return None
        axes = site.constant(3)
        chosen = [int(axis) % len(shape) for axis in (range(count) if axes is None else axes.reshape(-1))]
        if number == 3:
            return exactly(chosen[:count])
        given = [_whole(site.constant(i), count) for i in (1, 2, 4)]
        bounds = [
            _bound(site, number, shape, axis, [row[i] for row in given]) for i, axis in enumerate(chosen)
        ]
        return exactly(bounds)

    return row


def _whole(constant: Array | None, count: int) -> Sequence[int | None]:
    """The numbers of a constant; None for each if it is not one."""
    if constant is None or constant.size != count:
        return [None] * count
    return [int(number) for number in constant.reshape(-1)]


def _bound(site: Site, number: int, shape: Sequence[int], axis: int, given: Sequence[int | None]) -> int:
    size, result = shape[axis], site.result()
    wanted = result[axis] if result is not None and len(result) == len(shape) else None
    start, end, step = given
    step = 1 if step is None else step
    if number == 4:
        if start is None or end is None:
            return 1
        begin, stop = (max(0, min(size, v + size if v < 0 else v)) for v in (start, end))
        if begin > stop:
            return -1
        return max(1, -(-(stop - begin) // wanted)) if wanted else 1
    if number == 1:
        stop = size if end is None else max(0, min(size, end + size if end < 0 else end))
        if step < 0:
            return size - 1
        return max(0, stop - (wanted * step if wanted else stop))
    begin = 0 if start is None else max(0, min(size, start + size if start < 0 else start))
    if step < 0:
        return -_LAST if not wanted or begin + wanted * step < 0 else begin + wanted * step
    return begin + wanted * step if wanted else size


def padded(site: Site) -> Demand | None:
    shape, result, axes = site.sizes(), site.result(), site.constant(3)
    if shape is None:
        return between(0, 1)
    chosen = list(range(len(shape))) if axes is None else [int(a) % len(shape) for a in axes.reshape(-1)]
    if result is None or len(result) != len(shape) or None in [result[axis] for axis in chosen]:
        return between(0, 1)
    grown = [(result[axis] or 0) - shape[axis] for axis in chosen]
    return exactly([*(g // 2 for g in grown), *(g - g // 2 for g in grown)])


def cropped(site: Site) -> Demand | None:
    shape, result, axes, count = site.sizes(), site.result(), site.attribute("axes"), site.count
    if shape is None or count is None:
        return None
    chosen = [axis % len(shape) for axis in (axes or range(len(shape)))][:count]
    return exactly([(result[a] if result else None) or max(1, shape[a] - 1) for a in chosen])
