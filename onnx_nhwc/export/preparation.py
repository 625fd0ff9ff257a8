"""What every target wants of a graph before it walks over it."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnx_nhwc.export.biases import attach_biases
from onnx_nhwc.export.definitions import expanded
from onnx_nhwc.passes.batch.free import Freed, free_batch
from onnx_nhwc.passes.forms.normalize import normalize
from onnx_nhwc.passes.graph import record_parameters
from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.pipeline import convert
from onnx_nhwc.passes.summary import Summary

__all__ = ["Prepared", "prepared"]


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
    adapt: Callable[[ir.Model], None] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Prepared:
    """Bring a model, which is used up, into the form that the walk takes.

    Args:
        model: The model.
        options: What is wanted of the compiler; the dialect is always ``functions``.
        mapped: The standard operators that the target has mappings for; others are written out by
            their definitions.
        free: Free a batch that the source fixes at 1, where that is proven right.
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
    summary = convert(model, replace(options, batch_first=True, whole=True), progress)
    return Prepared(model, summary, batch)
