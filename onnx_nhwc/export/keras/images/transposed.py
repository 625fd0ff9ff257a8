"""Transposed convolutions: real layers, with kernels (H, W, O, I)."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.images.convolution import (
    CONV,
    DEPTHWISE,
    add_bias,
    common,
    has_bias,
    kernel_order,
    kernel_shape,
    load_kernel,
    run,
)
from onnx_nhwc.export.keras.tensors.padding import crop, pad_image
from onnx_nhwc.export.values import Array, UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim
from onnx_nhwc.passes.graph import LAYER

__all__ = ["conv_transpose"]

_TRANSPOSE = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}


def conv_transpose(call: Call) -> Any:
    """ConvTranspose as Conv1DTranspose, 2D, 3D: all windows in full, then cut or padded.

    What is dilated, or whose every channel is its own group, becomes a plain convolution. The kernel
    is (H, W, M / group, C), with C the channels of the input.
    """
    shape = kernel_shape(call)
    if shape is None:
        return _transpose_computed(call)
    *size, filters, channels = shape
    group = call.attribute("group", 1)
    strides, dilations, crops, extra = _placement(call, size)
    depthwise = 1 < group == channels and len(size) in DEPTHWISE
    if max(dilations) > 1 or depthwise:
        return _as_convolution(call, shape, depthwise)
    if group > 1:
        return _grouped(call, size, filters, channels, group)
    same = _same(call, size, strides, crops, extra)
    if same is not None:
        padding, more, crops = "same", same.get("output_padding"), []
    else:
        padding, more = "valid", _output_padding(size, strides, extra)
    config = {
        "filters": filters,
        "kernel_size": tuple(size),
        "strides": tuple(strides),
        "padding": padding,
        "output_padding": more,
    }
    return crop(call, run(call, _TRANSPOSE[len(size)], config, call.tensor(0), load_kernel(call)), crops)


def _as_convolution(call: Call, shape: tuple[int, ...], depthwise: bool) -> Any:
    """The plain convolution, with the kernel turned, over the image with gaps: same parameters.

    TensorFlow has dilated and grouped convolutions everywhere; dilated transposed ones only in oneDNN.
    """
    *size, per_group, channels = shape
    group = call.attribute("group", 1)
    strides, dilations, crops, extra = _placement(call, size)
    reach = [(k - 1) * d for k, d in zip(size, dilations, strict=True)]
    pads = [(r - a, r - b + e) for r, (a, b), e in zip(reach, crops, extra, strict=True)]
    same = pads == [(r // 2, r - r // 2) for r in reach]
    x = stuff(call, call.tensor(0), strides)
    x = x if same else pad_image(call, x, pads)
    config = {
        "kernel_size": tuple(size),
        "dilation_rate": tuple(dilations),
        "padding": "same" if same else "valid",
    }

    def plain(kernel: Array) -> Array:
        kernel = np.flip(kernel, tuple(range(len(size)))).reshape(*size, per_group, group, channels // group)
        if depthwise:
            return kernel[..., 0].swapaxes(-2, -1)
        return np.moveaxis(kernel, -1, -3).swapaxes(-2, -1).reshape(*size, channels // group, -1)

    load = load_kernel(call, plain)
    if depthwise:
        return run(call, DEPTHWISE[len(size)], {"depth_multiplier": per_group, **config}, x, load)
    config |= {"filters": per_group * group, "groups": group}
    return run(call, CONV[len(size)], config, x, load)


def _same(
    call: Call,
    size: list[int],
    strides: list[int],
    crops: list[tuple[int, int]],
    extra: list[int],
) -> dict[str, Any] | None:
    """The arguments beside ``padding="same"``, if that cuts and adds the same.

    Where an odd number is cut, Keras's backends do not agree on where; who used it on one means that.
    """
    if not any(map(any, crops)):
        return None
    stated = []
    for k, (before, behind), more in zip(size, crops, extra, strict=True):
        total = before + behind - more
        odd = total % 2 and LAYER not in call.node.metadata_props
        if before != max(total, 0) // 2 or odd:
            return None
        stated.append(2 * (k // 2) - total)
    if all(k - 2 * (k // 2) + p == s for k, p, s in zip(size, stated, strides, strict=True)):
        return {}
    if any(not 0 <= p < s for p, s in zip(stated, strides, strict=True)):
        return None
    return {"output_padding": tuple(stated) if len(stated) > 1 else stated[0]}


def _output_padding(size: list[int], strides: list[int], extra: list[int]) -> Any:
    """Keras extends what is shorter than its stride by itself unless this is stated."""
    if extra == [max(s - k, 0) for k, s in zip(size, strides, strict=True)]:
        return None
    return tuple(extra) if len(extra) > 1 else extra[0]


def _placement(call: Call, size: list[int]) -> tuple[list[int], list[int], list[tuple[int, int]], list[int]]:
    """Strides, dilations, what to cut from the full result, and what to add behind it."""
    n = len(size)
    strides = list(call.attribute("strides") or [1] * n)
    dilations = list(call.attribute("dilations") or [1] * n)
    dilations = [d if k > 1 else 1 for k, d in zip(size, dilations, strict=True)]
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
    dims = call.dims(0)
    for axis, stride in zip(call.images.axes, strides, strict=True):
        if stride == 1:
            continue
        key = [slice(None)] * len(x.shape)
        key[axis] = slice(None, 1 - stride)
        x = _spread(call, x, axis, stride, dims[axis])[tuple(key)]
    return x


def _spread(call: Call, x: Any, axis: int, stride: int, dim: Dim) -> Any:
    """Zeros behind each element of an axis, whose size is ``dim``."""
    _, *sizes = x.shape
    if all(size is not None for size in sizes):
        before, size, behind = sizes[: axis - 1], sizes[axis - 1], sizes[axis:]
        pads = [(0, 0)] * (len(sizes) + 2)
        pads[axis + 1] = (0, stride - 1)
        wide = ops.pad(ops.reshape(x, (-1, *before, size, 1, *behind)), pads)
        return ops.reshape(wide, (-1, *before, size * stride, *behind))
    places = call.parts.sizes.range(dim * Dim(stride))
    shape = [1] * len(x.shape)
    shape[axis] = -1
    taken = ops.reshape(ops.equal(ops.mod(places, stride), 0), shape)
    return ops.where(taken, ops.repeat(x, stride, axis=axis), ops.cast(0, x.dtype))


def _grouped(call: Call, size: list[int], filters: int, channels: int, group: int) -> Any:
    """A transposed convolution in groups: one layer each."""
    strides, _, crops, extra = _placement(call, size)
    parts = ops.split(call.tensor(0), group, axis=call.images.channels)
    base = call.name(1)
    results = []
    for index, part in enumerate(parts):
        layer = call.parts.keep(
            _TRANSPOSE[len(size)](
                filters,
                tuple(size),
                strides=tuple(strides),
                output_padding=_output_padding(size, strides, extra),
                name=call.walk.names.unique(f"{base}_group{index}"),
                dtype=call.dtype(0),
                **common(call, has_bias(call)),
            )
        )
        results.append(layer(part))
        rows = slice(index * channels // group, (index + 1) * channels // group)
        columns = slice(index * filters, (index + 1) * filters)
        call.assign(layer.kernel, load_kernel(call, lambda a, rows=rows: a[..., rows]))  # type: ignore[misc]
        if layer.use_bias:
            call.assign(layer.bias, call.loader(2, lambda a, c=columns: a[c]))  # type: ignore[misc]
    return crop(call, ops.concatenate(results, axis=call.images.channels), crops)


def _transpose_computed(call: Call) -> Any:
    """A transposed convolution whose kernel is computed: a plain one over an image with gaps.

    ``keras.ops.conv_transpose`` mixes up its arguments when it is part of a functional model.
    """
    images = call.images
    kernel = call.transpose(call.tensor(1), kernel_order(call, call.rank(1)))
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
    return add_bias(call, crop(call, y, crops), call.x(2) if has_bias(call) else None)
