"""Settings that are computed at run time, where the sizes that a model declares leave no choice.

An Unsqueeze whose axes are an input, but whose input and output have known sizes, is a Reshape; TopK
knows ``k`` from the size of its output. What a model declares is taken at its word.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from keras import ops

from onnx_nhwc.export.keras.tensors.arithmetic import plus
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.rules import RULES

if TYPE_CHECKING:
    from onnx_nhwc.export.keras.call import Call

__all__ = ["determined", "padded", "reduced", "result", "sliced"]

Sizes = tuple[int, ...]

_ELEMENTWISE = {RULES["Sqrt"].relate, RULES["CastLike"].relate}
"""How the rules describe operators whose result has the sizes of their first input."""


def result(call: Call, index: int = 0) -> Sizes | None:
    """The sizes of an output if all of them are numbers."""
    return _declared(call, call.node.outputs[index])


def _declared(call: Call, value: ir.Value) -> Sizes | None:
    """The sizes of a value, its own, or those of what is computed from it element by element."""
    shape = value.shape
    if shape is not None and all(isinstance(size, int) for size in shape):
        return tuple(int(size) for size in shape if isinstance(size, int))
    dims = call.exporter.shapes.shape(value)
    if dims is not None and all(dim.static for dim in dims):
        return tuple(dim.number for dim in dims)
    for node, index in value.uses():
        rule = RULES.get(node.op_type) if node.domain in g.STANDARD and index == 0 else None
        if rule is not None and rule.relate in _ELEMENTWISE:
            found = _declared(call, node.outputs[0])
            if found is not None:
                return found
    return None


def determined(call: Call, name: str) -> list[int] | None:
    """A setting that follows from the sizes of inputs and outputs, else None."""
    find = _SETTINGS.get((call.op_type, name))
    before, after = _declared(call, call.value(0)), result(call)
    if find is None or before is None or after is None:
        return None
    return find(call, before, after)


def reduced(call: Call) -> list[tuple[int, ...]]:
    """The axes that a reduction may leave out; whether it reduces one of size 1 makes no difference."""
    before, after = _declared(call, call.value(0)), result(call)
    if before is None or after is None:
        return []
    if call.attribute("keepdims", 1):
        return [tuple(axis for axis, size in enumerate(before) if after[axis] != size)]
    return [
        axes
        for axes in itertools.combinations(range(len(before)), len(before) - len(after))
        if tuple(size for axis, size in enumerate(before) if axis not in axes) == after
    ]


def _axes(call: Call, rank: int) -> list[int]:
    axes = call.attribute("axes")
    return list(range(rank)) if axes is None else [axis % rank for axis in axes]


def _split(call: Call, before: Sizes, after: Sizes) -> list[int] | None:
    axis = call.attribute("axis", 0) % len(before)
    shapes = [result(call, i) for i in range(len(call.node.outputs))]
    return [shape[axis] for shape in shapes if shape is not None] if None not in shapes else None


def _repeats(call: Call, before: Sizes, after: Sizes) -> list[int] | None:
    return None if 0 in before else [b // a for a, b in zip(before, after, strict=True)]


def _resized(call: Call, before: Sizes, after: Sizes) -> list[int] | None:
    """What an aspect ratio makes of the sizes does not tell the scale."""
    kept = call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch"
    return None if kept else [after[axis] for axis in _axes(call, len(before))]


_SETTINGS: dict[tuple[str, str], Callable[[Call, Sizes, Sizes], list[int] | None]] = {
    ("Split", "split"): _split,
    ("Tile", "repeats"): _repeats,
    ("Resize", "sizes"): _resized,
    ("TopK", "k"): lambda call, x, y: [y[call.attribute("axis", -1)]],
    ("OneHot", "depth"): lambda call, x, y: [y[call.attribute("axis", -1)]],
    ("CumSum", "axis"): lambda call, x, y: [0] if len(x) == 1 else None,
    ("CumProd", "axis"): lambda call, x, y: [0] if len(x) == 1 else None,
    ("CenterCropPad", "shape"): lambda call, x, y: [y[axis] for axis in _axes(call, len(x))],
    ("Col2Im", "image_shape"): lambda call, x, y: list(y[2:]),
    ("AffineGrid", "size"): lambda call, x, y: [y[0], 0, *y[1:-1]],
}


def _per_axis(call: Call, index: int, axes: int, rank: int, default: int) -> list[Any]:
    """One number of an input for every axis of the data, of which input ``axes`` names some."""
    numbers = ops.cast(call.tensor(index), "int32")
    if not call.has(axes):
        return [numbers[i] for i in range(rank)]
    named = ops.mod(ops.cast(call.tensor(axes), "int32"), rank)
    found = []
    for axis in range(rank):
        mine = ops.equal(named, axis)
        total = ops.sum(ops.where(mine, numbers, 0))
        found.append(ops.where(ops.any(mine), total, default))
    return found


def sliced(call: Call) -> Any:
    """Slice from places that are computed, if the size of its result is known."""
    x, after = call.tensor(0), result(call)
    if after is None or None in x.shape:
        raise UnsupportedError("its starts are computed at run time")
    rank = len(after)
    starts = _per_axis(call, 1, 3, rank, 0)
    steps = _per_axis(call, 4, 3, rank, 1) if call.has(4) else [1] * rank
    for axis, (start, step) in enumerate(zip(starts, steps, strict=True)):
        size = x.shape[axis]
        start = ops.where(ops.less(start, 0), plus(start, size), start)
        last = ops.where(ops.less(step, 0), size - 1, size)
        start = ops.minimum(ops.maximum(start, 0), last)
        places = plus(ops.multiply(np.arange(after[axis], dtype=np.int32), step), start)
        x = ops.take(x, ops.clip(places, 0, max(size - 1, 0)), axis=axis)
    return x


def padded(call: Call) -> Any:
    """Pad by amounts that are computed, if the size of its result is known."""
    x, after = call.tensor(0), result(call)
    if after is None or None in x.shape:
        raise UnsupportedError("its pads are computed at run time")
    rank, mode = len(after), call.attribute("mode", "constant")
    pads = ops.reshape(ops.cast(call.tensor(1), "int32"), (2, -1))[0]
    value = ops.cast(ops.reshape(call.tensor(2), ()), x.dtype) if call.has(2) else None
    named = ops.mod(ops.cast(call.tensor(3), "int32"), rank) if call.has(3) else None
    outside: Any = None
    for axis, size in enumerate(x.shape):
        before = pads[axis] if named is None else ops.sum(ops.where(ops.equal(named, axis), pads, 0))
        places = ops.subtract(np.arange(after[axis], dtype=np.int32), before)
        if mode == "wrap":
            inside = ops.mod(places, size)
        elif mode == "reflect":
            turn = ops.mod(places, max(2 * (size - 1), 1))
            inside = ops.minimum(turn, ops.subtract(2 * (size - 1), turn))
        else:
            inside = ops.clip(places, 0, size - 1)
        if mode == "constant":
            shape = [-1 if i == axis else 1 for i in range(rank)]
            away = ops.reshape(ops.not_equal(places, inside), shape)
            outside = away if outside is None else ops.logical_or(outside, away)
        x = ops.take(x, inside, axis=axis)
    if outside is None:
        return x
    return ops.where(outside, ops.zeros_like(x) if value is None else value, x)
