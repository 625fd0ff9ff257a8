"""Pools over images."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call, is_float
from onnx_nhwc.export.keras.tensors.padding import Window, pad_image
from onnx_nhwc.export.keras.tensors.reduction import comparable
from onnx_nhwc.export.values import UnsupportedError

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
        x = pad_image(call, x, _known(window), 0.0 if zero else -float("inf"))
    if dilated:
        window.pads = [(0, 0)] * len(window.kernel)
        return ops.max(_windows(call, x, window, 0), axis=-1)
    return _pooled(call, _MAX, x, window, window.same)


def _lowest(dtype: str) -> int:
    return int(np.iinfo(dtype).min)


def _windows(call: Call, x: Any, window: Window, value: float) -> Any:
    """The elements of every window, along a new last axis."""
    if window.padded:
        x = ops.pad(x, call.images.join((0, 0), (0, 0), _known(window)), constant_values=value)
    parts = []
    for offset in itertools.product(*map(range, window.kernel)):
        key = [_elements(window, axis, number) for axis, number in enumerate(offset)]
        parts.append(x[call.images.join(slice(None), slice(None), key)])
    return ops.stack(parts, axis=-1)


def _elements(window: Window, axis: int, number: int) -> slice:
    """The elements of this number in all windows along an axis, whatever its size."""
    first = number * window.dilations[axis]
    behind = window.extents[axis] - 1 - first
    return slice(first, -behind if behind else None, window.strides[axis])


def _known(window: Window) -> list[tuple[int, int]]:
    if any(a < 0 for a, _ in window.pads):
        raise UnsupportedError("it needs to know the image's size")
    return window.pads


def _with_indices(call: Call, window: Window) -> list[Any]:
    """MaxPool with Indices: offsets into the source's channels-first data."""
    x, images, dims = call.tensor(0), call.images, call.dims(0)
    lowest = -float("inf") if is_float(x.dtype) else _lowest(x.dtype)
    values = _windows(call, x, window, lowest)
    key = comparable(values, lowest) if is_float(x.dtype) else values
    rest = ops.cast(ops.argmax(key, axis=-1), "int64")  # which element of its window
    places = {}
    for i in reversed(range(images.spatial)):
        number = ops.multiply(ops.mod(rest, window.kernel[i]), window.dilations[i])
        rest = ops.floor_divide(rest, window.kernel[i])
        starts = ops.multiply(_counted(values, images.axes[i]), window.strides[i])
        places[images.axes[i]] = plus(number, ops.subtract(starts, window.pads[i][0]))
    channels = images.channels % len(dims)
    rows_first = not call.attribute("storage_order", 0)
    indices = _counted(values, 0)
    for axis in (channels, *(images.axes if rows_first else reversed(images.axes))):
        size = ops.cast(call.parts.sizes.length(dims[axis]), "int64")
        indices = plus(places.get(axis, _counted(values, axis)), ops.multiply(indices, size))
    return [ops.max(values, axis=-1), indices]


def _counted(values: Any, axis: int) -> Any:
    """``0, 1, 2, ...`` along an axis of the results, whose windows' elements are in ``values``."""
    shape = [1] * (len(values.shape) - 1)
    shape[axis] = -1
    if values.shape[axis] is not None:
        return np.arange(values.shape[axis], dtype=np.int64).reshape(shape)
    ones = ops.ones_like(values[tuple(slice(None) if i == axis else 0 for i in range(len(values.shape)))])
    return ops.reshape(ops.subtract(ops.cumsum(ops.cast(ones, "int64")), 1), tuple(shape))


def average_pool(call: Call) -> Any:
    """AveragePool; ``count_include_pad`` says whether what is padded counts."""
    kernel = call.attribute("kernel_shape")
    plain = Window.of(call, kernel)
    window = _window(call)
    x = call.tensor(0)
    include = bool(call.attribute("count_include_pad", 0))
    if max(window.dilations) > 1:
        return _corrected(call, window, plain, include, ops.mean(_windows(call, x, window, 0), axis=-1))
    if not window.padded or (window.same and not include):
        return _pooled(call, _AVERAGE, x, window, window.same)
    padded = pad_image(call, x, _known(window))
    means = _pooled(call, _AVERAGE, padded, window, False)
    if include and window.pads == plain.pads:
        return means
    return _corrected(call, window, plain, include, means)


def _corrected(call: Call, window: Window, plain: Window, include: bool, y: Any) -> Any:
    """Means over whole windows as means over those elements that count."""
    factor = np.ones(1)
    for axis, size in enumerate(call.images.sizes(call.shape(0))):
        shape = [1] * len(y.shape)
        shape[call.images.axes[axis]] = -1
        if size is not None:
            factor = factor * _ratio(window, plain, axis, np.ones(size), include).reshape(shape)
            continue
        key: list[Any] = [0] * len(y.shape)
        key[call.images.axes[axis]] = slice(None)
        ratio = _ratio(window, plain, axis, ops.ones_like(call.tensor(0)[tuple(key)]), include)
        y = ops.multiply(y, ops.reshape(ratio, tuple(shape)))
    return y if np.all(factor == 1) else ops.multiply(y, factor.astype(y.dtype))


def _ratio(window: Window, plain: Window, axis: int, inside: Any, include: bool) -> Any:
    """The elements of each window along an axis over those that count; ``inside`` are the image's."""
    np_or_ops: Any = np if isinstance(inside, np.ndarray) else ops
    before, behind = plain.pads[axis]
    more = window.pads[axis][1] - behind
    counted = np_or_ops.pad(inside, [(before, behind)], constant_values=1.0 if include else 0.0)
    # where sizes are known, ceil_mode may have left out the last window
    counted = counted[:more] if more < 0 else np_or_ops.pad(counted, [(0, more)], constant_values=0.0)
    total: Any = 0.0
    for number in range(window.kernel[axis]):
        total = total + counted[(_elements(window, axis, number),)]
    return np_or_ops.divide(window.kernel[axis], np_or_ops.maximum(total, 1.0))


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
    shapes = call.walk.shapes
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
        call.walk.finish(reader, [y])
    return y  # nobody reads it with its unit axes


def global_lp(call: Call) -> Any:
    p = call.attribute("p", 2)
    total = ops.sum(ops.power(ops.abs(call.tensor(0)), float(p)), axis=call.images.axes, keepdims=True)
    return ops.power(total, 1.0 / p)
