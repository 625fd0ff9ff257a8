"""Sizes that are known at run time only, as symbolic tensors.

Keras has no operation that reads a size: ``keras.ops.shape`` gives ``None`` for it. What it has is
``ones_like``, and a sum of ones is a size. Nor has it one that makes a tensor of a computed size, but
``bincount`` of a number alone has that many zeros, and a one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir
import sympy
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.values import Constant, UnsupportedError, Values
from onnx_nhwc.passes.algebra.layout import Dim
from onnx_nhwc.passes.algebra.symbols import expression, named, total

__all__ = ["Sizes"]


class Sizes:
    """Makes tensors out of symbolic sizes; equal sizes are read once."""

    def __init__(self, walk: Values) -> None:
        self._walk = walk
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
        if len(parts) + dim.number == 2 or any(part is None for part in parts):
            count = ops.maximum(self.length(dim), 0)
            return ops.bincount(ops.reshape(count, (1,)))[(slice(None, -1),)]
        total = np.zeros(dim.number, np.int32)
        for part in parts:
            total = ops.reshape(plus(ops.expand_dims(part, 1), total), (-1,))
        return total

    def _axis(self, dim: Dim) -> Any:
        """Zeros along an axis of exactly this size, if some value has one."""
        for value, axis in self._places().get(dim, ()):
            tensor = self._walk.evaluated(value)
            if tensor is None or isinstance(tensor, Constant) or len(tensor.shape) <= axis:
                continue
            key = tuple(slice(None) if i == axis else 0 for i in range(len(tensor.shape)))
            return ops.zeros_like(tensor[key], dtype="int32")
        return None

    def _places(self) -> dict[Dim, list[tuple[ir.Value, int]]]:
        """The values that have an axis of each size, in their order."""
        if not self._by_size:
            for value, dims in self._walk.shapes.dims.items():
                for axis, dim in enumerate(dims or ()):
                    if not dim.static:
                        self._by_size.setdefault(dim, []).append((value, axis))
        return self._by_size

    def length(self, dim: Dim) -> Any:
        """A size, or another number that is computed from sizes, as an int32 scalar."""
        if dim.static:
            return dim.number
        if dim not in self._lengths:
            axis = self._axis(dim)
            found = self._computed(dim) if axis is None else ops.sum(plus(axis, 1))
            self._lengths[dim] = found
        return self._lengths[dim]

    def _computed(self, dim: Dim) -> Any:
        """A number by its formula."""
        formula = expression(dim)
        if isinstance(formula, sympy.floor):
            numerator, denominator = formula.args[0].as_numer_denom()
            return ops.floor_divide(self._part(numerator), self._part(denominator))
        if isinstance(formula, sympy.Mod):
            return ops.mod(*map(self._part, formula.args))
        if formula.is_Pow and formula.exp.is_Integer and formula.exp > 0:
            return reduce(ops.multiply, [self._part(formula.base)] * int(formula.exp))
        if not (formula.is_Add or formula.is_Mul):
            raise UnsupportedError(f"the size '{dim}' cannot be read from any value")
        return reduce(plus if formula.is_Add else ops.multiply, map(self._part, formula.args))

    def _part(self, formula: sympy.Expr) -> Any:
        return self.length(named(formula))

    def integers(self, value: ir.Value) -> tuple[Dim, ...]:
        """The integers that a value holds; those that only run time tells have names of their own."""
        found = self._walk.shapes.values(value)
        if found is not None:
            return found
        fact = self._walk.fact(value)
        if isinstance(fact, Constant):
            return tuple(Dim(int(number)) for number in fact.array.reshape(-1))
        if len(fact.shape) > 1 or None in fact.shape:
            raise UnsupportedError(f"how many numbers '{value.name}' holds is known at run time only")
        flat = ops.cast(ops.reshape(fact, (-1,)), "int32")
        return tuple(self.name(flat[i]) for i in range(fact.shape[0] if fact.shape else 1))

    def name(self, number: Any) -> Dim:
        """Treat a scalar that is computed as a size."""
        dim = Dim(1, (f"_computed_{len(self._lengths)}",))
        self._lengths[dim] = number
        return dim

    def total(self, *dims: Dim) -> Dim:
        """A sum of sizes; one that has no formula is computed."""
        found = total(*dims)
        if all(symbol.name.isidentifier() for symbol in expression(found).free_symbols):
            return found
        return self.name(reduce(plus, map(self.length, dims)))

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
