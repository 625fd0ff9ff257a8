"""Brings a model into the one form that the rules know: functions inlined, constants in sight."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass


def normalize(model: ir.Model) -> None:
    """Inline functions, lift constants, drop initializers from the inputs, tell bodies their opset."""
    if model.functions:
        InlinePass()(model)
    for graph in model.graphs():  # a body's opset is the model's, but onnx_ir leaves it empty
        graph.opset_imports.update(model.opset_imports)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    hide_initializers(model)


def hide_initializers(model: ir.Model) -> None:
    """Initializers are constants, not inputs: IR versions before 4 had to list them as both."""
    inputs = model.graph.inputs
    kept = [value for value in inputs if value.name not in model.graph.initializers]
    if len(kept) < len(inputs):
        inputs.clear()
        inputs.extend(kept)
    model.ir_version = max(model.ir_version, 4)
