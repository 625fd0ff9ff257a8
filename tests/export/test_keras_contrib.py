"""Operators of onnxruntime's own become Keras operations that compute the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.compiler.test_contrib import BODIES, X, model
from tests.support.keras_models import UnsupportedNodesError, exported, run
from tests.support.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

REFUSED = {
    *("QLinearSoftmax old", "MatMulNBits", "MatMulBnb4", "MatMulInteger16", "MurmurHash3"),
    "Inverse",
}
"""Those without a mapping."""
STEP = {"s": 0.05, "t": 0.07}


def _compared(name: str) -> tuple[np.ndarray, np.ndarray]:
    source = model(BODIES[name])
    result = exported(source)
    (expected,) = Session(source).run({"x": X})
    (actual,) = run(result, {"x": X}, ["y"])
    return np.transpose(expected, result.summary.outputs["y"]), actual


@pytest.mark.parametrize("name", sorted(BODIES.keys() - REFUSED))
def test_a_contributed_operator_becomes_keras(name: str) -> None:
    """Floats agree; quantised numbers may round to the step beside, as scales here make many ties."""
    expected, actual = _compared(name)
    assert expected.shape == actual.shape
    steps = np.abs(expected - actual)
    if "QLinear" in BODIES[name]:
        assert np.max(steps) < 1.01 * max(STEP.values())
    else:
        assert np.max(steps) < 1e-4 * max(1.0, float(np.max(np.abs(expected))))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_mapping_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedNodesError):
        exported(model(BODIES[name]))


def test_a_normalization_of_an_older_opset() -> None:
    """onnxruntime fuses LayerNormalization in any opset."""
    source: onnx.ModelProto = model(BODIES["SkipLayerNormalization"], 12)
    result = exported(source)
    (expected,) = Session(source).run({"x": X})
    (actual,) = run(result, {"x": X}, ["y"])
    assert np.allclose(np.transpose(expected, result.summary.outputs["y"]), actual, atol=1e-4)
