"""Comparing one value of the source with what the converted model makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "Leeway", "compare", "spread"]

Array = npt.NDArray[Any]

_TOLERANCES: dict[str, tuple[float, float]] = {  # dtype -> atol, rtol
    "bfloat16": (1e-2, 1e-1),
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
        tolerance: What ``error`` may be.
        reason: Why the values differ; empty if they agree.
        basis: What the tolerance is, where it is not the stated one, ``atol + rtol * scale``.
        step: The step of the quantiser that made the value; 0 if none did, or if that does not matter.
        by_value: Were values compared? They are not where they depend on random numbers.
    """

    name: str
    perm: tuple[int, ...]
    dtype: str
    shape: tuple[int, ...]
    error: float = 0.0
    scale: float = 0.0
    tolerance: float = 0.0
    reason: str = ""
    basis: str = ""
    step: float = 0.0
    by_value: bool = True

    @property
    def ok(self) -> bool:
        """Do the values agree?"""
        return not self.reason


@dataclass(frozen=True)
class Leeway:
    """What a value may differ by, beyond what is stated for its type.

    Attributes:
        dtype: The type whose tolerances hold, if not its own.
        noise: What the source's own value moves by.
        step: What one rounding of a quantiser that falls the other way makes of it.
        unsure: Where the source's own value, of a type that must be equal, is not the same each time.
        is_random: Do values depend on random numbers? Then shape, type and finiteness are compared.
        basis: What this rests on, for the report.
    """

    dtype: str = ""
    noise: float = 0.0
    step: float = 0.0
    unsure: npt.NDArray[np.bool_] | None = None
    is_random: bool = False
    basis: str = ""


def compare(
    name: str,
    source: Any,
    converted: Any,
    perm: Sequence[int] | None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    leeway: Leeway | None = None,
) -> Comparison:
    """Compare one value of both models; ``converted`` is to be ``source`` permuted by ``perm``.

    Args:
        name: The value's name, for the report.
        source: An array, or a list of arrays for a sequence.
        converted: The same of the converted model.
        perm: How the converted model stores it; None leaves it as it is.
        rtol: Relative tolerance, by default that of the type.
        atol: Absolute tolerance, by default that of the type.
        leeway: What else it may differ by.
    """
    leeway = leeway or Leeway()
    if not isinstance(source, np.ndarray) or not isinstance(converted, np.ndarray):
        return _compare_others(name, source, converted, rtol, atol, leeway)
    perm = tuple(range(source.ndim)) if perm is None else tuple(perm)
    result = Comparison(
        name, perm, str(source.dtype), source.shape,
        basis=leeway.basis, step=leeway.step, by_value=not leeway.is_random,
    )  # fmt: skip
    if sorted(perm) != list(range(source.ndim)):
        return replace(result, reason=f"its metadata say {list(perm)}, but its rank is {source.ndim}")
    if source.dtype != converted.dtype:
        return replace(result, reason=f"its type is {converted.dtype}, not {source.dtype}")
    wanted = np.transpose(source, perm)
    if wanted.shape != converted.shape:
        reason = f"its shape is {list(converted.shape)}, not {list(wanted.shape)} as expected"
        return replace(result, reason=reason)
    if leeway.is_random:
        return _compare_finiteness(result, wanted, converted)
    if np.issubdtype(source.dtype, np.floating):
        return _compare_floats(result, wanted, converted, rtol, atol, leeway)
    if leeway.step and np.issubdtype(source.dtype, np.integer):
        return _compare_steps(result, wanted, converted, leeway)
    unequal = wanted != converted
    if leeway.unsure is not None:
        unequal &= ~np.transpose(leeway.unsure, perm)
    count = np.count_nonzero(unequal)
    reason = f"{count:,} of {source.size:,} elements are unequal" if count else ""
    return replace(result, reason=reason)


def _compare_finiteness(result: Comparison, wanted: Array, actual: Array) -> Comparison:
    if (
        not np.issubdtype(wanted.dtype, np.floating)
        or np.isfinite(actual).all()
        or not np.isfinite(wanted).all()
    ):
        return result
    count = np.count_nonzero(~np.isfinite(actual))
    return replace(result, reason=f"{count:,} elements are NaN or infinite in one only")


def _compare_steps(result: Comparison, wanted: Array, actual: Array, leeway: Leeway) -> Comparison:
    """Compare what a quantiser has rounded."""
    error = float(np.max(np.abs(wanted.astype(np.float64) - actual.astype(np.float64)), initial=0.0))
    scale = float(np.max(np.abs(wanted.astype(np.float64)), initial=0.0))
    tolerance = max(leeway.step, leeway.noise)
    reason = ""
    if error > tolerance:
        reason = f"by up to {error:.3g} steps, tolerated are {tolerance:.3g}"
    return replace(result, error=error, scale=scale, tolerance=tolerance, reason=reason)


def _compare_floats(
    result: Comparison, wanted: Array, actual: Array, rtol: float | None, atol: float | None, leeway: Leeway
) -> Comparison:
    finite = np.isfinite(wanted)
    unequal = ~finite & (wanted != actual) & ~(np.isnan(wanted) & np.isnan(actual))
    unequal |= finite & ~np.isfinite(actual)
    by_type = _TOLERANCES.get(leeway.dtype or result.dtype, _TOLERANCES["float32"])
    a, b = wanted[finite].astype(np.float64), actual[finite].astype(np.float64)
    scale = float(np.max(np.abs(a), initial=0.0))
    tolerance = (by_type[0] if atol is None else atol) + (by_type[1] if rtol is None else rtol) * scale
    tolerance = max(tolerance + leeway.step, leeway.noise)
    if unequal.any():
        reason = f"{np.count_nonzero(unequal):,} elements are NaN or infinite in one only"
        return replace(result, reason=reason, error=float("inf"), scale=scale, tolerance=tolerance)
    error = float(np.max(np.abs(a - b), initial=0.0))
    reason = ""
    if error > tolerance:
        reason = f"by up to {error:.3g}, tolerated are {tolerance:.3g} (values reach {scale:.3g})"
    return replace(result, error=error, scale=scale, tolerance=tolerance, reason=reason)


def _compare_others(
    name: str, source: Any, converted: Any, rtol: float | None, atol: float | None, leeway: Leeway
) -> Comparison:
    """Compare sequences, maps and missing optional values, which keep their layout."""
    by_value = not leeway.is_random
    result = Comparison(name, (), type(source).__name__, (), basis=leeway.basis, by_value=by_value)
    if type(source) is not type(converted):
        return replace(result, reason=f"it is a {type(converted).__name__}, not a {result.dtype}")
    if isinstance(source, list):
        if len(source) != len(converted):
            return replace(result, reason=f"it has {len(converted)} entries, not {len(source)}")
        entries = [
            compare(f"{name}[{i}]", a, b, None, rtol=rtol, atol=atol, leeway=leeway)
            for i, (a, b) in enumerate(zip(source, converted, strict=True))
        ]
        return next((entry for entry in entries if not entry.ok), result)
    if isinstance(source, dict) and all(isinstance(value, float) for value in source.values()):
        if source.keys() != converted.keys():
            return replace(result, reason="its keys are others")
        # Python's numbers, of onnxruntime's float32
        a, b = (np.array([found[k] for k in source], np.float32) for found in (source, converted))
        found = compare(name, a, b, None, rtol=rtol, atol=atol, leeway=leeway)
        return replace(result, error=found.error, tolerance=found.tolerance, reason=found.reason)
    return replace(result, reason="" if source == converted or leeway.is_random else "they are unequal")


def spread(source: Any, other: Any) -> float:
    """How far two results of one model are apart, where both are finite numbers; of one shape."""
    if not isinstance(source, np.ndarray) or source.dtype.kind not in "fiu":
        return 0.0
    a, b = source.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    return float(np.max(apart[np.isfinite(apart)], initial=0.0))
