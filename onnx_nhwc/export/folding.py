"""Computes nodes of constants while a model is exported."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnx_nhwc.export.values import Constant, Fact
from onnx_nhwc.passes.shapes.fold import compute

__all__ = ["fold"]


def fold(node: ir.Node, fact: Callable[[ir.Value], Fact]) -> list[Constant | None] | None:
    """Return the outputs of a node as onnxruntime computes them; None for those that have no name.

    None if onnxruntime does not run the node.

    Args:
        node: A node of the standard domain, all of whose inputs are constants.
        fact: Gives what is known of a value.
    """
    constants = [fact(value) if value is not None and value.name else None for value in node.inputs]
    tensors = [None if constant is None else ir.tensor(constant.array) for constant in constants]
    results = compute(node, tensors)
    if results is None:
        return None
    found = iter(results)
    source = next((constant for constant in constants if constant is not None and constant.trainable), None)
    first = node.inputs[0].name if node.inputs and node.inputs[0] is not None else ""
    name = source.name if source is not None else first or ""
    return [Constant.of(next(found), name, source is not None) if v.name else None for v in node.outputs]
