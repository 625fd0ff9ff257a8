"""Does the converted model compute what the source computes?

Both run on onnxruntime with the same inputs, each in the layout that the converted model's
metadata state. No other permutation is ever tried: a match under the wrong one is a failure.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx_nhwc.passes.errors import ConversionError, VerificationError
from onnx_nhwc.verification.comparison import Comparison, compare
from onnx_nhwc.verification.demands.following import Demands
from onnx_nhwc.verification.demands.rows import ROWS
from onnx_nhwc.verification.feeds import Input, candidates
from onnx_nhwc.verification.judging import Judge
from onnx_nhwc.verification.runtime import Model, Session, exposing, operators, structure

__all__ = ["Verification", "verify"]

Array = npt.NDArray[Any]
Values = Mapping[str, tuple[str, tuple[int, ...]]]

_FAULT = "This is a fault of onnx-nhwc: please report it, with the model."
_AT_A_TIME = 32  # intermediate values that are held at a time


@dataclass(frozen=True)
class Verification:
    """What a comparison of two models found.

    Attributes:
        outputs: One entry for each output of the source.
        inputs: The shapes of what the source was fed.
        first_difference: The first operator of the source whose result differs, if known.
        seconds: How long it took.
        defaults: The same comparisons with the converted model at onnxruntime's defaults, as users
            run it; empty if it was not run so.
        how: On what both were run, for the report.
        notes: What was found about the source, for the report.
    """

    outputs: tuple[Comparison, ...]
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    first_difference: str = ""
    seconds: float = 0.0
    defaults: tuple[Comparison, ...] = ()
    how: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Do all outputs agree?"""
        return all(output.ok for output in (*self.outputs, *self.defaults))

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_different(self) -> None:
        """Raise a VerificationError that names the first output that differs."""
        bad = [output for output in self.outputs if not output.ok]
        where = ""
        if not bad:
            bad = [output for output in self.defaults if not output.ok]
            where = " where onnxruntime runs it at its default optimizations"
        if bad:
            more = f" ({len(bad) - 1} more outputs differ)" if len(bad) > 1 else ""
            raise VerificationError(
                f"output '{bad[0].name}' of the converted model differs from the source's{where}: "
                f"{bad[0].reason}{more}",
                _FAULT,
                node=self.first_difference,
            )


def verify(
    source: Model,
    converted: Model,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    inputs: Mapping[str, Array] | None = None,
    optimizations: bool | None = None,
    values: Values | None = None,
) -> Verification:
    """Run both models on onnxruntime and compare their outputs.

    Both run with optimizations off, which tells what the models mean; the converted one runs again
    at onnxruntime's defaults, as users run it, and has to agree there, too. Shapes and types must
    be equal, integers, booleans and strings too; floats may differ by
    ``atol + rtol * max|source|``, and must be infinite or NaN in the same places. Where that is
    exceeded, what the source's own result moves by is tolerated: when onnxruntime optimizes it,
    when its values move by an ulp, when roundings of its quantisers fall the other way. What
    depends on random numbers is compared in shape, type and finiteness. Each comparison's ``basis``
    says so.

    Args:
        source: The model that was converted. Models of more than 2 GB must be given as files.
        converted: What it was converted to, with its metadata.
        rtol: Relative tolerance. By default 1e-4 for float32, 1e-2 for float16, 1e-9 for float64; the
            narrowest type that is computed in on the way counts.
        atol: Absolute tolerance. By default 1e-5 for float32, 1e-3 for float16, 1e-10 for float64. Where
            either is given, nothing else is tolerated.
        seed: Seed of the inputs.
        inputs: Inputs of the source, in its layout; those that are missing are made up.
        optimizations: Let onnxruntime optimize neither (False) or both (True). By default the
            converted model runs both ways.
        values: Where the source's intermediate values are found in the converted model: its
            name there and its permutation. If given, and the outputs differ, the first operator
            that differs is looked for.

    Raises:
        VerificationError: The models cannot be compared: onnxruntime cannot load or run one, or
            the converted one does not state its layouts.
    """
    start = time.perf_counter()
    optimized = optimizations is True
    session = Session(source, "source", optimized)
    declared = session.inputs
    other = None
    if any(entry.is_dynamic or not entry.shape for entry in declared):  # --shape may have fixed it
        other = Session(converted, "converted", optimized)
        declared = _with_known_sizes(session.inputs, other.inputs, other.layouts()["inputs"])
    fed, expected = _first_run(session, declared, seed, dict(inputs or {}), Demands(structure(source), ROWS))
    names = session.outputs
    del session  # its weights are no longer needed
    other = other or Session(converted, "converted", optimized)
    layouts = other.layouts()
    stored = {
        name: np.asarray(np.transpose(value, _perm(layouts["inputs"], name, value)), order="C")
        for name, value in fed.items()
    }
    if names != other.outputs:
        raise VerificationError(f"the outputs are {other.outputs}, the source's are {names}")
    actual = other.run(stored)
    del other
    judge = Judge(source, [fed], [expected], names, rtol=rtol, atol=atol, seed=seed)
    compared = judge.compare(actual, layouts["outputs"])
    first, how = "", "on onnxruntime with its optimizations off"
    defaults: tuple[Comparison, ...] = ()
    if optimized:
        how = "on onnxruntime at its default optimizations"
    if not all(entry.ok for entry in compared):
        if values:
            models = (source, fed), (converted, stored)
            first = _first_difference(*models, values, rtol, atol)
    elif optimizations is None:
        defaults = _at_defaults(converted, stored, judge, layouts["outputs"])
        how += " and at its defaults" if defaults else " only"
    shapes = {name: tuple(value.shape) for name, value in fed.items()}
    seconds = time.perf_counter() - start
    return Verification(compared, shapes, first, seconds, defaults, how, judge.notes)


def _at_defaults(
    converted: Model,
    stored: Mapping[str, Array],
    judge: Judge,
    perms: Mapping[str, tuple[int, ...]],
) -> tuple[Comparison, ...]:
    """Compare once more as users run it; nothing, if onnxruntime does not run the source so either."""
    try:
        actual = Session(converted, "converted", True).run(stored)
    except VerificationError as error:
        if judge.refusal is not None:
            return ()
        raise VerificationError(error.reason, _FAULT) from error
    return judge.compare_at_defaults(actual, perms)


def _perm(layouts: Mapping[str, tuple[int, ...]], name: str, value: Array) -> tuple[int, ...]:
    perm = layouts.get(name, tuple(range(value.ndim)))
    if sorted(perm) != list(range(value.ndim)):
        raise VerificationError(
            f"the metadata give input '{name}', whose rank is {value.ndim}, the order {list(perm)}"
        )
    return perm


def _first_run(
    session: Session, inputs: Sequence[Input], seed: int, given: dict[str, Array], demands: Demands
) -> tuple[dict[str, Array], list[Any]]:
    """Return inputs that the source accepts, and its outputs for them."""
    unknown = given.keys() - {entry.name for entry in inputs}
    if unknown:
        raise VerificationError(f"the model has no input '{min(unknown)}'")
    failure: ConversionError | None = None
    for feeds in candidates(inputs, seed, given, demands):
        try:
            return feeds, session.run(feeds)
        except VerificationError as error:
            failure = failure or error
    assert failure is not None
    dynamic = next((e for e in inputs if e.is_dynamic and e.name not in given), None)
    if dynamic is None:
        raise VerificationError(
            f"the source itself does not run on the inputs that were made up for it: {failure.reason}",
            "Use --no-verify, and compare on inputs of yours: onnx_nhwc.verify(source, result, inputs=...).",
        ) from failure
    example = ",".join(str(s if isinstance(s, int) else "N") for s in dynamic.shape)
    raise VerificationError(
        f"none of the sizes tried for input '{dynamic.name}' runs: {failure.reason}",
        f"Give its size: --shape {dynamic.name}={example}",
    ) from failure


def _with_known_sizes(
    inputs: Sequence[Input], converted: Sequence[Input], layouts: Mapping[str, tuple[int, ...]]
) -> list[Input]:
    """Add to the source's sizes those that were fixed when it was converted."""
    by_name = {entry.name: entry.shape for entry in converted}
    merged = []
    for entry in inputs:
        sizes = list(entry.shape)
        stored = by_name.get(entry.name, ())
        perm = layouts.get(entry.name, tuple(range(len(sizes))))
        if not sizes:  # a scalar, or else a tensor of unknown rank: onnxruntime does not tell
            sizes = [None] * len(perm)
        if len(stored) == len(perm) == len(sizes):
            for axis, size in zip(perm, stored, strict=True):
                if isinstance(size, int) and 0 <= axis < len(sizes):
                    sizes[axis] = size
        merged.append(Input(entry.name, entry.type, tuple(sizes)))
    return merged


def _first_difference(
    source: tuple[Model, Mapping[str, Array]],
    converted: tuple[Model, Mapping[str, Array]],
    values: Values,
    rtol: float | None,
    atol: float | None,
) -> str:
    """Name the first operator of the source, in its order, whose result differs."""
    nodes = operators(source[0])
    there = {name for node in operators(converted[0]) for name in node.output}
    producers = {
        name: node for node in nodes for name in node.output if name in values and values[name][0] in there
    }
    names = list(producers)
    for start in range(0, len(names), _AT_A_TIME):
        part = names[start : start + _AT_A_TIME]
        targets = [values[name][0] for name in part]
        try:
            wanted = Session(source[0], "source", False, exposing(part)).run(source[1], part)
            actual = Session(converted[0], "converted", False, exposing(targets)).run(converted[1], targets)
        except VerificationError:
            continue  # values that onnxruntime cannot give out, such as those of odd types
        for name, a, b in zip(part, wanted, actual, strict=True):
            if not compare(name, a, b, values[name][1], rtol=rtol, atol=atol).ok:
                node = producers[name]
                return f"{node.op_type} '{node.name or name}'"
    return ""
