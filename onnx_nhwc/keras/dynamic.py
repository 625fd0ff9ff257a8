"""Sizes that are known at run time only, as symbolic tensors.

Keras has no operation that reads a size: ``keras.ops.shape`` gives ``None`` for it. What it has is
``ones_like``, and a sum of ones is a size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from keras import ops

from onnx_nhwc.keras.arithmetic import plus
from onnx_nhwc.keras.values import Constant, UnsupportedError
from onnx_nhwc.passes.layout import Dim

if TYPE_CHECKING:
    from onnx_nhwc.keras.export import Exporter

__all__ = ["Sizes"]


class Sizes:
    """Makes tensors out of symbolic sizes; equal sizes are read once."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._zeros: dict[Dim, Any] = {}
        self._lengths: dict[Dim, Any] = {}
        self._by_size: dict[Dim, list[tuple[ir.Value, int]]] = {}

    def zeros(self, dim: Dim) -> Any:
        """A vector of ``dim`` zeros, int32."""
        if dim.static:
            return np.zeros(dim.number, np.int32)
        if dim not in self._zeros:
            self._zeros[dim] = self._made(dim)
        return self._zeros[dim]

    def _made(self, dim: Dim) -> Any:
        found = self._axis(dim)
        if found is not None:
            return found
        parts = [self._axis(Dim(1, (symbol,))) for symbol in dim.symbols]
        if any(part is None for part in parts) or len(parts) + dim.number == 2:
            raise UnsupportedError(f"the size '{dim}' cannot be read from any value")
        total = np.zeros(dim.number, np.int32)
        for part in parts:
            total = ops.reshape(plus(ops.expand_dims(part, 1), total), (-1,))
        return total

    def _axis(self, dim: Dim) -> Any:
        """Zeros along an axis of exactly this size, if some value has one."""
        exporter = self._exporter
        for value, axis in self._places().get(dim, ()):
            tensor = exporter.evaluated(value)
            if tensor is None or isinstance(tensor, Constant) or len(tensor.shape) <= axis:
                continue
            key = tuple(slice(None) if i == axis else 0 for i in range(len(tensor.shape)))
            return ops.zeros_like(tensor[key], dtype="int32")
        return None

    def _places(self) -> dict[Dim, list[tuple[ir.Value, int]]]:
        """The values that have an axis of each size, in their order."""
        if not self._by_size:
            for value, dims in self._exporter.shapes.dims.items():
                for axis, dim in enumerate(dims or ()):
                    if not dim.static:
                        self._by_size.setdefault(dim, []).append((value, axis))
        return self._by_size

    def length(self, dim: Dim) -> Any:
        """A size as an int32 scalar."""
        if dim.static:
            return dim.number
        if dim not in self._lengths:
            self._lengths[dim] = ops.sum(plus(self.zeros(dim), 1))
        return self._lengths[dim]

    def range(self, dim: Dim) -> Any:
        """``0, 1, ..., dim - 1``, int32."""
        if dim.static:
            return np.arange(dim.number, dtype=np.int32)
        return ops.subtract(ops.cumsum(plus(self.zeros(dim), 1), axis=0), 1)

    def vector(self, dims: Sequence[Dim], dtype: str) -> Any:
        """A shape as a vector."""
        parts = [ops.reshape(self.length(d), (1,)) if not d.static else [d.number] for d in dims]
        tensors = [np.asarray(p, np.int32) if isinstance(p, list) else p for p in parts]
        return ops.cast(ops.concatenate(tensors, axis=0), dtype)

    def grid(self, dims: Sequence[Dim]) -> Any:
        """Zeros of a shape, int32."""
        total: Any = None
        for i, dim in enumerate(dims):
            shape = [1] * len(dims)
            shape[i] = -1
            zeros = (
                ops.reshape(self.zeros(dim), shape)
                if not dim.static
                else np.zeros([dim.number if j == i else 1 for j in range(len(dims))], np.int32)
            )
            total = zeros if total is None else plus(total, zeros)
        return total
