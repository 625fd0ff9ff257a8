"""Normalisation: real layers where scale and bias are weights, formulas where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.load.keras.form_writer import COUNT, NORMALIZATION

__all__ = [
    "batch_normalization",
    "group_normalization",
    "instance_normalization",
    "layer_normalization",
    "lp_normalization",
    "lrn",
    "mean_variance",
    "rms_normalization",
]


def _constants(call: Call, *indices: int) -> bool:
    return all(not call.has(i) or call.constant(i) is not None for i in indices)


def batch_normalization(call: Call) -> Any:
    """BatchNormalization: a layer with its moving statistics."""
    epsilon, momentum = call.attribute("epsilon", 1e-5), call.attribute("momentum", 0.9)
    training = call.attribute("training_mode", 0)
    axis = call.images.channels if call.on_images else min(call.rank(0) - 1, 1)
    if training or not _constants(call, 1, 2, 3, 4):
        return _batch_formula(call, epsilon, momentum, axis, bool(training))
    x = call.tensor(0)
    if NORMALIZATION in call.node.metadata_props:
        return _normalization(call, axis)(x)
    layer = call.layer(
        layers.BatchNormalization, 1, axis=axis, epsilon=epsilon, momentum=momentum,
        scale=not _absent(call, 1), center=not _absent(call, 2),
    )  # fmt: skip
    y = layer(x)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    for i, name in enumerate(names, start=1):
        if getattr(layer, name) is not None:
            call.assign(getattr(layer, name), call.loader(i))
    return y


def _normalization(call: Call, axis: int) -> Any:
    """The layer that a BatchNormalization was before it came into ONNX (keras.marking)."""
    metadata = call.node.metadata_props
    if metadata[NORMALIZATION] == "given":
        numbers = {"mean": call.array(3).tolist(), "variance": call.array(4).tolist()}
        return call.layer(layers.Normalization, 1, axis=axis, **numbers)
    layer = call.layer(layers.Normalization, 1, axis=axis)
    layer.build(call.tensor(0).shape)
    call.assign(layer.count, lambda: np.asarray(int(metadata[COUNT])))
    call.assign(layer.adapt_mean, call.loader(3))
    call.assign(_Last(layer, layer.adapt_variance), call.loader(4))
    return layer


class _Last:
    """The variable of a Normalization that is set last: it computes with copies of them."""

    def __init__(self, layer: Any, variable: Any) -> None:
        self.layer, self.variable = layer, variable

    def assign(self, value: Any) -> None:
        self.variable.assign(value)
        self.layer.finalize_state()


def _absent(call: Call, index: int) -> bool:
    """Was this parameter only made up, for a Keras layer that has none (keras.marking)?"""
    constant = call.constant(index)
    return constant is not None and "/absent_" in constant.name


def _neutral(call: Call, index: int, number: float) -> bool:
    """Is this no parameter, and without effect?"""
    constant = call.constant(index)
    return constant is not None and not constant.trainable and bool(np.all(constant.array == number))


def _batch_formula(call: Call, epsilon: float, momentum: float, axis: int, training: bool) -> Any:
    x = call.tensor(0)
    rank = len(x.shape)
    axis %= rank
    shape = [1] * rank
    shape[axis] = -1

    def wide(v: Any) -> Any:
        return ops.reshape(v, tuple(shape))

    mean, variance = call.x(3), call.x(4)
    results: list[Any] = []
    if training:
        axes = tuple(a for a in range(rank) if a != axis)
        now = ops.mean(x, axis=axes)
        spread = ops.mean(ops.square(ops.subtract(x, wide(now))), axis=axes)
        results = [
            plus(ops.multiply(old, momentum), ops.multiply(new, 1 - momentum))
            for old, new in ((mean, now), (variance, spread))
        ]
        mean, variance = now, spread
    scale = ops.divide(call.x(1), ops.sqrt(plus(variance, epsilon)))
    y = plus(ops.multiply(ops.subtract(x, wide(mean)), wide(scale)), wide(call.x(2)))
    return [y, *results]


def instance_normalization(call: Call) -> Any:
    """InstanceNormalization: as many groups as channels."""
    return _groups(call, call.shape(0)[call.images.channels])


def group_normalization(call: Call) -> Any:
    """GroupNormalization; before opset 21 scale and bias have an entry per group."""
    return _groups(call, call.attribute("num_groups"))


def _groups(call: Call, groups: int | None) -> Any:
    x, images = call.tensor(0), call.images
    channels = x.shape[images.channels]
    if channels is None or groups is None:
        raise UnsupportedError("it needs to know the number of channels")
    epsilon = call.attribute("epsilon", 1e-5)
    affine = _constants(call, 1, 2)
    layer = call.layer(
        layers.GroupNormalization, 1, groups=groups, axis=images.channels, epsilon=epsilon,
        scale=affine and not _neutral(call, 1, 1.0), center=affine and not _neutral(call, 2, 0.0),
    )  # fmt: skip
    y = layer(x)
    if affine:
        for i, variable in ((1, layer.gamma), (2, layer.beta)):
            if variable is not None:
                call.assign(variable, call.loader(i, lambda a: np.repeat(a, channels // a.size)))
        return y
    scale, bias = (call.x(i) for i in (1, 2))
    if scale.shape[0] != channels:
        scale, bias = (ops.repeat(v, channels // groups) for v in (scale, bias))
    if images.first:
        scale, bias = (ops.reshape(v, (-1, *[1] * images.spatial)) for v in (scale, bias))
    return plus(ops.multiply(y, scale), bias)


def layer_normalization(call: Call) -> Any:
    """LayerNormalization over the trailing axes, with the mean and 1/deviation if asked for."""
    rank = call.rank(0)
    first = call.attribute("axis", -1) % rank
    axes = list(range(first, rank))
    epsilon = call.attribute("epsilon", 1e-5)
    x = call.tensor(0)
    shape = x.shape[first:]
    scale = call.constant(1)
    plain = not call.wants(1) and not call.wants(2) and None not in shape
    if plain and _constants(call, 1, 2) and scale is not None and _is_of(scale.shape, shape):
        config = {"epsilon": epsilon, "center": call.has(2), "scale": not _absent(call, 1)}
        layer = call.layer(layers.LayerNormalization, 1, axis=axes, **config)
        y = layer(x)
        if layer.gamma is not None:
            call.assign(layer.gamma, call.loader(1, lambda a: a.reshape(shape)))
        if call.has(2):
            wide = (1,) * first + tuple(shape)
            call.assign(layer.beta, call.loader(2, lambda a: np.broadcast_to(a, wide).reshape(shape)))
        return y
    mean = ops.mean(x, axis=axes, keepdims=True)
    centred = ops.subtract(x, mean)
    variance = ops.mean(ops.square(centred), axis=axes, keepdims=True)
    inverse = ops.rsqrt(plus(variance, epsilon))
    y = ops.multiply(ops.multiply(centred, inverse), call.x(1))
    if call.has(2):
        y = plus(y, call.x(2))
    return [y, mean, inverse]


def _is_of(scale: tuple[int, ...], shape: Any) -> bool:
    """Whether a scale has these axes, and in front of them only axes of one element."""
    more = len(scale) - len(shape)
    return more >= 0 and scale == (1,) * more + tuple(shape)


def rms_normalization(call: Call) -> Any:
    """RMSNormalization over the trailing axes."""
    rank = call.rank(0)
    first = call.attribute("axis", -1) % rank
    epsilon = call.attribute("epsilon", 1e-5)
    x, scale = call.tensor(0), call.constant(1)
    if scale is not None and first == rank - 1 and _is_of(scale.shape, x.shape[-1:]):
        layer = call.layer(layers.RMSNormalization, 1, axis=-1, epsilon=epsilon)
        y = layer(x)
        call.assign(layer.scale, call.loader(1, lambda a: a.reshape(-1)))
        return y
    mean = ops.mean(ops.square(x), axis=list(range(first, rank)), keepdims=True)
    return ops.multiply(ops.multiply(x, ops.rsqrt(plus(mean, epsilon))), call.x(1))


def lp_normalization(call: Call) -> Any:
    """LpNormalization; a vector of zeros stays one."""
    axis, p = call.attribute("axis", -1), call.attribute("p", 2)
    x = call.tensor(0)
    if p == 1:
        norm = ops.sum(ops.abs(x), axis=axis, keepdims=True)
    else:
        norm = ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=True))
    return ops.divide_no_nan(x, norm)


def lrn(call: Call) -> Any:
    """LRN: sums of squares over neighbouring channels."""
    size = call.attribute("size")
    alpha, beta = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75)
    bias = call.attribute("bias", 1.0)
    x = call.tensor(0)
    images = call.images
    channels = x.shape[images.channels]
    before = (size - 1) // 2
    square = ops.square(x)
    pads = images.join((0, 0), (before, size - 1 - before), [(0, 0)] * images.spatial)
    padded = ops.pad(square, pads)
    total: Any = None
    everything = [slice(None)] * images.spatial
    for i in range(size):
        part = padded[images.join(slice(None), slice(i, i + channels), everything)]
        total = part if total is None else plus(total, part)
    norm = plus(ops.multiply(total, alpha / size), bias)
    return ops.divide(x, ops.power(norm, beta))


def mean_variance(call: Call) -> Any:
    """MeanVarianceNormalization, as its defining function computes it."""
    axes = list(call.attribute("axes") or [0, 2, 3])
    x = call.tensor(0)
    mean = ops.mean(x, axis=axes, keepdims=True)
    spread = ops.subtract(ops.mean(ops.square(x), axis=axes, keepdims=True), ops.square(mean))
    return ops.divide(ops.subtract(x, mean), plus(ops.sqrt(spread), 1e-9))
