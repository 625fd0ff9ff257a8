"""Writes operators' oldest forms, opset 1 to 6, and operators that were only ever tried, in newer terms.

A model of an opset before 7 becomes one of opset 7, the oldest that the rules know and the first that
onnxruntime runs in full. What changed is one row an operator here: attributes that were dropped, an
attribute that became an input, broadcasting that named an axis. onnx's own version converter is not used,
as it loses functions, does not enter bodies, and knows no operators but the standard's.

    before:  Add<broadcast = 1, axis = 1>(x[N,C,H,W], b[C])       Reshape<shape = [0, -1]>(x)
    after:   Add(x, Unsqueeze<axes = [1, 2]>(b))                  Reshape(x, [0, -1])

Affine, Crop, ImageScaler and their like were experiments that onnxruntime still runs below opset 10; they
become the standard's operators, which compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import UNKNOWN, Dim, Shape
from ..errors import ConversionError
from ..plausible import SourceWarning, warn
from ..shapes.inference import infer_node

OLDEST = 7
"""The oldest opset that the rules know."""
NEWEST_FORM = 11
"""From this opset on there is nothing left to do here."""
FAR = 2**31 - 1
"""The end of an axis of any size."""


def modernize(model: ir.Model) -> None:
    """Bring the standard's operators into the forms of opset 7, at the least.

    Raises :class:`ConversionError` where an old form says less than the new one needs.
    """
    if model.opset_imports and not any(domain in model.opset_imports for domain in g.STANDARD):
        return  # it has none of the standard's operators
    domain = next((d for d in g.STANDARD if d in model.opset_imports), "")
    opset = int(model.opset_imports.get(domain, 1))
    if opset >= NEWEST_FORM:
        return
    if opset < OLDEST:
        for graph in model.graphs():
            graph.opset_imports[domain] = OLDEST
        model.opset_imports[domain] = OLDEST
        warn(f"the model is raised from opset {opset} to opset {OLDEST}", SourceWarning)
    edits, sizes = g.Edits(model), Sizes()
    for graph in model.graphs():
        for node in graph:
            if node.domain in g.STANDARD:
                _raise(Old(node, edits, sizes), opset)


def _raise(old: Old, opset: int) -> None:
    if opset < 6:
        g.set_attribute(old.node, "consumed_inputs", None)
    for until, change in FORMS.get(old.node.op_type, ()):
        if opset < until:
            change(old)


@dataclass
class Sizes:
    """Sizes of values as far as they are declared, or follow from what computes them."""

    found: dict[ir.Value, Shape | None] = field(default_factory=dict)

    def of(self, value: ir.Value | None) -> Shape | None:
        """The sizes of a value; None if not even its rank is known."""
        pending = [] if value is None else [value]
        while pending:
            last = pending[-1]
            node = last.producer()
            if last in self.found:
                pending.pop()
                continue
            tensor = g.constant(last)
            shape = tensor.shape if tensor is not None else last.shape
            if isinstance(shape, ir.Shape):
                self.found[last] = tuple(Dim(s) if isinstance(s, int) and s > 0 else UNKNOWN for s in shape)
            elif node is None or node.domain not in g.STANDARD:
                self.found[last] = None
            else:
                missing = [v for v in node.inputs if v is not None and v not in self.found]
                pending += missing
                if not missing:
                    inputs = tuple(None if v is None else self.found[v] for v in node.inputs)
                    self.found.update(zip(node.outputs, infer_node(node, inputs), strict=True))
        return None if value is None else self.found[value]


@dataclass
class Old:
    """A node in an old form, and the means to rewrite it."""

    node: ir.Node
    edits: g.Edits
    sizes: Sizes

    def rank(self, index: int) -> int:
        """The rank of an input; raises :class:`ConversionError` where nothing tells it."""
        found = self.known_rank(index)
        if found is None:
            value = g.input_at(self.node, index)
            name = value.name if value is not None else index
            raise self.refused(
                f"the rank of its input '{name}' is unknown", "Give the model's input shapes: --shape"
            )
        return found

    def known_rank(self, index: int) -> int | None:
        """The rank of an input, where something tells it."""
        shape = self.sizes.of(g.input_at(self.node, index))
        return None if shape is None else len(shape)

    def attribute(self, name: str, default: Any = None) -> Any:
        return g.attribute(self.node, name, default)

    def refused(self, reason: str, remedy: str) -> ConversionError:
        return ConversionError(reason, remedy, g.describe(self.node))

    def take(self, name: str, default: Any = None) -> Any:
        """An attribute's value, which the node loses."""
        value = g.attribute(self.node, name, default)
        g.set_attribute(self.node, name, None)
        return value

    def number(self, value: Any, name: str) -> ir.Value:
        """A constant of the type of the first input."""
        first = self.node.inputs[0]
        dtype = first.dtype.numpy() if first is not None and first.dtype is not None else np.float32
        return self.edits.constant(value, name, dtype)

    def emit(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A node of its own just before this one."""
        name = f"{self.node.name}_{op_type}"
        first = inputs[0]
        return self.edits.node(
            op_type,
            inputs,
            attributes,
            name=name,
            insert=self.node.prepend,
            dtype=first.dtype if first is not None else None,
        )

    def become(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> None:
        """Let the node, whose outputs stay, be another operator."""
        self.node.op_type = op_type
        for name in list(self.node.attributes):
            g.set_attribute(self.node, name, None)
        for name, value in attributes.items():
            g.set_attribute(self.node, name, value)
        self.node.resize_inputs(len(inputs))
        for index, value in enumerate(inputs):
            self.node.replace_input_with(index, value)


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


FORMS: dict[str, tuple[tuple[int, Change], ...]] = {
    **dict.fromkeys(
        (
            *("Add", "Sub", "Mul", "Div", "Pow"),
            *("And", "Or", "Xor", "Equal", "Greater", "Less"),
        ),
        ((7, broadcast),),
    ),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), ((7, without("output_sequence")),)),
    "BatchNormalization": ((7, not_in_training), (9, per_position)),
    "Cast": ((6, cast_by_number),),
    "Concat": ((4, stating(axis=1)),),
    "Dropout": ((7, at_inference),),
    "Gemm": ((7, without("broadcast")),),
    "GlobalLpPool": ((2, whole_p),),
    "LpPool": ((2, whole_p),),
    "PRelu": ((7, slope_by_channel),),
    "Pad": ((2, paddings),),
    "Reshape": ((5, shape_as_input),),
    "Selu": ((6, stating(alpha=1.6732, gamma=1.0507)),),
    "Split": ((2, split_as_attribute),),
    "Tile": ((6, tiles_of_one_axis),),
    "Upsample": ((7, scales_as_list),),
    "Squeeze": ((11, axes_from_the_front),),
    "Unsqueeze": ((11, axes_from_the_front),),
    # Operators that were experiments until opset 9.
    "Affine": ((10, affine),),
    "Crop": ((10, crop),),
    "DynamicSlice": ((10, slice_by_inputs),),
    "ImageScaler": ((10, image_scaler),),
    "MeanVarianceNormalization": ((9, over_all),),
    "ParametricSoftplus": ((10, parametric("Softplus")),),
    "Scale": ((10, scaled),),
    "ScaledTanh": ((10, parametric("Tanh")),),
}
"""The forms of an operator that are changed, each with the first opset that does without."""
