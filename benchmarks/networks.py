"""The networks that are measured, with seeded weights in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from tests.models.catalogue import CASES, Case
from tests.models.weights import fill

HERE = Path(__file__).resolve().parent
Array = npt.NDArray[Any]
PROMISED = ("resnet50", "mobilenetv2", "efficientnet_b0", "convnext_tiny")
"""Those with a limit on their time."""


@dataclass(frozen=True)
class Network:
    """A model and its input, in the model's own layout."""

    name: str
    load: Callable[[], onnx.ModelProto]
    inputs: Callable[[], dict[str, Array]]
    heavy: bool = False


def exported() -> list[Network]:
    """Exports of torch, at 224x224."""

    def one(path: Path) -> Network:
        return Network(path.stem, lambda: fill(onnx.load(path), 1), lambda: {"image": _image()})

    paths = sorted((HERE / "models").glob("*.onnx"), key=lambda path: _rank(path.stem))
    return [one(path) for path in paths]


def light() -> list[Network]:
    """The nine of the onnx package: exports of Caffe2, opset 9, BatchNormalization kept."""

    def one(case: Case) -> Network:
        return Network(case.name, case.load, case.inputs, case.heavy)

    return [one(case) for case in CASES if case.family == "light" and case.filled]


def all_networks() -> list[Network]:
    """Every network of the benchmarks."""
    return exported() + light()


def _rank(name: str) -> tuple[int, str]:
    return (PROMISED.index(name) if name in PROMISED else len(PROMISED), name)


def _image() -> Array:
    return np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
