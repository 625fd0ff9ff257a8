"""Judging results by what the source itself computes, and by how surely it does.

The stated tolerance is the rule. Only where it is exceeded, the source is asked what its own results move by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.verification.ancestry import Ancestry, Flow
from onnx_nhwc.verification.comparison import Comparison, Leeway, compare, spread
from onnx_nhwc.verification.perturbation import perturbed
from onnx_nhwc.verification.runtime import Model, Session, products_saturate, structure

__all__ = ["Judge"]

Array = npt.NDArray[Any]
Perms = Mapping[str, Sequence[int]]

_DRAWS = 8
"""Runs with other roundings, whose farthest is the noise."""

_OPTIMIZED = "what onnxruntime's own optimizations move the source by"
_ULPS = "what the source's own result moves by when its values move by an ulp"
_STEPS = "what the source's own result moves by when some roundings of its quantisers fall the other way"


@dataclass(frozen=True)
class _Noise:
    """What one output of the source moves by, and where, if it is of a type that must be equal."""

    reach: float
    unsure: npt.NDArray[np.bool_] | None


class Judge:
    """Compares a result with the source's.

    Args:
        source: The model that was converted.
        samples: What it was run on.
        results: Its outputs for each of them, with onnxruntime's optimizations off.
        names: The names of the outputs.
        join: Makes one list of outputs of those of the samples; by default there is one sample.
        rtol: Relative tolerance, by default that of the type.
        atol: Absolute tolerance, by default that of the type. Where either is given, there is no other.
        seed: Seed of the noise.
        roundings: May roundings of quantisers fall the other way? They do in another runtime, which
            computes in other types; in the same one, a step of the last quantiser is all there may be.
    """

    def __init__(
        self,
        source: Model,
        samples: Sequence[Mapping[str, Array]],
        results: Sequence[list[Any]],
        names: Sequence[str],
        *,
        join: Callable[[Sequence[list[Any]]], list[Any]] = lambda results: results[0],
        rtol: float | None = None,
        atol: float | None = None,
        seed: int = 0,
        roundings: bool = False,
    ) -> None:
        self._source = source
        self._samples = samples
        self._names = list(names)
        self._join = join
        self._tolerances: dict[str, Any] = {"rtol": rtol, "atol": atol}
        self._is_asked = rtol is not None or atol is not None
        self._seed = seed
        self._roundings = roundings
        self.expected = join(results)
        self._refusal: VerificationError | None = None

    # ----------------------------------------------------------------------------------- verdicts

    def compare(self, actual: Sequence[Any], perms: Perms) -> tuple[Comparison, ...]:
        """Compare a result with what the source computes with optimizations off."""
        found = []
        for index, (name, value) in enumerate(zip(self._names, actual, strict=True)):
            perm = perms.get(name)
            attempts = self._attempts(index, optimized=False)
            found.append(self._first_that_fits(name, value, perm, attempts))
        return tuple(found)

    def compare_at_defaults(self, actual: Sequence[Any], perms: Perms) -> tuple[Comparison, ...]:
        """Compare a result of onnxruntime's defaults with the source, optimized or not."""
        found = []
        for index, (name, value) in enumerate(zip(self._names, actual, strict=True)):
            attempts = self._attempts(index, optimized=True)
            found.append(self._first_that_fits(name, value, perms.get(name), attempts))
        return tuple(found)

    @property
    def refusal(self) -> VerificationError | None:
        """Why onnxruntime does not run the source at its defaults; None if it does."""
        _ = self.at_defaults
        return self._refusal

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found about the source, where it was asked."""
        if "at_defaults" not in self.__dict__:
            return ()
        if self.at_defaults is None:
            return (f"the source itself does not run so: {self._refusal and self._refusal.reason}",)
        lines = []
        for name, a, b in zip(self._names, self.expected, self.at_defaults, strict=True):
            if not compare(name, a, b, None, **self._tolerances).ok and not self._ancestry(name).random:
                reach = f" by {spread(a, b):.2g}" if spread(a, b) else ""
                lines.append(f"onnxruntime's own optimizations move the source's '{name}'{reach}")
        return tuple(lines)

    def _first_that_fits(
        self,
        name: str,
        value: Any,
        perm: Sequence[int] | None,
        attempts: Iterator[tuple[Any, Leeway]],
    ) -> Comparison:
        best: Comparison | None = None
        for reference, leeway in attempts:
            result = compare(name, reference, value, perm, leeway=leeway, **self._tolerances)
            if result.ok or not _could_fit(reference, value, perm):
                return result
            if best is None or result.tolerance > best.tolerance:
                best = result
        assert best is not None
        return best

    def _attempts(self, index: int, optimized: bool) -> Iterator[tuple[Any, Leeway]]:
        """What a result may be: a value of the source's and the leeway, the strictest first."""
        expected, name = self.expected[index], self._names[index]
        yield expected, Leeway()
        ancestry = self._ancestry(name)
        if ancestry.random:
            yield expected, Leeway(is_random=True, basis=f"random numbers: {ancestry.random}")
            return
        if self._is_asked:
            if optimized and self.at_defaults is not None:
                yield self.at_defaults[index], Leeway()
            return
        narrow = Leeway()
        if ancestry.narrowest and ancestry.narrowest != str(getattr(expected, "dtype", "")):
            basis = f"what holds for {ancestry.narrowest}, in which values on the way are computed"
            narrow = Leeway(dtype=ancestry.narrowest, basis=basis)
            yield expected, narrow
        references = [expected]
        if (optimized or self._saturates) and self.at_defaults is not None:
            other = self.at_defaults[index]
            references = [other] if self._saturates else [other, expected]
            yield other, narrow
            if optimized:
                reach = spread(expected, other) if _alike(expected, other) else 0.0
                yield other, Leeway(narrow.dtype, noise=reach, basis=_OPTIMIZED)
        noise = self._noise[index]
        basis = _STEPS if ancestry.quantised and self._roundings else _ULPS
        if ancestry.step >= noise.reach:
            basis = "a step of its quantiser, whose rounding may fall the other way"
        for reference in references:
            yield reference, Leeway(narrow.dtype, noise.reach, ancestry.step, noise.unsure, basis=basis)

    # ------------------------------------------------------------------------------ what is asked

    @cached_property
    def _flow(self) -> Flow:
        return Flow(structure(self._source))

    @cached_property
    def _saturates(self) -> bool:
        """Are its products wrong on this CPU where onnxruntime's optimizations are off?"""
        return self._flow.has_products and products_saturate()

    def _ancestry(self, name: str) -> Ancestry:
        return self._flow.ancestry(name)

    @cached_property
    def at_defaults(self) -> list[Any] | None:
        """The source's outputs at onnxruntime's defaults; None if it does not run so."""
        try:
            session = Session(self._source, "source", True)
            return self._join([session.run(sample, self._names) for sample in self._samples])
        except VerificationError as error:
            self._refusal = error
            return None

    @cached_property
    def _noise(self) -> list[_Noise]:
        """What each output of the source moves by when roundings fall otherwise."""
        others = self._draws()
        if self.at_defaults is not None and not self._saturates:
            others.append(self.at_defaults)
        found = []
        for index, value in enumerate(self.expected):
            moved = [other[index] for other in others if _alike(value, other[index])]
            reach = max((spread(value, other) for other in moved), default=0.0)
            unsure = None
            if isinstance(value, np.ndarray) and value.dtype.kind not in "f":
                unsure = np.zeros(value.shape, np.bool_)
                for other in moved:
                    unsure |= value != other
            found.append(_Noise(reach, unsure))
        return found

    def _perturbed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return perturbed(model, self._seed, self._roundings)

    def _draws(self) -> list[list[Any]]:
        """What the source computes in some runs with other roundings."""
        move: Callable[[int, Mapping[str, Array]], Mapping[str, Array]] = lambda draw, sample: sample  # noqa: E731
        try:
            session = Session(self._source, "source", False, self._perturbed)
        except VerificationError:  # onnxruntime multiplies nothing before opset 7, nor some types
            session, move = Session(self._source, "source", False), self._moved
        drawn = []
        for draw in range(_DRAWS):
            try:
                results = [session.run(move(draw, sample), self._names) for sample in self._samples]
            except VerificationError:  # an index or a size that must not be moved
                continue
            drawn.append(self._join(results))
        return drawn

    def _moved(self, draw: int, sample: Mapping[str, Array]) -> Mapping[str, Array]:
        """The inputs, each number an ulp up or down."""
        rng = np.random.default_rng((self._seed, draw))
        return {
            name: np.nextafter(
                value, value.dtype.type(np.inf) * rng.choice([-1, 1], value.shape).astype(value.dtype)
            )
            if value.dtype.kind == "f"
            else value
            for name, value in sample.items()
        }


def _alike(value: Any, other: Any) -> bool:
    return isinstance(value, np.ndarray) and isinstance(other, np.ndarray) and value.shape == other.shape


def _could_fit(reference: Any, value: Any, perm: Sequence[int] | None) -> bool:
    """Do the values differ, and not what they are?"""
    if not isinstance(reference, np.ndarray) or not isinstance(value, np.ndarray):
        return type(reference) is type(value)
    if perm is None:
        perm = range(reference.ndim)
    if reference.dtype != value.dtype or sorted(perm) != list(range(reference.ndim)):
        return False
    return bool(np.transpose(reference, tuple(perm)).shape == value.shape)
