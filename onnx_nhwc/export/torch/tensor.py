"""What expressions are made of: tensors, modules and parameters, as marks in the text.

A mapping writes ``f"torch.relu({x})"``; what ``x`` is called is decided when the source is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from onnx_nhwc.export.values import Array

__all__ = ["MARK", "Argument", "Formed", "Literal", "Module", "Parameter", "Several", "Tensor"]

MARK = re.compile(r"§([tmp])(\d+)§")
"""A mark in an expression: the kind of what it stands for, and its number."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value that is computed when the model runs.

    Attributes:
        number: Which of the program's tensors it is.
        shape: Its sizes, None where they are known at run time only.
        dtype: Its type, as NumPy names it.
        hint: What it may be called.
    """

    number: int
    shape: tuple[int | None, ...]
    dtype: str
    hint: str = ""

    def __str__(self) -> str:
        return f"§t{self.number}§"


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter or a buffer that no module of torch's holds.

    Attributes:
        number: Which of the program's parameters it is.
        path: Its key in the state dict.
        shape: Its sizes.
        dtype: Its type, as NumPy names it.
        load: Gives its numbers.
        trainable: Is it an ``nn.Parameter``, rather than a buffer?
    """

    number: int
    path: str
    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Array]
    trainable: bool

    def __str__(self) -> str:
        return f"§p{self.number}§"


@dataclass(frozen=True)
class Literal:
    """A number that is written into the source.

    Attributes:
        text: The number.
        dtype: Its type, as NumPy names it.
        shape: It has none.
    """

    text: str
    dtype: str
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.text


Argument = tuple[str, object]
"""The name of an argument, and its value."""


@dataclass(frozen=True, eq=False)
class Module:
    """A module of torch's.

    Attributes:
        number: Which of the program's modules it is.
        path: Where it is: the beginning of its keys in the state dict.
        kind: Its class, as the source names it.
        arguments: What it is made with.
        positional: How many of the arguments are given by position.
        weights: What its parameters and buffers are filled with, by their names.
    """

    number: int
    path: str
    kind: str
    arguments: tuple[Argument, ...]
    positional: int
    weights: dict[str, Callable[[], Array]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"§m{self.number}§"


@dataclass(frozen=True)
class Formed:
    """An expression that a module without parameters says as well.

    Attributes:
        text: The expression.
        kind: The module's class.
        arguments: What the module is made with.
        positional: How many of the arguments are given by position.
    """

    text: str
    kind: str
    arguments: tuple[Argument, ...] = ()
    positional: int = 0

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Several:
    """An expression that gives all outputs of a node at once, as a tuple."""

    text: str

    def __str__(self) -> str:
        return self.text
