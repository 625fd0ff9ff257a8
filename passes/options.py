"""What may be wanted of a conversion: stated, explained and checked once, for every door to it.

The command line takes names, choices, defaults and explanations from here. Imports nothing but errors, so
that ``--help`` is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from .errors import UsageError

__all__ = ["DEFAULTS", "Checks", "Options", "flags"]

Layouts = Mapping[str, str | tuple[int, ...]]
Shapes = Mapping[str, tuple[int | None, ...]]


def _said(text: str, *, choices: tuple[str, ...] = (), flag: str = "", form: str = "") -> dict[str, Any]:
    """What a record says of an option besides its type and its default.

    Args:
        text: What it means, for whoever uses the command line.
        choices: The values that it may have, if these are few.
        flag: What the command line calls it, if not by its name.
        form: How one entry of a mapping is written there.
    """
    return {"help": text, "choices": choices, "flag": flag, "form": form}


@dataclass(frozen=True)
class Options:
    """What is wanted of the result.

    Attributes:
        to: ``"channels-last"`` or ``"channels-first"``: the layout of images (or signals, or volumes).
        dialect: ``"functions"`` writes channels-last operators as model-local functions
            (``onnx_nhwc.Conv2D``, ...), ``"standard"`` uses operators of ONNX only.
        io: ``"auto"`` lets the model's own inputs and outputs change their layout where they are
            images; ``"keep"`` does not.
        layouts: Layouts of inputs and outputs by name, as letters (``"NHWC"``) or as a permutation
            (``(0, 2, 3, 1)``: stored axis ``i`` is the source's axis ``perm[i]``). They beat ``io``.
        shapes: Sizes of inputs by name, which fix dynamic dimensions, in the source's layout; None
            leaves one dynamic.
        batch_first: Recurrent operators run batch first only: for exporters to what knows no other.
        whole: Operators in pieces are put together in either layout: for exporters to what has them.

    Raises:
        UsageError: A value is none of the choices.
    """

    to: str = field(
        default="channels-last",
        metadata=_said("the layout wanted", choices=("channels-last", "channels-first")),
    )
    dialect: str = field(
        default="functions",
        metadata=_said(
            "how channels-last operators are written: as model-local functions, or with standard "
            "operators only",
            choices=("functions", "standard"),
        ),
    )
    io: str = field(
        default="auto",
        metadata=_said("may the model's own inputs and outputs change layout", choices=("auto", "keep")),
    )
    layouts: Layouts = field(
        default_factory=dict,
        metadata=_said(
            "pin one input or output: letters (NCHW, NHWC, NCW, NWC, NCDHW, NDHWC) or a permutation "
            "(0,2,3,1); may be repeated; beats --io",
            flag="--layout",
            form="NAME=NHWC",
        ),
    )
    shapes: Shapes = field(
        default_factory=dict,
        metadata=_said(
            "fix dynamic dimensions of an input ('?' leaves one dynamic); may be repeated",
            flag="--shape",
            form="NAME=1,3,224,224",
        ),
    )
    batch_first: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        pins = {name: pin if isinstance(pin, str) else tuple(pin) for name, pin in self.layouts.items()}
        object.__setattr__(self, "layouts", pins)
        for entry in flags(Options):
            choices, value = entry.metadata["choices"], getattr(self, entry.name)
            if choices and value not in choices:
                raise UsageError(f"{entry.name}={value!r}: choose {' or '.join(choices)}")


@dataclass(frozen=True)
class Checks:
    """How the result is compared with the source before it is written.

    Attributes:
        verify: Run both models and compare their outputs.
        rtol: Relative tolerance, by default 1e-4 for float32.
        atol: Absolute tolerance, by default 1e-5 for float32.
        seed: Seed of the inputs that both are run on.
    """

    verify: bool = field(default=True, metadata=_said("do not compare the result", flag="--no-verify"))
    rtol: float | None = field(default=None, metadata=_said("relative tolerance (default: 1e-4 for float32)"))
    atol: float | None = field(default=None, metadata=_said("absolute tolerance (default: 1e-5 for float32)"))
    seed: int = field(default=0, metadata=_said("seed of the inputs compared (default: 0)"))


def flags(record: type[Options] | type[Checks]) -> tuple[Field[Any], ...]:
    """The fields of a record that the command line has."""
    return tuple(entry for entry in fields(record) if entry.metadata)


DEFAULTS = Options()
