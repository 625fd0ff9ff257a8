"""Computes nodes of constants while a model is exported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir

from onnx_nhwc.keras.values import Constant, Fact
from onnx_nhwc.passes import graph as g

__all__ = ["fold"]


def fold(node: ir.Node, fact: Callable[[ir.Value], Fact]) -> list[Constant | None]:
    """Return the outputs of a node by onnx's reference evaluator; None for those that have no name.

    Args:
        node: A node of the standard domain, all of whose inputs are constants.
        fact: Gives what is known of a value.
    """
    from onnx.reference import ReferenceEvaluator

    constants = {str(v.name): fact(v) for v in node.inputs if v is not None and v.name}
    arrays = {name: np.asarray(constant.array) for name, constant in constants.items()}
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in arrays.items()
    ]
    outputs = [v.name or "" for v in node.outputs]
    results = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    graph = onnx.helper.make_graph([ir.to_proto(node)], "node", infos, results)
    opset = onnx.helper.make_opsetid("", g.opset_of(node))
    found = iter(ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=[opset])).run(None, arrays))
    source = next((constant for constant in constants.values() if constant.trainable), None)
    first = node.inputs[0].name if node.inputs and node.inputs[0] is not None else ""
    name = source.name if source is not None else first or ""
    return [Constant.of(next(found), name, source is not None) if output else None for output in outputs]
