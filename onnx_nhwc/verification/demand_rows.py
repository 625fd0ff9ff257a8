"""What each operator demands of its inputs: one row an input.

What is free is drawn small; where the file declares the size of a result, the values lead to that size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from onnx_nhwc.verification.demands import Array, Demand, Row, Site, between, exactly

__all__ = ["ROWS"]

_LAST = np.iinfo(np.int32).max


def _below(axis_of: int = 0, default: int = 0, first: int = 0) -> Row:
    """An index along the node's axis of another input."""

    def row(site: Site) -> Demand | None:
        shape, axis = site.shape(axis_of), site.axis(default, axis_of)
        size = None if shape is None or axis is None else shape[axis]
        return between(first, max(first, size - 1)) if size else between(first, first)

    return row


def _of_axis(axis: int, source: int = 0, first: int = 0, last: int = -1) -> Row:
    """A number from ``first`` to the size of this axis of an input, plus ``last``."""

    def row(site: Site) -> Demand | None:
        shape = site.shape(source)
        size = shape[axis] if shape and -len(shape) <= axis < len(shape) else None
        return between(first, max(first, size + last)) if size else between(first, first)

    return row


def _always(demand: Demand) -> Row:
    return lambda site: demand


def _if_integer(demand: Demand) -> Row:
    return lambda site: demand if site.is_integer(site.index) else None


def _ones(site: Site) -> list[int] | None:
    count = site.count
    return None if count is None else [1] * count


# ---------------------------------------------------------------------------------------- shapes


def _reshape(site: Site) -> Demand | None:
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


def _expand(site: Site) -> Demand | None:
    result, shape = site.result(), site.sizes()
    if shape is None:
        return None
    count = len(shape) if site.count is None else site.count
    if result is not None and None not in result:
        return exactly([size for size in result if size is not None][max(0, len(result) - count) :])
    wide = [2 if size == 1 else size for size in shape]
    return exactly([*[1] * (count - len(shape)), *wide[max(0, len(shape) - count) :]])


def _filled(site: Site) -> Demand | None:
    result = site.result()
    if result is not None and None not in result:
        return exactly([size for size in result if size is not None])
    return between(1, 3)


def _range(number: int) -> Row:
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


def _taken(site: Site) -> Demand | None:
    """K of TopK."""
    result, shape, axis = site.result(), site.shape(0), site.axis(-1)
    if result is not None and axis is not None and result[axis]:
        return exactly([result[axis]])
    size = None if shape is None or axis is None else shape[axis]
    return between(1, size or 1)


def _depth(site: Site) -> Demand | None:
    result = site.result()
    if result:
        size = result[site.attribute("axis", -1) % len(result)]
        if size:
            return exactly(size)
    indices = site.constant(0)
    return exactly(5 if indices is None or not indices.size else max(5, int(np.max(indices)) + 1))


def _one_hot(site: Site) -> Demand | None:
    depth = site.constant(1)
    return None if depth is None else between(0, float(depth.reshape(-1)[0]) - 1)


def _parts(site: Site) -> Demand | None:
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


def _axes(site: Site) -> Demand | None:
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


def _any_axis(site: Site) -> Demand | None:
    shape = site.shape(0)
    return between(0, max(0, len(shape) - 1)) if shape is not None else exactly(0)


# ---------------------------------------------------------------------------------------- pieces


def _slice(number: int) -> Row:
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


def _pads(site: Site) -> Demand | None:
    shape, result, axes = site.sizes(), site.result(), site.constant(3)
    if shape is None:
        return between(0, 1)
    chosen = list(range(len(shape))) if axes is None else [int(a) % len(shape) for a in axes.reshape(-1)]
    if result is None or len(result) != len(shape) or None in [result[axis] for axis in chosen]:
        return between(0, 1)
    grown = [(result[axis] or 0) - shape[axis] for axis in chosen]
    return exactly([*(g // 2 for g in grown), *(g - g // 2 for g in grown)])


def _cropped(site: Site) -> Demand | None:
    shape, result, axes, count = site.sizes(), site.result(), site.attribute("axes"), site.count
    if shape is None or count is None:
        return None
    chosen = [axis % len(shape) for axis in (axes or range(len(shape)))][:count]
    return exactly([(result[a] if result else None) or max(1, shape[a] - 1) for a in chosen])


# ------------------------------------------------------------------------------------- resizing


def _scales(site: Site) -> Demand | None:
    wanted = _resized(site, 2.0)
    if wanted is None:
        return None
    axes, shape, sizes = wanted
    return exactly([sizes[axis] / shape[axis] if shape[axis] else 1 for axis in axes])


def _new_sizes(site: Site) -> Demand | None:
    wanted = _resized(site, 2.0)
    if wanted is None:
        return None
    axes, _, sizes = wanted
    return exactly([math.floor(sizes[axis]) for axis in axes])


def _resized(site: Site, factor: float) -> tuple[list[int], tuple[int, ...], list[float]] | None:
    """The axes that are resized, the sizes, and the sizes that they are to become."""
    shape, result = site.sizes(), site.result()
    if shape is None or site.count == 0:
        return None
    axes = [axis % len(shape) for axis in (site.attribute("axes") or range(len(shape)))]
    sizes: list[float] = [s if i < 2 < len(shape) else s * factor for i, s in enumerate(shape)]
    if result is not None and len(result) == len(shape):
        sizes = [a if b is None else b for a, b in zip(sizes, result, strict=True)]
    return axes, shape, sizes


def _region(site: Site) -> Demand | None:
    """Starts, then ends, of each axis; some of the image in."""
    shape = site.shape(0)
    if shape is None or site.count == 0 or site.shape(site.index) == (0,):
        return None
    axes = [axis % len(shape) for axis in (site.attribute("axes") or range(len(shape)))]
    inner = [axis > 1 or len(shape) < 3 for axis in axes]
    return exactly([*(0.125 * i for i in inner), *(1 - 0.125 * i for i in inner)])


def _grid_size(site: Site) -> Demand | None:
    result, theta = site.result(), site.sizes()
    count = site.count or 4
    known = [s or 3 for s in result[1:-1]] if result else [3] * (count - 2)
    return exactly([theta[0] if theta else 1, 3, *known])


# -------------------------------------------------------------------------------------- indices


def _permuted(site: Site) -> Demand | None:
    """Indices along an axis, none twice in a line: what is scattered twice has no one result."""
    data, indices, axis = site.sizes(0), site.sizes(1), site.axis(0)
    if data is None or indices is None or axis is None or indices[axis] > data[axis]:
        return None
    lines = list(indices)
    lines[axis] = data[axis]
    order = np.argsort(site.rng.random(lines), axis=axis)
    return exactly(np.take(order, range(indices[axis]), axis=axis))


def _gathered(site: Site) -> Demand | None:
    data, indices = site.sizes(0), site.sizes(1)
    if data is None or indices is None or not indices:
        return None
    first = site.attribute("batch_dims", 0)
    sizes = data[first : first + indices[-1]]
    return Demand(np.zeros(len(sizes)), np.asarray(sizes, np.float64) - 1)


def _scattered(site: Site) -> Demand | None:
    data, indices = site.sizes(0), site.sizes(1)
    if data is None or not indices:
        return None
    sizes = data[: indices[-1]]
    count, places = math.prod(indices[:-1]), math.prod(sizes)
    if not places:
        return None
    order = np.resize(site.rng.permutation(places), count)
    return exactly(np.stack(np.unravel_index(order, sizes), -1).reshape(indices))


def _unpooled(site: Site) -> Demand | None:
    """Places of the elements in the larger image, flat, none twice."""
    shape, larger = site.sizes(0), _unpooled_sizes(site)
    if shape is None or larger is None or math.prod(larger) < math.prod(shape):
        return None
    places = site.rng.permutation(math.prod(larger))[: math.prod(shape)]
    return exactly(np.sort(places).reshape(shape))


def _unpooled_sizes(site: Site) -> list[int] | None:
    shape, result, stated = site.sizes(0), site.result(), site.constant(2)
    if stated is not None and stated.size:
        return [int(size) for size in stated.reshape(-1)]
    if result is not None and None not in result:
        return [size for size in result if size is not None]
    if shape is None:
        return None
    kernel = site.attribute("kernel_shape")
    strides = site.attribute("strides") or [1] * len(kernel)
    pads = site.attribute("pads") or [0] * 2 * len(kernel)
    n = len(kernel)
    return [*shape[:2], *((s - 1) * strides[i] - pads[i] - pads[i + n] + kernel[i]
                          for i, s in enumerate(shape[2:]))]  # fmt: skip


def _unpooled_target(site: Site) -> Demand | None:
    sizes = _unpooled_sizes(site)
    return None if sizes is None else exactly(sizes)


def _columns(number: int) -> Row:
    """The image's sizes (1) and the block's (2) of Col2Im, which the columns have to fit."""

    def row(site: Site) -> Demand | None:
        shape, result, count = site.sizes(), site.result(), site.count
        if shape is None or count is None:
            return None
        image, block = site.constant(1), site.constant(2)
        images = [[int(s) for s in image]] if image is not None else (
            [[int(s) for s in result[2:] if s is not None]] if result and None not in result[2:]
            else itertools.product(range(1, 12), repeat=count))  # fmt: skip
        for sizes in images:
            blocks = [block] if block is not None else itertools.product(range(1, 8), repeat=count)
            for kernel in blocks:
                if _columns_fit(site, shape, result, [int(s) for s in sizes], [int(k) for k in kernel]):
                    return exactly(sizes if number == 1 else kernel)
        return None

    return row


def _columns_fit(
    site: Site,
    shape: Sequence[int],
    result: Sequence[int | None] | None,
    image: Sequence[int],
    block: Sequence[int],
) -> bool:
    n = len(block)
    strides = site.attribute("strides") or [1] * n
    dilations = site.attribute("dilations") or [1] * n
    pads = site.attribute("pads") or [0] * 2 * n
    if shape[1] % math.prod(block) or len(image) != n:
        return False
    if result is not None and result[1] is not None and result[1] * math.prod(block) != shape[1]:
        return False
    moves = [
        (image[i] + pads[i] + pads[i + n] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        for i in range(n)
    ]
    return bool(min(moves) > 0 and math.prod(moves) == shape[2])


def _boxes(site: Site) -> Demand | None:
    """Regions within an image of RoiAlign (x1, y1, x2, y2) or MaxRoiPool (batch first)."""
    shape = site.shape(1)
    if shape is None or len(shape) != 2:
        return None
    low, high = [0.0, 0.0, 3.0, 3.0], [1.0, 1.0, 4.0, 4.0]
    if shape[1] == 5:
        low, high = [0.0, *low], [0.0, *high]
    return Demand(np.asarray(low), np.asarray(high))


# --------------------------------------------------------------------------------------- others


def _trips(site: Site) -> Demand | None:
    results = [site.result(i) for i in range(len(site.node.output))]
    carried = len(site.node.input) - 2
    turns = [shape[0] for shape in results[carried:] if shape and shape[0]]
    return exactly(turns[0]) if turns else between(2, 3)


def _positive(site: Site) -> Demand | None:
    return between(0.02, 0.1)


def _mel(values: Sequence[float]) -> Row:
    def row(site: Site) -> Demand | None:
        result = site.result()
        if result is not None and site.index == 0 and result[1]:
            return exactly(result[1])
        if result is not None and site.index == 1 and result[0]:
            return exactly(2 * (result[0] - 1))
        return exactly(values[site.index])

    return row


def _spectrum(site: Site) -> Demand | None:
    """The length of a DFT or STFT, its frames and its steps."""
    shape = site.sizes()
    if shape is None:
        return None
    if site.node.op_type == "DFT":
        axis = site.attribute("axis", 1 if site.opset < 20 else -2) % len(shape)
        return exactly(shape[axis])
    window = site.shape(2) if site.index != 2 else None
    length = window[0] if window and window[0] else max(2, shape[1] // 2)
    return exactly(max(1, length // 2) if site.index == 1 else length)


def _window(site: Site) -> Demand | None:
    result = site.result()
    return exactly((result[0] if result else None) or 8)


_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
_QUANTISED = {
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
}

ROWS: dict[tuple[str, int], Row] = {
    # Shapes.
    ("Reshape", 1): _reshape,
    ("Expand", 1): _expand,
    ("ConstantOfShape", 0): _filled,
    ("Tile", 1): _always(between(1, 2)),
    ("Range", 0): _range(0),
    ("Range", 1): _range(1),
    ("Range", 2): _range(2),
    # Axes.
    ("Squeeze", 1): _axes,
    ("Unsqueeze", 1): _axes,
    **{(name, 1): _axes for name in _REDUCTIONS},
    ("CumSum", 1): _any_axis,
    ("CumProd", 1): _any_axis,
    ("DFT", 2): _always(exactly(1)),
    # Pieces.
    **{("Slice", number): _slice(number) for number in (1, 2, 3, 4)},
    ("Split", 1): _parts,
    ("SplitToSequence", 1): _parts,
    ("Pad", 1): _pads,
    ("Pad", 3): _axes,
    ("CenterCropPad", 1): _cropped,
    ("TopK", 1): _taken,
    ("Trilu", 1): _always(between(-1, 1)),
    # Resizing: scales, sizes and the region came to their places one by one.
    ("Upsample", 1): _scales,
    ("Resize", 1): lambda site: _scales(site) if site.opset < 11 else _region(site),
    ("Resize", 2): _scales,
    ("Resize", 3): _new_sizes,
    ("AffineGrid", 1): _grid_size,
    # Indices.
    ("Gather", 1): _below(),
    ("GatherElements", 1): _below(),
    ("GatherND", 1): _gathered,
    ("Scatter", 1): _permuted,
    ("ScatterElements", 1): _permuted,
    ("ScatterND", 1): _scattered,
    ("OneHot", 1): _depth,
    ("OneHot", 0): _one_hot,
    ("ReverseSequence", 1): lambda site: _of_axis(site.attribute("time_axis", 0), 0, 1, 0)(site),
    ("RoiAlign", 1): _boxes,
    ("RoiAlign", 2): _of_axis(0),
    ("MaxRoiPool", 1): _boxes,
    ("MaxUnpool", 2): _unpooled_target,
    ("MaxUnpool", 1): _unpooled,
    ("Col2Im", 1): _columns(1),
    ("Col2Im", 2): _columns(2),
    ("NegativeLogLikelihoodLoss", 1): _of_axis(1),
    ("SoftmaxCrossEntropyLoss", 1): _of_axis(1),
    ("SequenceAt", 1): _always(exactly(0)),
    ("RotaryEmbedding", 3): _of_axis(0, 1),
    # Counts, conditions, lengths.
    ("Loop", 0): _trips,
    ("Loop", 1): _always(exactly(1)),
    **{(name, 4): _of_axis(0, 0, 1, 0) for name in ("LSTM", "GRU", "RNN")},
    ("NonMaxSuppression", 2): _always(between(1, 3)),
    ("NonMaxSuppression", 3): _always(between(0.3, 0.6)),
    ("NonMaxSuppression", 4): _always(between(0.0, 0.2)),
    ("Dropout", 1): _always(between(0.1, 0.5)),
    ("Dropout", 2): _always(exactly(0)),
    ("Bernoulli", 0): _always(between(0, 1)),
    # Arithmetic that is not defined everywhere.
    ("Div", 1): _if_integer(between(1, 5)),
    ("Mod", 1): _if_integer(between(1, 5)),
    ("BitShift", 1): _always(between(0, 7)),
    ("Clip", 1): _always(between(-1.5, -0.5)),
    ("Clip", 2): _always(between(0.5, 1.5)),
    ("BatchNormalization", 4): _always(between(0.5, 1.5)),
    **{(name, index): _positive for name, numbers in _QUANTISED.items() for index in numbers},
    # Spectra.
    **{("MelWeightMatrix", i): _mel((8, 16, 8192, 0, 4096)) for i in range(5)},
    ("DFT", 1): _spectrum,
    ("STFT", 1): _spectrum,
    ("STFT", 3): _spectrum,
    **{(name, 0): _window for name in ("HannWindow", "HammingWindow", "BlackmanWindow")},
}
"""What an input of an operator, by its number, demands of its values."""
