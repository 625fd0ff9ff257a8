"""What every target wants of a graph before it walks over it."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnx_nhwc.export.biases import attach_biases
from onnx_nhwc.export.definitions import expanded
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.batch.free import Freed, free_batch
from onnx_nhwc.passes.forms.normalize import normalize
from onnx_nhwc.passes.graph import record_parameters
from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.pipeline import convert, keep
from onnx_nhwc.passes.rules import RULES
from onnx_nhwc.passes.rules.spatial import SpatialRule
from onnx_nhwc.passes.summary import Summary

__all__ = ["Prepared", "is_channels_last", "prepared"]


@dataclass(frozen=True)
class Prepared:
    """A graph to walk over, and how it came about.

    Attributes:
        model: The graph, of the functions dialect.
        summary: What the compiler did; its ``inputs`` and ``outputs`` are the layouts.
        batch: Whether a batch that the source fixes at 1 is free now, and if not, why.
    """

    model: ir.Model
    summary: Summary
    batch: Freed


def prepared(
    model: ir.Model,
    options: Options,
    mapped: Container[str],
    *,
    free: bool = True,
    batch_first: bool = False,
    adapt: Callable[[ir.Model], None] | None = None,
    move: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Prepared:
    """Bring a model, which is used up, into the form that the walk takes.

    Args:
        model: The model.
        options: What is wanted of the compiler; the dialect is always ``functions``.
        mapped: The standard operators that the target has mappings for; others are written out by
            their definitions.
        free: Free a batch that the source fixes at 1, where that is proven right.
        batch_first: Recurrent operators run batch first only.
        move: Decide layouts; else every value keeps the source's order.
        adapt: Brings the graph into a form that this target wants besides, before layouts are decided.
        progress: Is called with the name of each phase as it starts.
    """
    record_parameters(model)
    normalize(model)
    model = expanded(model, mapped)
    attach_biases(model)
    batch = Freed()
    if free and not options.shapes:
        model, batch = free_batch(model)
    if adapt is not None:
        adapt(model)
    wanted = replace(options, batch_first=batch_first, whole=True)
    summary = (convert if move else keep)(model, wanted, progress)
    return Prepared(model, summary, batch)


def is_channels_last(model: ir.Model) -> bool:
    """Is an input an image that is channels last: does a Transpose bring it to an operator on images?

    What is computed of it element by element, or padded, on the way counts as the input.
    """
    waiting, seen = [(value, False) for value in model.graph.inputs], set()
    while waiting:
        value, turned = waiting.pop()
        for node, index in value.uses():
            rule = RULES.get(node.op_type) if node.domain in g.STANDARD and index == 0 else None
            if turned and isinstance(rule, SpatialRule):
                return True
            turns = node.op_type == "Transpose" and _brings_channels_forward(node)
            passes_on = rule is not None and (rule.relate in _ALIKE or node.op_type == "Pad")
            if (turns or passes_on) and (node, turned) not in seen:
                seen.add((node, turned))
                waiting += [(output, turned or turns) for output in node.outputs]
    return False


_ALIKE = {RULES[name].relate for name in ("Relu", "Add", "CastLike")}


def _brings_channels_forward(node: ir.Node) -> bool:
    perm = g.attribute(node, "perm")
    return bool(perm) and list(perm) == [0, len(perm) - 1, *range(1, len(perm) - 1)]
