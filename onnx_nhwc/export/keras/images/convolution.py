"""Convolutions: real layers, with kernels as the functions dialect stores them (H, W, I, O)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.call import Load
from onnx_nhwc.export.keras.arithmetic import plus, safe
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.tensors.padding import Window, pad_image, subsample
from onnx_nhwc.export.values import Array, UnsupportedError
from onnx_nhwc.passes.graph import LAYER

__all__ = [
    "CONV",
    "DEPTHWISE",
    "add_bias",
    "common",
    "conv",
    "conv_integer",
    "has_bias",
    "kernel_order",
    "kernel_shape",
    "load_kernel",
    "run",
]

CONV = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
_SEPARABLE = {1: layers.SeparableConv1D, 2: layers.SeparableConv2D}
DEPTHWISE = {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}


def has_bias(call: Call, index: int = 2) -> bool:
    """Is there a bias, other than the zeros that stand for none?"""
    if not call.has(index):
        return False
    bias = call.constant(index)
    return bias is None or bias.trainable or bool(np.any(bias.array))


def common(call: Call, bias: bool) -> dict[str, Any]:
    return {"use_bias": bias, "data_format": call.images.data_format}


def kernel_order(call: Call, rank: int) -> tuple[int, ...]:
    """The permutation that makes a kernel one of Keras's: (H, W, I, O), or (H, W, O, I) if transposed.

    The functions dialect stores kernels so. Those of the standard operators are (O, I, H, W), or
    (I, O, H, W) if transposed.
    """
    return (*range(2, rank), 1, 0) if call.images.first else tuple(range(rank))


def kernel_shape(call: Call) -> tuple[int, ...] | None:
    """The shape of a constant kernel, in Keras's order."""
    kernel = call.constant(1)
    if kernel is None:
        return None
    return tuple(kernel.shape[axis] for axis in kernel_order(call, len(kernel.shape)))


def load_kernel(call: Call, change: Callable[[Array], Array] = lambda kernel: kernel) -> Load:
    """What loads a constant kernel in Keras's order, changed."""
    return call.loader(1, lambda a: change(a.transpose(kernel_order(call, a.ndim))))


def conv(call: Call) -> Any:
    """Conv as Conv1D, 2D, 3D, or DepthwiseConv1D, 2D where every channel is its own group."""
    shape = kernel_shape(call)
    if shape is None:
        return _computed(call)
    *size, per_group, filters = shape
    group = call.attribute("group", 1)
    window = Window.of(call, size)
    x = call.tensor(0)
    padding = "same" if window.same else "valid"
    skip = [1] * len(size)
    uneven = len(set(window.strides)) > 1
    depthwise = group > 1 and per_group == 1 and len(size) in DEPTHWISE and not uneven
    both = max(window.strides) > 1 and max(window.dilations) > 1
    point = _pointwise(call) if depthwise and not both and not has_bias(call) else None
    if point is not None:
        call.call_it(_common_scope(call, point) or point.name(1))
    call.name(1)
    if both:
        skip, window.strides = window.strides, [1] * len(size)
        padding = "valid"
    if window.causal and padding == "valid" and (point is not None or not depthwise):
        padding = "causal"
    if window.padded and padding == "valid":
        x = pad_image(call, x, _known(window))
    config = {
        "kernel_size": tuple(size),
        "strides": tuple(window.strides),
        "dilation_rate": tuple(window.dilations),
        "padding": padding,
    }
    if depthwise:
        multiplier = filters // group
        config["depth_multiplier"] = multiplier
        load = load_kernel(call, lambda a: a.reshape(*size, group, multiplier))
        if point is not None:
            return _separable(call, point, config, x, load)
        y = run(call, DEPTHWISE[len(size)], config, x, load)
    else:
        y = run(call, CONV[len(size)], {"filters": filters, "groups": group, **config}, x, load_kernel(call))
    return subsample(call, y, skip)


def _pointwise(call: Call) -> Call | None:
    """The pointwise convolution that alone reads this one, directly."""
    result = call.node.outputs[0]
    uses = list(result.uses())
    if len(uses) != 1 or result.is_graph_output() or uses[0].node.graph is not call.node.graph:
        return None
    try:
        point = call.walk.call(uses[0].node)
    except UnsupportedError:
        return None
    if point.op_type != "Conv" or uses[0].idx != 0 or not point.on_images:
        return None
    shape = kernel_shape(point)
    if shape is None or set(shape[:-2]) != {1} or point.attribute("group", 1) != 1:
        return None
    stays = set(point.attribute("strides") or [1]) == {1} and not any(point.attribute("pads") or [0])
    known = not has_bias(point) or point.constant(2) is not None
    return point if stays and known else None


def _common_scope(call: Call, point: Call) -> str:
    """A name by the scope that both nodes have for themselves, else none."""
    first, second = (one.node.name or "" for one in (call, point))
    layer = call.node.metadata_props.get(LAYER)
    scope = first.rpartition("/")[0]
    if layer is None or layer != point.node.metadata_props.get(LAYER):
        scope = scope.rpartition("/")[0]
        names = [node.name or "" for node in call.node.graph or ()]
        inside = {name for name in names if scope.strip("/") and name.startswith(f"{scope}/")}
        scope = scope if inside == {first, second} else ""
    return call.walk.names.of_node(scope, "Conv", "weight") if scope else ""


def _separable(call: Call, point: Call, config: dict[str, Any], x: Any, load: Load) -> Any:
    """A depthwise convolution and the pointwise one behind it as one layer."""
    shape = kernel_shape(point)
    assert shape is not None
    size, filters = config["kernel_size"], shape[-1]
    cls, config = _SEPARABLE[len(size)], {**config, "filters": filters}
    bias = has_bias(point)
    misplaced = bias and _misplaced(call, cls, config, x)
    more = [value for value in point.values[1:] if value is not None]
    layer = call.layer(cls, 1, more=more, **config, **common(call, bias and not misplaced))
    y = layer(x)
    call.assign(layer.depthwise_kernel, load)
    call.assign(layer.pointwise_kernel, load_kernel(point))
    if layer.use_bias:
        call.assign(layer.bias, point.loader(2))
    y = add_bias(call, y, point.x(2)) if misplaced else y
    call.walk.finish(point.node, [y])
    return y  # nobody else reads it


def _known(window: Window) -> list[tuple[int, int]]:
    if any(a < 0 for a, _ in window.pads):
        raise UnsupportedError("it needs to know the image's size")
    return window.pads


def run(call: Call, cls: Any, config: dict[str, Any], x: Any, load: Load) -> Any:
    """Call a layer with the node's kernel, and with its bias if it has one."""
    bias = has_bias(call)
    misplaced = bias and (call.constant(2) is None or _misplaced(call, cls, config, x))
    layer = call.layer(cls, 1, **config, **common(call, bias and not misplaced))
    y = layer(x)
    call.assign(layer.kernel, load)
    if layer.use_bias:
        call.assign(layer.bias, call.loader(2))
    return add_bias(call, y, call.x(2)) if misplaced else y


def _misplaced(call: Call, cls: Any, config: dict[str, Any], x: Any) -> bool:
    """Might a layer add its bias along the last axis of channels-first data?

    On TensorFlow, Keras does so in eager execution where that axis has as many elements.
    """
    if not call.images.first:
        return False
    shape = cls(**config, **common(call, False), name="asked").compute_output_shape(x.shape)
    return not safe(shape, (shape[1], *[1] * call.images.spatial))


def _computed(call: Call) -> Any:
    """A convolution whose kernel is computed at run time."""
    return convolve(call, call.tensor(0), call.x(1), call.x(2) if has_bias(call) else None)


def convolve(call: Call, x: Any, kernel: Any, bias: Any = None) -> Any:
    """The convolution that ``call`` describes, of operands of any kind."""
    images = call.images
    kernel = call.transpose(kernel, kernel_order(call, len(kernel.shape)))
    *size, _, _ = kernel.shape
    if any(k is None for k in size):
        raise UnsupportedError("it needs to know its kernel's size")
    window = Window.of(call, size)
    skip = [1] * len(size)
    if max(window.strides) > 1 and (max(window.dilations) > 1 or len(set(window.strides)) > 1):
        skip, window.strides = window.strides, [1] * len(size)
        window.same = False
    if window.padded and not window.same:
        x = ops.pad(x, images.join((0, 0), (0, 0), _known(window)))
    config = {
        "strides": tuple(window.strides),
        "dilation_rate": tuple(window.dilations),
        "padding": "same" if window.same else "valid",
        "data_format": images.data_format,
    }
    return add_bias(call, subsample(call, _in_groups(call, x, kernel, config), skip), bias)


def _in_groups(call: Call, x: Any, kernel: Any, config: dict[str, Any]) -> Any:
    """A convolution by a kernel that is computed; ``keras.ops.conv`` takes no groups."""
    group, channels = call.attribute("group", 1), call.images.channels
    *size, per_group, filters = kernel.shape
    if group == 1:
        return ops.conv(x, kernel, **config)
    if filters is None:
        raise UnsupportedError("it needs to know the number of its filters")
    steps = {*config["strides"]}, {*config["dilation_rate"]}
    if per_group == 1 and len(size) in DEPTHWISE and all(len(step) == 1 for step in steps):
        own = ops.reshape(kernel, (*size, group, filters // group))
        # loaded from a file, tuples are lists, which TensorFlow's depthwise convolution does not take
        (config["strides"],), (config["dilation_rate"],) = steps
        return ops.depthwise_conv(x, own, **config)
    xs, kernels = ops.split(x, group, axis=channels), ops.split(kernel, group, axis=-1)
    parts = [ops.conv(part, own, **config) for part, own in zip(xs, kernels, strict=True)]
    return ops.concatenate(parts, axis=channels)


def add_bias(call: Call, y: Any, bias: Any) -> Any:
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
