"""Pools over images."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.keras.arithmetic import plus
from onnx_nhwc.keras.call import Call, is_float
from onnx_nhwc.keras.padding import Window, pad_image
from onnx_nhwc.keras.values import UnsupportedError

__all__ = ["average_pool", "global_average", "global_lp", "global_max", "lp_pool", "max_pool"]

_MAX = {1: layers.MaxPooling1D, 2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
_AVERAGE = {1: layers.AveragePooling1D, 2: layers.AveragePooling2D, 3: layers.AveragePooling3D}
_GLOBAL_AVERAGE = {
    1: layers.GlobalAveragePooling1D,
    2: layers.GlobalAveragePooling2D,
    3: layers.GlobalAveragePooling3D,
}
_GLOBAL_MAX = {
    1: layers.GlobalMaxPooling1D,
    2: layers.GlobalMaxPooling2D,
    3: layers.GlobalMaxPooling3D,
}
_NOT_NEGATIVE = {"Relu", "Sigmoid", "HardSigmoid", "Softplus", "Softmax", "Exp", "Abs"}


def _window(call: Call) -> Window:
    kernel = call.attribute("kernel_shape")
    return Window.of(call, kernel, bool(call.attribute("ceil_mode", 0)))


def _pooled(call: Call, classes: Any, x: Any, window: Window, same: bool) -> Any:
    return call.layer(
        classes[len(window.kernel)],
        pool_size=tuple(window.kernel),
        strides=tuple(window.strides),
        padding="same" if same else "valid",
        data_format=call.images.data_format,
        dtype=x.dtype,
    )(x)


def max_pool(call: Call) -> Any:
    """MaxPool; what is padded never wins, and ``Indices`` count as in the source's order."""
    window = _window(call)
    if call.wants(1):
        return _with_indices(call, window)
    x = call.tensor(0)
    dilated = max(window.dilations) > 1
    if not is_float(x.dtype):
        return ops.max(_windows(call, x, window, _lowest(x.dtype)), axis=-1)
    if window.padded and (dilated or not window.same):
        producer = call.value(0).producer()
        zero = producer is not None and producer.op_type in _NOT_NEGATIVE
        if any(a < 0 for a, _ in window.pads):
            raise UnsupportedError("it needs to know the image's size")
        x = pad_image(call, x, window.pads, 0.0 if zero else -float("inf"))
    if dilated:
        window.pads = [(0, 0)] * len(window.kernel)
        return ops.max(_windows(call, x, window, 0), axis=-1)
    return _pooled(call, _MAX, x, window, window.same)


def _lowest(dtype: str) -> int:
    return int(np.iinfo(dtype).min)


def _windows(call: Call, x: Any, window: Window, value: float) -> Any:
    """The elements of every window, along a new last axis."""
    if window.padded:
        x = ops.pad(x, call.images.join((0, 0), (0, 0), window.pads), constant_values=value)
    sizes = call.images.sizes(x.shape)
    if any(size is None for size in sizes):
        raise UnsupportedError("it needs to know the image's size")
    counts = [
        (size - extent) // stride + 1
        for size, extent, stride in zip(sizes, window.extents, window.strides, strict=True)
    ]
    parts = []
    for offset in itertools.product(*map(range, window.kernel)):
        key = [
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, s, n in zip(offset, window.dilations, window.strides, counts, strict=True)
        ]
        parts.append(x[call.images.join(slice(None), slice(None), key)])
    return ops.stack(parts, axis=-1)


def _with_indices(call: Call, window: Window) -> list[Any]:
    """MaxPool with Indices: offsets into the source's channels-first data."""
    x = call.tensor(0)
    shape = call.shape(0)
    lowest = -float("inf") if is_float(x.dtype) else _lowest(x.dtype)
    values = _windows(call, x, window, lowest)
    images = call.images
    channels, sizes = shape[images.channels], images.sizes(shape)
    if channels is None:
        raise UnsupportedError("it needs to know the number of channels")
    grid = np.arange(int(np.prod(sizes)), dtype=np.int64).reshape(sizes)
    padded = np.pad(grid, window.pads, constant_values=0)
    counts = images.sizes(values.shape)
    parts = []
    for offset in itertools.product(*map(range, window.kernel)):
        key = tuple(
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, s, n in zip(offset, window.dilations, window.strides, counts, strict=True)
        )
        parts.append(padded[key])
    where = np.expand_dims(np.stack(parts, axis=-1), (0, 1) if images.first else (0, -2))
    best = ops.expand_dims(ops.argmax(values, axis=-1), -1)
    one_hot = ops.equal(best, np.arange(where.shape[-1], dtype=np.int32))
    spatial = ops.sum(ops.where(one_hot, where, np.zeros_like(where)), axis=-1)
    per_image = int(np.prod(sizes))
    ones = [1] * len(sizes)
    plane = np.arange(channels).reshape(images.join(1, channels, ones)) * per_image
    first = call.exporter.sizes.range(call.dims(0)[0])
    image = (ops if shape[0] is None else np).reshape(first, images.join(-1, 1, ones))
    image = (
        ops.multiply(ops.cast(image, "int64"), per_image * channels)
        if shape[0] is None
        else (image.astype(np.int64) * (per_image * channels))
    )
    indices = plus(plus(ops.cast(spatial, "int64"), plane), image)
    return [ops.max(values, axis=-1), indices]


def average_pool(call: Call) -> Any:
    """AveragePool; ``count_include_pad`` says whether what is padded counts."""
    kernel = call.attribute("kernel_shape")
    plain = Window.of(call, kernel)
    window = _window(call)
    x = call.tensor(0)
    include = bool(call.attribute("count_include_pad", 0))
    if max(window.dilations) > 1:
        return _averaged(call, x, window, plain, include)
    if not window.padded or (window.same and not include):
        return _pooled(call, _AVERAGE, x, window, window.same)
    if any(a < 0 for a, _ in window.pads):
        raise UnsupportedError("it needs to know the image's size")
    padded = pad_image(call, x, window.pads)
    means = _pooled(call, _AVERAGE, padded, window, False)
    if include and window.pads == plain.pads:
        return means
    return ops.multiply(means, _correction(call, window, plain, include, means))


def _correction(call: Call, window: Window, plain: Window, include: bool, y: Any) -> Any:
    """The number of elements of a window over the number of those that count."""
    factor = np.ones((1,), np.float64)
    for axis, size in enumerate(call.images.sizes(call.shape(0))):
        if size is None:
            raise UnsupportedError("count_include_pad=0 needs to know the image's size")
        inside = np.ones(size)
        before, behind = plain.pads[axis]
        counted = np.pad(inside, (before, behind), constant_values=1.0 if include else 0.0)
        total = before + behind + size
        counted = np.pad(counted, (0, sum(window.pads[axis]) + size - total))
        step, k, d = window.strides[axis], window.kernel[axis], window.dilations[axis]
        starts = range(0, len(counted) - window.extents[axis] + 1, step)
        counts = np.array([counted[s : s + (k - 1) * d + 1 : d].sum() for s in starts])
        ratio = k / np.maximum(counts, 1)
        factor = factor[..., None] * ratio
    return factor.reshape(call.images.join(1, 1, factor.shape[1:])).astype(y.dtype)


def _averaged(call: Call, x: Any, window: Window, plain: Window, include: bool) -> Any:
    """With dilations, which Keras's pools do not have."""
    means = ops.mean(_windows(call, x, window, 0), axis=-1)
    return ops.multiply(means, _correction(call, window, plain, include, means))


def lp_pool(call: Call) -> Any:
    """LpPool: a mean of powers times the number of elements."""
    window = _window(call)
    p = call.attribute("p", 2)
    power = ops.power(ops.abs(call.tensor(0)), float(p))
    total = ops.sum(_windows(call, power, window, 0), axis=-1)
    return ops.power(total, 1.0 / p)


def global_average(call: Call) -> Any:
    return _global(call, _GLOBAL_AVERAGE)


def global_max(call: Call) -> Any:
    return _global(call, _GLOBAL_MAX)


def _global(call: Call, classes: Any) -> Any:
    """A global pool; where all that read it leave out the image's axes, so does the layer."""
    cls, data_format = classes[call.images.spatial], call.images.data_format
    result, x = call.node.outputs[0], call.tensor(0)
    readers = [use.node for use in result.uses()]
    before = call.dims(0)
    flat = (before[0], before[call.images.channels])
    shapes = call.exporter.shapes
    if (
        not readers
        or result.is_graph_output()
        or any(
            reader.op_type not in ("Squeeze", "Reshape", "Flatten")
            or reader.graph is not call.node.graph
            or shapes.shape(reader.outputs[0]) != flat
            for reader in readers
        )
    ):
        return call.layer(cls, keepdims=True, data_format=data_format)(x)
    y = call.layer(cls, keepdims=False, data_format=data_format)(x)
    for reader in readers:
        call.exporter.finish(reader, [y])
    return y  # nobody reads it with its unit axes


def global_lp(call: Call) -> Any:
    p = call.attribute("p", 2)
    total = ops.sum(ops.power(ops.abs(call.tensor(0)), float(p)), axis=call.images.axes, keepdims=True)
    return ops.power(total, 1.0 / p)
