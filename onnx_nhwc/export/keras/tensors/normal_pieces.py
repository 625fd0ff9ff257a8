"""A LayerNormalization that came in pieces becomes the layer again, whichever axes it runs over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir
from keras import layers

from onnx_nhwc.export.keras.call import Call, is_float
from onnx_nhwc.passes import graph as g

__all__ = ["formed"]


@dataclass
class _Pieces:
    """What a LayerNormalization was found to be made of."""

    epsilon: float = 0.0
    divide: ir.Node | None = None
    scale: ir.Value | None = None
    bias: ir.Value | None = None
    nodes: list[ir.Node] = field(default_factory=list)


def formed(call: Call) -> Any:
    """The layer whose first piece is this ReduceMean, or None."""
    known = "axes" in call.node.attributes or call.constant(1) is not None
    axes = call.integers("axes", 1) if known else None
    if not axes or not call.attribute("keepdims", 1) or not is_float(call.dtype(0)):
        return None
    rank = call.rank(0)
    axes = sorted(axis % rank for axis in axes)
    sizes = call.shape(0)
    if 0 in axes or any(sizes[axis] is None for axis in axes):
        return None
    pieces = _centred_and_scaled(call, axes)
    if pieces is None:
        return None
    wanted = tuple(sizes[axis] if axis in axes else 1 for axis in range(rank))
    _affine(pieces, wanted)
    divide = pieces.divide
    assert divide is not None
    inside = (call.node.name or "").startswith(f"{divide.name}/")
    source, op_type = (divide, "LayerNormalization") if inside else (call.node, call.op_type)
    label = call.walk.fact(pieces.scale).name if pieces.scale is not None else ""
    call.call_it(call.walk.names.of_node(source.name or "", op_type, label))
    layer = call.layer(
        layers.LayerNormalization,
        more=[value for value in (pieces.scale, pieces.bias) if value is not None],
        axis=-1 if axes == [rank - 1] else axes,
        epsilon=pieces.epsilon,
        center=pieces.bias is not None,
        scale=pieces.scale is not None,
    )
    y = layer(call.tensor(0))
    for variable, value in ((layer.gamma, pieces.scale), (layer.beta, pieces.bias)):
        if variable is not None and value is not None:
            load, shape = call.walk.fact(value).load, tuple(variable.shape)
            call.assign(variable, lambda load=load, shape=shape: load().reshape(shape))  # type: ignore[misc]
    *between, last = pieces.nodes
    for node in between:
        call.walk.finish(node, [])
    call.walk.finish(last, [y])
    return y  # nobody reads the mean


def _centred_and_scaled(call: Call, axes: Sequence[int]) -> _Pieces | None:
    """x - mean, divided by its deviation."""
    pieces = _Pieces()
    x, centred = call.value(0), _reader(call.node, "Sub")
    if centred is None or centred.inputs[0] is not x or centred.inputs[1] is not call.node.outputs[0]:
        return None
    uses = list(centred.outputs[0].uses())
    divide = next((use.node for use in uses if use.node.op_type == "Div" and use.idx == 0), None)
    square = next((use.node for use in uses if use.node.op_type in ("Mul", "Pow")), None)
    if divide is None or square is None or {use.node for use in uses} != {divide, square}:
        return None
    if centred.outputs[0].is_graph_output():
        return None
    squared = square.op_type == "Mul" and square.inputs[0] is square.inputs[1]
    if not squared and not (square.op_type == "Pow" and _number(square.inputs[1]) == 2.0):
        return None
    variance = _reader(square, "ReduceMean")
    small = _reader(variance, "Add") if variance is not None else None
    root = _reader(small, "Sqrt") if small is not None else None
    if variance is None or small is None or root is None or _reader(root, "Div") is not divide:
        return None
    found = g.parameter(variance, "axes", 1)
    rank = call.rank(0)
    if found is None or sorted(a % rank for a in found) != list(axes):
        return None
    epsilon = next((n for n in map(_number, small.inputs) if n is not None), None)
    if epsilon is None or not g.attribute(variance, "keepdims", 1) or divide.inputs[1] is not root.outputs[0]:
        return None
    pieces.epsilon, pieces.divide = epsilon, divide
    pieces.nodes = [centred, square, variance, small, root, divide]
    return pieces


def _affine(pieces: _Pieces, wanted: tuple[int | None, ...]) -> None:
    """The scale and the bias, where they have an entry for each element that is normalised."""
    for op_type, part in (("Mul", "scale"), ("Add", "bias")):
        reader = _reader(pieces.nodes[-1], op_type)
        other = (
            next((v for v in reader.inputs if v is not pieces.nodes[-1].outputs[0]), None) if reader else None
        )
        tensor = g.constant(other)
        if reader is None or tensor is None:
            continue
        shape = tuple(int(size) for size in tensor.shape.numpy())
        if (1,) * (len(wanted) - len(shape)) + shape == wanted:
            setattr(pieces, part, other)
            pieces.nodes.append(reader)


def _reader(node: ir.Node, op_type: str) -> ir.Node | None:
    """What alone reads a node's result, if it is of this type."""
    output = node.outputs[0]
    uses = list(output.uses())
    if len({use.node for use in uses}) != 1 or output.is_graph_output():
        return None
    reader = uses[0].node
    return reader if reader.op_type == op_type and reader.graph is node.graph else None


def _number(value: ir.Value | None) -> float | None:
    tensor = g.constant(value)
    return float(str(tensor.numpy().reshape(()))) if tensor is not None and tensor.size == 1 else None
