"""What changed in operators' forms: each function writes one change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from .. import graph as g
from ..plausible import SourceWarning, warn
from .old import FAR, Old

__all__ = [
    "Change",
    "affine",
    "at_inference",
    "axes_from_the_front",
    "broadcast",
    "cast_by_number",
    "crop",
    "image_scaler",
    "not_in_training",
    "over_all",
    "paddings",
    "parametric",
    "per_position",
    "scaled",
    "scales_as_list",
    "shape_as_input",
    "slice_by_inputs",
    "slope_by_channel",
    "split_as_attribute",
    "stating",
    "tiles_of_one_axis",
    "whole_p",
    "without",
]

Change = Callable[[Old], None]

# ------------------------------------------------------------------- forms before opset 7


def without(*names: str) -> Change:
    """Attributes that said nothing, or nothing that the outputs do not say."""

    def change(old: Old) -> None:
        for name in names:
            g.set_attribute(old.node, name, None)

    return change


def stating(**defaults: Any) -> Change:
    """Attributes whose default was another."""

    def change(old: Old) -> None:
        for name, value in defaults.items():
            g.set_attribute(old.node, name, g.attribute(old.node, name, value))

    return change


def whole_p(old: Old) -> None:
    """LpPool's ``p`` was a float."""
    g.set_attribute(old.node, "p", int(old.take("p", 2.0)))


def broadcast(old: Old) -> None:
    """The second operand was aligned at ``axis``, where stated, and else at the last axis."""
    wide, axis = old.take("broadcast", 0), old.take("axis")
    if not wide or axis is None:
        return
    rank, own = old.rank(0), old.rank(1)
    _align(old, rank - axis % rank - own, own)


def _align(old: Old, missing: int, own: int) -> None:
    """Give the second input as many axes of 1 behind its own."""
    if missing > 0:
        axes = list(range(own, own + missing))
        old.node.replace_input_with(1, old.emit("Unsqueeze", old.node.inputs[1], axes=axes))


def slope_by_channel(old: Old) -> None:
    """PRelu's slope was one number, or one a channel."""
    if old.rank(1) == 1:
        _align(old, old.rank(0) - 2, 1)


def shape_as_input(old: Old) -> None:
    old.become("Reshape", old.node.inputs[0], old.edits.constant(old.take("shape", []), "shape"))


def cast_by_number(old: Old) -> None:
    """``to`` was a type's name."""
    to = old.take("to", "")
    types = dict(onnx.TensorProto.DataType.items())
    if isinstance(to, str) and to.upper() not in types:
        raise old.refused(f"it casts to '{to}', which is no type", "Export the model again.")
    g.set_attribute(old.node, "to", types[to.upper()] if isinstance(to, str) else int(to))


def paddings(old: Old) -> None:
    found = old.take("paddings")
    if found is not None:
        g.set_attribute(old.node, "pads", list(found))


def split_as_attribute(old: Old) -> None:
    """The lengths could be an input."""
    if g.input_at(old.node, 1) is not None:
        g.set_attribute(old.node, "split", _known(old, 1, "its lengths are"))
    old.node.resize_inputs(1)


def tiles_of_one_axis(old: Old) -> None:
    """It repeated along one axis, which was an input as the count was."""
    (tiles,), (axis,) = _known(old, 1, "how often it repeats is"), _known(old, 2, "its axis is")
    repeats = [1] * old.rank(0)
    repeats[axis] = tiles
    old.become("Tile", old.node.inputs[0], old.edits.constant(repeats, "repeats"))


def _known(old: Old, index: int, what: str) -> list[int]:
    tensor = g.constant(g.input_at(old.node, index))
    if tensor is None:
        raise old.refused(f"{what} computed, which no newer opset can say", "Export the model anew.")
    return [int(v) for v in tensor.numpy().reshape(-1)]


def scales_as_list(old: Old) -> None:
    """Upsample named height and width."""
    height, width = old.take("height_scale"), old.take("width_scale")
    mode = "nearest" if g.attribute(old.node, "mode", "nearest") == "nearest" else "linear"
    g.set_attribute(old.node, "mode", mode)
    if height is not None and width is not None:
        g.set_attribute(old.node, "scales", [1.0, 1.0, float(height), float(width)])


def at_inference(old: Old) -> None:
    """Dropout without ``is_test`` drew random numbers; opset 7 has it at inference only."""
    if not old.take("is_test", 0):
        warn(f"{g.describe(old.node)}: it is in training mode, and is written for inference", SourceWarning)


def not_in_training(old: Old) -> None:
    if not old.take("is_test", 0):
        raise old.refused("it is in training mode", "Export the model for inference (is_test = 1).")


# ------------------------------------------------------------- forms before opset 9 and 10


def per_position(old: Old) -> None:
    """BatchNormalization with statistics of every position is arithmetic on its elements.

    before:  BatchNormalization<spatial = 0>(x[N,C,H,W], scale[C,H,W], bias, mean, var)
    after:   (x - mean) / sqrt(var + epsilon) * scale + bias
    """
    if g.attribute(old.node, "spatial", 1) or old.rank(1) == 1 or len(old.node.outputs) > 1:
        return
    x, scale, bias, mean, var = old.node.inputs
    epsilon = g.attribute(old.node, "epsilon", 1e-5)
    known = g.constant(var)
    if var is not None and known is not None:
        array = known.numpy()
        deviation = old.edits.parameter(
            np.sqrt(array + array.dtype.type(epsilon)), var, f"{var.name}_deviation"
        )
    else:
        deviation = old.emit("Sqrt", old.emit("Add", var, old.number(epsilon, "epsilon")))
    normal = old.emit("Div", old.emit("Sub", x, mean), deviation)
    old.become("Add", old.emit("Mul", normal, scale), bias)


def over_all(old: Old) -> None:
    """MeanVarianceNormalization spoke of channels, not of axes."""
    axes = [a for a in range(old.rank(0)) if a != 1 or g.attribute(old.node, "across_channels", 0)]
    x = old.node.inputs[0]
    centred = old.emit("Sub", x, old.emit("ReduceMean", x, axes=axes, keepdims=1))
    if not g.attribute(old.node, "normalize_variance", 1):
        old.become("Identity", centred)
        return
    variance = old.emit("ReduceMean", old.emit("Mul", centred, centred), axes=axes, keepdims=1)
    old.become("Div", centred, old.emit("Sqrt", variance))


def affine(old: Old) -> None:
    """``alpha * x + beta``."""
    alpha = old.number(g.attribute(old.node, "alpha", 1.0), "alpha")
    beta = old.number(g.attribute(old.node, "beta", 0.0), "beta")
    old.become("Add", old.emit("Mul", old.node.inputs[0], alpha), beta)


def scaled(old: Old) -> None:
    """``scale * x``."""
    old.become("Mul", old.node.inputs[0], old.number(g.attribute(old.node, "scale", 1.0), "scale"))


def parametric(op_type: str) -> Change:
    """``alpha * f(beta * x)``."""

    def change(old: Old) -> None:
        alpha, beta = (old.number(g.attribute(old.node, name, 1.0), name) for name in ("alpha", "beta"))
        inner = old.emit(op_type, old.emit("Mul", old.node.inputs[0], beta))
        old.become("Mul", inner, alpha)

    return change


def image_scaler(old: Old) -> None:
    """``scale * x + bias``, a bias a channel."""
    scale = old.number(g.attribute(old.node, "scale", 1.0), "scale")
    bias = list(g.attribute(old.node, "bias", []))
    column = old.number(np.reshape(bias, (-1, 1, 1)), "bias") if bias else old.number(0.0, "bias")
    old.become("Add", old.emit("Mul", old.node.inputs[0], scale), column)


def crop(old: Old) -> None:
    """``border`` is left, top, right, bottom; ``scale`` says height and width instead of the last two."""
    left, top, right, bottom = g.attribute(old.node, "border")
    size = g.attribute(old.node, "scale")
    ends = [-bottom or FAR, -right or FAR] if size is None else [top + size[0], left + size[1]]
    old.become("Slice", old.node.inputs[0], starts=[top, left], ends=ends, axes=[2, 3])


def slice_by_inputs(old: Old) -> None:
    """DynamicSlice of known bounds; of others it stays what it is, which onnxruntime runs."""
    bounds = [g.integers(g.input_at(old.node, index)) for index in (1, 2, 3)]
    starts, ends, axes = bounds
    if starts is None or ends is None or (axes is None and g.input_at(old.node, 3) is not None):
        return
    old.become("Slice", old.node.inputs[0], starts=starts, ends=ends, axes=axes or list(range(len(starts))))


def axes_from_the_front(old: Old) -> None:
    """Axes counted from behind, which onnxruntime takes in any opset, and onnx from opset 11 on."""
    axes, shape = g.attribute(old.node, "axes"), old.sizes.of(old.node.inputs[0])
    if axes is not None and shape is not None and min(axes, default=0) < 0:
        rank = len(shape) + (len(axes) if old.node.op_type == "Unsqueeze" else 0)
        g.set_attribute(old.node, "axes", sorted(axis % rank for axis in axes))
