"""What layers of Keras are in ONNX: one layer, one form.

A layer that has a form here is not traced (see :mod:`onnx_nhwc.load.keras.marking`): its form writes
standard operators with the layer's parameters, unchanged. Whatever else a model holds, tf2onnx reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from onnx_nhwc.load.keras.form_writer import COUNT, NORMALIZATION, Value, Writer
from onnx_nhwc.load.keras.normal_pieces import write_normalization

__all__ = ["CONVOLUTION", "Form", "form_of"]

_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Form:
    """How a layer is written.

    Attributes:
        write: Writes it; gets the layer's input, and returns its output.
        own: What a layer also has to fulfil, for its input of this shape.
        wide: Does it compute in float32 at least?
    """

    write: Callable[[Writer, Value], Value]
    own: Callable[[Any, tuple[int | None, ...]], bool] = lambda layer, shape: True
    wide: bool = False


# --- convolutions -----------------------------------------------------------------------------


def _convolution(w: Writer, x: Value) -> Value:
    layer = w.layer
    kernel = w.weight("kernel", layer.kernel, lambda a: np.moveaxis(a, (-1, -2), (0, 1)))
    return w.to_own(_conv(w, w.to_first(x), kernel, w.bias(), group=layer.groups))


def _conv(w: Writer, x: Value, kernel: Value, bias: Value | None, **attributes: Any) -> Value:
    """A convolution with the layer's windows, channels first."""
    layer = w.layer
    size, strides, dilations = (
        w.per_axis(n) for n in (layer.kernel_size, layer.strides, layer.dilation_rate)
    )
    window = {
        "strides": strides,
        "dilations": dilations,
        **w.padding(size, strides, dilations, layer.padding),
    }
    inputs = [x, kernel] if bias is None else [x, kernel, bias]
    return w.add("Conv", inputs, main=True, **window, **attributes)


def _depthwise_kernel(a: Any) -> Any:
    """(H, W, C, M) as (C M, 1, H, W)."""
    *size, channels, multiplier = a.shape
    return np.moveaxis(a, (-2, -1), (0, 1)).reshape(channels * multiplier, 1, *size)


def _depthwise(w: Writer, x: Value) -> Value:
    kernel = w.weight("kernel", w.layer.kernel, _depthwise_kernel)
    return w.to_own(_conv(w, w.to_first(x), kernel, w.bias(), group=w.layer.kernel.shape[-2]))


def _separable(w: Writer, x: Value) -> Value:
    """A depthwise convolution and a pointwise one, which the exporter knows to be one layer."""
    layer = w.layer
    kernel = w.weight("depthwise_kernel", layer.depthwise_kernel, _depthwise_kernel)
    point = w.weight("pointwise_kernel", layer.pointwise_kernel, lambda a: np.moveaxis(a, (-1, -2), (0, 1)))
    x = w.to_first(x)
    w.part = "depthwise"
    y = _conv(w, x, kernel, None, group=layer.depthwise_kernel.shape[-2])
    w.part = ""
    bias = w.bias()
    return w.to_own(w.add("Conv", [y, point, *([bias] if bias is not None else [])], main=True))


def _transposed(w: Writer, x: Value) -> Value:
    """Keras's ``same`` cuts as much as TensorFlow does, and extends what is still too short."""
    layer = w.layer
    kernel = w.weight("kernel", layer.kernel, lambda a: np.moveaxis(a, (-1, -2), (0, 1)))
    before, behind, more = [], [], []
    strides, dilations = w.per_axis(layer.strides), w.per_axis(layer.dilation_rate)
    sizes = w.per_axis(layer.kernel_size)
    stated: list[int | None] = [None] * len(sizes)
    if layer.output_padding is not None:
        stated = [*w.per_axis(layer.output_padding)]
    for size, stride, dilation, extra in zip(sizes, strides, dilations, stated, strict=True):
        extent = (size - 1) * dilation + 1
        if layer.padding == "same":
            cut = extent - stride if extra is None else 2 * (extent // 2) - extra
        else:
            cut = -max(stride - extent, 0) if extra is None else -extra
        before.append(max(cut, 0) // 2)
        behind.append(max(cut, 0) - max(cut, 0) // 2)
        more.append(max(-cut, 0))
    bias = w.bias()
    y = w.add(
        "ConvTranspose",
        [w.to_first(x), kernel, *([bias] if bias is not None else [])],
        main=True,
        strides=strides,
        dilations=dilations,
        pads=before + behind,
        output_padding=more,
    )
    return w.to_own(y)


def _traced_as_is(layer: Any, shape: tuple[int | None, ...]) -> bool:
    """Is a convolution what its class says: no other kernel, no other operation?"""
    plain = getattr(layer, "quantization_mode", None) is None and not getattr(layer, "lora_enabled", False)
    return plain and shape[1 if layer.data_format == "channels_first" else -1] is not None


# --- pools ------------------------------------------------------------------------------------


def _pool(op_type: str) -> Callable[[Writer, Value], Value]:
    def write(w: Writer, x: Value) -> Value:
        layer = w.layer
        size, strides = w.per_axis(layer.pool_size), w.per_axis(layer.strides)
        padding = w.padding(size, strides, [1] * len(size), layer.padding)
        return w.to_own(
            w.add(op_type, [w.to_first(x)], main=True, kernel_shape=size, strides=strides, **padding)
        )

    return write


def _global_pool(op_type: str) -> Callable[[Writer, Value], Value]:
    def write(w: Writer, x: Value) -> Value:
        y = w.add(op_type, [w.to_first(x)], main=True)
        if w.layer.keepdims:
            return w.to_own(y)
        w.part = "flat"
        return w.add("Squeeze", [y, w.constant(list(range(2, w.rank)))])

    return write


# --- sizes ------------------------------------------------------------------------------------


def _up_signal(w: Writer, x: Value) -> Value:
    """UpSampling1D repeats the axis behind the batch, whatever that is."""
    indices = np.repeat(np.arange(w.shape[1] or 0), w.layer.size)
    return w.add("Gather", [x, w.constant(indices)], main=True, axis=1)


def _crop(w: Writer, x: Value) -> Value:
    """Cropping as a Slice."""
    layer, count = w.layer, w.rank - 2
    pairs = [layer.cropping] if count == 1 else layer.cropping
    first = 2 if getattr(layer, "data_format", "") == "channels_first" else 1
    ends = [-int(behind) or _FAR for _, behind in pairs]
    bounds = [[int(before) for before, _ in pairs], ends, list(range(first, first + count))]
    return w.add("Slice", [x, *(w.constant(numbers) for numbers in bounds)], main=True)


def _up(w: Writer, x: Value) -> Value:
    """UpSampling: every element so many times, or interpolated."""
    factors = w.per_axis(w.layer.size)
    modes = {
        "nearest": {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    }
    scales = w.constant([1.0, 1.0, *map(float, factors)], np.float32)
    attributes = modes[getattr(w.layer, "interpolation", "nearest")]
    return w.to_own(w.add("Resize", [w.to_first(x), None, scales], main=True, **attributes))


def _simple_interpolation(layer: Any, shape: tuple[int | None, ...]) -> bool:
    return getattr(layer, "interpolation", "nearest") in ("nearest", "bilinear")


# --- normalisation ----------------------------------------------------------------------------


def _batch_normalization(w: Writer, x: Value) -> Value:
    layer = w.layer
    size = int(layer.moving_mean.shape[0])
    parameters = [
        w.weight("gamma", layer.gamma) if layer.scale else w.weight("absent_gamma", np.ones(size)),
        w.weight("beta", layer.beta) if layer.center else w.weight("absent_beta", np.zeros(size)),
        w.weight("moving_mean", layer.moving_mean),
        w.weight("moving_variance", layer.moving_variance),
    ]
    x = w.turn_axis(x, layer.axis)
    numbers = {"epsilon": float(layer.epsilon), "momentum": float(layer.momentum)}
    return w.turn_back(w.add("BatchNormalization", [x, *parameters], main=True, **numbers), layer.axis)


def _normalization(w: Writer, x: Value) -> Value:
    """Normalization: a BatchNormalization that says in its metadata what it was."""
    layer = w.layer
    adapted = layer.input_mean is None
    floor = keras.config.epsilon() ** 2
    size = int(np.prod(layer.mean.shape))
    parameters = [
        w.weight("absent_gamma", np.ones(size)),
        w.weight("absent_beta", np.zeros(size)),
        w.weight("mean", layer.mean, lambda a: a.reshape(-1)),
        w.weight("variance", layer.variance, lambda a: np.maximum(a.reshape(-1), floor)),
    ]
    x = w.turn_axis(x, layer.axis[0])
    y = w.add("BatchNormalization", [x, *parameters], main=True, epsilon=0.0, momentum=0.9)
    w.nodes[-1].metadata_props[NORMALIZATION] = "adapted" if adapted else "given"
    w.nodes[-1].metadata_props[COUNT] = str(int(layer.count)) if adapted else "0"
    return w.turn_back(y, layer.axis[0])


def _one_axis(layer: Any, shape: tuple[int | None, ...]) -> bool:
    return not layer.invert and len(layer.axis) == 1 and layer.mean is not None and len(shape) > 1


def _group_normalization(w: Writer, x: Value) -> Value:
    """As PyTorch writes it, which the compiler takes for what it is.

    x - Reshape(n, g, -1) - InstanceNormalization(ones, zeros) - Reshape(as x) - Mul - Add
    """
    layer = w.layer
    x = w.turn_axis(x, layer.axis)
    w.part = "groups"
    shape = w.add("Shape", [x])
    y = w.add("Reshape", [x, w.constant([0, layer.groups, -1])])
    w.part = ""
    ones, zeros = (w.constant([v] * layer.groups, w.dtype.numpy()) for v in (1.0, 0.0))
    y = w.add("InstanceNormalization", [y, ones, zeros], main=True, epsilon=float(layer.epsilon))
    w.part = "affine"
    y = w.add("Reshape", [y, shape])
    ones_behind = [1] * (w.rank - 2)
    for op_type, part in (("Mul", "gamma"), ("Add", "beta")):
        array = getattr(layer, part)
        if array is not None:
            y = w.add(op_type, [y, w.weight(part, array, lambda a: a.reshape(-1, *ones_behind))])
    return w.turn_back(y, layer.axis)


def _layer_normalization(w: Writer, x: Value) -> Value:
    """LayerNormalization over one axis or all, or in the pieces that it is made of, which have no order."""
    layer, rank = w.layer, w.rank
    axes = sorted(axis % rank for axis in _axes(layer))
    if axes == list(range(1, rank)) or len(axes) == 1:
        last = rank - 1 if len(axes) == 1 else axes[0]
        there = [a for a in range(rank) if a not in axes] + axes
        sizes = [int(w.shape[a] or 0) for a in axes]
        scale = (
            w.weight("gamma", layer.gamma)
            if layer.gamma is not None
            else w.weight("absent_gamma", np.ones(sizes))
        )
        bias = [w.weight("beta", layer.beta)] if layer.beta is not None else []
        x = w.transpose(x, there)
        y = w.add("LayerNormalization", [x, scale, *bias], main=True, axis=last, epsilon=float(layer.epsilon))
        return w.transpose(y, sorted(range(rank), key=there.__getitem__))
    wide = [int(w.shape[a] or 0) if a in axes else 1 for a in range(rank)][axes[0] :]
    parts = [
        w.weight(name, getattr(layer, name), lambda a: a.reshape(wide))
        if getattr(layer, name) is not None
        else None
        for name in ("gamma", "beta")
    ]
    return write_normalization(w, x, axes, float(layer.epsilon), *parts)


def _axes(layer: Any) -> list[int]:
    return list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]


def _known_axes(layer: Any, shape: tuple[int | None, ...]) -> bool:
    plain = not getattr(layer, "rms_scaling", False)
    return plain and len(shape) > 1 and all(shape[axis] is not None for axis in _axes(layer))


# --- the rest ---------------------------------------------------------------------------------


def _prelu(w: Writer, x: Value) -> Value:
    return w.add("PRelu", [x, w.weight("alpha", w.layer.alpha)], main=True)


def _dense(w: Writer, x: Value) -> Value:
    y = w.add("MatMul", [x, w.weight("kernel", w.layer.kernel)], main=True)
    bias = w.bias()
    w.part = "bias"
    return w.add("Add", [y, bias]) if bias is not None else y


def _plain_dense(layer: Any, shape: tuple[int | None, ...]) -> bool:
    plain = layer.quantization_mode is None and not layer.lora_enabled
    return plain and len(shape) > 1


CONVOLUTION = Form(_convolution, _traced_as_is)
_FORMS: dict[Any, Form] = {
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), CONVOLUTION),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), Form(_depthwise, _traced_as_is)),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), Form(_separable, _traced_as_is)),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
        Form(_transposed, _traced_as_is),
    ),
    **dict.fromkeys((layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D), Form(_pool("MaxPool"))),
    **dict.fromkeys(
        (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
        Form(_pool("AveragePool")),
    ),
    **dict.fromkeys(
        (layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D),
        Form(_global_pool("GlobalMaxPool")),
    ),
    **dict.fromkeys(
        (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
        Form(_global_pool("GlobalAveragePool")),
    ),
    layers.UpSampling1D: Form(_up_signal, lambda layer, shape: shape[1] is not None),
    **dict.fromkeys((layers.UpSampling2D, layers.UpSampling3D), Form(_up, _simple_interpolation)),
    **dict.fromkeys((layers.Cropping1D, layers.Cropping2D, layers.Cropping3D), Form(_crop)),
    layers.BatchNormalization: Form(_batch_normalization, _known_axes, wide=True),
    layers.Normalization: Form(_normalization, _one_axis, wide=True),
    layers.GroupNormalization: Form(
        _group_normalization, lambda layer, shape: len(shape) > 2 and _known_axes(layer, shape), wide=True
    ),
    layers.LayerNormalization: Form(_layer_normalization, _known_axes, wide=True),
    layers.PReLU: Form(_prelu),
    layers.Dense: Form(_dense, _plain_dense),
}

_BEHAVIOUR = {"call", "__call__", "convolution_op", "kernel", "compute_output_shape", "_resize_images"}


def form_of(layer: Any) -> Form | None:
    """The form of a layer, if it behaves as its class of Keras does."""
    if not layer.built:
        return None
    for cls in type(layer).__mro__:
        if cls in _FORMS:
            return _FORMS[cls]
        if cls is keras.layers.Layer or _BEHAVIOUR & set(vars(cls)):
            return None
    return None
