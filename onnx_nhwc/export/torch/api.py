"""``to_torch``: the source is written, run, and filled with the weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch

from onnx_nhwc import files
from onnx_nhwc.export.preparation import is_channels_last, prepared
from onnx_nhwc.export.torch.program import Program
from onnx_nhwc.export.torch.source import source_of
from onnx_nhwc.export.torch.table import OPERATORS
from onnx_nhwc.export.torch.target import program_of
from onnx_nhwc.files.weights import to_proto
from onnx_nhwc.passes.batch.free import Freed
from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.summary import Summary

__all__ = ["Exported", "export", "load", "to_torch"]

Model = onnx.ModelProto | ir.Model | str | os.PathLike[str]


@dataclass(frozen=True)
class Exported:
    """A PyTorch model and how it came about.

    Attributes:
        source: The source, a Python module whose last class is the model.
        model: That class, made and filled.
        summary: What the compiler did; its ``inputs`` and ``outputs`` are the layouts.
        batch: Whether a batch that the source fixes at 1 is free now, and if not, why.
    """

    source: str
    model: Any
    summary: Summary
    batch: Freed


def to_torch(model: Model, options: Options) -> Any:
    """Return a ``torch.nn.Module`` that computes the same; see :func:`onnx_nhwc.to_torch`."""
    return export(load(model), options).model


def load(model: Model) -> ir.Model:
    """Return a model that may be edited."""
    if isinstance(model, onnx.ModelProto):
        return files.from_proto(model)
    if isinstance(model, ir.Model):
        return files.from_proto(to_proto(model))
    return files.read(model)


def export(
    model: ir.Model,
    options: Options,
    *,
    free: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Exported:
    """Convert a model, which is used up, into source code, and run that."""
    move = is_channels_last(model) or bool(options.layouts)
    graph = prepared(model, options, OPERATORS, free=free, move=move, progress=progress)
    if progress is not None:
        progress("export")
    program = program_of(graph.model)
    source = source_of(program)
    return Exported(source, run(source, program), graph.summary, graph.batch)


def run(source: str, program: Program) -> Any:
    """The model that the source says, with the program's weights."""
    space: dict[str, Any] = {"__name__": "onnx_nhwc_model"}
    exec(compile(source, f"<{program.name}>", "exec"), space)
    classes = [
        thing for thing in space.values() if isinstance(thing, type) and thing.__module__ == space["__name__"]
    ]
    model = classes[-1]()
    state = {key: torch.from_numpy(np.array(load())) for key, load in program.weights().items()}
    kept = model.state_dict()
    state.update({key: kept[key] for key in kept if key.endswith("num_batches_tracked")})
    model.load_state_dict(state)
    return model.eval()
