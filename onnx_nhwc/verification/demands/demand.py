"""A demand, and the node that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

__all__ = ["Array", "Demand", "Row", "Site", "Sizes", "between", "exactly"]

Array = npt.NDArray[Any]
Sizes = tuple[int | None, ...]


@dataclass(frozen=True)
class Demand:
    """The least and the greatest value of each element; arrays that broadcast to the input's shape."""

    low: Array
    high: Array

    @property
    def is_exact(self) -> bool:
        return bool(np.array_equal(self.low, self.high))

    def both(self, other: Demand) -> Demand:
        """What satisfies both, or this one where they contradict each other."""
        with suppress(ValueError):
            low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
            if np.all(low <= high):
                return Demand(low, high)
        return self

    def draw(self, shape: Sequence[int], dtype: Any, rng: np.random.Generator) -> Array:
        """Draw values; of the demand's own shape if it does not broadcast to ``shape``."""
        with suppress(ValueError):
            low, high = (np.broadcast_to(bound, shape) for bound in (self.low, self.high))
            return self._drawn(low, high, dtype, rng)
        return self._drawn(self.low, self.high, dtype, rng)

    def _drawn(self, low: Array, high: Array, dtype: Any, rng: np.random.Generator) -> Array:
        if np.issubdtype(dtype, np.floating):
            low, high = np.where(np.isinf(low), -1.0, low), np.where(np.isinf(high), 1.0, high)
            return np.asarray(rng.uniform(low, np.maximum(low, high)), dtype)
        low = np.where(np.isinf(low), np.where(np.isinf(high), 0, high - 1), low)
        high = np.where(np.isinf(high), low + 1, high)
        return np.asarray(rng.integers(low.astype(np.int64), high.astype(np.int64) + 1), dtype)


def between(low: float, high: float) -> Demand:
    """Every element lies between these two, which may be drawn as well."""
    return Demand(np.asarray(low, np.float64), np.asarray(high, np.float64))


def exactly(values: Any) -> Demand:
    """These values."""
    array = np.asarray(values, np.float64)
    return Demand(array, array)


@dataclass(frozen=True)
class Site:
    """A node, as far as it is known before it runs."""

    node: onnx.NodeProto
    index: int
    opset: int
    shapes: Mapping[str, Sizes]
    constants: Mapping[str, Array]
    types: Mapping[str, int]
    rng: np.random.Generator

    @property
    def count(self) -> int | None:
        """How many elements the input in question has."""
        shape = self.shape(self.index)
        if shape is None or None in shape:
            return None
        return int(np.prod([size for size in shape if size is not None], dtype=np.int64))

    def attribute(self, name: str, default: Any = None) -> Any:
        for entry in self.node.attribute:
            if entry.name == name:
                value = helper.get_attribute_value(entry)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def has(self, index: int) -> bool:
        return index < len(self.node.input) and bool(self.node.input[index])

    def shape(self, index: int) -> Sizes | None:
        return self.shapes.get(self.node.input[index]) if self.has(index) else None

    def sizes(self, index: int = 0) -> tuple[int, ...] | None:
        """The shape of an input, if all of it is known."""
        return _all_known(self.shape(index))

    def result(self, index: int = 0) -> Sizes | None:
        """What the file says of the shape of an output."""
        return self.shapes.get(self.node.output[index]) if index < len(self.node.output) else None

    def constant(self, index: int) -> Array | None:
        return self.constants.get(self.node.input[index]) if self.has(index) else None

    def is_integer(self, index: int) -> bool:
        kind = self.types.get(self.node.input[index], 0)
        return bool(kind) and np.issubdtype(helper.tensor_dtype_to_np_dtype(kind), np.integer)

    def axis(self, default: int = 0, index: int = 0) -> int | None:
        shape = self.shape(index)
        return None if shape is None or not shape else self.attribute("axis", default) % len(shape)


def _all_known(shape: Sizes | None) -> tuple[int, ...] | None:
    if shape is None:
        return None
    known = tuple(size for size in shape if size is not None)
    return known if len(known) == len(shape) else None


Row = Callable[[Site], Demand | None]
