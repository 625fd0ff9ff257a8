"""Images made of features: a Dense whose result is reshaped."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import onnx_nhwc
from onnx_nhwc.passes.errors import ConversionError
from tests.load.test_legacy import close, random
from tests.support import old_keras as old
from tests.support.old_keras import FIRST, LAST


class Generator:
    """Dense, BatchNormalization, PReLU, Reshape, PReLU, Conv: channels first."""

    def __init__(self, equal: bool) -> None:
        self.shape = c, *size = (3, 3, 3) if equal else (4, 5, 6)
        features = c * size[0] * size[1]
        self.x, self.dense, self.b = random(2, 7), random(7, features), random(features)
        self.bn = [np.abs(random(features)) + 0.5 for _ in range(4)]
        self.slope, self.image_slope = random(features), random(*self.shape)
        self.kernel = random(3, 3, c, 3) if equal else random(3, 2, c, 5)

    def image(self, w: dict[str, list[np.ndarray]]) -> np.ndarray:
        """What is reshaped, from the weights of the layers before."""
        y = self.x @ w["d"][0] + w["d"][1]
        gamma, beta, mean, var = w["bn"]
        y = (y - mean) / np.sqrt(var + 1e-3) * gamma + beta
        return np.where(y > 0, y, w["p"][0] * y)

    def run(self) -> np.ndarray:
        w = {"d": [self.dense, self.b], "bn": self.bn, "p": [self.slope]}
        y = self.image(w).reshape(-1, *self.shape)
        return old.theano_conv(np.where(y > 0, y, self.image_slope * y), self.kernel)

    def run_last(self, w: dict[str, list[np.ndarray]]) -> np.ndarray:
        c, *size = self.shape
        y = self.image(w).reshape(-1, *size, c)
        y = np.where(y > 0, y, w["q"][0] * y)
        return old.conv(np.moveaxis(y, -1, 1), w["c"][0])

    def layers(self) -> list[old.Entry]:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        start = {"units": self.dense.shape[1], "batch_input_shape": [None, 7]}
        return [
            ("Dense", "d", start, [("d/kernel:0", self.dense), ("d/bias:0", self.b)]),
            ("BatchNormalization", "bn", {},
             [(f"bn/{n}:0", v) for n, v in zip(names, self.bn, strict=True)]),
            ("PReLU", "p", {}, [("p/alpha:0", self.slope)]),
            ("Dropout", "drop", {}, []),
            ("Reshape", "r", {"target_shape": [-1, *self.shape[1:]]}, []),
            ("PReLU", "q", {}, [("q/alpha:0", self.image_slope)]),
            ("Conv2D", "c", {"filters": self.kernel.shape[-1], "data_format": FIRST},
             [("c/kernel:0", self.kernel)]),
        ]  # fmt: skip


@pytest.mark.parametrize("equal", [False, True], ids=["distinct", "equal"])
def test_an_image_made_of_features(tmp_path: Path, equal: bool) -> None:
    network = Generator(equal)
    src = old.write(tmp_path / "in.h5", network.layers())
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5", data_format=LAST)
    close(network.run_last(old.read(tmp_path / "out.h5")), network.run())


@pytest.mark.parametrize(
    ("more", "sources", "says"),
    [
        (("Dense", "more", {"units": 2}, [("more/kernel:0", random(120, 2))]), {"more": ["drop"]},
         "Reshape 'r' gives features the axes of an image"),
        (("Concatenate", "more", {"axis": 1}, []), {"more": ["r", "r"], "q": ["more"]},
         "Concatenate 'more' joins images made of features"),
    ],
)  # fmt: skip
def test_features_that_something_else_reads_too(
    tmp_path: Path, more: old.Entry, sources: dict[str, list[str]], says: str
) -> None:
    layers, entries = Generator(equal=False).layers(), []
    before = {layer[1]: [last[1]] for last, layer in itertools.pairwise(layers)}
    layers.insert(5, more)
    for kind, name, config, _ in layers:
        inbound = [[[s, 0, 0, {}] for s in {**before, **sources}.get(name, [])]]
        entries.append({"class_name": kind, "name": name, "config": config, "inbound_nodes": inbound})
        entries[-1]["inbound_nodes"] *= name != "d"
    ends = {"input_layers": [["d", 0, 0]], "output_layers": [["c", 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "m", "layers": entries, **ends}}
    src = old.write(tmp_path / "in.h5", layers, config=config)
    with pytest.raises(ConversionError, match=says):
        onnx_nhwc.convert_weights(src, tmp_path / "out.h5", data_format=LAST)
