"""Evaluates what does not depend on the model's inputs, such as the shape arithmetic of static exports."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from . import graph as g

MAX_ELEMENTS = 4096
"""Larger results stay computed: weights are no shape arithmetic."""
RANDOM = frozenset(
    {
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
    }
)


def foldable(node: ir.Node) -> bool:
    """Whether a node computes something small from constants alone."""
    if node.domain not in g.STANDARD or node.op_type in RANDOM or not node.inputs:
        return False
    if any(True for _ in g.subgraphs(node)):
        return False
    tensors = [g.constant(value) for value in node.inputs if value is not None and value.name]
    if any(tensor is None or tensor.size > MAX_ELEMENTS for tensor in tensors):
        return False
    if not all(isinstance(value.type, ir.TensorType) for value in node.outputs):
        return False  # a sequence, an optional
    return all(value.dtype not in (None, ir.DataType.STRING) for value in node.outputs)


def evaluate(node: ir.Node) -> list[np.ndarray] | None:
    """The results of a foldable node; None where they are large or onnx cannot compute them."""
    names = {f"i{k}": v for k, v in enumerate(node.inputs) if v is not None and v.name}
    proto = ir.to_proto(node)
    del proto.input[:]
    proto.input.extend(f"i{k}" if f"i{k}" in names else "" for k in range(len(node.inputs)))
    del proto.output[:]
    proto.output.extend(f"o{k}" for k in range(len(node.outputs)))
    empty = onnx.TypeProto()
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [onnx.helper.make_value_info(name, empty) for name in names],
        [onnx.helper.make_value_info(name, empty) for name in proto.output],
    )
    opset = onnx.helper.make_opsetid("", g.opset_of(node))
    feeds = {
        name: value.const_value.numpy() for name, value in names.items() if value.const_value is not None
    }
    try:
        model = onnx.helper.make_model(graph, opset_imports=[opset])
        found = [np.asarray(result) for result in ReferenceEvaluator(model).run(None, feeds)]
    except Exception:
        return None
    return found if all(result.size <= MAX_ELEMENTS for result in found) else None
