"""Keras models with channels first, from ONNX: the same networks, and what LiteRT cannot hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras")

import onnx_nhwc
from onnx_nhwc.passes.errors import UsageError
from tests.models.catalogue import CASES, Case, by_name
from tests.support.keras_models import exported, foreign, keras, transposes, wrong

pytestmark = pytest.mark.filterwarnings("ignore")

QUICK = {"resnet_basic", "mobilenetv3", "unet_transposed", "tcn", "video", "diffusion_unet"}
EVERY = bool(os.environ.get("ONNX_NHWC_ALL_CASES"))
CHECKED = [
    pytest.param(case, id=case.name)
    for case in CASES
    if case.family == "torch" and not case.heavy
    if EVERY or (case.name.split("/")[1] in {f"{name}.ts.static" for name in QUICK})
]


@pytest.mark.parametrize("case", CHECKED)
def test_a_network_computes_the_same(case: Case) -> None:
    result = exported(case.load(), to="channels-first")
    assert wrong(case, result, case.load()) == []
    assert foreign(result.model) == []
    stated = {getattr(layer, "data_format", None) for layer in _layers(result.model)}
    assert stated <= {None, "channels_first"}
    normalized = [x for x in _layers(result.model) if isinstance(x, keras.layers.BatchNormalization)]
    assert all(layer.axis == 1 for layer in normalized if len(layer.input.shape) > 2)


def test_convolutional_networks_need_no_transpose() -> None:
    for name in ("resnet_basic", "unet_transposed"):
        result = exported(by_name(f"torch/{name}.ts.static").load(), to="channels-first")
        assert transposes(result.model) == 0


def test_litert_is_channels_last_only(tmp_path: Path) -> None:
    path = by_name("torch/resnet_basic.ts.static").path
    with pytest.raises(UsageError, match="channels-last"):
        onnx_nhwc.convert_file(path, tmp_path / "m.tflite", to="channels-first")
    assert list(tmp_path.iterdir()) == []


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))
