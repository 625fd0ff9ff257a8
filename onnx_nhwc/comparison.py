"""Comparing one value of the source with what the converted model makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "compare"]

Array = npt.NDArray[Any]

_TOLERANCES: dict[str, tuple[float, float]] = {  # dtype -> atol, rtol
    "float16": (1e-3, 1e-2),
    "float32": (1e-5, 1e-4),
    "float64": (1e-10, 1e-9),
}


@dataclass(frozen=True)
class Comparison:
    """One value of both models.

    Attributes:
        name: Its name in the source.
        perm: Stored axis ``i`` of the converted model is axis ``perm[i]`` of the source.
        dtype: Its element type in the source, as NumPy names it.
        shape: Its shape in the source.
        error: The largest absolute difference; 0 for types that must be equal.
        scale: The largest finite absolute value in the source.
        tolerance: What ``error`` may be: ``atol + rtol * scale``.
        reason: Why the values differ; empty if they agree.
    """

    name: str
    perm: tuple[int, ...]
    dtype: str
    shape: tuple[int, ...]
    error: float = 0.0
    scale: float = 0.0
    tolerance: float = 0.0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Do the values agree?"""
        return not self.reason


def compare(
    name: str,
    source: Any,
    converted: Any,
    perm: Sequence[int] | None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
) -> Comparison:
    """Compare one value of both models; ``converted`` is to be ``source`` permuted by ``perm``.

    Args:
        name: The value's name, for the report.
        source: An array, or a list of arrays for a sequence.
        converted: The same of the converted model.
        perm: How the converted model stores it; None leaves it as it is.
        rtol: Relative tolerance, by default that of the type.
        atol: Absolute tolerance, by default that of the type.
    """
    if not isinstance(source, np.ndarray) or not isinstance(converted, np.ndarray):
        return _compare_others(name, source, converted, rtol, atol)
    perm = tuple(range(source.ndim)) if perm is None else tuple(perm)
    result = Comparison(name, perm, str(source.dtype), source.shape)
    if sorted(perm) != list(range(source.ndim)):
        return _because(result, f"its metadata say {list(perm)}, but its rank is {source.ndim}")
    if source.dtype != converted.dtype:
        return _because(result, f"its type is {converted.dtype}, not {source.dtype}")
    wanted = np.transpose(source, perm)
    if wanted.shape != converted.shape:
        return _because(result, f"its shape is {list(converted.shape)}, not {list(wanted.shape)} as expected")
    if not np.issubdtype(source.dtype, np.floating):
        unequal = np.count_nonzero(wanted != converted)
        reason = f"{unequal:,} of {source.size:,} elements are unequal" if unequal else ""
        return _because(result, reason)
    return _compare_floats(result, wanted, converted, rtol, atol)


def _because(result: Comparison, reason: str, **figures: float) -> Comparison:
    return Comparison(result.name, result.perm, result.dtype, result.shape, reason=reason, **figures)


def _compare_floats(
    result: Comparison, wanted: Array, actual: Array, rtol: float | None, atol: float | None
) -> Comparison:
    finite = np.isfinite(wanted)
    unequal = ~finite & (wanted != actual) & ~(np.isnan(wanted) & np.isnan(actual))
    unequal |= finite & ~np.isfinite(actual)
    by_type = _TOLERANCES.get(result.dtype, _TOLERANCES["float32"])
    a, b = wanted[finite].astype(np.float64), actual[finite].astype(np.float64)
    scale = float(np.max(np.abs(a), initial=0.0))
    tolerance = (by_type[0] if atol is None else atol) + (by_type[1] if rtol is None else rtol) * scale
    if unequal.any():
        reason = f"{np.count_nonzero(unequal):,} elements are NaN or infinite in one only"
        return _because(result, reason, error=float("inf"), scale=scale, tolerance=tolerance)
    error = float(np.max(np.abs(a - b), initial=0.0))
    reason = ""
    if error > tolerance:
        reason = f"by up to {error:.3g}, tolerated are {tolerance:.3g} (values reach {scale:.3g})"
    return _because(result, reason, error=error, scale=scale, tolerance=tolerance)


def _compare_others(
    name: str, source: Any, converted: Any, rtol: float | None, atol: float | None
) -> Comparison:
    """Compare sequences, maps and missing optional values, which keep their layout."""
    result = Comparison(name, (), type(source).__name__, ())
    if type(source) is not type(converted):
        return _because(result, f"it is a {type(converted).__name__}, not a {result.dtype}")
    if isinstance(source, list):
        if len(source) != len(converted):
            return _because(result, f"it has {len(converted)} entries, not {len(source)}")
        entries = [
            compare(f"{name}[{i}]", a, b, None, rtol=rtol, atol=atol)
            for i, (a, b) in enumerate(zip(source, converted, strict=True))
        ]
        return next((entry for entry in entries if not entry.ok), result)
    if isinstance(source, dict) and all(isinstance(value, float) for value in source.values()):
        if source.keys() != converted.keys():
            return _because(result, "its keys are others")
        wanted, actual = (np.array([found[k] for k in source], np.float32) for found in (source, converted))
        return compare(name, wanted, actual, None, rtol=rtol, atol=atol)
    return _because(result, "" if source == converted else "they are unequal")
