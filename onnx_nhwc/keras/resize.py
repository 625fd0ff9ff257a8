"""Resize and Upsample: layers where Keras has the same formula, taps along each axis elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.keras.arithmetic import plus
from onnx_nhwc.keras.call import Call, is_float
from onnx_nhwc.keras.determined import result
from onnx_nhwc.keras.taps import Axis, Mode, taps
from onnx_nhwc.keras.values import UnsupportedError
from onnx_nhwc.passes.layout import Dim

__all__ = ["resize"]

_UPSAMPLING = {1: layers.UpSampling1D, 2: layers.UpSampling2D, 3: layers.UpSampling3D}


def resize(call: Call) -> Any:
    """Resize in every mode; sizes that are not known have to be whole multiples, or stated."""
    x = call.tensor(0)
    mode = _mode(call)
    scales, targets = _wanted(call)
    factors = _factors(call, scales, targets)
    if factors is not None:
        fast = _layer(call, x, mode, factors)
        if fast is not None:
            return fast
    dtype = x.dtype
    roi = _roi(call)
    y = x if is_float(dtype) or mode.kind == "nearest" else ops.cast(x, "float32")
    for axis, size in enumerate(x.shape):
        scale, target = scales[axis], targets[axis]
        if scale == 1.0 and target in (None, call.dims(0)[axis]) and roi is None:
            continue
        if size is None and target is None and scale is not None and scale == int(scale):
            target = call.dims(0)[axis] * Dim(int(scale))
        if size is None or (target is not None and not target.static):
            y = _at_run_time(call, y, axis, mode, target, scale)
            continue
        whole = target.number if target is not None else int(np.floor(size * (scale or 1.0)))
        if scale is None:
            scale = whole / size
        bounds = (0.0, 1.0) if roi is None else roi[axis]
        y = _tapped(y, axis, Axis(size, whole, scale, *bounds), mode)
    return y


def _mode(call: Call) -> Mode:
    a = call.attribute
    if call.op_type == "Upsample" or call.opset < 11:
        return Mode(a("mode", "nearest"), "asymmetric", "floor")
    return Mode(
        a("mode", "nearest"),
        a("coordinate_transformation_mode", "half_pixel"),
        a("nearest_mode", "round_prefer_floor"),
        a("cubic_coeff_a", -0.75),
        bool(a("exclude_outside", 0)),
        bool(a("antialias", 0)),
        a("extrapolation_value", 0.0),
    )


def _wanted(call: Call) -> tuple[list[float | None], list[Dim | None]]:
    """Scale and size of every axis, whichever are stated."""
    rank = call.rank(0)
    axes = call.attribute("axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    scales: list[float | None] = [1.0] * rank
    targets: list[Dim | None] = [None] * rank
    old = call.op_type == "Upsample" or call.opset < 11
    index = 1 if old else 2
    stated = call.attribute("scales")
    if stated is not None and call.on_images:  # an attribute counts channels first, also in a function
        stated = call.images.join(stated[0], stated[1], stated[2:])
    if stated is None and call.has(index) and not (call.has(3) and _empty(call, index)):
        stated = [float(v) for v in call.array(index, "scales").reshape(-1)]
    if stated:
        for axis, scale in zip(axes, stated, strict=True):
            scales[axis] = float(scale)
        return scales, targets
    sizes = call.sizes(3)
    if sizes is None and call.constant(3) is None and result(call) is None:
        sizes = call.exporter.sizes.integers(call.value(3))
    elif sizes is None:
        sizes = tuple(Dim(size) for size in call.integers("sizes", 3) or [])
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    own = call.dims(0)
    if policy != "stretch":
        sizes = _kept_aspect(call, axes, sizes, policy, scales)
    for axis, size in zip(axes, sizes, strict=True):
        targets[axis] = size
        if policy == "stretch":
            scales[axis] = 1.0 if size == own[axis] else None
    return scales, targets


def _empty(call: Call, index: int) -> bool:
    found = call.constant(index)
    return found is not None and found.size == 0


def _kept_aspect(
    call: Call, axes: list[int], sizes: tuple[Dim, ...], policy: str, scales: list[float | None]
) -> tuple[Dim, ...]:
    if not all(size.static for size in sizes):
        raise UnsupportedError("it keeps the aspect ratio of sizes that are computed at run time")
    own = call.static(0)
    ratios = [size.number / own[axis] for axis, size in zip(axes, sizes, strict=True)]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    for axis in axes:
        scales[axis] = ratio
    return tuple(Dim(int(np.floor(ratio * own[axis] + 0.5))) for axis in axes)


def _roi(call: Call) -> list[tuple[float, float]] | None:
    if call.attribute("coordinate_transformation_mode", "") != "tf_crop_and_resize":
        return None
    flat = [float(v) for v in call.array(1, "roi").reshape(-1)]
    rank = call.rank(0)
    axes = call.attribute("axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    bounds = [(0.0, 1.0)] * rank
    for i, axis in enumerate(axes):
        bounds[axis] = (flat[i], flat[i + len(axes)])
    return bounds


def _factors(call: Call, scales: list[float | None], targets: list[Dim | None]) -> list[int] | None:
    """Whole factors of the spatial axes, if nothing else is resized."""
    if not call.on_images:
        return None
    factors = []
    for own, scale, target in zip(call.dims(0), scales, targets, strict=True):
        factor = scale
        if target is not None:
            exact = target.over(own) if own.number else None
            factor = float(exact.number) if exact is not None and exact.static else None
        if factor is None or factor < 1 or factor != int(factor):
            return None
        factors.append(int(factor))
    images = call.images
    return list(images.sizes(factors)) if factors[0] == factors[images.channels] == 1 else None


def _layer(call: Call, x: Any, mode: Mode, factors: list[int]) -> Any:
    """UpSampling, where it computes the same."""
    n = len(factors)
    if mode.kind == "nearest":
        for factor in set(factors):
            axis = Axis(7, 7 * factor, float(factor))
            if mode.coordinates in ("tf_crop_and_resize", "align_corners"):
                return None
            places, _, _ = taps(axis, mode)
            if list(places[0]) != [i // factor for i in range(7 * factor)]:
                return None
        if n == 1:  # UpSampling1D is channels last
            return None if call.images.first else call.layer(_UPSAMPLING[1], size=factors[0])(x)
        return call.layer(_UPSAMPLING[n], size=tuple(factors), data_format=call.images.data_format)(x)
    exact = mode.coordinates in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
    if mode.kind == "linear" and exact and n == 2 and is_float(x.dtype) and None not in factors:
        # Keras's own compiled functions cannot run this layer on an image of unknown size
        if x.dtype == "float64" or None in x.shape[1:]:
            return None
        return call.layer(
            layers.UpSampling2D,
            size=tuple(factors),
            interpolation="bilinear",
            data_format=call.images.data_format,
        )(x)
    return None


def _tapped(x: Any, axis: int, target: Axis, mode: Mode) -> Any:
    """Resize one axis by picking and weighing elements."""
    places, weights, outside = taps(target, mode)
    shape = [1] * len(x.shape)
    shape[axis] = target.target
    total: Any = None
    for k, row in enumerate(places):
        part = ops.take(x, row, axis=axis)
        if weights is not None:
            part = ops.multiply(part, weights[k].reshape(shape).astype(x.dtype))
        total = part if total is None else plus(total, part)
    if outside is not None and outside.any():
        value = np.asarray(mode.extrapolation, x.dtype).reshape([1] * len(shape))
        total = ops.where(outside.reshape(shape), value, total)
    return total


def _at_run_time(call: Call, x: Any, axis: int, mode: Mode, target: Dim | None, scale: float | None) -> Any:
    """Resize one axis whose sizes are known at run time only."""
    sizes = call.exporter.sizes
    size = sizes.length(call.dims(0)[axis])
    if target is None:
        scaled = ops.floor(ops.multiply(ops.cast(size, "float32"), scale))
        target = sizes.name(ops.cast(scaled, "int32"))
    last = ops.cast(ops.subtract(size, 1), "float32")
    x_new = ops.cast(sizes.range(target), "float32")
    old, new = (ops.cast(v, "float32") for v in (size, sizes.length(target)))
    ratio = ops.divide(new, old)
    by = ratio if scale is None else scale
    if mode.coordinates in ("half_pixel", "pytorch_half_pixel"):
        place = ops.subtract(ops.divide(plus(x_new, 0.5), by), 0.5)
    elif mode.coordinates == "half_pixel_symmetric":
        offset = ops.multiply(ops.subtract(1.0, ops.divide(ratio, by)), ops.divide(old, 2.0))
        place = plus(offset, ops.subtract(ops.divide(plus(x_new, 0.5), by), 0.5))
    elif mode.coordinates == "asymmetric":
        place = ops.divide(x_new, by)
    elif mode.coordinates == "align_corners":
        steps = ops.maximum(ops.subtract(new, 1.0), 1.0)
        place = ops.divide(ops.multiply(x_new, last), steps)
    else:
        raise UnsupportedError(f"sizes are unknown, and its coordinates are '{mode.coordinates}'")
    if mode.kind == "nearest":
        rounded = {
            "round_prefer_floor": lambda: ops.ceil(ops.subtract(place, 0.5)),
            "round_prefer_ceil": lambda: ops.floor(plus(place, 0.5)),
            "floor": lambda: ops.floor(place),
            "ceil": lambda: ops.ceil(place),
        }[mode.rounding]()
        rounded = ops.minimum(ops.maximum(rounded, 0.0), last)
        return ops.take(x, ops.cast(rounded, "int32"), axis=axis)
    if mode.kind == "cubic" and not mode.antialias and not mode.exclude_outside:
        return _cubic_at_run_time(x, axis, place, last, mode.cubic)
    if mode.kind != "linear" or mode.antialias:
        raise UnsupportedError(f"sizes are unknown, and its mode is '{mode.kind}'")
    place = ops.minimum(ops.maximum(place, 0.0), last)
    low = ops.floor(place)
    high = ops.minimum(plus(low, 1.0), last)
    part = _along(ops.subtract(place, low), x, axis)
    near, far = (ops.take(x, ops.cast(v, "int32"), axis=axis) for v in (low, high))
    return plus(near, ops.multiply(ops.subtract(far, near), part))


def _along(weights: Any, x: Any, axis: int) -> Any:
    shape = tuple(-1 if i == axis else 1 for i in range(len(x.shape)))
    return ops.cast(ops.reshape(weights, shape), x.dtype)


def _cubic_at_run_time(x: Any, axis: int, place: Any, last: Any, a: float) -> Any:
    low = ops.floor(place)
    t = ops.subtract(place, low)
    near, far = [a + 2, -(a + 3), 0.0, 1.0], [a, -5 * a, 8 * a, -4 * a]
    total: Any = None
    for k, coefficients in ((-1, far), (0, near), (1, near), (2, far)):
        distance = ops.abs(ops.subtract(t, float(k)))
        weight: Any = coefficients[0]
        for coefficient in coefficients[1:]:
            weight = plus(ops.multiply(distance, weight), coefficient)
        picked = ops.minimum(ops.maximum(plus(low, float(k)), 0.0), last)
        part = ops.take(x, ops.cast(picked, "int32"), axis=axis)
        part = ops.multiply(part, _along(weight, x, axis))
        total = part if total is None else plus(total, part)
    return total
