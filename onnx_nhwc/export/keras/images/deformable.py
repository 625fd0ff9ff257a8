"""DeformConv and MaxUnpool on channels-last data: elements that move by numbers that are computed."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.images.sampling import read
from onnx_nhwc.export.keras.tensors.reshaping import reshape_to
from onnx_nhwc.export.values import Array, UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim, product
from onnx_nhwc.passes.algebra.symbols import expression, named

__all__ = ["deform_conv", "max_unpool"]


def deform_conv(call: Call) -> Any:
    """DeformConv: bilinear samples for every element of the kernel, then a Dense layer over them."""
    *kernel, per_group, filters = call.static(1)
    x, count = call.tensor(0), int(np.prod(kernel))
    offset = call.tensor(2)
    if None in (*x.shape[1:], *offset.shape[1:]):
        raise UnsupportedError("it needs to know the image's size")
    groups = call.attribute("offset_group", 1)
    sizes, counts = x.shape[1:-1], offset.shape[1:-1]
    moves = ops.reshape(offset, (-1, *counts, groups, count, len(sizes)))
    mask = ops.reshape(call.tensor(4), (-1, *counts, groups, count)) if call.has(4) else None
    grid = _grid(call, kernel, counts)
    channels = x.shape[-1] // groups
    parts = []
    for group in range(groups):
        places = [plus(moves[..., group, :, axis], grid[axis].astype(x.dtype)) for axis in range(len(sizes))]
        part = _bilinear(x[..., group * channels : (group + 1) * channels], places, sizes)
        if mask is not None:
            part = ops.multiply(part, ops.expand_dims(mask[..., group, :], -1))
        parts.append(part)
    columns = parts[0] if groups == 1 else ops.concatenate(parts, axis=-1)
    return _projected(call, columns, counts, count * per_group, filters)


def _grid(call: Call, kernel: list[int], counts: Any) -> list[Any]:
    """Where each element of the kernel lies without an offset, per axis: (1, *windows, elements)."""
    n = len(kernel)
    strides = call.attribute("strides") or [1] * n
    dilations = call.attribute("dilations") or [1] * n
    pads = call.attribute("pads") or [0] * (2 * n)
    taps = np.stack(np.meshgrid(*map(np.arange, kernel), indexing="ij"), axis=-1).reshape(-1, n)
    grid = []
    for axis in range(n):
        shape = [1] * (n + 2)
        shape[1 + axis] = -1
        starts = (np.arange(counts[axis]) * strides[axis] - pads[axis]).reshape(shape)
        grid.append(starts + taps[:, axis] * dilations[axis])
    return grid


def _bilinear(x: Any, places: list[Any], sizes: Any) -> Any:
    lows = [ops.floor(place) for place in places]
    parts = [ops.subtract(place, low) for place, low in zip(places, lows, strict=True)]
    total: Any = None
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        index = [plus(low, float(c)) for low, c in zip(lows, corner, strict=True)]
        weight: Any = None
        for part, c in zip(parts, corner, strict=True):
            w = part if c else ops.subtract(1.0, part)
            weight = w if weight is None else ops.multiply(weight, w)
        element = ops.multiply(read(x, index, sizes, "zeros", False), ops.expand_dims(weight, -1))
        total = element if total is None else plus(total, element)
    return total


def _projected(call: Call, columns: Any, counts: Any, width: int, filters: int) -> Any:
    """The sums over kernel and channels, a Dense layer for each group."""
    group = call.attribute("group", 1)
    units, channels = filters // group, columns.shape[-1] // group
    results = []
    for i in range(group):
        x = columns[..., i * channels : (i + 1) * channels] if group > 1 else columns
        x = ops.reshape(x, (-1, *counts, width))
        part = slice(i * units, (i + 1) * units)
        if call.constant(1) is None:
            results.append(ops.matmul(x, ops.reshape(call.x(1)[..., part], (width, units))))
            continue
        layer = call.layer(layers.Dense, 1, units=units, use_bias=False)
        results.append(layer(x))
        call.assign(layer.kernel, call.loader(1, partial(_matrix, part=part)))
    y = results[0] if group == 1 else ops.concatenate(results, axis=-1)
    return plus(y, call.x(3)) if call.has(3) else y


def _matrix(kernel: Array, part: slice) -> Array:
    """The filters of one group, as columns."""
    columns: Array = kernel.reshape(-1, kernel.shape[-1])[:, part]
    return columns


def max_unpool(call: Call) -> Any:
    """MaxUnpool: each element goes where its index says, which counts in the source's order (N,C,H,W)."""
    x, sizes = call.tensor(0), call.parts.sizes
    batch, *_, channels = call.dims(0)
    full = _unpooled(call)
    lengths = [sizes.length(size) for size in (*full, channels)]
    rest = ops.cast(call.tensor(1), "int32")
    digits = []
    for size in (*reversed(lengths[:-1]), lengths[-1]):
        digits.append(ops.mod(rest, size))
        rest = ops.floor_divide(rest, size)
    place = rest
    for size, digit in zip(lengths, (*reversed(digits[:-1]), digits[-1]), strict=True):
        place = plus(ops.multiply(place, size), digit)
    zero = ops.zeros_like(ops.reshape(x[:, *[0] * (len(full) + 1)], (-1, 1)))
    row = ops.cast(sizes.zeros(product((*full, channels))), x.dtype)
    empty = ops.reshape(plus(zero, ops.reshape(row, (1, -1))), (-1,))
    flat = ops.scatter_update(empty, ops.reshape(place, (-1, 1)), ops.reshape(x, (-1,)))
    if all(size.static for size in (*full, channels)):
        return ops.reshape(flat, (-1, *lengths))
    return reshape_to(call, flat, (product((batch, *full, channels)),), (batch, *full, channels))


def _unpooled(call: Call) -> list[Dim]:
    """The sizes of the image that MaxUnpool makes."""
    if call.has(2):
        declared = call.result()
        found = call.parts.sizes.integers(call.value(2)) if declared is None else map(Dim, declared)
        _, *given, _ = found
        return given
    _, *sizes, _ = call.dims(0)
    kernel = call.attribute("kernel_shape")
    n = len(kernel)
    strides = call.attribute("strides") or [1] * n
    pads = call.attribute("pads") or [0] * (2 * n)
    return [
        named((expression(size) - 1) * strides[i] + kernel[i] - pads[i] - pads[i + n])
        for i, size in enumerate(sizes)
    ]
