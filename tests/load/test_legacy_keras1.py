"""Whole models of Keras 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import old_keras as old

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from onnx_nhwc import optimize  # noqa: E402
from onnx_nhwc.legacy.__main__ import main as legacy  # noqa: E402
from tests.load.test_legacy_models import agree, one, random  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def keras1(kernel: np.ndarray, **settings: Any) -> dict[str, Any]:
    """The configuration of a Convolution2D, as Keras 1.2 wrote it."""
    rows, cols, _, filters = kernel.shape
    return {
        "trainable": True, "nb_filter": filters, "nb_row": rows, "nb_col": cols, "init": "glorot_uniform",
        "activation": "linear", "border_mode": "valid", "subsample": [1, 1], "dim_ordering": "th",
        "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None, "W_constraint": None,
        "b_constraint": None, "bias": True, **settings,
    }  # fmt: skip


class Network1:
    """Two branches joined, a BatchNormalization, Flatten, Dense, channels first, of Keras 1.2."""

    def __init__(self) -> None:
        self.x = random(2, 3, 9, 8)
        self.a, self.ab = random(3, 3, 3, 4), random(4)
        self.b, self.bb = random(3, 2, 3, 2), random(2)
        self.up, self.ub = random(3, 2, 6, 3), random(3)
        self.bn = [np.abs(random(3)) + 0.5 for _ in range(4)]
        self.dense, self.db = random(3 * 16 * 12, 5), random(5)

    def write(self, path: Path, **attributes: Any) -> Path:
        def entry(kind: str, name: str, sources: list[str], **config: Any) -> dict[str, Any]:
            inbound = [[[source, 0, 0] for source in sources]] if sources else []
            return {"class_name": kind, "name": name, "config": {"name": name, **config},
                    "inbound_nodes": inbound}  # fmt: skip

        shape = {"batch_input_shape": [None, 3, 9, 8], "input_dtype": "float32", "sparse": False}
        deconvolution = keras1(self.up, subsample=[2, 2], output_shape=[None, 3, 16, 12])
        batch = {"trainable": True, "gamma_regularizer": None, "beta_regularizer": None, "mode": 0,
                 "axis": 1, "epsilon": 1e-3, "momentum": 0.99}  # fmt: skip
        dense = {"output_dim": 5, "init": "glorot_uniform", "activation": "relu", "W_regularizer": None,
                 "b_regularizer": None, "activity_regularizer": None, "W_constraint": None,
                 "b_constraint": None, "bias": True, "input_dim": None, "trainable": True}  # fmt: skip
        layers = [
            entry("InputLayer", "image", [], **shape),
            entry("ZeroPadding2D", "pad", ["image"], padding=[0, 0, 0, 0], dim_ordering="th", trainable=True),
            entry("Convolution2D", "b", ["pad"], **keras1(self.b)),
            entry("Convolution2D", "a", ["image"], **keras1(self.a)),
            entry("Cropping2D", "cut", ["b"], cropping=[[0, 0], [0, 1]], dim_ordering="th", trainable=True),
            entry("Merge", "join", ["a", "cut"], mode="concat", mode_type="raw", concat_axis=1, dot_axes=-1,
                  output_shape=None, output_shape_type="raw", output_mask=None, output_mask_type="raw",
                  arguments={}),
            entry("Deconvolution2D", "up", ["join"], **deconvolution),
            entry("BatchNormalization", "bn", ["up"], **batch),
            entry("Dropout", "drop", ["bn"], p=0.5, trainable=True),
            entry("Flatten", "flat", ["drop"], trainable=True),
            entry("Dense", "d", ["flat"], **dense),
        ]  # fmt: skip
        stored = {
            "a": [("a_W", th(self.a)), ("a_b", self.ab)],
            "b": [("b_W", th(self.b)), ("b_b", self.bb)],
            "up": [("up_W", th(self.up)), ("up_b", self.ub)],
            "bn": [(f"bn_{name}", value) for name, value in zip(
                ("gamma", "beta", "running_mean", "running_std"), self.bn, strict=True)],
            "d": [("d_W", self.dense), ("d_b", self.db)],
        }  # fmt: skip
        config = {"name": "model_1", "layers": layers, "input_layers": [["image", 0, 0]],
                  "output_layers": [["d", 0, 0]]}  # fmt: skip
        entries = [(e["class_name"], e["name"], {}, stored.get(e["name"], [])) for e in layers]
        return old.write(path, entries, config={"class_name": "Model", "config": config},
                         **{"version": "1.2.2", **attributes})  # fmt: skip

    def run(self) -> np.ndarray:
        a = old.bias(old.theano_conv(self.x, self.a), self.ab)
        b = old.bias(old.theano_conv(self.x, self.b), self.bb)[..., :-1]
        y = np.concatenate([a, b], axis=1)
        y = old.theano_transposed(y, self.up.swapaxes(-1, -2), 2)
        y = old.bias(np.pad(y, [(0, 0), (0, 0), (0, 1), (0, 0)]), self.ub)  # 16 rows stated, 15 needed
        gamma, beta, mean, var = (v[:, None, None] for v in self.bn)
        y = (y - mean) / np.sqrt(var + 1e-3) * gamma + beta
        return np.maximum(y.reshape(len(y), -1) @ self.dense + self.db, 0)


def th(kernel: np.ndarray) -> np.ndarray:
    """(kH, kW, in, out) as Keras 1 kept it for channels first."""
    return kernel.transpose(3, 2, 0, 1)


def test_a_network_of_keras1(tmp_path: Path) -> None:
    network = Network1()
    agree(network.write(tmp_path / "old.h5"), network.x, network.run())


def test_who_wrote_it_can_be_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = Network1()
    src = network.write(tmp_path / "old.h5", backend=None)
    assert optimize.main(["-q", str(src), str(tmp_path / "out.onnx")]) == 0
    (said,) = capsys.readouterr().err.splitlines()
    assert "python -m onnx_nhwc.legacy old.h5 new.h5 --from theano" in said
    assert legacy([str(src), str(tmp_path / "new.h5"), "--from", "theano"]) == 0
    capsys.readouterr()
    agree(tmp_path / "new.h5", network.x, network.run())
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "config", "says"),
    [
        ("Highway", {}, "Highway 'layer': a layer of Keras 1 that has no counterpart"),
        ("BatchNormalization", {"mode": 1}, "mode 1 or 2"),
        ("Merge", {"mode": "cos"}, "joins its inputs by 'cos'"),
        ("Dense", {"output_dim": 3, "folding": 2}, "a setting 'folding' that is not known"),
    ],
)
def test_what_keras1_alone_had_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, config: dict[str, Any], says: str
) -> None:
    src = old.write(tmp_path / "old.h5", one(kind, config, (4,), {}), version="1.2.2")
    assert optimize.main([str(src), str(tmp_path / "out.onnx")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert "Save the file again with Keras 2" in line


def test_keras_3_reads_what_the_legacy_command_writes(tmp_path: Path) -> None:
    network = Network1()
    src = network.write(tmp_path / "old.h5")
    assert legacy([str(src), str(tmp_path / "new.h5"), "-q"]) == 0
    model = keras.saving.load_model(tmp_path / "new.h5", compile=False)
    names = [layer["config"]["name"] for layer in json.loads(model.to_json())["config"]["layers"]]
    assert {"a", "b", "join", "up", "bn", "d"} <= set(names)
