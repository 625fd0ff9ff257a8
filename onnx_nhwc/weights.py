"""Weights that stay on disk: where they came from, how they are serialized and let go."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir

__all__ = ["Origin", "in_memory", "release", "serialize", "to_proto"]

_KEY = "onnx_nhwc.origin"


@dataclass
class Origin:
    """What a model remembers of the file that it was read from.

    Attributes:
        external: Its weights (some of them) were in external data files.
        mapped: Its weights that are mapped into memory.
    """

    external: bool = False
    mapped: list[ir.ExternalTensor] = field(default_factory=list)

    def attach(self, model: ir.Model) -> None:
        """Have ``model`` remember."""
        model.meta[_KEY] = self

    @classmethod
    def of(cls, model: ir.Model) -> Origin:
        """Return what ``model`` remembers; nothing, if it was not read by this package."""
        origin = model.meta.get(_KEY)
        return origin if isinstance(origin, cls) else cls()


def release(model: ir.Model) -> None:
    """Give back the memory of all mapped weights of ``model`` that were looked at so far.

    Arrays that were taken from them stay valid: a page that is needed again is read again.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    for tensor in Origin.of(model).mapped:
        if isinstance(tensor.raw, mmap.mmap):
            tensor.raw.madvise(mmap.MADV_DONTNEED)


def in_memory(tensor: ir.TensorProtocol) -> ir.LazyTensor:
    """Wrap a mapped tensor, so that it is serialized by value and not as a reference."""
    return ir.LazyTensor(
        lambda: tensor,
        dtype=tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name or "",
    )


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return ``model`` as one message that holds all of its weights."""
    return serialize(model, ())


def serialize(
    model: ir.Model, references: Iterable[tuple[ir.Value, ir.ExternalTensor]]
) -> onnx.ModelProto:
    """Serialize ``model`` with these references in place of these weights.

    All other weights are serialized by value, also if they are mapped. The model is unchanged
    afterwards.
    """
    replacements: dict[ir.Value, ir.TensorProtocol] = {
        value: in_memory(tensor)
        for graph in model.graphs()
        for value in graph.initializers.values()
        if isinstance(tensor := value.const_value, ir.ExternalTensor)
    }
    replacements.update(references)
    with _replaced(replacements):
        return ir.serde.serialize_model(model)


@contextmanager
def _replaced(tensors: dict[ir.Value, ir.TensorProtocol]) -> Iterator[None]:
    before = {value: value.const_value for value in tensors}
    try:
        for value, tensor in tensors.items():
            value.const_value = tensor
        yield
    finally:
        for value, old in before.items():
            value.const_value = old
