"""Writes out what has no mapping of its own, but a definition by other operators."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import onnx
import onnx.inliner
import onnx_ir as ir

from onnx_nhwc import files
from onnx_nhwc.files.weights import to_proto
from onnx_nhwc.passes import graph as g

__all__ = ["expanded"]

_DEPTH = 4  # definitions that use operators that have definitions themselves
_DOMAIN = "onnx_nhwc.definitions"


def expanded(model: ir.Model, mapped: Container[str]) -> ir.Model:
    """Return a model whose nodes have mappings, as far as their definitions help.

    Args:
        model: The model.
        mapped: The standard operators that the target has mappings for.
    """
    for _ in range(_DEPTH):
        nodes = [n for n in model.graph.all_nodes() if _is_defined(n, mapped)]
        if not nodes:
            break
        for node in nodes:
            for name, attribute in _schema(node).attributes.items():
                if name not in node.attributes and attribute.default_value.type:
                    node.attributes[name] = ir.from_proto(attribute.default_value)
        names = sorted({node.op_type for node in nodes})
        proto = onnx.shape_inference.infer_shapes(to_proto(model))
        try:
            _define_incomplete(proto, mapped)
            proto = onnx.inliner.inline_selected_functions(
                proto, [("", name) for name in names], inline_schema_functions=True
            )
        except RuntimeError:  # it knows too little of the types; the nodes are reported instead
            break
        model = files.from_proto(proto)
    return model


def _schema(node: ir.Node) -> Any:
    return onnx.defs.get_schema(node.op_type, g.opset_of(node))


def _is_defined(node: ir.Node, mapped: Container[str]) -> bool:
    if node.domain not in g.STANDARD or node.op_type in mapped:
        return False
    try:
        schema = _schema(node)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _define_incomplete(proto: onnx.ModelProto, mapped: Container[str]) -> None:
    """Inline nodes that leave out an input, which onnx's inliner trips over, as calls of a function."""
    version = next((o.version for o in proto.opset_import if o.domain in g.STANDARD), 1)
    types: dict[str, onnx.TypeProto] = {"": onnx.TypeProto()}
    functions: list[onnx.FunctionProto] = []
    for graph in _graphs(proto.graph):
        types |= {v.name: v.type for v in (*graph.input, *graph.value_info, *graph.output)}
        types |= {t.name: onnx.helper.make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
        for node in graph.node:
            if node.domain not in g.STANDARD or node.op_type in mapped or "" not in node.input:
                continue
            schema: Any = onnx.defs.get_schema(node.op_type, version)
            if not schema.has_context_dependent_function or not all(name in types for name in node.input):
                continue
            given = [types[name].SerializeToString() for name in node.input]
            function = onnx.FunctionProto()
            function.ParseFromString(schema.get_context_dependent_function(node.SerializeToString(), given))
            function.domain, function.name = _DOMAIN, f"{node.op_type}_{len(functions)}"
            node.domain, node.op_type = function.domain, function.name
            functions.append(function)
    if functions:
        proto.functions.extend(functions)
        proto.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
        names = [(_DOMAIN, function.name) for function in functions]
        inlined = onnx.inliner.inline_selected_functions(proto, names)
        proto.CopyFrom(inlined)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(body)
