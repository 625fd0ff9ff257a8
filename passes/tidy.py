"""Small clean-ups after a rewrite."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from . import graph as g


def compose_gathers(model: ir.Model, edits: g.Edits) -> None:
    """Pick from a list of sizes at once what two Gathers pick one after the other.

    before:  Shape - Gather[0, 3, 1, 2] - Gather[1]
    after:   Shape - Gather[3]
    """
    for node in model.graph.all_nodes():
        data = g.input_at(node, 0)
        inner, outer = _picks(None if data is None else data.producer()), _picks(node)
        if inner is None or outer is None:
            continue
        listed, first = inner
        picks = first[outer[1]]
        length = listed.shape[0] if listed.shape is not None else None
        if np.array_equal(picks, np.arange(length if isinstance(length, int) else -1)):
            node.outputs[0].replace_all_uses_with(listed, replace_graph_outputs=True)
        else:
            node.replace_input_with(0, listed)
            node.replace_input_with(1, edits.constant(picks, "axes"))


def _picks(node: ir.Node | None) -> tuple[ir.Value, np.ndarray] | None:
    """The list that a Gather with constant indices picks from, and the indices."""
    if node is None or node.op_type != "Gather" or g.attribute(node, "axis", 0):
        return None
    data, indices = node.inputs[0], g.constant(node.inputs[1])
    if data is None or indices is None or data.shape is None or len(data.shape) != 1:
        return None
    return data, indices.numpy()
