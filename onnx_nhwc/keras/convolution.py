"""Convolutions: real layers, with kernels as the functions dialect stores them (H, W, I, O)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.keras.arithmetic import plus, safe
from onnx_nhwc.keras.call import Call, Load
from onnx_nhwc.keras.form_writer import LAYER
from onnx_nhwc.keras.padding import Window, crop, pad_image, subsample
from onnx_nhwc.keras.values import Array, UnsupportedError

__all__ = ["conv", "conv_integer", "conv_transpose"]

_CONV = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
_DEPTHWISE = {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}
_SEPARABLE = {1: layers.SeparableConv1D, 2: layers.SeparableConv2D}
_TRANSPOSE = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}


def has_bias(call: Call, index: int = 2) -> bool:
    """Is there a bias, other than the zeros that stand for none?"""
    if not call.has(index):
        return False
    bias = call.constant(index)
    return bias is None or bias.trainable or bool(np.any(bias.array))


def _common(call: Call, bias: bool) -> dict[str, Any]:
    return {"use_bias": bias, "data_format": call.images.data_format}


def _order(call: Call, rank: int) -> tuple[int, ...]:
    """The permutation that makes a kernel one of Keras's: (H, W, I, O), or (H, W, O, I) if transposed.

    The functions dialect stores kernels so. Those of the standard operators are (O, I, H, W), or
    (I, O, H, W) if transposed.
    """
    return (*range(2, rank), 1, 0) if call.images.first else tuple(range(rank))


def _kernel_shape(call: Call) -> tuple[int, ...] | None:
    """The shape of a constant kernel, in Keras's order."""
    kernel = call.constant(1)
    if kernel is None:
        return None
    return tuple(kernel.shape[axis] for axis in _order(call, len(kernel.shape)))


def _load_kernel(call: Call, change: Callable[[Array], Array] = lambda kernel: kernel) -> Load:
    """What loads a constant kernel in Keras's order, changed."""
    return call.loader(1, lambda a: change(a.transpose(_order(call, a.ndim))))


def conv(call: Call) -> Any:
    """Conv as Conv1D, 2D, 3D, or DepthwiseConv1D, 2D where every channel is its own group."""
    shape = _kernel_shape(call)
    if shape is None:
        return _computed(call)
    point = _pointwise(call)
    (point or call).name(1)
    *size, per_group, filters = shape
    group = call.attribute("group", 1)
    window = Window.of(call, size)
    x = call.tensor(0)
    padding = "same" if window.same else "valid"
    skip = [1] * len(size)
    uneven = len(set(window.strides)) > 1
    depthwise = group > 1 and per_group == 1 and len(size) in _DEPTHWISE and not uneven
    if max(window.strides) > 1 and max(window.dilations) > 1:
        skip, window.strides = window.strides, [1] * len(size)
        padding = "valid"
    if window.padded and padding == "valid":
        x = pad_image(call, x, _known(window))
    shared = {
        "kernel_size": tuple(size),
        "strides": tuple(window.strides),
        "dilation_rate": tuple(window.dilations),
        "padding": padding,
        **_common(call, has_bias(call)),
    }
    if depthwise:
        multiplier = filters // group
        layer = call.layer(_DEPTHWISE[len(size)], 1, depth_multiplier=multiplier, **shared)
        load = _load_kernel(call, lambda a: a.reshape(*size, group, multiplier))
        if point is not None and max(skip) == 1:
            return _separable(call, point, x, load, depth_multiplier=multiplier, **shared)
    else:
        layer = call.layer(_CONV[len(size)], 1, filters=filters, groups=group, **shared)
        load = _load_kernel(call)
    return subsample(call, _run(call, layer, x, load), skip)


def _pointwise(call: Call) -> Call | None:
    """The second half of a SeparableConv, of which this is the first (keras.layer_forms)."""
    output, layer = call.node.outputs[0], call.node.metadata_props.get(LAYER)
    uses = list(output.uses())
    if layer is None or len(uses) != 1 or output.is_graph_output() or has_bias(call):
        return None
    node = uses[0].node
    if node.op_type != call.node.op_type or node.metadata_props.get(LAYER) != layer:
        return None
    point = call.exporter.call(node)
    shape = _kernel_shape(point)
    return point if shape is not None and set(shape[:-2]) == {1} else None


def _separable(call: Call, point: Call, x: Any, load: Load, **shared: Any) -> Any:
    """SeparableConv1D, 2D: the depthwise ``call`` and the convolution of single points behind it."""
    filters = point.static(1)[_order(point, point.rank(1))[-1]]
    shared["use_bias"] = has_bias(point)
    cls = _SEPARABLE[len(shared["kernel_size"])]
    layer = point.layer(cls, 1, filters=filters, dtype=call.dtype(0), **shared)
    misplaced = layer.use_bias and _misplaced(call, layer.compute_output_shape(x.shape))
    layer.use_bias = layer.use_bias and not misplaced
    y = layer(x)
    call.assign(layer.depthwise_kernel, load)
    call.assign(layer.pointwise_kernel, _load_kernel(point))
    if layer.use_bias:
        call.assign(layer.bias, point.loader(2))
    y = _biased(point, y, point.x(2)) if misplaced else y
    call.exporter.finish(point.node, [y])
    return y


def _known(window: Window) -> list[tuple[int, int]]:
    if any(a < 0 for a, _ in window.pads):
        raise UnsupportedError("it needs to know the image's size")
    return window.pads


def _run(call: Call, layer: Any, x: Any, load: Any) -> Any:
    misplaced = layer.use_bias and _misplaced(call, layer.compute_output_shape(x.shape))
    layer.use_bias = layer.use_bias and not misplaced
    y = layer(x)
    call.assign(layer.kernel, load)
    if misplaced:
        return _biased(call, y, call.x(2))
    if layer.use_bias:
        if call.constant(2) is None:
            raise UnsupportedError("its bias is computed at run time")
        call.assign(layer.bias, call.loader(2))
    return y


def _misplaced(call: Call, shape: tuple[int | None, ...]) -> bool:
    """Might a layer add its bias along the last axis of channels-first data?

    On TensorFlow, Keras does so in eager execution where that axis has as many elements.
    """
    return call.images.first and not safe(shape, (shape[1], *[1] * call.images.spatial))


def _computed(call: Call) -> Any:
    """A convolution whose kernel is computed at run time."""
    return convolve(call, call.tensor(0), call.x(1), call.x(2) if has_bias(call) else None)


def convolve(call: Call, x: Any, kernel: Any, bias: Any = None) -> Any:
    """The convolution that ``call`` describes, of operands of any kind."""
    images = call.images
    kernel = call.transpose(kernel, _order(call, len(kernel.shape)))
    *size, _, _ = kernel.shape
    if any(k is None for k in size):
        raise UnsupportedError("it needs to know its kernel's size")
    window = Window.of(call, size)
    skip = [1] * len(size)
    if max(window.strides) > 1 and max(window.dilations) > 1:
        skip, window.strides = window.strides, [1] * len(size)
    if window.padded:
        x = ops.pad(x, images.join((0, 0), (0, 0), _known(window)))
    y = ops.conv(
        x,
        kernel,
        strides=tuple(window.strides),
        dilation_rate=tuple(window.dilations),
        data_format=images.data_format,
    )
    return _biased(call, subsample(call, y, skip), bias)


def _biased(call: Call, y: Any, bias: Any) -> Any:
    if bias is not None and call.images.first:
        bias = ops.reshape(bias, (-1, *[1] * call.images.spatial))
    return y if bias is None else plus(y, bias)


def conv_integer(call: Call) -> Any:
    """ConvInteger: exact in float64 as long as sums stay below 2**53."""
    x, kernel = (ops.cast(call.tensor(i), "float64") for i in (0, 1))
    if call.has(2):
        x = ops.subtract(x, ops.cast(call.tensor(2), "float64"))
    if call.has(3):
        kernel = ops.subtract(kernel, ops.cast(call.tensor(3), "float64"))
    return ops.cast(convolve(call, x, kernel), "int32")


def conv_transpose(call: Call) -> Any:
    """ConvTranspose as Conv1DTranspose, 2D, 3D: all windows in full, then cut or padded.

    The kernel is (H, W, M / group, C), with C the channels of the input.
    """
    shape = _kernel_shape(call)
    if shape is None:
        return _transpose_computed(call)
    *size, filters, channels = shape
    group = call.attribute("group", 1)
    n = len(size)
    if group > 1:
        return _grouped(call, size, filters, channels, group)
    strides, dilations, crops, extra = _placement(call, size)
    x = call.tensor(0)
    if max(strides) > 1 and max(dilations) > 1:
        x, strides = stuff(call, x, strides), [1] * n
    layer = call.layer(
        _TRANSPOSE[n],
        1,
        filters=filters,
        kernel_size=tuple(size),
        strides=tuple(strides),
        dilation_rate=tuple(dilations),
        padding="valid",
        output_padding=_output_padding(size, strides, extra),
        **_common(call, has_bias(call)),
    )
    return crop(call, _run(call, layer, x, _load_kernel(call)), crops)


def _output_padding(size: list[int], strides: list[int], extra: list[int]) -> Any:
    """Keras extends what is shorter than its stride by itself unless this is stated."""
    gaps = any(k < s for k, s in zip(size, strides, strict=True))
    if not any(extra) and not gaps:
        return None
    return tuple(extra) if len(extra) > 1 else extra[0]


def _placement(call: Call, size: list[int]) -> tuple[list[int], list[int], list[tuple[int, int]], list[int]]:
    """Strides, dilations, what to cut from the full result, and what to add behind it."""
    n = len(size)
    strides = list(call.attribute("strides") or [1] * n)
    dilations = list(call.attribute("dilations") or [1] * n)
    more = list(call.attribute("output_padding") or [0] * n)
    pads = list(call.attribute("pads") or [0] * (2 * n))
    wanted = call.attribute("output_shape")
    auto = call.attribute("auto_pad", "NOTSET")
    extents = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    if wanted is not None or auto.startswith("SAME"):
        for axis in range(n):
            given = call.images.sizes(call.shape(0))[axis]
            if given is None and wanted is not None:
                raise UnsupportedError("output_shape needs to know the image's size")
            length = given or 1
            target = wanted[-n:][axis] if wanted is not None else length * strides[axis]
            total = strides[axis] * (length - 1) + more[axis] + extents[axis] - target
            small, large = total // 2, total - total // 2
            if total < 0:
                more[axis], small, large = more[axis] - total, 0, 0
            first = small if auto in ("SAME_UPPER",) else large
            pads[axis], pads[axis + n] = first, (small + large) - first
    elif auto == "VALID":
        pads = [0] * (2 * n)
    crops = [(pads[a], max(pads[a + n] - more[a], 0)) for a in range(n)]
    extra = [max(more[a] - pads[a + n], 0) for a in range(n)]
    return strides, dilations, crops, extra


def stuff(call: Call, x: Any, strides: list[int]) -> Any:
    """Put zeros between the elements of the spatial axes."""
    for axis, stride in zip(call.images.axes, strides, strict=True):
        if stride == 1:
            continue
        _, *sizes = x.shape
        if any(size is None for size in sizes):
            raise UnsupportedError("strides with dilations need to know the image's size")
        before, size, behind = sizes[: axis - 1], sizes[axis - 1], sizes[axis:]
        pads = [(0, 0)] * (len(sizes) + 2)
        pads[axis + 1] = (0, stride - 1)
        wide = ops.pad(ops.reshape(x, (-1, *before, size, 1, *behind)), pads)
        key = [slice(None)] * len(x.shape)
        key[axis] = slice(0, (size - 1) * stride + 1)
        x = ops.reshape(wide, (-1, *before, size * stride, *behind))[tuple(key)]
    return x


def _grouped(call: Call, size: list[int], filters: int, channels: int, group: int) -> Any:
    """A transposed convolution in groups: one layer each."""
    strides, dilations, crops, extra = _placement(call, size)
    x = call.tensor(0)
    if max(strides) > 1 and max(dilations) > 1:
        x, strides = stuff(call, x, strides), [1] * len(size)
    parts = ops.split(x, group, axis=call.images.channels)
    base = call.name(1)
    results = []
    for index, part in enumerate(parts):
        layer = call.exporter.keep(
            _TRANSPOSE[len(size)](
                filters,
                tuple(size),
                strides=tuple(strides),
                dilation_rate=tuple(dilations),
                output_padding=_output_padding(size, strides, extra),
                name=call.exporter.names.unique(f"{base}_group{index}"),
                dtype=call.dtype(0),
                **_common(call, has_bias(call)),
            )
        )
        results.append(layer(part))
        rows = slice(index * channels // group, (index + 1) * channels // group)
        columns = slice(index * filters, (index + 1) * filters)
        call.assign(layer.kernel, _load_kernel(call, lambda a, rows=rows: a[..., rows]))  # type: ignore[misc]
        if layer.use_bias:
            call.assign(layer.bias, call.loader(2, lambda a, c=columns: a[c]))  # type: ignore[misc]
    return crop(call, ops.concatenate(results, axis=call.images.channels), crops)


def _transpose_computed(call: Call) -> Any:
    """A transposed convolution whose kernel is computed: a plain one over an image with gaps.

    ``keras.ops.conv_transpose`` mixes up its arguments when it is part of a functional model.
    """
    images = call.images
    kernel = call.transpose(call.tensor(1), _order(call, call.rank(1)))
    *size, _filters, _channels = kernel.shape
    group = call.attribute("group", 1)
    strides, dilations, crops, extra = _placement(call, list(size))
    x = stuff(call, call.tensor(0), strides)
    around = [((k - 1) * d,) * 2 for k, d in zip(size, dilations, strict=True)]
    x = ops.pad(x, images.join((0, 0), (0, 0), around))
    x = ops.pad(x, images.join((0, 0), (0, 0), [(0, e) for e in extra])) if any(extra) else x
    axes = tuple(range(len(size)))
    kernel = ops.transpose(ops.flip(kernel, axis=axes), (*axes, len(size) + 1, len(size)))
    xs = ops.split(x, group, axis=images.channels) if group > 1 else [x]
    kernels = ops.split(kernel, group, axis=-2) if group > 1 else [kernel]
    rate = tuple(dilations)
    parts = [
        ops.conv(part, k, dilation_rate=rate, data_format=images.data_format)
        for part, k in zip(xs, kernels, strict=True)
    ]
    y = ops.concatenate(parts, axis=images.channels) if group > 1 else parts[0]
    return _biased(call, crop(call, y, crops), call.x(2) if has_bias(call) else None)
