"""GridSample and AffineGrid: images read at places that are computed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["affine_grid", "grid_sample", "read"]


def affine_grid(call: Call) -> Any:
    """AffineGrid: the regular grid, times theta."""
    _, _, *sizes = call.integers("size", 1) or []
    theta = call.tensor(0)
    corners = bool(call.attribute("align_corners", 0))
    lines = []
    for size in sizes:
        if corners:
            line = np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
        else:
            line = (2 * np.arange(size) + 1) / size - 1
        lines.append(line)
    grid = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(sizes)], axis=-1)
    flat = grid.reshape(1, -1, len(sizes) + 1).astype(theta.dtype)
    y = ops.matmul(flat, ops.transpose(theta, (0, 2, 1)))
    return ops.reshape(y, (-1, *sizes, len(sizes)))


def grid_sample(call: Call) -> Any:
    """GridSample on N,H,W,C data: nearest, linear and cubic, with every padding."""
    x, grid = call.tensor(0), call.tensor(1)
    sizes = x.shape[1:-1]
    if None in sizes:
        raise UnsupportedError("it needs to know the image's size")
    corners = bool(call.attribute("align_corners", 0))
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(
        call.attribute("mode", "linear"), call.attribute("mode", "linear")
    )
    padding = call.attribute("padding_mode", "zeros")
    places = []
    for axis, size in enumerate(sizes):
        raw = grid[..., len(sizes) - 1 - axis]
        if corners:
            place = ops.multiply(plus(raw, 1.0), (size - 1) / 2)
        else:
            place = ops.divide(ops.subtract(ops.multiply(plus(raw, 1.0), float(size)), 1.0), 2.0)
        places.append(place)
    if padding != "zeros" and mode != "cubic":
        places = [_inside(p, size, padding, corners) for p, size in zip(places, sizes, strict=True)]
    taps = [_taps(p, mode) for p in places]
    total: Any = None
    for combination in itertools.product(*taps):
        part = read(x, [index for index, _ in combination], sizes, padding, corners)
        weight: Any = None
        for _, w in combination:
            weight = w if weight is None else weight if w is None else ops.multiply(weight, w)
        if weight is not None:
            part = ops.multiply(part, ops.expand_dims(weight, -1))
        total = part if total is None else plus(total, part)
    return total


def _inside(place: Any, size: int, padding: str, corners: bool) -> Any:
    """Bring a place into the image: clamp it to the border, or reflect it there."""
    if padding == "border":
        return ops.clip(place, 0.0, float(size - 1))
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return ops.zeros_like(place)
    turns = ops.mod(ops.subtract(place, low), 2 * span)
    turned = plus(ops.minimum(turns, ops.subtract(2 * span, turns)), low)
    return ops.clip(turned, 0.0, float(size - 1)) if not corners else turned


def _taps(place: Any, mode: str) -> list[tuple[Any, Any]]:
    """The elements that a place is made of along one axis, and their weights."""
    if mode == "nearest":
        return [(ops.round(place), None)]
    low = ops.floor(place)
    part = ops.subtract(place, low)
    if mode == "linear":
        return [(low, ops.subtract(1.0, part)), (plus(low, 1.0), part)]
    return [(plus(low, float(k)), _cubic(ops.subtract(part, float(k)))) for k in (-1, 0, 1, 2)]


def _cubic(t: Any, a: float = -0.75) -> Any:
    t = ops.abs(t)
    t2, t3 = ops.square(t), ops.multiply(ops.square(t), t)
    near = plus(ops.subtract(ops.multiply(t3, a + 2), ops.multiply(t2, a + 3)), 1.0)
    far = plus(
        ops.subtract(ops.multiply(t3, a), ops.multiply(t2, 5 * a)),
        ops.subtract(ops.multiply(t, 8 * a), 4 * a),
    )
    return ops.where(ops.less_equal(t, 1.0), near, far)


def read(x: Any, index: list[Any], sizes: Any, padding: str, corners: bool) -> Any:
    """The elements at whole places; outside there are zeros, or what the padding says."""
    if padding != "zeros":
        index = [_inside(i, size, padding, corners) for i, size in zip(index, sizes, strict=True)]
    flat: Any = None
    valid: Any = None
    for i, size in zip(index, sizes, strict=True):
        if padding == "zeros":
            ok = ops.logical_and(ops.greater_equal(i, 0.0), ops.less_equal(i, float(size - 1)))
            valid = ok if valid is None else ops.logical_and(valid, ok)
        place = ops.cast(ops.clip(ops.round(i), 0.0, float(size - 1)), "int32")
        flat = place if flat is None else plus(ops.multiply(flat, size), place)
    rank = len(flat.shape)
    channels = x.shape[-1]
    data = ops.reshape(x, (-1, int(np.prod(sizes)), channels))
    count = int(np.prod(flat.shape[1:]))
    places = ops.reshape(flat, (-1, count, 1))
    picked = ops.take_along_axis(data, ops.broadcast_to(places, (*places.shape[:2], channels))
                                 if places.shape[0] is not None else
                                 ops.tile(places, (1, 1, channels)), axis=1)  # fmt: skip
    picked = ops.reshape(picked, (-1, *flat.shape[1:], channels))
    if valid is None:
        return picked
    assert rank
    mask = ops.cast(ops.expand_dims(valid, -1), picked.dtype)
    return ops.multiply(picked, mask)
