"""Weights that stay on disk: where they came from, how they are serialized and let go."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from onnx_nhwc.files import unusual

__all__ = [
    "Origin",
    "from_proto",
    "in_memory",
    "in_order",
    "is_plain",
    "nodes",
    "release",
    "serialize",
    "to_proto",
]

Array = npt.NDArray[Any]

_TILE = 16  # columns; transposing this many at a time keeps within the cache: 4x as fast
_LARGE = 1 << 16  # bytes; smaller weights are copied without a thought

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
    """Wrap a tensor: it has a name of its own, and is serialized by value, not as a reference."""

    def value() -> ir.TensorProtocol:
        inner = tensor.raw() if isinstance(tensor, ir.LazyTensor) else tensor
        if isinstance(inner, ir.Tensor) and is_plain(inner.dtype):
            return ir.Tensor(in_order(inner.numpy()), dtype=inner.dtype)
        return inner

    return ir.LazyTensor(
        value, dtype=tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=tensor.name or ""
    )


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """Return ``proto`` as an ``ir.Model`` whose weights are not copied.

    ``proto`` is not changed by whatever is done to the result. An ``ir.Model`` made by onnx_ir
    alone is another matter: renaming one of its values renames the tensor in ``proto``.
    """
    model = ir.serde.deserialize_model(proto)
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = _own(value.const_value)
    for node in nodes(model):
        for attribute in list(node.attributes.values()):
            if isinstance(attribute.value, ir.TensorProtoTensor):
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, _own(attribute.value))
    return model


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield all nodes: of the main graph, of subgraphs and of functions."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _own(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Return a tensor that may be renamed without harm to the proto that holds its data."""
    if not isinstance(tensor, ir.TensorProtoTensor):
        return tensor
    if tensor.dtype == ir.DataType.STRING or tensor.nbytes < _LARGE:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor.raw)
        return ir.TensorProtoTensor(copy)
    return in_memory(tensor)


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return ``model`` as one message that holds all of its weights."""
    return serialize(model, ())


def serialize(model: ir.Model, references: Iterable[tuple[ir.Value, ir.ExternalTensor]]) -> onnx.ModelProto:
    """Serialize ``model`` with these references in place of these weights.

    All other weights are serialized by value, also if they are mapped. The model is unchanged
    afterwards.
    """
    replacements: dict[ir.Value, ir.TensorProtocol] = {
        value: in_memory(tensor)
        for graph in model.graphs()
        for value in graph.initializers.values()
        if isinstance(tensor := value.const_value, (ir.ExternalTensor, ir.LazyTensor))
    }
    replacements.update(references)
    with _replaced(replacements):
        proto = ir.serde.serialize_model(model)
    unusual.put_back(model, proto)
    return proto


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


def is_plain(dtype: ir.DataType) -> bool:
    """Is a value of this type in memory what it is in a file?"""
    return dtype.bitwidth >= 8 and sys.byteorder == "little"


def in_order(array: Array) -> Array:
    """Return a contiguous copy; a transposed matrix is copied in tiles that fit the cache."""
    strides = [abs(s) for s, d in zip(array.strides, array.shape, strict=True) if d > 1]
    if array.ndim < 2 or not strides or strides[-1] == min(strides):
        return np.ascontiguousarray(array)
    copy = np.empty(array.shape, array.dtype)
    for start in range(0, array.shape[-1], _TILE):
        copy[..., start : start + _TILE] = array[..., start : start + _TILE]
    return copy
