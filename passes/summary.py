"""What a conversion did, as data: the reports print it."""

from __future__ import annotations

from dataclasses import dataclass

Sizes = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Remaining:
    """A Transpose of the result: what it moves, and who forces it."""

    node: str
    value: str
    perm: tuple[int, ...]
    shape: Sizes
    bytes: int | None
    forced_by: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Barrier:
    """A node that stays in the source's order since nothing is known of it."""

    node: str
    op_type: str
    domain: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """``bytes_*`` are what Transposes move in one run, symbolic sizes counted nominally.

    ``cost`` and ``lower_bound`` are the solver's: the bytes of the layouts chosen, and a proven minimum.
    """

    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    rewritten: dict[str, int]
    weights_permuted: int
    weight_bytes: int
    transposes_before: int
    transposes_after: int
    bytes_before: int
    bytes_after: int
    remaining: tuple[Remaining, ...]
    barriers: tuple[Barrier, ...]
    cost: int
    lower_bound: int
    seconds: dict[str, float]
    values: dict[str, tuple[str, tuple[int, ...]]]
    """Where a value of the source is found in the result: its name, and how it is permuted."""
