"""The networks of keras.applications, from each data format to the other and back again."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from benchmarks.keras_applications import FIRST, Row, measured, networks  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

EVERY = bool(os.environ.get("ONNX_NHWC_ALL_CASES"))
"""CI converts some small networks, ``make fuzz`` all."""
SMALL = ["MobileNet", "MobileNetV3Small", "VGG16"]
NETWORKS = networks() if EVERY else SMALL

ONLY_LAST = ("ConvNeXt", "DenseNet", "NASNet")
"""Families that Keras only makes channels last."""


@lru_cache(maxsize=1)
def conversions(name: str) -> list[Row]:
    rows = list(measured(name))
    keras.backend.clear_session()
    return rows


@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(name: str) -> None:
    rows = conversions(name)
    refused = [row for row in rows if "refused" in row]
    assert [row["from"] for row in refused] == [FIRST] * name.startswith(ONLY_LAST)
    assert len(rows) == 4 - len(refused)
    for row in rows:
        if row not in refused:
            check(row)


def check(row: Row) -> None:
    what = f"{row['network']} from {row['from']}"
    assert row["ok"], f"{what}: {row['reason']}"
    assert row["spread"] > 0.01, f"{what}: its outputs tell nothing"
    for key in ("parameters", "trainable", "batch_normalizations"):
        before, after = row[key]
        assert after == before, f"{what}: {key}"
    assert row["transposes"][1] <= row["transposes"][0] + extra(row), what
    assert [name for name in row["missing"] if not replaced(name)] == [], what


def extra(row: Row) -> Any:
    """Transposes that are needed: a Dense of a network that is only made channels last reads channels."""
    return float("inf") if row["network"].startswith("ConvNeXt") and "back" not in row["from"] else 0


def replaced(layer: str) -> bool:
    """Is a layer one of ConvNeXt that Keras has others for: a grouped convolution, a product?"""
    return layer.endswith(("_depthwise_conv (Conv2D)", "_layer_scale (LayerScale)"))
