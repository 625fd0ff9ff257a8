"""Resize: what torch interpolates alike, and any other as a product with each axis's weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from onnx_nhwc.export.taps import Axis, Mode, taps
from onnx_nhwc.export.torch.call import Call, is_float
from onnx_nhwc.export.torch.tensor import Formed
from onnx_nhwc.export.values import Array, UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["resize"]


def resize(call: Call) -> Any:
    """Resize and Upsample of images, as F.interpolate where that is exact."""
    mode = _mode(call)
    scales, targets = _wanted(call)
    found = _interpolated(call, mode, scales, targets)
    return found if found is not None else _weighed(call, mode, scales, targets)


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


def _wanted(call: Call) -> tuple[list[float | None], list[Dim | None]]:
    """Scale or size of every axis, whichever is stated."""
    rank = call.rank(0)
    axes = call.attribute("axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    scales: list[float | None] = [1.0] * rank
    targets: list[Dim | None] = [None] * rank
    index = 1 if call.op_type == "Upsample" or call.opset < 11 else 2
    stated = call.attribute("scales")
    if stated is None and call.has(index):
        known = call.constant(index)
        if known is None:
            raise UnsupportedError("its scales are computed at run time")
        stated = known.array.reshape(-1).tolist()
    if stated:
        for axis, scale in zip(axes, stated, strict=True):
            scales[axis] = float(scale)
        return scales, targets
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("it keeps the aspect ratio")
    sizes = call.sizes(3)
    if sizes is None:
        found = call.integers("sizes", 3)
        if found is None:
            raise UnsupportedError("its sizes are computed at run time")
        sizes = tuple(map(Dim, found))
    own = call.dims(0)
    for axis, size in zip(axes, sizes, strict=True):
        if size != own[axis]:
            scales[axis], targets[axis] = None, size
    return scales, targets


def _interpolated(call: Call, mode: Mode, scales: list[float | None], targets: list[Dim | None]) -> Any:
    rank = call.rank(0)
    if scales[:2] != [1.0, 1.0] or not 3 <= rank <= 5 or not is_float(call.dtype(0)):
        return None
    name = _name(mode, rank - 2, scales[2:], targets[2:], call)
    if name is None:
        return None
    x = call.tensor(0)
    sized = any(target is not None for target in targets)
    more = "" if name[0] == "nearest" else f', mode="{name[0]}"'
    aligned = ", align_corners=True" if name[1] else ""
    if sized:
        sizes = [
            call.size(target) if target is not None else f"{x}.shape[{axis}]"
            for axis, target in enumerate(targets[2:], 2)
        ]
        return f"F.interpolate({x}, size=({', '.join(sizes)},){more}{aligned})".replace(",,", ",")
    factor = _factor([s for s in scales[2:] if s is not None])
    text = f"F.interpolate({x}, scale_factor={factor!r}{more}{aligned})"
    arguments = [("scale_factor", factor), ("mode", name[0])] if more else [("scale_factor", factor)]
    if name[1]:
        arguments.append(("align_corners", True))
    return Formed(text, "nn.Upsample", tuple(arguments))


def _factor(scales: list[float]) -> Any:
    """One number where all axes have the same, whole where it is whole."""
    found = [int(s) if s == int(s) else s for s in scales]
    return found[0] if len(set(found)) == 1 else tuple(found)


def _name(
    mode: Mode, n: int, scales: list[float | None], targets: list[Dim | None], call: Call
) -> tuple[str, bool] | None:
    """torch's mode, and whether corners are aligned; None if it has none that is the same."""
    half = mode.coordinates in ("half_pixel", "pytorch_half_pixel")
    if mode.antialias or (mode.kind == "cubic" and (mode.cubic != -0.75 or mode.exclude_outside or n != 2)):
        return None
    if mode.coordinates == "pytorch_half_pixel" and any(t is not None and t == Dim(1) for t in targets):
        return None
    if mode.kind != "nearest":
        kind = {"linear": ("linear", "bilinear", "trilinear")[n - 1], "cubic": "bicubic"}[mode.kind]
        aligned = mode.coordinates == "align_corners"
        return (kind, aligned) if half or aligned else None
    if mode.coordinates == "asymmetric" and mode.rounding in ("floor", "simple"):
        growing = all(s is None or s >= 1 for s in scales)
        return ("nearest", False) if mode.rounding == "floor" or growing else None
    whole = all(s is not None and s >= 1 and s == int(s) for s in scales)
    if whole and half:  # does its way of rounding repeat each element?
        factors = {int(s) for s in scales if s is not None}
        places = {f: taps(Axis(7, 7 * f, float(f)), mode)[0][0] for f in factors}
        repeats = all(list(p) == [i // f for i in range(7 * f)] for f, p in places.items())
        return ("nearest", False) if repeats else None
    return ("nearest-exact", False) if half and mode.rounding == "round_prefer_ceil" else None


def _weighed(call: Call, mode: Mode, scales: list[float | None], targets: list[Dim | None]) -> Any:
    """One axis after the other: a product with the weights of its taps."""
    roi = _regions(call)
    text, dtype = str(call.tensor(0)), call.dtype(0)
    if not is_float(dtype):
        text = f"{text}.float()"
    for axis, size in enumerate(call.shape(0)):
        scale, target, bounds = scales[axis], targets[axis], roi[axis]
        if scale == 1.0 and target is None and bounds == (0.0, 1.0):
            continue
        if size is None or (target is not None and not target.static):
            raise UnsupportedError("it needs to know the size of the axis that it resizes so")
        whole = target.number if target is not None else int(np.float32(size) * np.float32(scale or 1.0))
        matrix = _matrix(Axis(size, whole, whole / size if scale is None else scale, *bounds), mode)
        kept = matrix.astype(np.float64 if dtype == "float64" else np.float32)
        path = call.parts.paths.parameter("", "resize")
        weights = call.parts.program.parameter(
            path, kept.shape, str(kept.dtype), partial(np.asarray, kept), False
        )
        text = f"torch.tensordot({text}, {weights}, dims=([{axis}], [0])).movedim(-1, {axis})"
    if not is_float(dtype):
        text = f"torch.round({text})" if mode.kind == "nearest" else f"torch.trunc({text})"
    return call.cast(text, "" if not is_float(dtype) else dtype, dtype)


def _matrix(axis: Axis, mode: Mode) -> Array:
    """The weight of each element of the source in each of the target."""
    places, weights, outside = taps(axis, mode)
    matrix = np.zeros((axis.size, axis.target), np.float64)
    for row, place in enumerate(places):
        weight = np.ones(axis.target) if weights is None else weights[row]
        np.add.at(matrix, (place, np.arange(axis.target)), weight)
    if outside is not None and outside.any():
        raise UnsupportedError("some of its region lies outside of the image")
    return matrix


def _regions(call: Call) -> list[tuple[float, float]]:
    rank = call.rank(0)
    found = [(0.0, 1.0)] * rank
    if call.attribute("coordinate_transformation_mode", "") != "tf_crop_and_resize":
        return found
    axes = call.attribute("axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    flat = call.array(1, "region").reshape(-1).tolist()
    for i, axis in enumerate(axes):
        found[axis] = (flat[i], flat[i + len(axes)])
    return found
