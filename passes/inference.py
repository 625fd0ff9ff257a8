"""onnx's shape inference: of a whole model, and of one node whose input sizes are known better."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from . import graph as g
from .layout import Dim, Shape
from .symbols import read

UNKNOWN = Dim(0)
"""Marks a size that inference does not tell. No size is 0: empty axes have a symbol of their own."""


REFUSALS = (
    KeyError,
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.defs.SchemaError,
    onnx.shape_inference.InferenceError,
)
"""What onnx raises where it cannot tell."""


def infer_model(model: ir.Model) -> None:
    """Let onnx fill in types and shapes, as far as it can."""
    containers = [(value, value.shape) for value in _mark_containers(model.graph)]
    level = logging.getLogger("onnx_ir").level
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    try:
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    except REFUSALS:
        pass  # the declared shapes and the rule table remain
    finally:
        logging.getLogger("onnx_ir").setLevel(level)
    for value, shape in containers:
        value.shape = shape
        if value.dtype == ir.DataType.UNDEFINED:
            value.type = None


def _mark_containers(graph: ir.Graph) -> Iterator[ir.Value]:
    """Say which values are sequences or optionals: onnx_ir takes all that is inferred for tensors."""
    for node in graph:
        for body in g.subgraphs(node):
            yield from _mark_containers(body)
        for index, output in enumerate(node.outputs):
            if output.type is None:
                output.type = _container(node, index)
            if not isinstance(output.type, ir.TensorType | None):
                yield output


def _container(node: ir.Node, index: int) -> ir.TypeProtocol | None:
    """The type of an output that is a sequence or an optional, as far as the operator tells."""
    if node.domain not in g.STANDARD or not onnx.defs.has(node.op_type):
        return None
    ports = onnx.defs.get_schema(node.op_type).outputs
    allowed = ports[min(index, len(ports) - 1)].types if ports else set()
    source = node.inputs[0].type if node.inputs and node.inputs[0] is not None else None
    element = source or ir.TensorType(ir.DataType.UNDEFINED)
    if allowed and all(name.startswith("seq(") for name in allowed):
        return source if isinstance(source, ir.SequenceType) else ir.SequenceType(element)
    if allowed and all(name.startswith("optional(") for name in allowed):
        return ir.OptionalType(g.attribute(node, "type") or element)
    passed: list[ir.TypeProtocol | None] = []
    if node.op_type == "Identity":
        passed = [source]
    elif node.op_type == "OptionalGetElement" and isinstance(source, ir.OptionalType):
        passed = [source.elem_type]
    elif node.op_type in ("If", "Loop"):
        place = index + (node.op_type == "Loop")
        passed = [body.outputs[place].type for body in g.subgraphs(node) if place < len(body.outputs)]
    return next((t for t in passed if not isinstance(t, ir.TensorType | None)), None)


def infer_node(node: ir.Node, inputs: tuple[Shape | None, ...]) -> list[Shape | None]:
    """The sizes of a node's outputs, given those of its inputs; ``UNKNOWN`` where they are not told."""
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
