"""Does a Keras model compute what its source computes on onnxruntime?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from onnx_nhwc.export.values import Array
from onnx_nhwc.passes.batch.free import Freed
from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.passes.summary import Summary
from onnx_nhwc.verification.demands.following import Demands
from onnx_nhwc.verification.demands.rows import ROWS
from onnx_nhwc.verification.feeds import Input, candidates
from onnx_nhwc.verification.judging import Judge
from onnx_nhwc.verification.runtime import Model, Session, structure
from onnx_nhwc.verification.verdict import Verification

__all__ = ["Runner", "check", "runner"]

Feeds = dict[str, Array]
Runner = Callable[[Feeds], list[Array]]
"""Runs a converted model on inputs by name, in its own layouts; outputs in the source's order."""

_SAMPLES = 2  # a Keras model holds all of its intermediate values until it is done


def runner(model: Any, outputs: Sequence[str]) -> Runner:
    """Return what runs a Keras model."""

    def run(feeds: Feeds) -> list[Array]:
        names = [tensor.name for tensor in model.inputs]
        values = [feeds[name] for name in names] if feeds else [np.zeros(1, np.float32)]
        result = model(values[0] if len(values) == 1 else values, training=False)
        results = list(result.values()) if isinstance(result, dict) else [result]
        found = [np.asarray(keras.ops.convert_to_numpy(value)) for value in results]
        if not isinstance(result, dict):
            return found
        by_name = dict(zip(result, found, strict=True))
        return [by_name[name] for name in outputs]

    return run


def check(
    source: Model,
    run: Callable[[Sequence[str]], Runner],
    summary: Summary,
    batch: Freed,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    legal: Callable[[str], str] = lambda name: name,
    what: str = "Keras",
) -> Verification:
    """Compare a converted model with its source.

    Where a batch has been freed, several samples together are compared with the source's results
    for one at a time.

    Args:
        source: The model that was converted.
        run: Gives what runs the result, for the names of the outputs.
        summary: Tells the layouts.
        batch: Tells whether the batch has been freed.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        seed: Seed of the inputs.
        shapes: Sizes that were fixed when it was converted.
        legal: What an input or output of the source is called in the result.
        what: What runs the result, for the report.
    """
    start = time.perf_counter()
    session = Session(source, "source", False)
    declared = [_fixed(entry, (shapes or {}).get(entry.name)) for entry in session.inputs]
    count = _SAMPLES if batch.inputs else 1
    samples, results = _reference(session, declared, seed, count, batch, Demands(structure(source), ROWS))
    names = session.outputs
    del session
    fed = _together(samples, batch)
    judge = Judge(
        source, samples, results, names,
        join=lambda parts: _joined(names, parts, batch), rtol=rtol, atol=atol, seed=seed, roundings=True,
    )  # fmt: skip
    stored = {
        legal(name): np.ascontiguousarray(np.transpose(value, _perm(summary.inputs, name, value)))
        for name, value in fed.items()
    }
    actual = run([legal(name) for name in names])(stored)
    actual = [_widened(a, b) for a, b in zip(judge.expected, actual, strict=True)]
    compared = judge.compare(actual, summary.outputs)
    used = {name: tuple(value.shape) for name, value in fed.items()}
    seconds = time.perf_counter() - start
    return Verification(
        compared, used, "", seconds, how=f"on {what}, the source on onnxruntime", notes=judge.notes
    )


def _perm(layouts: Mapping[str, tuple[int, ...]], name: str, value: Array) -> tuple[int, ...]:
    return layouts.get(name) or tuple(range(value.ndim))


def _fixed(entry: Input, sizes: tuple[int | None, ...] | None) -> Input:
    if sizes is None:
        return entry
    merged = (a if b is None else b for a, b in zip(entry.shape, sizes, strict=True))
    return Input(entry.name, entry.type, tuple(merged))


def _reference(
    session: Session, declared: list[Input], seed: int, count: int, batch: Freed, demands: Demands
) -> tuple[list[Feeds], list[list[Any]]]:
    """Inputs that the source accepts, and its results for them, sample by sample."""
    failure: VerificationError | None = None
    for index, feeds in enumerate(candidates(declared, seed, {}, demands)):
        try:
            first = session.run(feeds)
        except VerificationError as error:
            failure = failure or error
            continue
        samples, results = [feeds], [first]
        for step in range(1, count):
            (more,) = _take(candidates(declared, seed + step, {}, demands), index)
            # what has no batch, such as a kernel that is an input, is the same for all samples
            sample = {name: more[name] if name in batch.inputs else value for name, value in feeds.items()}
            samples.append(sample)
            results.append(session.run(sample))
        return samples, results
    raise failure or VerificationError("the source has no inputs to run it on")


def _together(samples: list[Feeds], batch: Freed) -> Feeds:
    """The samples as one batch, where it is free."""
    if len(samples) == 1:
        return samples[0]
    return {
        name: np.concatenate([s[name] for s in samples]) if name in batch.inputs else value
        for name, value in samples[0].items()
    }


def _joined(names: Sequence[str], results: Sequence[list[Any]], batch: Freed) -> list[Any]:
    if len(results) == 1:
        return results[0]
    return [
        np.concatenate(parts, axis=batch.outputs.get(name, 0))
        for name, parts in zip(names, zip(*results, strict=True), strict=True)
    ]


def _take(feeds: Any, index: int) -> Any:
    for i, entry in enumerate(feeds):
        if i == index:
            yield entry
            return


def _widened(a: Any, b: Any) -> Any:
    """A result of Keras, in 64 bits where the source has them and JAX has not."""
    narrow = isinstance(a, np.ndarray) and a.dtype.kind == b.dtype.kind and a.dtype != b.dtype
    if narrow and a.dtype.itemsize == 8 and keras.backend.backend() == "jax":
        return b.astype(a.dtype)  # JAX has no 64-bit types unless it is told to
    return b
