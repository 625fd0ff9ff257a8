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

import onnx_ir as ir

from .. import graph as g
from ..plausible import SourceWarning, warn
from .changes import (
    Change,
    affine,
    at_inference,
    axes_from_the_front,
    broadcast,
    cast_by_number,
    crop,
    image_scaler,
    not_in_training,
    over_all,
    paddings,
    parametric,
    per_position,
    scaled,
    scales_as_list,
    shape_as_input,
    slice_by_inputs,
    slope_by_channel,
    split_as_attribute,
    stating,
    tiles_of_one_axis,
    whole_p,
    without,
)
from .old import OLDEST, Old, Sizes

NEWEST_FORM = 11
"""From this opset on there is nothing left to do here."""


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
