"""onnx's shape inference: of a whole model, and of one node whose input sizes are known better."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import UNKNOWN, Dim, Shape
from ..algebra.symbols import read

REFUSALS = (
    KeyError,
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.defs.SchemaError,
    onnx.shape_inference.InferenceError,
)
"""What onnx raises where it cannot tell."""


LARGE = 1024
"""Bytes; the values of larger constants say nothing of sizes."""


def infer_model(model: ir.Model) -> dict[ir.Value, ir.Shape]:
    """Let onnx fill in types and shapes, as far as they follow from the inputs.

    Returns what the model itself states of the results of nodes, which may be wrong, as onnxruntime does
    not mind. Results of operators that onnx does not know keep their shapes.
    """
    stated = {}
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None and node.domain in g.STANDARD:
                stated[value], value.shape = value.shape, None
    _infer(model)
    return stated


def _infer(model: ir.Model) -> None:
    try:
        proto = _without_weights(model)
        inferred = onnx.shape_inference.infer_shapes(
            proto, check_type=False, strict_mode=False, data_prop=True
        )
    except REFUSALS:
        return  # the rule table remains
    _take(model.graph, inferred.graph)


def _without_weights(model: ir.Model) -> onnx.ModelProto:
    """The model as a message, its large constants as inputs of known size."""
    constants = model.graph.initializers
    kept = dict(constants)
    large = [v for v in kept.values() if v.const_value is not None and v.const_value.nbytes > LARGE]
    for value in large:
        del constants[value.name or ""]
    try:
        proto = ir.to_proto(model)
    finally:
        constants.clear()
        constants.update(kept)
    listed = {value.name for value in proto.graph.input}
    for value in large:
        if value.name not in listed and value.const_value is not None:
            tensor = value.const_value
            sizes = tensor.shape.numpy()
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(value.name or "", tensor.dtype, sizes)
            )
    return proto


def _take(graph: ir.Graph, told: onnx.GraphProto) -> None:
    """Note what inference tells of a graph, which has the nodes of ``told`` in the same order."""
    types = {value.name: value.type for value in (*told.input, *told.value_info, *told.output)}
    for value in graph.inputs:
        _note(value, types.get(value.name or ""))
    for node, written in zip(graph, told.node, strict=True):
        for value in node.outputs:
            _note(value, types.get(value.name or ""))
        bodies = [a.g for a in written.attribute if a.HasField("g")]
        bodies += [body for a in written.attribute for body in a.graphs]
        for inner, body in zip(g.subgraphs(node), bodies, strict=True):
            _take(inner, body)


def _note(value: ir.Value, told: onnx.TypeProto | None) -> None:
    if told is None:
        return
    try:
        kind = ir.serde.deserialize_type_proto_for_type(told)
    except (ValueError, NotImplementedError, ir.serde.SerdeError):  # a sequence of who knows what, a map
        return
    if kind is not None and kind.dtype != ir.DataType.UNDEFINED:
        value.type = kind
    if told.HasField("tensor_type") and told.tensor_type.HasField("shape"):
        value.shape = ir.serde.deserialize_type_proto_for_shape(told)


def infer_node(node: ir.Node, inputs: tuple[Shape | None, ...]) -> list[Shape | None]:
    """The sizes of a node's outputs, given those of its inputs; ``UNKNOWN`` where they are not told.

    Types that the model does not know yet are noted.
    """
    nothing: list[Shape | None] = [None] * len(node.outputs)
    if any(True for _ in g.subgraphs(node)):
        return nothing
    symbols: dict[str, Dim] = {}
    types, data = {}, {}
    for value, shape in zip(node.inputs, inputs, strict=True):
        if value is None or not value.name or value.dtype is None:
            continue
        for dim in shape or ():
            symbols[str(dim)] = dim
        sizes = None if shape is None else [d.number if d.static else str(d) for d in shape]
        types[value.name] = onnx.helper.make_tensor_type_proto(value.dtype, sizes)
        tensor = g.constant(value)
        if tensor is not None and tensor.size <= 64:
            data[value.name] = ir.to_proto(tensor)
            data[value.name].name = value.name
    opset = g.opset_of(node)
    try:
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, opset),
            ir.to_proto(node),
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
    except REFUSALS:
        return nothing
    for value in node.outputs:
        told = found.get(value.name or "")
        if value.dtype is None and told is not None and told.tensor_type.elem_type:
            value.dtype = ir.DataType(told.tensor_type.elem_type)
    return [_shape(found.get(value.name or ""), symbols) for value in node.outputs]


def _shape(proto: onnx.TypeProto | None, symbols: dict[str, Dim]) -> Shape | None:
    if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    return tuple(
        Dim(dim.dim_value)
        if dim.HasField("dim_value") and dim.dim_value > 0
        else symbols.get(dim.dim_param) or (read(dim.dim_param) if dim.dim_param else UNKNOWN)
        for dim in proto.tensor_type.shape.dim
    )
