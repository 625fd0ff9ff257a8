"""Layouts as people name them: letters or permutations."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_nhwc.passes.errors import UsageError

__all__ = ["Layout", "inverse", "permutation", "rank"]

Layout = str | Sequence[int]

_FIRST = {3: "NCW", 4: "NCHW", 5: "NCDHW"}


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
