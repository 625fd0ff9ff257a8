"""What an ONNX value is while a model is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Constant", "Fact", "Items", "UnsupportedError"]

Array = npt.NDArray[Any]


class UnsupportedError(Exception):
    """A node cannot be expressed; the text is the reason."""


@dataclass(frozen=True)
class Constant:
    """A value that is known now.

    Attributes:
        load: Gives the array; weights stay where they are until it is called.
        shape: Its shape.
        dtype: Its type, as Keras names it.
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
"""A Constant, Items, or a keras.KerasTensor (Keras has no types for mypy to see)."""
