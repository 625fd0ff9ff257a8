"""Marks: what stands for a layer while TensorFlow traces the model that it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx_nhwc.load.keras.layer_forms import Form

__all__ = ["PACK", "UNPACK", "Mark", "mark"]

PACK, UNPACK = "OptionalFromValue", "OptionalGetValue"
"""TensorFlow's operations that a mark consists of: it can fold neither, and ONNX has neither."""


@dataclass(frozen=True)
class Mark:
    """One call of a layer: what it was called on, and how it is written."""

    layer: Any
    form: Form
    shape: tuple[int | None, ...]


def mark(x: Any, layer: Any, form: Form, shape: Sequence[int | None], marks: list[Mark]) -> Any:
    """What stands for the result of a layer, of this shape, while TensorFlow traces."""
    import tensorflow as tf

    number = len(marks)
    marks.append(Mark(layer, form, tuple(x.shape)))
    packed = tf.raw_ops.OptionalFromValue(components=[x, tf.constant(number)], name=layer.name)
    (y,) = tf.raw_ops.OptionalGetValue(
        optional=packed, output_types=[x.dtype], output_shapes=[list(shape)], name=layer.name
    )
    return y
