"""Resize and Upsample: layers where Keras has the same formula, taps along each axis elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call, is_float
from onnx_nhwc.export.keras.images.resize_at_run_time import RunTimeAxis, number, resized
from onnx_nhwc.export.taps import Axis, Mode, taps
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["resize"]

_UPSAMPLING = {1: layers.UpSampling1D, 2: layers.UpSampling2D, 3: layers.UpSampling3D}


def resize(call: Call) -> Any:
    """Resize in every mode; sizes that are not known have to be whole multiples, or stated."""
    x = call.tensor(0)
    mode = _mode(call)
    scales, targets = _wanted(call)
    if _unchanged(x.shape, scales, targets):
        return x
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
        bounds = (0.0, 1.0) if roi is None else roi[axis]
        unmoved = all(isinstance(v, float) for v in bounds) and (roi is None or tuple(bounds) == (0.0, 1.0))
        if _is(scale, 1.0) and target in (None, call.dims(0)[axis]) and unmoved:
            continue
        if size is None and target is None and isinstance(scale, float) and scale == int(scale):
            target = call.dims(0)[axis] * Dim(int(scale))
        computed = [v for v in (scale, *bounds) if v is not None and not isinstance(v, float)]
        if size is None or computed or (target is not None and not target.static):
            y = _at_run_time(call, y, axis, mode, target, scale, bounds)
            continue
        whole = target.number if target is not None else int(np.float32(size) * np.float32(scale or 1.0))
        if scale is None:
            scale = whole / size
        y = _tapped(y, axis, Axis(size, whole, scale, *bounds), mode)
    return y


def _unchanged(shape: tuple[int | None, ...], scales: list[Any], targets: list[Dim | None]) -> bool:
    """Is no size changed?  onnxruntime copies then, whatever the scales and the region are."""

    def kept(size: int | None, scale: Any, target: Dim | None) -> bool:
        if _is(scale, 1.0) and target is None:
            return True
        if size is None or (target is None and not isinstance(scale, float)):
            return False
        return (
            target == Dim(size) if target is not None else int(np.float32(size) * np.float32(scale)) == size
        )

    return all(kept(*axis) for axis in zip(shape, scales, targets, strict=True))


def _is(value: Any, wanted: float) -> bool:
    return isinstance(value, float) and value == wanted


def _mode(call: Call) -> Mode:
    a = call.attribute
    if call.op_type == "Upsample" or call.opset < 11:
        return Mode(a("mode", "nearest"), "asymmetric", "simple" if call.op_type == "Resize" else "floor")
    return Mode(
        a("mode", "nearest"),
        a("coordinate_transformation_mode", "half_pixel"),
        a("nearest_mode", "round_prefer_floor"),
        a("cubic_coeff_a", -0.75),
        bool(a("exclude_outside", 0)),
        bool(a("antialias", 0)),
        a("extrapolation_value", 0.0),
    )


def _wanted(call: Call) -> tuple[list[Any], list[Dim | None]]:
    """Scale and size of every axis, whichever are stated; a scale may be a scalar that is computed."""
    rank = call.rank(0)
    axes = call.attribute("axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    scales: list[Any] = [1.0] * rank
    targets: list[Dim | None] = [None] * rank
    old = call.op_type == "Upsample" or call.opset < 11
    index = 1 if old else 2
    stated = call.attribute("scales")
    if stated is not None and call.on_images:  # an attribute counts channels first, also in a function
        stated = call.images.join(stated[0], stated[1], stated[2:])
    if stated is None and call.has(index) and not (call.has(3) and _empty(call, index)):
        return _scaled(call, index, axes, scales), _declared(call, axes)
    if stated:
        for axis, scale in zip(axes, stated, strict=True):
            scales[axis] = float(scale)
        return scales, targets
    sizes = call.sizes(3)
    if sizes is None and call.constant(3) is None and call.result() is None:
        sizes = call.parts.sizes.integers(call.value(3))
    elif sizes is None:
        sizes = tuple(Dim(size) for size in call.integers("sizes", 3) or [])
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    own = call.dims(0)
    if policy != "stretch":
        sizes = _kept_aspect(call, axes, sizes, policy, scales)
    for axis, size in zip(axes, sizes, strict=True):
        if _stays(call, axis):
            continue
        targets[axis] = size
        if policy == "stretch":
            scales[axis] = 1.0 if size == own[axis] else None
    return scales, targets


def _scaled(call: Call, index: int, axes: list[int], scales: list[Any]) -> list[Any]:
    """The scales of an input, known now or computed."""
    known = call.constant(index)
    if known is not None:
        for axis, scale in zip(axes, known.array.reshape(-1), strict=True):
            scales[axis] = float(scale)
        return scales
    if call.has(3) or call.shape(index) != (len(axes),):
        raise UnsupportedError("how many scales it has is known at run time only")
    for i, axis in enumerate(axes):
        if not _stays(call, axis):
            scales[axis] = ops.cast(call.tensor(index)[i], "float32")
    return scales


def _stays(call: Call, axis: int) -> bool:
    """Is this the batch or the channels, of which a Resize of images speaks as well?"""
    return call.on_images and axis not in call.images.axes


def _declared(call: Call, axes: list[int]) -> list[Dim | None]:
    """The sizes that the result of computed scales is declared to have."""
    found: list[Dim | None] = [None] * call.rank(0)
    index = 1 if call.op_type == "Upsample" or call.opset < 11 else 2
    after = call.walk.shapes.shape(call.node.outputs[0])
    if call.constant(index) is None and after is not None:
        for axis in axes:
            found[axis] = after[axis] if after[axis].static and not _stays(call, axis) else None
    return found


def _empty(call: Call, index: int) -> bool:
    found = call.constant(index)
    return found is not None and found.size == 0


def _kept_aspect(
    call: Call, axes: list[int], sizes: tuple[Dim, ...], policy: str, scales: list[Any]
) -> tuple[Dim, ...]:
    """Sizes of one scale for all axes: the smallest, or the largest, that those that are stated ask for."""
    own = [call.dims(0)[axis] for axis in axes]
    smallest = policy == "not_larger"
    if all(dim.static for dim in (*own, *sizes)):
        ratios = [size.number / dim.number for dim, size in zip(own, sizes, strict=True)]
        ratio = min(ratios) if smallest else max(ratios)
        scales[:] = [ratio if axis in axes else scale for axis, scale in enumerate(scales)]
        return tuple(Dim(int(np.floor(ratio * dim.number + 0.5))) for dim in own)
    length = call.parts.sizes.length
    before, after = ([number(length(dim)) for dim in dims] for dims in (own, sizes))
    found = [ops.divide(b, a) for a, b in zip(before, after, strict=True)]
    common = found[0]
    for other in found[1:]:
        common = (ops.minimum if smallest else ops.maximum)(common, other)
    for axis in axes:
        scales[axis] = common
    rounded = [ops.floor(plus(ops.multiply(common, size), 0.5)) for size in before]
    return tuple(call.parts.sizes.name(ops.cast(size, "int32")) for size in rounded)


def _roi(call: Call) -> list[tuple[Any, Any]] | None:
    """Where the region of each axis starts and ends."""
    if call.attribute("coordinate_transformation_mode", "") != "tf_crop_and_resize":
        return None
    rank = call.rank(0)
    axes = call.attribute("axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    bounds: list[tuple[Any, Any]] = [(0.0, 1.0)] * rank
    known = call.constant(1)
    flat = ops.cast(call.tensor(1), "float32") if known is None else known.array.reshape(-1).tolist()
    for i, axis in enumerate(axes):
        if known is not None or not _stays(call, axis):
            bounds[axis] = (flat[i], flat[i + len(axes)])
    return bounds


def _factors(call: Call, scales: list[Any], targets: list[Dim | None]) -> list[int] | None:
    """Whole factors of the spatial axes, if nothing else is resized."""
    if not call.on_images:
        return None
    factors = []
    for own, scale, target in zip(call.dims(0), scales, targets, strict=True):
        factor = scale
        if target is not None:
            exact = target.over(own) if own.number else None
            factor = float(exact.number) if exact is not None and exact.static else None
        if not isinstance(factor, float) or factor < 1 or factor != int(factor):
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


def _at_run_time(
    call: Call, x: Any, axis: int, mode: Mode, target: Dim | None, scale: Any, bounds: tuple[Any, Any]
) -> Any:
    """Resize one axis of which something is known at run time only."""
    sizes = call.parts.sizes
    size = number(sizes.length(call.dims(0)[axis]))
    if target is None:
        target = sizes.name(ops.cast(ops.floor(ops.multiply(size, scale)), "int32"))
    new = number(sizes.length(target))
    if scale is None:
        scale = ops.divide(new, size)
    places = sizes.range(target)
    places = places.astype(np.float32) if target.static else ops.cast(places, "float32")
    return resized(x, axis, RunTimeAxis(size, new, scale, places, *bounds), mode)
