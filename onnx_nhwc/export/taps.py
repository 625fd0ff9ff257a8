"""Where each element of a resized axis comes from: indices and weights of its taps.

Formulas: the ONNX specification of Resize, computed in float32 as onnxruntime does, since the
nearest element depends on the last bit; what is closer to the middle than ``TIE`` is a tie there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnx_nhwc.export.values import Array, UnsupportedError

__all__ = ["TIE", "Axis", "taps"]

TIE = 1e-6


@dataclass(frozen=True)
class Axis:
    """One axis that is resized, ``size`` elements to ``target``."""

    size: int
    target: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class Mode:
    """How elements are interpolated: the attributes of Resize.

    The rounding ``simple`` is that of opset 10 and before: up where the image shrinks, else down.
    """

    kind: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


def original(axis: Axis, mode: str) -> Array:
    """The place in the source of each element of the target."""
    x = np.arange(axis.target, dtype=np.float32)
    scale, half = np.float32(axis.scale), np.float32(0.5)
    if mode == "align_corners":
        step = np.float32((axis.size - 1) / (axis.target - 1)) if axis.target > 1 else 0
        if axis.target > 1:
            return (x * np.float32(axis.size - 1) / np.float32(axis.target - 1)).astype(np.float32)
        return x * np.float32(step)
    if mode == "asymmetric":
        return x / scale
    if mode == "pytorch_half_pixel" and axis.target <= 1:
        return np.zeros_like(x)
    if mode == "tf_half_pixel_for_nn":
        return (x + half) / scale
    if mode == "half_pixel_symmetric":
        adjustment = np.float32(axis.target) / (scale * np.float32(axis.size))
        offset = np.float32(axis.size / 2) * (1 - adjustment)  # from here on float64, in onnxruntime too
        return (offset + (x + 0.5).astype(np.float64) / np.float64(scale) - 0.5).astype(np.float32)
    if mode == "tf_crop_and_resize":
        last = np.float32(axis.size - 1)
        start, end = np.float32(axis.start), np.float32(axis.end)
        if axis.target > 1:
            return start * last + x * (end - start) * last / np.float32(axis.target - 1)
        return half * (start + end) * last + 0 * x
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (x + half) / scale - half
    raise UnsupportedError(f"the coordinates '{mode}' are not known")


def taps(axis: Axis, mode: Mode) -> tuple[Array, Array | None, Array | None]:
    """Indices (taps, target), weights of the same shape (None for one tap), and who is outside."""
    x = original(axis, mode.coordinates)
    outside = None
    if mode.coordinates == "tf_crop_and_resize":
        outside = (x < 0) | (x > axis.size - 1)
    if mode.kind == "nearest":
        return _nearest(x, mode.rounding, axis)[None], None, outside
    if mode.antialias and axis.scale < 1:
        return (*_antialiased(x, axis, mode), outside)
    if mode.kind == "linear":
        return (*_linear(x, axis.size), outside)
    return (*_cubic(x, axis.size, mode), outside)


def _nearest(x: Array, rounding: str, axis: Axis) -> Array:
    low = np.floor(x)
    beyond = x - low - np.float32(0.5)
    roundings: dict[str, Callable[[], Array]] = {
        "round_prefer_floor": lambda: low + (beyond >= TIE),
        "round_prefer_ceil": lambda: low + (beyond > -TIE),
        "floor": lambda: low,
        "ceil": lambda: np.ceil(x),
        "simple": lambda: np.ceil(x) if axis.scale < 1 else low,
    }
    places: Array = np.clip(roundings[rounding](), 0, axis.size - 1).astype(np.int32)
    return places


def _linear(x: Array, size: int) -> tuple[Array, Array]:
    x = np.clip(x, 0, size - 1)
    low = np.floor(x).astype(np.int32)
    high = np.minimum(low + 1, size - 1)
    part = x - low
    return np.stack([low, high]), np.stack([1 - part, part])


def _cubic_weight(t: Array, a: float) -> Array:
    t = np.abs(t)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _cubic(x: Array, size: int, mode: Mode) -> tuple[Array, Array]:
    low = np.floor(x).astype(np.int32)
    places = np.stack([low + k for k in (-1, 0, 1, 2)])
    weights = _cubic_weight(x - places, mode.cubic)
    if mode.exclude_outside:
        weights = np.where((places < 0) | (places >= size), 0.0, weights)
        weights = weights / weights.sum(axis=0)
    return np.clip(places, 0, size - 1).astype(np.int32), weights


def _antialiased(x: Array, axis: Axis, mode: Mode) -> tuple[Array, Array]:
    """The filter widened by the scale; what lies outside counts as the border, or not at all."""
    scale = axis.scale
    support = (1 if mode.kind == "linear" else 2) / scale
    centre = x.astype(np.float64) + 0.5
    first = np.floor(centre - support + 0.5).astype(int)
    last = np.floor(centre + support + 0.5).astype(int)
    count = int((last - first).max())
    places = first[None] + np.arange(count)[:, None]
    t = (places - centre + 0.5) * scale
    weights = np.maximum(1 - np.abs(t), 0) if mode.kind == "linear" else _cubic_weight(t, mode.cubic)
    weights = np.where(places < last, weights, 0.0)
    if mode.exclude_outside:
        weights = np.where((places < 0) | (places >= axis.size), 0.0, weights)
    weights = weights / weights.sum(axis=0)
    return np.clip(places, 0, axis.size - 1).astype(np.int32), weights


__all__ += ["Mode", "original"]
