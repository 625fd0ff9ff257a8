"""What files may hold and onnx_ir does not read: sparse weights, and values that are maps.

Sparse weights are made dense on reading. A value that is a map (a classifier's ZipMap makes one) has no type
while a model is converted; the types of the model's own inputs and outputs are put back on writing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from onnx_nhwc.passes.plausible import SourceWarning, warn

__all__ = ["put_back", "readable", "remember"]

_KEY = "onnx_nhwc.maps"

Types = dict[str, onnx.TypeProto]


def readable(proto: onnx.ModelProto, folder: str = "") -> tuple[onnx.ModelProto, Types]:
    """Return a model that onnx_ir reads, and the types that it would not.

    Args:
        proto: The model, which is returned itself if there is nothing to do, and never changed.
        folder: Where external data of sparse weights lie.

    Raises:
        ValueError: A sparse weight has indices that do not fit its shape.

    Warns:
        SourceWarning: Sparse weights are made dense.
    """
    if not any(_has_sparse(graph) or _maps(graph) for graph in _graphs(proto)):
        return proto, {}
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    values = (*copy.graph.input, *copy.graph.output)
    types = {v.name: onnx.TypeProto.FromString(v.type.SerializeToString()) for v in values if _is_map(v.type)}
    dense = 0
    for graph in _graphs(copy):
        for value in _maps(graph):
            value.ClearField("type")
        dense += _densify(graph, folder)
    if dense:
        warn(f"{dense} sparse weight{'s are' if dense > 1 else ' is'} made dense", SourceWarning)
    return copy, types


def remember(model: ir.Model, types: Types) -> None:
    """Have ``model`` remember the types of its inputs and outputs that are maps."""
    if types:
        model.meta[_KEY] = types


def put_back(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Give the inputs and outputs of ``proto``, which ``model`` was written as, their types again."""
    types = model.meta.get(_KEY, {})
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name in types:
            value.type.CopyFrom(types[value.name])


def _graphs(proto: onnx.ModelProto) -> Iterator[Any]:
    """The model's graph, its functions, and the bodies in them."""
    pending: list[Any] = [proto.graph, *proto.functions]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += attribute.graphs


def _has_sparse(graph: Any) -> bool:
    constants = (a for node in graph.node if node.op_type == "Constant" for a in node.attribute)
    return bool(getattr(graph, "sparse_initializer", ())) or any(a.name == "sparse_value" for a in constants)


def _maps(graph: Any) -> list[onnx.ValueInfoProto]:
    """The values of a graph whose type is, or holds, a map."""
    if isinstance(graph, onnx.FunctionProto):
        return [value for value in graph.value_info if _is_map(value.type)]
    return [value for value in (*graph.input, *graph.output, *graph.value_info) if _is_map(value.type)]


def _is_map(kind: onnx.TypeProto) -> bool:
    if kind.HasField("sequence_type"):
        return _is_map(kind.sequence_type.elem_type)
    if kind.HasField("optional_type"):
        return _is_map(kind.optional_type.elem_type)
    return bool(kind.HasField("map_type"))


def _densify(graph: Any, folder: str) -> int:
    """Make the sparse weights of one graph dense; returns how many."""
    count = 0
    if isinstance(graph, onnx.GraphProto):
        count = len(graph.sparse_initializer)
        graph.initializer.extend(_dense(sparse, folder) for sparse in graph.sparse_initializer)
        graph.ClearField("sparse_initializer")
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "sparse_value":
                tensor = _dense(attribute.sparse_tensor, folder)
                attribute.CopyFrom(onnx.helper.make_attribute("value", tensor))
                count += 1
    return count


def _dense(sparse: onnx.SparseTensorProto, folder: str) -> onnx.TensorProto:
    """A sparse tensor as a dense one; its indices are linear, or one an axis."""
    values = numpy_helper.to_array(sparse.values, folder)
    indices = numpy_helper.to_array(sparse.indices, folder)
    shape = tuple(sparse.dims)
    linear = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    if len(linear) != len(values) or np.any((linear < 0) | (linear >= np.prod(shape, dtype=np.int64))):
        raise ValueError(f"the indices of the sparse weight '{sparse.values.name}' do not fit its shape")
    array = np.zeros(shape, values.dtype)
    array.reshape(-1)[linear] = values
    return numpy_helper.from_array(array, sparse.values.name)
