"""Layouts as people name them: letters or permutations; and shapes that contradict them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from onnx_nhwc.passes.errors import UsageError

__all__ = ["Layout", "LayoutWarning", "contradiction", "inverse", "permutation", "rank", "warn"]

Layout = str | Sequence[int]

_FIRST = {3: "NCW", 4: "NCHW", 5: "NCDHW"}
_MEANING = {"C": "channels", "D": "depth", "H": "height", "W": "width", "L": "length"}
_IMAGE = (1, 3)  # channels that images and recordings come with
_SMALL = 4  # an axis that is no longer may well be one of channels


class LayoutWarning(UserWarning):
    """A shape contradicts the layout that is stated for it."""


def permutation(source: Layout, target: Layout) -> tuple[int, ...]:
    """Return ``perm`` with ``np.transpose(x, perm)`` in ``target`` for every ``x`` in ``source``.

    Letters name axes. A permutation is one of a channels-first model's axes, or of any other's: it
    says of each stored axis which of the model's axes it is.

    >>> permutation("NCHW", "NHWC"), permutation("HWC", "CHW")
    ((0, 2, 3, 1), (2, 0, 1))
    >>> permutation("NCHW", (0, 2, 3, 1)), permutation((0, 2, 3, 1), (0, 1, 2, 3))
    ((0, 2, 3, 1), (0, 3, 1, 2))

    Raises:
        UsageError: The two do not have the same axes.
    """
    one, other = _axes(source, target), _axes(target, source)
    if sorted(one) != sorted(other):
        raise UsageError(
            f"'{_text(source)}' and '{_text(target)}' do not have the same axes",
            "Use the same letters, such as NCHW and NHWC, or permutations of the same rank.",
        )
    return tuple(one.index(axis) for axis in other)


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """Return the permutation that undoes ``perm``."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def rank(layout: Layout) -> int:
    """How many axes a layout has."""
    return len(layout)


def _axes(layout: Layout, other: Layout) -> list[str]:
    if isinstance(layout, str):
        letters = list(layout.upper())
        if not letters or len(set(letters)) < len(letters) or not layout.isalpha():
            raise UsageError(f"'{layout}' is not a layout", "Name each axis once, as in NHWC.")
        if isinstance(other, str):
            return letters
        first = _FIRST.get(len(letters), "")
        if sorted(letters) != sorted(first):
            raise UsageError(
                f"'{layout}' says nothing of the order that the permutation {_text(other)} is of",
                "State both as letters, or both as permutations.",
            )
        return [str(first.index(letter)) for letter in letters]
    perm = list(layout)
    if sorted(perm) != list(range(len(perm))):
        raise UsageError(f"{_text(layout)} is not a permutation such as (0, 2, 3, 1)")
    return [str(axis) for axis in perm]


def _text(layout: Layout) -> str:
    return layout if isinstance(layout, str) else str(tuple(layout))


def contradiction(shape: Sequence[object], layout: Layout) -> str:
    """Say what speaks against ``shape`` being in ``layout``; empty if nothing does.

    An axis that is stated to be spatial has 1 or 3 elements where the other layout would have the
    channels, while the channels would be many.

    >>> contradiction((8, 224, 200, 3), "NCHW")
    'it would have 224 channels and a width of 3'
    >>> contradiction((8, 64, 7, 7), "NCHW"), contradiction((8, 64, 1, 1), "NCHW")
    ('', '')
    """
    letters = layout.upper() if isinstance(layout, str) else ""
    if "C" not in letters or len(letters) != len(shape):
        return ""
    at = letters.index("C")
    batch = int("N" in letters)
    if at not in (batch, len(shape) - 1):
        return ""
    there = batch if at == len(shape) - 1 else len(shape) - 1  # of the channels, if not at ``at``
    spatial = [shape[i] for i in range(batch, len(shape)) if i not in (at, there)]
    known = [size for size in (shape[at], *spatial) if isinstance(size, int)]
    if shape[there] not in _IMAGE or not isinstance(shape[at], int) or min(known) <= _SMALL:
        return ""
    what = _MEANING.get(letters[there], letters[there])
    return f"it would have {shape[at]} channels and a {what} of {shape[there]}"


def warn(name: str, shape: Sequence[object], layout: Layout, level: int) -> None:
    """Warn the caller of the function ``level`` frames up of a shape against its layout."""
    if reason := contradiction(shape, layout):
        text = ", ".join(map(str, shape))
        warnings.warn(
            f"{name} of shape ({text}) is stated to be {_text(layout)}, but {reason}",
            LayoutWarning,
            stacklevel=level + 1,
        )
