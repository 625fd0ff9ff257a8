"""Settings that are computed at run time, where the sizes that a model declares leave no choice.

An Unsqueeze whose axes are an input, but whose input and output have known sizes, is a Reshape; TopK
knows ``k`` from the size of its output. What a model declares is taken at its word.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import onnx_ir as ir

from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.rules import RULES
from onnx_nhwc.passes.shapes.infer import Shapes

__all__ = ["determined", "reduced", "sizes_of"]

Sizes = tuple[int, ...]

_ELEMENTWISE = {RULES["Sqrt"].relate, RULES["CastLike"].relate}
"""How the rules describe operators whose result has the sizes of their first input."""


def sizes_of(shapes: Shapes, value: ir.Value | None) -> Sizes | None:
    """The sizes of a value if all are numbers: its own, or those of what is computed from it by elements."""
    if value is None:
        return None
    shape = value.shape
    if shape is not None and all(isinstance(size, int) for size in shape):
        return tuple(int(size) for size in shape if isinstance(size, int))
    dims = shapes.shape(value)
    if dims is not None and all(dim.static for dim in dims):
        return tuple(dim.number for dim in dims)
    for node, index in value.uses():
        rule = RULES.get(node.op_type) if node.domain in g.STANDARD and index == 0 else None
        if rule is not None and rule.relate in _ELEMENTWISE:
            found = sizes_of(shapes, node.outputs[0])
            if found is not None:
                return found
    return None


def determined(shapes: Shapes, node: ir.Node, op_type: str, name: str) -> list[int] | None:
    """A setting that follows from the sizes of inputs and outputs, else None.

    Args:
        shapes: The sizes of the model's values.
        node: The node.
        op_type: The standard operator that it is.
        name: The name of the input or attribute.
    """
    if (op_type, name) == ("Split", "split"):
        return _split(shapes, node)
    find = _SETTINGS.get((op_type, name))
    before, after = sizes_of(shapes, node.inputs[0]), sizes_of(shapes, node.outputs[0])
    if find is None or before is None or after is None:
        return None
    return find(node, before, after)


def reduced(shapes: Shapes, node: ir.Node) -> list[tuple[int, ...]]:
    """The axes that a reduction may leave out; whether it reduces one of size 1 makes no difference."""
    before, after = sizes_of(shapes, node.inputs[0]), sizes_of(shapes, node.outputs[0])
    if before is None or after is None:
        return []
    if g.attribute(node, "keepdims", 1):
        return [tuple(axis for axis, size in enumerate(before) if after[axis] != size)]
    return [
        axes
        for axes in itertools.combinations(range(len(before)), len(before) - len(after))
        if tuple(size for axis, size in enumerate(before) if axis not in axes) == after
    ]


def _axes(node: ir.Node, rank: int) -> list[int]:
    axes = g.attribute(node, "axes")
    return list(range(rank)) if axes is None else [axis % rank for axis in axes]


def _split(shapes: Shapes, node: ir.Node) -> list[int] | None:
    before = sizes_of(shapes, node.inputs[0])
    parts = [sizes_of(shapes, output) for output in node.outputs]
    if before is None or None in parts:
        return None
    axis = g.attribute(node, "axis", 0) % len(before)
    return [part[axis] for part in parts if part is not None]


def _repeats(node: ir.Node, before: Sizes, after: Sizes) -> list[int] | None:
    return None if 0 in before else [b // a for a, b in zip(before, after, strict=True)]


def _resized(node: ir.Node, before: Sizes, after: Sizes) -> list[int] | None:
    """What an aspect ratio makes of the sizes does not tell the scale."""
    kept = g.attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch"
    return None if kept else [after[axis] for axis in _axes(node, len(before))]


_SETTINGS: dict[tuple[str, str], Callable[[ir.Node, Sizes, Sizes], list[int] | None]] = {
    ("Tile", "repeats"): _repeats,
    ("Resize", "sizes"): _resized,
    ("TopK", "k"): lambda node, x, y: [y[g.attribute(node, "axis", -1)]],
    ("OneHot", "depth"): lambda node, x, y: [y[g.attribute(node, "axis", -1)]],
    ("CumSum", "axis"): lambda node, x, y: [0] if len(x) == 1 else None,
    ("CumProd", "axis"): lambda node, x, y: [0] if len(x) == 1 else None,
    ("CenterCropPad", "shape"): lambda node, x, y: [y[axis] for axis in _axes(node, len(x))],
    ("Col2Im", "image_shape"): lambda node, x, y: list(y[2:]),
    ("AffineGrid", "size"): lambda node, x, y: [y[0], 0, *y[1:-1]],
}
