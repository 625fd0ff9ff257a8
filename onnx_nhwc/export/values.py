"""What an ONNX value is while a model is exported, and what a mapping may ask of the walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnx_nhwc.export.names import Names
from onnx_nhwc.passes.algebra.layout import Dim
from onnx_nhwc.passes.shapes.infer import Shapes

__all__ = ["Array", "Constant", "Fact", "Items", "Steps", "UnsupportedError", "Values", "dtype_name"]

Array = npt.NDArray[Any]

_DTYPES = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.DOUBLE: "float64",
    ir.DataType.FLOAT16: "float16",
    ir.DataType.BFLOAT16: "bfloat16",
    ir.DataType.BOOL: "bool",
    **{
        getattr(ir.DataType, f"{sign}INT{bits}"): f"{sign.lower()}int{bits}"
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
}


class UnsupportedError(Exception):
    """A node cannot be expressed; the text is the reason."""


def dtype_name(dtype: ir.DataType | None, target: str = "the target") -> str:
    """Return the name that frameworks have for a type of ONNX.

    Args:
        dtype: The type.
        target: Who has no tensors of other types, for the refusal.

    >>> dtype_name(ir.DataType.DOUBLE)
    'float64'
    """
    if dtype is None or dtype not in _DTYPES:
        raise UnsupportedError(f"{target} has no tensors of type {dtype.name if dtype else 'unknown'}")
    return _DTYPES[dtype]


@dataclass(frozen=True)
class Constant:
    """A value that is known now.

    Attributes:
        load: Gives the array; weights stay where they are until it is called.
        shape: Its shape.
        dtype: Its type, as NumPy names it.
        name: The name of the initializer that it came from.
        trainable: Is it a parameter of the source, rather than a number in a formula?
    """

    load: Callable[[], Array]
    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    trainable: bool = False

    @property
    def array(self) -> Array:
        return self.load()

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @staticmethod
    def of(array: Any, name: str = "", trainable: bool = False) -> Constant:
        value = np.asarray(array)
        return Constant(lambda: value, value.shape, str(value.dtype), name, trainable)


@dataclass(frozen=True)
class Items:
    """A sequence of tensors."""

    items: tuple[Any, ...]
    shape: tuple[int, ...] = ()
    dtype: str = ""


Fact = Any
"""A Constant, Items, or a tensor of the target's, which has a ``shape`` and a ``dtype``."""


class Steps(Protocol):
    """The few operations on a target's tensors that control flow is made of."""

    def scalar(self, x: Any) -> Any:
        """The only element of a tensor."""

    def choose(self, condition: Any, new: Any, old: Any) -> Any:
        """``new`` where a scalar condition is true, else ``old``."""

    def both(self, a: Any, b: Any) -> Any:
        """Are two scalar conditions true?"""

    def above(self, number: Any, limit: int) -> Any:
        """Is a scalar greater than ``limit``?"""

    def stack(self, tensors: Sequence[Any], axis: int) -> Any:
        """Tensors of one shape along a new axis."""

    def part(self, x: Any, axis: int, index: int) -> Any:
        """What lies at a place of an axis, which is gone then."""

    def places(self, flags: Sequence[Any]) -> Any:
        """The places of those scalars that are true, as a vector."""

    def entries(self, x: Any, places: Any) -> Any:
        """What lies at places of axis 0."""


class Values(Protocol):
    """The walk, as mappings and their calls see it."""

    names: Names
    shapes: Shapes
    errors: list[tuple[str, str]]

    @property
    def steps(self) -> Steps:
        """What control flow is made of."""

    @property
    def channels_first(self) -> bool:
        """Are images channels first?"""

    def fact(self, value: ir.Value) -> Fact:
        """What is known of a value; evaluates the node that makes it, if need be."""

    def evaluated(self, value: ir.Value) -> Fact | None:
        """What is known of a value without evaluating anything."""

    def dims(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """The sizes of a value."""

    def operand(self, value: ir.Value) -> Any:
        """A value as an argument of the target's operations."""

    def symbolic(self, value: ir.Value) -> Any:
        """A value as a tensor of the target's, also if it is a constant."""

    def call(self, node: ir.Node) -> Any:
        """Another node as its mapping sees it."""

    def evaluate(self, node: ir.Node) -> None:
        """Map a node."""

    def finish(self, node: ir.Node, results: Sequence[Any]) -> None:
        """State a node's results."""

    def replay(self, body: ir.Graph, inputs: Sequence[Fact]) -> list[Fact]:
        """Evaluate a body anew, from these inputs."""
