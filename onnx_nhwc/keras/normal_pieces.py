"""LayerNormalization in pieces.

ONNX's LayerNormalization runs over the last axes only. In the operators that it is made of, it runs
over any, and whatever order the compiler gives these; the exporter then takes them for what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnx_ir as ir
from keras import layers

from onnx_nhwc.keras.call import Call, is_float
from onnx_nhwc.keras.form_writer import FROZEN, LAYER, Value, Weights, Writer
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.shapes import infer

__all__ = ["formed", "write_normalization", "write_out"]


def write_normalization(
    w: Writer, x: Value, axes: Sequence[int], epsilon: float, scale: Value | None, bias: Value | None
) -> Value:
    """(x - mean) / sqrt(variance + epsilon) scale + bias, operator by operator."""
    w.part = "centred"
    mean = w.add("ReduceMean", [x], axes=list(axes), keepdims=1)
    centred = w.add("Sub", [x, mean])
    w.part = "variance"
    square = w.add("Mul", [centred, centred])
    variance = w.add("ReduceMean", [square], axes=list(axes), keepdims=1)
    small = w.add("Add", [variance, w.constant(epsilon, w.dtype.numpy())])
    deviation = w.add("Sqrt", [small])
    w.part = ""
    y = w.add("Div", [centred, deviation], main=True)
    w.part = "affine"
    y = w.add("Mul", [y, scale]) if scale is not None else y
    return w.add("Add", [y, bias]) if bias is not None else y


def write_out(model: ir.Model) -> None:
    """Write every LayerNormalization in pieces, so that its axes may move."""
    shapes, weights = infer(model), Weights(model.graph)
    for node in list(model.graph.all_nodes()):
        x = node.inputs[0] if node.inputs else None
        dims = shapes.shape(x) if x is not None else None
        if node.op_type != "LayerNormalization" or node.domain not in g.STANDARD or x is None or dims is None:
            continue
        if (
            g.opset_of(node) > 17
            or len(node.outputs) > 1
            or not x.dtype
            or not is_float(x.dtype.name.lower())
        ):
            continue
        rank = len(dims)
        layer = SimpleNamespace(name=node.name or node.outputs[0].name, path="", trainable=True)
        w = Writer(weights, layer, [None] * rank, node)
        w.dtype = x.dtype
        scale, bias = node.inputs[1], g.input_at(node, 2)
        scale = None if scale is None or "/absent_" in (scale.name or "") else scale
        axes = range(g.attribute(node, "axis", -1) % rank, rank)
        y = write_normalization(w, x, axes, g.attribute(node, "epsilon", 1e-5), scale, bias)
        for written in w.nodes:
            for key in (LAYER, FROZEN):
                written.metadata_props.pop(key, None)
                if key in node.metadata_props:
                    written.metadata_props[key] = node.metadata_props[key]
        w.finish(y)


@dataclass
class _Pieces:
    """What a LayerNormalization was found to be made of."""

    epsilon: float = 0.0
    divide: ir.Node | None = None
    scale: Value | None = None
    bias: Value | None = None
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
    label = call.exporter.fact(pieces.scale).name if pieces.scale is not None else ""
    call.call_it(call.exporter.names.of_node(source.name or "", op_type, label))
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
            load, shape = call.exporter.fact(value).load, tuple(variable.shape)
            call.assign(variable, lambda load=load, shape=shape: load().reshape(shape))  # type: ignore[misc]
    *between, last = pieces.nodes
    for node in between:
        call.exporter.finish(node, [])
    call.exporter.finish(last, [y])
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


def _number(value: Value | None) -> float | None:
    tensor = g.constant(value)
    return float(str(tensor.numpy().reshape(()))) if tensor is not None and tensor.size == 1 else None
