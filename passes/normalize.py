"""Brings a model into the one form that the rules know: functions inlined, constants in sight."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass

from . import graph as g


def normalize(model: ir.Model) -> None:
    """Inline functions, lift constants, drop initializers from the inputs."""
    if model.functions:
        InlinePass()(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    hide_initializers(model)
    for node in model.graph.all_nodes():
        if node.op_type == "Resize" and node.domain in g.STANDARD:
            drop_empty_inputs(node)


def drop_empty_inputs(node: ir.Node) -> None:
    """An empty constant at an optional input states nothing: Resize has roi, scales or sizes."""
    for index, value in enumerate(node.inputs):
        tensor = g.constant(value)
        if tensor is not None and tensor.size == 0:
            node.replace_input_with(index, None)


def hide_initializers(model: ir.Model) -> None:
    """Initializers are constants, not inputs: IR versions before 4 had to list them as both."""
    inputs = model.graph.inputs
    kept = [value for value in inputs if value.name not in model.graph.initializers]
    if len(kept) < len(inputs):
        inputs.clear()
        inputs.extend(kept)
    model.ir_version = max(model.ir_version, 4)


