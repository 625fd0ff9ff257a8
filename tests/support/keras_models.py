"""Exporting to Keras and running the result beside its source: what the Keras tests share."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnx_nhwc.passes.options import Options
from onnx_nhwc.verification.comparison import compare
from tests.models.catalogue import Case
from tests.support.running import Session

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_logical_devices():
            raise RuntimeError
        tf.get_logger().setLevel("ERROR")
    from onnx_nhwc.export.keras import lite
    from onnx_nhwc.export.keras.api import Exported, export, load
    from onnx_nhwc.export.keras.checking import runner
    from onnx_nhwc.export.keras.running import Executor, runs_channels_first, runs_compiled_only
    from onnx_nhwc.export.names import io_name
    from onnx_nhwc.export.walk import UnsupportedNodesError

Feeds = dict[str, NDArray[Any]]
SAMPLES = 3


def exported(model: onnx.ModelProto, **options: Any) -> Exported:
    free = options.pop("free", True)
    return export(load(model), Options(**options), free=free)


def stored(result: Exported, feeds: Feeds) -> Feeds:
    """Inputs of the source as the Keras model reads them."""
    perms = result.summary.inputs
    return {
        io_name(name): np.ascontiguousarray(np.transpose(x, perms.get(name, range(x.ndim))))
        for name, x in feeds.items()
    }


def run(result: Exported, feeds: Feeds, names: list[str]) -> list[NDArray[Any]]:
    return runner(Executor(result.model), [io_name(name) for name in names])(stored(result, feeds))


def computed(model: Any, *inputs: Any) -> list[NDArray[Any]]:
    """What a model computes, on what this machine has for it."""
    return [
        np.asarray(y) for y in keras.tree.flatten(Executor(model)(inputs if len(inputs) > 1 else inputs[0]))
    ]


def differences(result: Exported, names: list[str], expected: Any, actual: Any) -> list[str]:
    compared = (
        compare(name, a, b, result.summary.outputs.get(name))
        for name, a, b in zip(names, expected, actual, strict=True)
    )
    return [f"output '{c.name}' differs: {c.reason}" for c in compared if not c.ok]


def trials(case: Case, result: Exported, session: Session) -> Iterator[tuple[str, Feeds, list[Any]]]:
    """A name, inputs and the source's outputs, for every choice of sizes, batch 3 included."""
    for sizes in range(case.sizes):
        feeds = case.inputs(seed=1, sizes=sizes)
        yield f"sizes {sizes}", feeds, session.run(feeds)
    if result.batch.inputs:
        samples = [case.inputs(seed=1 + i) for i in range(SAMPLES)]
        results = [session.run(sample) for sample in samples]
        together = {
            name: np.concatenate([s[name] for s in samples])
            if name in result.batch.inputs
            else samples[0][name]
            for name in samples[0]
        }
        yield (
            "batch 3",
            together,
            [
                np.concatenate(parts, axis=result.batch.outputs[name])
                for name, parts in zip(session.names, zip(*results, strict=True), strict=True)
            ],
        )


def wrong(case: Case, result: Exported, model: onnx.ModelProto) -> list[str]:
    """Where a Keras model differs from its source."""
    session = Session(model)
    found = []
    for name, feeds, expected in trials(case, result, session):
        actual = run(result, feeds, session.names)
        found += [f"{name}: {d}" for d in differences(result, session.names, expected, actual)]
    return found


def once_saved(source: onnx.ModelProto, feeds: Feeds, path: Path, **options: Any) -> list[str]:
    """Where the model that is loaded from the file differs, also for a batch that was freed."""
    result = exported(source, **options)
    assert foreign(result.model) == []
    result.model.save(path)
    loaded = Exported(keras.saving.load_model(path), result.summary, result.batch)
    session = Session(source)
    names, expected = session.names, session.run(feeds)
    found = differences(loaded, names, expected, run(loaded, feeds, names))
    freed = {name for name in feeds if name in result.batch.inputs}
    if not freed:
        return found
    samples = [{n: x[::-1] * (1 + i) if n in freed else x for n, x in feeds.items()} for i in range(SAMPLES)]
    together = {n: np.concatenate([s[n] for s in samples]) if n in freed else x for n, x in feeds.items()}
    results = zip(names, zip(*map(session.run, samples), strict=True), strict=True)
    joined = [np.concatenate(parts, axis=result.batch.outputs[name]) for name, parts in results]
    return found + differences(loaded, names, joined, run(loaded, together, names))


def foreign(model: Any) -> list[str]:
    """Operations that are not Keras's own, or that hold code."""
    return [
        type(op).__name__
        for op in model.operations
        if not type(op).__module__.startswith("keras.") or type(op).__name__ == "Lambda"
    ]


def transposes(model: Any) -> int:
    return sum(type(op).__name__ in ("Transpose", "Permute") for op in model.operations)


__all__ = [
    "Executor",
    "Exported",
    "UnsupportedNodesError",
    "keras",
    "lite",
    "runs_channels_first",
    "runs_compiled_only",
]
