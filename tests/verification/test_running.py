"""Channels-first Keras models, on what a machine has for them: each way in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras")

from tests.models.catalogue import by_name

SOURCE = by_name("torch/resnet_basic.ts.static").path
LINE = """
import json, os, sys
{before}
import onnx_nhwc
report = onnx_nhwc.convert_file(sys.argv[1], sys.argv[2], to="channels-first")
assert report.verification and report.verification.ok
print(report.runs_on)
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
"""


def run(program: str, target: Path, **environment: str) -> Any:
    """A process in which oneDNN is as the machine and ``environment`` have it."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    return subprocess.run(
        [sys.executable, "-c", program, str(SOURCE), str(target)],
        env={**kept, "KERAS_BACKEND": "tensorflow", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


ONEDNN = "TensorFlow with oneDNN (TF_ENABLE_ONEDNN_OPTS=1)"
COMPILED = "TensorFlow compiled with XLA (jit_compile=True)"


@pytest.mark.parametrize(
    ("before", "setting", "on"),
    [
        ("", {}, ONEDNN),
        ("import tensorflow", {}, ONEDNN),
        ("", {"TF_ENABLE_ONEDNN_OPTS": "0"}, COMPILED),
    ],
    ids=["started by us", "running", "switched off"],
)
def test_the_comparison_says_on_what_it_ran(
    before: str, setting: dict[str, str], on: str, tmp_path: Path
) -> None:
    """The user's setting stays as it is, and none is left behind."""
    done = run(LINE.format(before=before), tmp_path / "m.keras", **setting)
    assert done.returncode == 0, done.stderr[-2000:]
    runs_on, left = done.stdout.splitlines()
    assert runs_on.startswith(on)
    assert left == setting.get("TF_ENABLE_ONEDNN_OPTS", "None")
    assert (tmp_path / "m.keras").exists()


APART = """
import sys
import numpy as np
import keras
from onnx_nhwc.export.keras.running import Executor, has_channels_first

x, y = keras.Input((3, 6, 7)), keras.Input((3, 6, 7))
conv = keras.layers.Conv2D(4, 3, data_format="channels_first")
model = keras.Model([x, y], {"sum": conv(x) + conv(y), "last": conv(y)})
values = [np.random.default_rng(seed).normal(size=(2, 3, 6, 7)).astype("float32") for seed in (0, 1)]
executor = Executor(model)
apart = executor._apart({"TF_ENABLE_ONEDNN_OPTS": "1"}, values)
compiled = executor._by_xla(False, values)
assert set(apart) == set(compiled) == {"sum", "last"}
for name in apart:
    np.testing.assert_allclose(apart[name], compiled[name], rtol=1e-4, atol=1e-5)
assert has_channels_first(keras.Sequential([keras.Input((3, 6, 7)), keras.Model(x, conv(x))]))
assert not has_channels_first(keras.Model(x, keras.layers.Conv2D(4, 3, data_format="channels_last")(x)))
"""


def test_all_ways_compute_the_same(tmp_path: Path) -> None:
    done = run(APART, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


REFUSED = """
import keras
import numpy as np
from onnx_nhwc.export.keras.running import Executor
from onnx_nhwc.passes.errors import VerificationError

x = keras.Input((3, 6, 6))
y = keras.layers.Conv2D(3, 3, data_format="channels_first", name="stem")(x)
y = keras.layers.UpSampling2D(interpolation="bicubic", data_format="channels_first")(y)
try:
    Executor(keras.Model(x, y))(np.zeros((1, 3, 6, 6), "float32"))
except VerificationError as error:
    print(error)
"""


@pytest.mark.skipif(bool(find_spec("jax") or find_spec("torch")), reason="they run it")
def test_what_nothing_runs_is_one_line(tmp_path: Path) -> None:
    """Resize with cubic interpolation, which XLA does not compile."""
    done = run(REFUSED, tmp_path, TF_ENABLE_ONEDNN_OPTS="0")
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = done.stdout.splitlines()
    assert line.startswith("Conv2D 'stem': it is channels first, which TensorFlow does not run here (")
    for remedy in ("TF_ENABLE_ONEDNN_OPTS=1", "pip install jax", "--no-verify"):
        assert remedy in line
    assert "\x1b" not in line
