"""Brings a model into the one form that the rules know: in order, functions inlined, no old forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass

from .. import graph as g
from ..errors import ConversionError
from .contributed import spell_out
from .modernize import modernize


def normalize(model: ir.Model) -> None:
    """Inline functions, lift constants, hide initializers, raise old opsets, write fusions out."""
    tidy(model)
    if model.functions:
        InlinePass()(model)
    for graph in model.graphs():  # a body's opset is the model's, but onnx_ir leaves it empty
        graph.opset_imports.update(model.opset_imports)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    hide_initializers(model)
    modernize(model)
    spell_out(model)


def tidy(model: ir.Model) -> None:
    """Put nodes into topological order, which files need not keep; a size below 0 is an unknown size.

    Raises :class:`ConversionError` where no order exists.
    """
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        if _in_order(graph, set()):
            continue
        try:
            graph.sort()
        except ValueError as error:
            raise ConversionError("the model's nodes depend on each other in a circle") from error
    for value in _values(model):
        if value.shape is not None and any(isinstance(d, int) and d < 0 for d in value.shape):
            value.shape = ir.Shape([None if isinstance(d, int) and d < 0 else d for d in value.shape])


def _in_order(nodes: Iterable[ir.Node], seen: set[ir.Node]) -> bool:
    """Whether every node comes after those that it, or a body of it, reads; ``seen`` come before all."""
    for node in nodes:
        makers = [value.producer() for value in node.inputs if value is not None]
        if any(maker is not None and maker not in seen for maker in makers):
            return False
        if not all(_in_order(body, seen) for body in g.subgraphs(node)):
            return False
        seen.add(node)
    return True


def _values(model: ir.Model) -> Iterator[ir.Value]:
    graphs: list[ir.Graph | ir.Function] = [*model.graphs(), *model.functions.values()]
    for graph in graphs:
        yield from graph.inputs
        for node in graph:
            yield from node.outputs


def hide_initializers(model: ir.Model) -> None:
    """Initializers are constants, not inputs: IR versions before 4 had to list them as both."""
    inputs = model.graph.inputs
    kept = [value for value in inputs if value.name not in model.graph.initializers]
    if len(kept) < len(inputs):
        inputs.clear()
        inputs.extend(kept)
    model.ir_version = max(model.ir_version, 4)
