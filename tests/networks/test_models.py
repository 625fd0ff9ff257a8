"""The test models are fit to show an error: they load, run, and their outputs vary."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.models.catalogue import CASES, Case

UNCHECKED = {"group_norm"}  # of opset 18: deprecated, so the checker refuses it


def run(session: onnxruntime.InferenceSession, case: Case, seed: int, sizes: int) -> list[Any]:
    return list(session.run(None, case.inputs(seed, sizes)))


def usable(case: Case, y: NDArray[Any]) -> None:
    """Finite, and neither constant nor saturated."""
    if y.dtype.kind != "f" or y.size == 0:
        return
    assert np.isfinite(y).all()
    assert np.abs(y).max() < 1e4
    if y.size > 1 and not case.degenerate:
        assert y.std() > 1e-5
    if case.filled and np.isclose(y.sum(), y.shape[0], rtol=1e-3):
        assert y.max() < 0.9, "the class scores are saturated"


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.heavy else []) for case in CASES],
)
def test_model_is_fit_for_use(case: Case) -> None:
    model = case.load(dense=256)
    if case.name.split("/")[1].split(".")[0] not in UNCHECKED:
        onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    for sizes in range(case.sizes):
        one, two = (run(session, case, seed, sizes) for seed in (1, 2))
        for y in one:
            usable(case, y)
        if not case.degenerate:
            assert max(changes(one, two)) > 1e-2, "the output hardly depends on the input"


def changes(one: list[Any], two: list[Any]) -> list[float]:
    """How much each output differs between two runs, relative to its size."""
    return [
        float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30))
        for a, b in zip(one, two, strict=True)
        if a.dtype.kind == "f" and a.shape == b.shape and a.size
    ]


def test_catalogue_is_complete() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    families = {case.family for case in CASES}
    assert families == {"light", "torch", "keras", "pitfalls"}
    assert sum(case.family == "light" for case in CASES) == 18
