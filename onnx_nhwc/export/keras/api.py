"""``to_keras``, and the same with what else is to be known of the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import onnx
import onnx_ir as ir

from onnx_nhwc import files
from onnx_nhwc.export.keras.table import OPERATORS
from onnx_nhwc.export.keras.target import build
from onnx_nhwc.export.preparation import prepared
from onnx_nhwc.files.weights import to_proto
from onnx_nhwc.load.keras.normal_pieces import write_out
from onnx_nhwc.load.keras.surroundings import untouched
from onnx_nhwc.passes.batch.free import Freed
from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.summary import Summary

__all__ = ["Exported", "export", "load", "to_keras"]

Model = onnx.ModelProto | ir.Model | str | os.PathLike[str]


@dataclass(frozen=True)
class Exported:
    """A Keras model and how it came about.

    Attributes:
        model: The model.
        summary: What the compiler did; its ``inputs`` and ``outputs`` are the layouts.
        batch: Whether a batch that the source fixes at 1 is free now, and if not, why.
    """

    model: Any
    summary: Summary
    batch: Freed


def to_keras(
    model: Model,
    *,
    io: str = "auto",
    layouts: Mapping[str, str | tuple[int, ...]] | None = None,
    shapes: Mapping[str, tuple[int | None, ...]] | None = None,
) -> Any:
    """Return a functional Keras model that computes the same, channels last.

    It is made of Keras's own layers and operations: saved, it loads wherever Keras is. Weights are
    trainable where Keras's are, layers are called as the nodes were, and the batch is free, also
    where the source fixes it at 1, if it provably only passes through.

    Args:
        model: A model, which is left as it is, or the path of an ``.onnx`` file.
        io: ``"auto"`` lets inputs and outputs be channels last where they are images (or signals,
            or volumes); ``"keep"`` does not.
        layouts: Layouts of inputs and outputs by name, as in ``to_channels_last``.
        shapes: Sizes of inputs by name, which fix dynamic dimensions, in the source's layout.

    Returns:
        A ``keras.Model``. With several outputs, it returns a dictionary by their names.

    Raises:
        ConversionError: The model cannot be converted; if Keras cannot express some of its
            operators, the error names all of them.
    """
    options = Options(io=io, layouts=layouts or {}, shapes=shapes or {})
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
    """Convert a model, which is used up, into a Keras model.

    Args:
        model: The model.
        options: What is wanted of the compiler; the dialect is always ``functions``.
        free: Free a batch that the source fixes at 1, where that is proven right.
        progress: Is called with the name of each phase as it starts.
    """
    first = options.to == "channels-first"
    graph = prepared(
        model, options, OPERATORS, free=free, batch_first=True, adapt=write_out if first else None,
        progress=progress,
    )  # fmt: skip
    if progress is not None:
        progress("export")
    with _undisturbed():
        return Exported(build(graph.model, channels_first=first), graph.summary, graph.batch)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no global setting reach the result, and leave all of them as they were."""
    settings = keras.config
    layout, floatx = settings.image_data_format(), settings.floatx()
    policy = settings.dtype_policy()
    try:
        settings.set_floatx("float32")
        settings.set_dtype_policy("float32")
        settings.set_image_data_format("channels_last")
        with untouched():
            yield
    finally:
        settings.set_floatx(floatx)
        settings.set_dtype_policy(policy)
        settings.set_image_data_format(layout)
