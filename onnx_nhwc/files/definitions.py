"""Names that a graph defines twice, which onnxruntime takes where they are constants."""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from typing import Any

import onnx

from onnx_nhwc.passes.errors import FileError

__all__ = ["single_definitions"]

_Definitions = MutableSequence[Any]  # of nodes or tensors


def single_definitions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``proto``, or a copy in which equal constants of one name are defined once.

    Raises:
        FileError: Constants of one name differ. onnxruntime takes the first or the last of them,
            by their size.
    """
    if not any(_again(definitions) for graph in _graphs(proto.graph) for definitions in _kinds(graph)):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for graph in _graphs(copy.graph):
        for definitions in _kinds(graph):
            for index in reversed(_again(definitions)):
                del definitions[index]
    return copy


def _kinds(graph: onnx.GraphProto) -> tuple[_Definitions, ...]:
    return graph.initializer, graph.node


def _again(definitions: _Definitions) -> list[int]:
    """Where a constant is defined that has been defined before."""
    first: dict[str, onnx.TensorProto | onnx.NodeProto] = {}
    found = []
    for index, entry in enumerate(definitions):
        if isinstance(entry, onnx.TensorProto):
            name = entry.name
        elif entry.op_type == "Constant" and entry.domain in ("", "ai.onnx"):
            name = entry.output[0]
        else:
            continue
        if name not in first:
            first[name] = entry
        elif _content(first[name]) == _content(entry):
            found.append(index)
        else:
            raise FileError(f"two constants of the model are called '{name}'", "Give each a name of its own.")
    return found


def _content(entry: onnx.TensorProto | onnx.NodeProto) -> list[bytes]:
    """All of a definition but the names of nodes."""
    parts = entry.attribute if isinstance(entry, onnx.NodeProto) else [entry]
    return [part.SerializeToString(deterministic=True) for part in parts]


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _graphs(body)
