"""Small models that stand for kinds of foreign files: each converts, and runs where users run it.

``tests/models/foreign`` holds them. The reference is onnxruntime on the file as it is; the comparison here is
independent of the command's own, with other inputs, with optimisations off and at onnxruntime's defaults.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import onnx_nhwc
from tests.support.running import Perms, differences, layouts, stored, transposes

FOLDER = Path(__file__).parents[1] / "models" / "foreign"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
DRAWS = {"05x_fold_dropout_in_training"}
"""Models that draw random numbers: two runs of the source differ already."""
NO_TRANSPOSE = {"08c_concat_flattened_gemm", "08f_negative_batch_reshape"}
REFUSED = {
    "02f_if_of_two_ranks_before_conv1d": "If 'b': its branch cannot be expressed",
    "05x_fold_dropout_in_training": "Dropout 'p': it drops at random",
    "08e_if_other_rank_before_conv2d": "If 'b': its branches give results of different shapes",
    "37_loop_runtime": "Loop 'y': how often it runs is known at run time only",
}
"""What a Keras model cannot say, and the reason given. ``keras.ops.while_loop`` cannot be saved."""
NO_KERAS = {name for name in NAMES if "zipmap" in name}
"""A Keras model returns tensors, no maps."""

HALF = {"rtol": 1e-2, "atol": 1e-3}
TOLERANCES = {"10_fp16_conv_between_casts": HALF, "10c_fp16_net_between_casts": HALF}
"""Models that compute in float16 between Casts."""

CHOSEN: dict[str, dict[str, Any]] = {
    "20_resize_runtime_scales": {"s": np.array([1, 1, 2, 3], np.float32)},
    "21_computed_kernel": {"g": np.linspace(-1, 2, 4, dtype=np.float32).reshape(4, 1, 1, 1)},
    "30c_cubic_scales_input": {
        "roi": np.zeros(0, np.float32),
        "s": np.array([1, 1, 0.8, 0.8], np.float32),
    },
    "37_loop_runtime": {"n": np.array(3, np.int64)},
}
"""Inputs that a distribution does not give."""


@cache
def source(name: str) -> onnx.ModelProto:
    return onnx.load(FOLDER / f"{name}.onnx")


def feeds(name: str) -> dict[str, np.ndarray]:
    """The stored inputs, or the chosen ones and noise for the others."""
    kept = FOLDER / f"{name}.npz"
    if kept.exists():
        with np.load(kept) as data:
            return {str(entry): data[f"in{index}"] for index, entry in enumerate(data["in_names"])}
    rng = np.random.default_rng(5)
    made: dict[str, np.ndarray] = dict(CHOSEN.get(name, {}))
    constants = {tensor.name for tensor in source(name).graph.initializer}
    for value in source(name).graph.input:
        if value.name not in made and value.name not in constants:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            made[value.name] = rng.standard_normal(shape).astype(np.float32)
    return made


def session(path: str | Path, optimized: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def agree(name: str, path: Path, optimized: bool) -> list[str]:
    """Compare with the source, like with like; what the unoptimised source computes is right, too."""
    fed = feeds(name)
    perms: Perms = layouts(onnx.load(path))
    names = [value.name for value in source(name).graph.output]
    ours = session(path, optimized)
    assert [output.name for output in ours.get_outputs()] == names
    actual = ours.run(None, stored(fed, perms))
    found: list[str] = []
    for like in dict.fromkeys((optimized, False)):
        expected = session(FOLDER / f"{name}.onnx", like).run(None, fed)
        if name in DRAWS:
            pairs = zip(expected, actual, perms["outputs"].values(), strict=True)
            found = [f"{b.shape}" for a, b, perm in pairs if np.transpose(a, perm).shape != b.shape]
        else:
            found = differences(names, expected, actual, perms, **TOLERANCES.get(name, {}))
        if not found:
            break
    return found


@pytest.mark.parametrize("dialect", ["functions", "standard"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
def test_a_foreign_file_converts(name: str, dialect: str, tmp_path: Path) -> None:
    path = tmp_path / "result.onnx"
    onnx_nhwc.convert_file(FOLDER / f"{name}.onnx", path, dialect=dialect)
    assert not agree(name, path, optimized=False)
    assert not agree(name, path, optimized=True)
    if name in NO_TRANSPOSE and dialect == "functions":  # the other has none to spare before a Conv
        assert not transposes(onnx.load(path))


@pytest.mark.parametrize("name", sorted(set(NAMES) - NO_KERAS - REFUSED.keys()))
@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # TensorFlow's
def test_a_foreign_file_becomes_a_keras_model(name: str, tmp_path: Path) -> None:
    """The command compares with the source itself; what is written has to load."""
    import keras

    path = tmp_path / "result.keras"
    report = onnx_nhwc.convert_file(FOLDER / f"{name}.onnx", path)
    assert report.verification is not None
    assert report.verification.ok
    assert keras.saving.load_model(path).count_params() >= 0


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # TensorFlow's
def test_what_keras_cannot_say_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    path = tmp_path / "result.keras"
    with pytest.raises(onnx_nhwc.ConversionError, match=REFUSED[name]):
        onnx_nhwc.convert_file(FOLDER / f"{name}.onnx", path)
    assert not path.exists()
