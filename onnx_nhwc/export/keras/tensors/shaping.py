"""Moving elements about: Concat, Split, Slice, Tile, Pad, depth and space."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from onnx_nhwc.export.images import Images
from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call, is_float
from onnx_nhwc.export.keras.tensors.computed import padded, sliced
from onnx_nhwc.export.keras.tensors.padding import crop, pad_image
from onnx_nhwc.export.keras.tensors.places import FAR, between, extended, repeated
from onnx_nhwc.export.keras.tensors.reshaping import add_zeros
from onnx_nhwc.export.values import Array, Constant, UnsupportedError
from onnx_nhwc.passes.algebra.layout import ONE, Dim
from onnx_nhwc.passes.algebra.symbols import difference
from onnx_nhwc.passes.graph import LAYER


def transpose(call: Call) -> Any:
    rank = call.rank(0)
    perm = call.attribute("perm") or list(reversed(range(rank)))
    return call.transpose(call.tensor(0), perm)


def concat(call: Call) -> Any:
    values = [call.x(i) for i in range(call.count) if call.has(i)]
    rank = len(values[0].shape)
    axis = call.attribute("axis", 1) % rank
    axis = -1 if axis == rank - 1 else axis
    if len(values) == 1:
        return call.tensor(0)
    symbolic = all(isinstance(v, keras.KerasTensor) for v in values)
    distinct = len({id(v) for v in values}) == len(values)
    if symbolic and distinct and rank > 1 and axis and is_float(values[0].dtype):
        return call.layer(layers.Concatenate, axis=axis)(values)
    return ops.concatenate(values, axis=axis)


def split(call: Call) -> Any:
    x = call.tensor(0)
    axis = call.attribute("axis", 0) % len(x.shape)
    sizes = _parts(call, axis)
    if len(sizes) == 1:
        return [x]
    if all(size.static for size in sizes):
        numbers = [size.number for size in sizes]
        if len(set(numbers)) == 1 and x.shape[axis] is not None:
            return ops.split(x, len(numbers), axis=axis)
        return ops.split(x, [int(v) for v in np.cumsum(numbers[:-1])], axis=axis)
    ends = [Dim(0)]
    for size in sizes[:-1]:
        ends.append(call.parts.sizes.total(ends[-1], size))
    ends.append(call.dims(0)[axis])
    return [_part(call, x, axis, bounds) for bounds in itertools.pairwise(ends)]


def _parts(call: Call, axis: int) -> Sequence[Dim]:
    """The sizes of a Split's outputs."""
    count, size = len(call.node.outputs), call.shape(0)[axis]
    if call.has(1) and call.opset >= 13 and call.constant(1) is None and call.result() is None:
        return call.parts.sizes.integers(call.value(1))
    sizes = call.integers("split", 1)
    if sizes is None:
        if size is None:
            raise UnsupportedError("the size of the axis that it splits is not known")
        part = -(-size // count)
        sizes = [part] * (count - 1) + [size - part * (count - 1)]
    return [Dim(number) for number in sizes]


def slice_(call: Call) -> Any:
    """Slice; against the axis by flipping it first, which all backends can."""
    given = "starts" in call.node.attributes
    if not given and _computed(call, 1, 2, 3, 4) and call.result() is not None and None not in call.shape(0):
        return sliced(call)
    x = call.tensor(0)
    if LAYER in call.node.metadata_props and (found := _cropped(call, x)) is not None:
        return found
    starts, ends = (_bounds(call, name, index) for name, index in (("starts", 1), ("ends", 2)))
    axes = call.integers("axes", 3) or list(range(len(starts)))
    steps = call.integers("steps", 4) or [1] * len(starts)
    key = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(key)
        size = x.shape[axis]
        if step < 0 and size is not None and start.static and end.static:
            bound = end.number if end.number >= -size else None
            places = range(*slice(start.number, bound, step).indices(size))
            x = ops.flip(x, axis=axis)
            first = size - 1 - places[0] if len(places) else 0
            key[axis] = slice(first, first + max(len(places) - 1, -1) * -step + 1, -step)
            if not len(places):
                key[axis] = slice(0, 0)
        else:
            x = _part(call, x, axis, (start, end), step)
    return x if all(part == slice(None) for part in key) else x[tuple(key)]


def _part(call: Call, x: Any, axis: int, bounds: tuple[Dim, Dim], step: int = 1) -> Any:
    """A slice along one axis."""
    own, size = call.dims(0)[axis], x.shape[axis]
    start, end = (_from_behind(bound, own) for bound in bounds)
    if step > 0 and isinstance(start, int) and (end is None or isinstance(end, int)):
        if size is not None:
            places = slice(start, end, step).indices(size)
            part = slice(None) if places == (0, size, 1) else slice(*places)
        else:
            first = None if start == 0 or start <= -FAR else start
            part = slice(first, end, None if step == 1 else step)
        return x if part == slice(None) else _at(x, axis, part)
    return between(call, x, axis, bounds, step)


def _from_behind(bound: Dim, own: Dim) -> Dim | int | None:
    """A bound as a number: counted from behind if its distance from the end is known; None is the end."""
    if bound.static:
        return bound.number if bound.number < FAR else None
    left = difference(own, bound)
    return bound if not left.static or left.number < 0 else -left.number or None


def _bounds(call: Call, name: str, index: int) -> Sequence[Dim]:
    if name in call.node.attributes or not call.has(index):
        return [Dim(number) for number in call.attribute(name)]
    return call.parts.sizes.integers(call.value(index))


def _computed(call: Call, *indices: int) -> bool:
    """Is one of these inputs known at run time only?"""
    return any(call.has(i) and call.sizes(i) is None and call.constant(i) is None for i in indices)


def _cropped(call: Call, x: Any) -> Any:
    """The Cropping that this was, if it still cuts an image's axes; a signal is cut in the middle."""
    starts, ends, axes = (call.integers(n, i) for i, n in enumerate(("starts", "ends", "axes"), start=1))
    rank = len(x.shape)
    if starts is None or ends is None or axes is None or call.has(4):
        return None
    images = Images(rank - 2, call.walk.channels_first if rank > 3 else axes == [2])
    crops = dict.fromkeys(images.axes, (0, 0))
    for axis, start, end in zip(axes, starts, ends, strict=True):
        if axis % rank not in crops or start < 0 or 0 <= end < FAR:
            return None
        crops[axis % rank] = (start, max(-end, 0))
    return crop(call, x, list(crops.values()), images)


def tile(call: Call) -> Any:
    x = call.tensor(0)
    repeats = call.sizes(1)
    if repeats is None and call.constant(1) is None and call.result() is None:
        repeats = call.parts.sizes.integers(call.value(1))
    if repeats is None or all(dim.static for dim in repeats):
        values = call.integers("repeats", 1) or []
        return ops.tile(x, tuple(values)) if any(v != 1 for v in values) else x
    wanted = [dim if size == 1 else ONE for dim, size in zip(repeats, x.shape, strict=True)]
    for axis, times in enumerate(repeats):
        if times != wanted[axis]:
            x = repeated(call, x, axis, times)
    return add_zeros(x, call.parts.sizes.grid(wanted), x.dtype) if any(w != ONE for w in wanted) else x


def pad(call: Call) -> Any:
    """Pad in every mode; negative pads cut."""
    computed = call.opset >= 11 and _computed(call, 1, 2, 3)
    if computed and call.result() is not None and None not in call.shape(0):
        return padded(call)
    x, pairs = call.tensor(0), _pads(call)
    mode = call.attribute("mode", "constant")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    value = _pad_value(call) if mode == "constant" else 0
    numbers = [(a.number, b.number) if a.static and b.static else (0, 0) for a, b in pairs]
    x = _pad_now(call, x, numbers, mode, value)
    for axis, (before, behind) in enumerate(pairs):
        if not (before.static and behind.static):
            x = extended(call, x, axis, (before, behind), mode, value)
    return x


def _pads(call: Call) -> list[tuple[Dim, Dim]]:
    """What is padded before and behind each axis."""
    rank = call.rank(0)
    if call.has(1) and "pads" not in call.node.attributes:
        flat: Sequence[Dim] = call.parts.sizes.integers(call.value(1))
    else:
        flat = [Dim(v) for v in call.integers("pads") or call.integers("paddings") or []]
    axes = call.integers("axes", 3)
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    pairs = [(Dim(0), Dim(0))] * rank
    for i, axis in enumerate(axes):
        pairs[axis] = (flat[i], flat[i + len(axes)])
    return pairs


def _pad_value(call: Call) -> Any:
    value: Any = call.attribute("value", 0.0)
    if call.has(2):
        found = call.constant(2)
        if found is None:
            return ops.cast(ops.reshape(call.tensor(2), ()), call.dtype(0))
        value = found.array.reshape(-1)[0].item() if found.size else 0
    return value if is_float(call.dtype(0)) else bool(value) if call.dtype(0) == "bool" else int(value)


def _pad_now(call: Call, x: Any, pairs: list[tuple[int, int]], mode: str, value: Any) -> Any:
    """Pad by numbers."""
    x = _cut(x, pairs)
    pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    if not any(map(any, pairs)):
        return x
    if mode == "constant":
        return _constant_pad(call, x, pairs, value)
    if mode == "reflect" and all(
        size is None or max(p) < size for p, size in zip(pairs, x.shape, strict=True)
    ):
        return ops.pad(x, pairs, mode="reflect")
    for axis, (before, behind) in enumerate(pairs):
        if before or behind:
            x = _extended(call, x, axis, before, behind, mode)
    return x


def _constant_pad(call: Call, x: Any, pairs: list[tuple[int, int]], value: Any) -> Any:
    if isinstance(value, keras.KerasTensor):
        for axis, (before, behind) in enumerate(pairs):
            if before or behind:
                x = extended(call, x, axis, (Dim(before), Dim(behind)), "constant", value)
        return x
    images = Images(len(pairs) - 2, call.walk.channels_first)
    plain = 3 <= len(pairs) <= 5 and not any(pairs[0]) and not any(pairs[images.channels])
    if plain and value == 0 and is_float(x.dtype):
        return pad_image(call, x, list(images.sizes(pairs)), images=images)
    if x.dtype == "bool":
        padded = ops.pad(ops.cast(x, "int32"), pairs, constant_values=int(value))
        return ops.not_equal(padded, 0)
    return ops.pad(x, pairs, constant_values=value)


def _cut(x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
    if all(a >= 0 and b >= 0 for a, b in pairs):
        return x
    return x[tuple(slice(max(-a, 0), b if b < 0 else None) for a, b in pairs)]


def _extended(call: Call, x: Any, axis: int, before: int, behind: int, mode: str) -> Any:
    """Pad one axis with elements of its own."""
    size = x.shape[axis]
    if size is None:
        if mode != "edge":
            return extended(call, x, axis, (Dim(before), Dim(behind)), mode)
        first = _at(x, axis, slice(0, 1))
        last = _at(x, axis, slice(-1, None))
        return ops.concatenate([first] * before + [x] + [last] * behind, axis=axis)
    names = {"edge": "edge", "wrap": "wrap", "reflect": "reflect"}
    places = np.pad(np.arange(size, dtype=np.int32), (before, behind), names[mode])  # type: ignore[call-overload]
    return ops.take(x, places, axis=axis)


def _at(x: Any, axis: int, part: slice) -> Any:
    return x[tuple(part if i == axis else slice(None) for i in range(len(x.shape)))]


def center_crop_pad(call: Call) -> Any:
    x = call.tensor(0)
    rank = len(x.shape)
    axes = call.attribute("axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    pairs = [(0, 0)] * rank
    for axis, wanted in zip(axes, call.integers("shape", 1) or [], strict=True):
        size = x.shape[axis]
        if size is None:
            raise UnsupportedError("it needs to know the sizes that it crops")
        more = wanted - size
        first = more // 2 if more >= 0 else -(-more // 2)
        pairs[axis] = (first, more - first)
    x = _cut(x, pairs)
    pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    return ops.pad(x, pairs) if any(map(any, pairs)) else x


def shape(call: Call) -> Any:
    """Shape: sizes that are known now, and sums of ones for the others."""
    dims = call.dims(0)
    part = slice(call.attribute("start", 0), call.attribute("end", None))
    if all(dim.static for dim in dims[part]):
        return Constant.of(np.array([dim.number for dim in dims[part]], np.int64))
    return call.parts.sizes.vector(dims[part], "int64")


def size(call: Call) -> Any:
    dims = call.dims(0)
    total: Any = 1
    for dim in dims:
        total = (
            ops.multiply(call.parts.sizes.length(dim), total)
            if not (dim.static and isinstance(total, int))
            else total * dim.number
        )
    return ops.cast(total, "int64")


def constant_of_shape(call: Call) -> Any:
    dims = call.sizes(0)
    if dims is None:
        after = call.result()
        dims = call.parts.sizes.integers(call.value(0)) if after is None else tuple(map(Dim, after))
    tensor = call.attribute("value")
    value: Array = tensor.numpy().reshape(-1) if tensor is not None else np.zeros(1, np.float32)
    zeros = call.parts.sizes.grid(dims)
    return add_zeros(value[0].item(), zeros, call.out_dtype())


def range_(call: Call) -> Any:
    """Range; its size is declared, or computed."""
    ends, sizes = call.sizes(1), call.parts.sizes
    start, step, after = call.constant(0), call.constant(2), call.result()
    plain = start is not None and step is not None and start.array.item() == 0 and step.array.item() == 1
    if ends is not None and plain:
        return ops.cast(sizes.range(ends[0]), call.out_dtype())
    first, limit, by = (ops.reshape(call.tensor(i), ()) for i in range(3))
    if after is None:
        less = ops.floor_divide(ops.subtract(first, limit), by)
        numbers = sizes.range(sizes.name(ops.cast(ops.negative(less), "int32")))
    else:
        numbers = np.arange(after[0])
    numbers = ops.cast(numbers, call.out_dtype()) if after is None else numbers.astype(call.out_dtype())
    return plus(ops.multiply(numbers, by), first)


def depth_to_space(call: Call) -> Any:
    block, images = call.attribute("blocksize"), call.images
    x = call.tensor(0)
    if call.attribute("mode", "DCR") == "CRD":
        channels = x.shape[images.channels] // (block * block)
        order = np.arange(block * block * channels).reshape(channels, block * block).T.reshape(-1)
        x = ops.take(x, order.astype(np.int32), axis=images.channels)
    return ops.depth_to_space(x, block, data_format=images.data_format)


def space_to_depth(call: Call) -> Any:
    block, images = call.attribute("blocksize"), call.images
    x = ops.space_to_depth(call.tensor(0), block, data_format=images.data_format)
    if call.attribute("mode", "DCR") == "CRD":
        channels = x.shape[images.channels] // (block * block)
        order = np.arange(block * block * channels).reshape(block * block, channels).T.reshape(-1)
        x = ops.take(x, order.astype(np.int32), axis=images.channels)
    return x
