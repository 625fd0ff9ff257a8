"""RoiAlign and MaxRoiPool: regions of N,H,W,C images, each brought to one size.

Formulas: the ONNX specification; where it leaves a choice (samples outside of the image, what
``max`` is the maximum of), onnxruntime's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.tensors.reshaping import reshape_to
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import product

__all__ = ["max_roi_pool", "roi_align"]

_TAPS = 6
"""Adaptive samples lie more than half a pixel apart: so many reach a pixel, with one to spare."""


@dataclass
class _Side:
    """The bins of every region along one axis of the image.

    ``start`` and ``bin`` (regions, 1) are where a region begins and the size of its bins.
    """

    start: Any
    bin: Any
    bins: int
    size: Any
    pixels: Any

    def place(self, sample: Any, count: Any) -> Any:
        """Where a sample of each bin lies: (regions, bins)."""
        bins = np.arange(self.bins, dtype=self.start.dtype)[None]
        first = plus(ops.multiply(self.bin, bins), self.start)
        return plus(first, ops.divide(ops.multiply(plus(sample, 0.5), self.bin), count))

    def inside(self, place: Any) -> Any:
        return ops.logical_and(ops.greater_equal(place, -1.0), ops.less_equal(place, self._last(0)))

    def clamped(self, place: Any) -> Any:
        return ops.minimum(ops.maximum(place, 0.0), self._last(1))

    def _last(self, less: int) -> Any:
        if isinstance(self.size, int):
            return float(self.size - less)
        return ops.cast(ops.subtract(self.size, less), self.start.dtype)


def roi_align(call: Call) -> Any:
    """RoiAlign: means (or maxima) of samples that lie evenly in each bin."""
    x, rois = call.tensor(0), call.tensor(1)
    ratio = call.attribute("sampling_ratio", 0)
    largest = call.attribute("mode", "avg") == "max"
    _, *sizes, _ = call.dims(0)
    half = "half_pixel" if call.opset >= 16 else "output_half_pixel"
    half_pixel = call.attribute("coordinate_transformation_mode", half) == "half_pixel"
    sides = []
    for axis, name in enumerate(("output_height", "output_width")):
        scale = call.attribute("spatial_scale", 1.0)
        ends = [ops.multiply(rois[:, i : i + 1], scale) for i in (1 - axis, 3 - axis)]
        if half_pixel:
            ends = [ops.subtract(end, 0.5) for end in ends]
        length = ops.subtract(ends[1], ends[0])
        length = length if half_pixel else ops.maximum(length, 1.0)
        bins = call.attribute(name, 1)
        size, pixels = (f(sizes[axis]) for f in (call.parts.sizes.length, call.parts.sizes.range))
        sides.append(_Side(ends[0], ops.divide(length, float(bins)), bins, size, pixels))
    if ratio > 0:
        return _sampled(call, x, sides, ratio, largest)
    if largest:
        raise UnsupportedError("how many samples it takes the maximum of is known at run time only")
    return _averaged(call, x, sides)


def _sampled(call: Call, x: Any, sides: list[_Side], ratio: int, largest: bool) -> Any:
    """A given number of samples in each bin, each read from its four neighbours."""
    axes = []
    for side in sides:
        places, valid = [], []
        for sample in range(ratio):
            place = side.place(float(sample), float(ratio))
            valid.append(side.inside(place))
            places.append(side.clamped(place))
        place, ok = (ops.stack(parts, axis=-1) for parts in (places, valid))
        low = ops.floor(place)
        part = ops.subtract(place, low)
        ok = ops.cast(ok, place.dtype)
        high = side.clamped(plus(low, 1.0))
        weights = [ops.multiply(ops.subtract(1.0, part), ok), ops.multiply(part, ok)]
        indices = [ops.cast(v, "int32") for v in (low, high)]
        axes.append([(_flat(i), _flat(w)) for i, w in zip(indices, weights, strict=True)])
    pixels, base = _pixels(call, x, sides)
    parts = []
    for row, row_weight in axes[0]:
        for column, column_weight in axes[1]:
            line = ops.multiply(plus(ops.expand_dims(row, -1), base), sides[1].size)
            place = plus(line, ops.expand_dims(column, 1))
            weight = ops.multiply(ops.expand_dims(row_weight, -1), ops.expand_dims(column_weight, 1))
            parts.append(ops.multiply(ops.take(pixels, place, axis=0), ops.expand_dims(weight, -1)))
    total = parts[0]
    for part in parts[1:]:
        total = ops.maximum(total, part) if largest else plus(total, part)
    height, width = (side.bins for side in sides)
    total = ops.reshape(total, (-1, height, ratio, width, ratio, x.shape[-1]))
    return (ops.max if largest else ops.mean)(total, axis=(2, 4))


def _flat(x: Any) -> Any:
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2]))


def _pixels(call: Call, x: Any, sides: list[_Side]) -> tuple[Any, Any]:
    """All pixels of all images in one list, and the number of the first row of each region's image."""
    dims = call.dims(0)
    pixels = reshape_to(call, x, dims, (product(dims[:-1]), dims[-1]))
    images = ops.reshape(ops.cast(call.tensor(2), "int32"), (-1, 1, 1))
    return pixels, ops.multiply(images, sides[0].size)


def _averaged(call: Call, x: Any, sides: list[_Side]) -> Any:
    """As many samples as a bin has pixels, rounded up: sums along each axis are matrices of weights."""
    matrices: list[Any] = []
    total: Any = None
    for side in sides:
        count = ops.maximum(ops.ceil(side.bin), 0.0)
        total = count if total is None else ops.multiply(total, count)
        matrices.append(_weights(side, count))
    images = ops.take(x, ops.cast(call.tensor(2), "int32"), axis=0)
    y = ops.einsum("mph,mhwc->mpwc", matrices[0], images)
    y = ops.einsum("mqw,mpwc->mpqc", matrices[1], y)
    return ops.divide(y, ops.reshape(ops.maximum(total, 1.0), (-1, 1, 1, 1)))


def _weights(side: _Side, count: Any) -> Any:
    """What each pixel weighs in each bin, over all of its samples: (regions, bins, pixels)."""
    count = ops.expand_dims(count, -1)
    start, width = (ops.expand_dims(v, -1) for v in (side.start, side.bin))
    dtype = start.dtype
    pixels = side.pixels.astype(dtype) if isinstance(side.size, int) else ops.cast(side.pixels, dtype)
    first = plus(ops.multiply(width, np.arange(side.bins, dtype=dtype)[:, None]), start)
    step = ops.divide(width, ops.maximum(count, 1.0))
    nearest = ops.divide(ops.subtract(ops.subtract(pixels, 1.0), first), ops.maximum(step, 1e-6))
    nearest = ops.maximum(ops.floor(ops.subtract(nearest, 0.5)), 0.0)
    total: Any = None
    for tap in range(_TAPS):
        sample = plus(nearest, float(tap))
        inner = ops.divide(ops.multiply(plus(sample, 0.5), width), ops.maximum(count, 1.0))
        place = plus(first, inner)
        valid = ops.logical_and(side.inside(place), ops.less(sample, count))
        distance = ops.abs(ops.subtract(side.clamped(place), pixels))
        weight = ops.where(valid, ops.maximum(ops.subtract(1.0, distance), 0.0), 0.0)
        total = weight if total is None else plus(total, weight)
    return total


def max_roi_pool(call: Call) -> Any:
    """MaxRoiPool: maxima of the whole pixels of each bin; a bin without any is 0."""
    x, rois = call.tensor(0), call.tensor(1)
    heights, widths = call.attribute("pooled_shape")
    scale = call.attribute("spatial_scale", 1.0)
    images = ops.take(x, ops.cast(rois[:, 0], "int32"), axis=0)
    corners = ops.floor(plus(ops.multiply(rois[:, 1:], scale), 0.5))
    columns = _cells(corners[:, 0:1], corners[:, 2:3], widths, x.shape[2])
    rows = _cells(corners[:, 1:2], corners[:, 3:4], heights, x.shape[1])
    y = _largest(images, rows, 1)
    y = _largest(y, columns, 2)
    return ops.where(ops.isinf(y), 0.0, y)


def _cells(first: Any, last: Any, bins: int, size: int | None) -> list[Any]:
    """For each bin, which pixels of the axis are in it: (regions, pixels)."""
    if size is None:
        raise UnsupportedError("it needs to know the image's size")
    width = ops.divide(ops.maximum(plus(ops.subtract(last, first), 1.0), 1.0), float(bins))
    pixels = np.arange(size, dtype=first.dtype)[None]
    cells = []
    for i in range(bins):
        start = plus(ops.floor(ops.multiply(width, float(i))), first)
        end = plus(ops.ceil(ops.multiply(width, float(i + 1))), first)
        cells.append(ops.logical_and(ops.less_equal(start, pixels), ops.less(pixels, end)))
    return cells


def _largest(x: Any, cells: list[Any], axis: int) -> Any:
    shape = [-1, 1, 1, 1]
    shape[axis] = x.shape[axis]
    parts = [ops.where(ops.reshape(cell, shape), x, -float("inf")) for cell in cells]
    return ops.stack([ops.max(part, axis=axis) for part in parts], axis=axis)
