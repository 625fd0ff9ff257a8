"""Gives convolutions the biases that are added to their results.

Keras, and whoever else traces a channels-first convolution, adds the bias by itself. A layer of Keras
has a place for it.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_nhwc.passes import graph as g

__all__ = ["attach_biases"]


def attach_biases(model: ir.Model) -> None:
    """Make ``Conv(x, k) + b`` a ``Conv(x, k, b)``, where ``b`` is a constant with a number per channel."""
    edits = g.Edits(model)
    for node in list(model.graph):
        if node.op_type not in ("Conv", "ConvTranspose") or node.domain not in g.STANDARD:
            continue
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            continue
        result = node.outputs[0]
        uses = list(result.uses())
        if len(uses) != 1 or result.is_graph_output() or uses[0].node.op_type != "Add":
            continue
        add = uses[0].node
        addend = add.inputs[1 - uses[0].idx]
        bias = addend is not None and addend is not result and _bias(edits, node, addend)
        if bias:
            g.set_input(node, 2, bias)
            add.outputs[0].replace_all_uses_with(result, replace_graph_outputs=True)
            result.name, add.outputs[0].name = add.outputs[0].name, None
            model.graph.remove(add, safe=True)
    g.remove_dead(model)


def _bias(edits: g.Edits, node: ir.Node, addend: ir.Value) -> ir.Value | None:
    """The addend as a bias of a convolution, if its numbers belong to the channels."""
    found, kernel = _parameter(addend), node.inputs[1]
    if found is None or kernel is None or kernel.shape is None:
        return None
    origin, tensor, sizes = found
    rank = len(kernel.shape)
    group = g.attribute(node, "group", 1)
    filters = kernel.shape[0] if node.op_type == "Conv" else kernel.shape[1]
    if not isinstance(filters, int):
        return None
    channels = filters if node.op_type == "Conv" else filters * group
    if (1,) * (rank - len(sizes)) + sizes != (1, channels, *[1] * (rank - 2)):
        return None
    return edits.parameter(tensor.numpy().reshape(channels), origin, "bias")


def _parameter(value: ir.Value) -> tuple[ir.Value, ir.TensorProtocol, tuple[int, ...]] | None:
    """A constant, or one that is only reshaped: itself, its numbers, and the shape that they get."""
    node = value.producer()
    if g.constant(value) is None and node is not None and node.op_type == "Reshape":
        source, shape = node.inputs[0], g.constant(node.inputs[1])
        tensor = g.constant(source)
        if source is None or tensor is None or shape is None or 0 in shape.numpy():
            return None
        return source, tensor, tensor.numpy().reshape(shape.numpy()).shape
    tensor = g.constant(value)
    if tensor is None:
        return None
    return value, tensor, tuple(int(size) for size in tensor.shape.numpy())
