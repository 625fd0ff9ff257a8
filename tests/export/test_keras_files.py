"""Keras models as files: read by processes that know nothing of this package, run by LiteRT."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnx_nhwc
from onnx_nhwc import optimize
from tests.models.catalogue import CASES, Case, by_name
from tests.support.keras_models import exported, io_name, keras, lite, stored, trials
from tests.support.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

CLEAN = Path(__file__).parents[1] / "support" / "keras_clean_process.py"
EVERY = bool(os.environ.get("ONNX_NHWC_ALL_CASES"))
"""CI takes one variant of each network, and the small ones; ``make fuzz`` takes all."""
NETWORKS = [case for case in CASES if case.family in ("torch", "light", "keras") and not case.degenerate]


def sample() -> list[Case]:
    """Of every network one variant, the variants in turn."""
    of: dict[str, list[Case]] = {}
    for case in NETWORKS:
        if case.family == "torch":
            of.setdefault(case.name.split(".")[0], []).append(case)
    return [variants[index % len(variants)] for index, variants in enumerate(of.values())]


# ------------------------------------------------------------------------------- other processes

BACKENDS = {
    "tensorflow": {},
    "torch": {},
    # JAX compiles every operation for every shape, and is asked not to take long over it
    "jax": {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"},
}
"""What Keras runs on, and the environment for it."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packages of this environment, save those that have to do with ONNX."""
    folder = tmp_path_factory.mktemp("packages")
    for root in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(root).iterdir():
            if not entry.name.lower().startswith(("onnx", "__editable__")) and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of saved models, with inputs and the source's outputs for each."""
    folder = tmp_path_factory.mktemp("saved")
    notes = {}
    for index, case in enumerate(NETWORKS if EVERY else sample()):
        source = case.load()
        session, result = Session(source), exported(source)
        result.model.save(folder / f"{index}.keras")
        arrays, labels = {}, []
        for label, feeds, expected in trials(case, result, session):
            labels.append(label)
            arrays |= {f"{label} in {name}": value for name, value in stored(result, feeds).items()}
            for name, value in zip(session.names, expected, strict=True):
                turned = np.transpose(value, result.summary.outputs.get(name, range(value.ndim)))
                arrays[f"{label} out {io_name(name)}"] = turned
        np.savez(folder / f"{index}.npz", **arrays)
        layers = [operation.name for operation in result.model.operations]
        notes[index] = {"name": case.name, "layers": layers, "trials": labels}
    (folder / "notes.json").write_text(json.dumps(notes))
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_clean_process_loads_them(backend: str, saved: Path, packages: Path, tmp_path: Path) -> None:
    """Safe mode, another process, which finds neither this package nor onnx, static and dynamic."""
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **BACKENDS[backend]}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(CLEAN), str(saved), str(packages)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    names = [note["name"] for note in json.loads((saved / "notes.json").read_text()).values()]
    assert report == dict.fromkeys(names, "")


# ---------------------------------------------------------------------------------- command line


def test_the_command_line_writes_them(tmp_path: Path) -> None:
    source = tmp_path / "in.onnx"
    onnx.save(by_name("torch/resnet_basic.ts.static").load(), source)
    for name in ("out.keras", "out.tflite", "saved_model"):
        assert optimize.main([str(source), str(tmp_path / name), "-q"]) == 0
        assert (tmp_path / name).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "in.onnx", "out.keras", "out.tflite", "saved_model",
    ]  # fmt: skip


def test_nothing_is_written_if_it_differs(tmp_path: Path) -> None:
    source = tmp_path / "in.onnx"
    onnx.save(by_name("torch/resnet_basic.ts.static").load(), source)
    command = [str(source), str(tmp_path / "out.keras"), "-q", "--rtol", "0", "--atol", "0"]
    assert optimize.main(command) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in.onnx"]


def test_importing_the_package_imports_no_keras() -> None:
    code = "import sys, onnx_nhwc; onnx_nhwc.to_keras; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------- LiteRT

SMALL = {
    *("light/squeezenet", "torch/shufflenetv2.ts.static"),
    *("torch/convnext.ts.static", "torch/efficientnet.dynamo.batch", "torch/grouped_transposed.ts.static"),
    *("torch/mobilenetv3.ts.static", "torch/resnet_basic.dynamo.batch", "torch/video.ts.static"),
}


def quick(case: Case) -> bool:
    return case.family == "light" or case.name.endswith(("ts.static", "dynamo.batch", "first.static"))


LITE = [case for case in NETWORKS if (quick(case) if EVERY else case.name in SMALL)]


def operators(path: Path) -> Counter[str]:
    """What a ``.tflite`` file is made of."""
    return Counter(entry["op_name"] for entry in lite.interpreter(path)._get_ops_details())


LOOPS = {"torch/crnn.dynamo.batch"}
"""Recurrent networks of any batch: LiteRT has no lists of tensors of unknown size."""


@pytest.mark.parametrize("case", LITE, ids=str)
def test_litert_computes_the_same(case: Case, tmp_path: Path) -> None:
    """A convolutional network holds no TRANSPOSE but its own."""
    onnx.save(case.load(), tmp_path / "in.onnx")
    if case.name in LOOPS:
        with pytest.raises(onnx_nhwc.ConversionError, match=r"TensorListReserve.*--shape"):
            onnx_nhwc.convert_file(tmp_path / "in.onnx", tmp_path / "out.tflite")
        return
    report = onnx_nhwc.convert_file(tmp_path / "in.onnx", tmp_path / "out.tflite")
    assert report.verification
    if case.zero_transposes:
        assert operators(tmp_path / "out.tflite")["TRANSPOSE"] == case.own_transposes


def test_litert_says_what_it_lacks(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy")
    nodes = [helper.make_node("Asinh", ["x"], ["a"]), helper.make_node("Acosh", ["a"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "small", [x], [y]), ir_version=8)
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(onnx_nhwc.ConversionError, match="LiteRT has no form for Acosh, Asinh"):
        onnx_nhwc.convert_file(tmp_path / "in.onnx", tmp_path / "out.tflite")
    assert [path.name for path in tmp_path.iterdir()] == ["in.onnx"]


layers = keras.layers
ANEW = {
    "largest": layers.MaxPooling3D((2, 3, 2), (2, 1, 2), padding="same"),
    "mean": layers.AveragePooling3D((3, 2, 2), padding="same"),
    "strides": layers.Conv3D(6, (3, 2, 3), (2, 1, 2), padding="same", groups=3, bias_initializer="normal"),
    "dilation": layers.Conv3D(6, (2, 3, 1), dilation_rate=(2, 1, 1), groups=2, activation="relu"),
    "enlarged": layers.UpSampling2D((2, 3)),
    "product": layers.EinsumDense("abc,bd->adc", (4, None), bias_axes="d", bias_initializer="normal"),
    "matrix": layers.EinsumDense("abc,db->adc", (4, None), bias_axes="d", bias_initializer="normal"),
}
"""Layers that LiteRT has no operator for, or a wrong conversion."""


@pytest.mark.parametrize("kind", ANEW)
def test_litert_computes_what_it_has_no_operator_for(kind: str, tmp_path: Path) -> None:
    layer = ANEW[kind]
    layer.name = kind
    rank = {"enlarged": 2, "product": 1, "matrix": 1}.get(kind, 3)
    sizes = (2, *(5, 7, 8)[:rank], 6)
    inputs = keras.Input(batch_shape=sizes, name="x")
    model = keras.Model(inputs, layers.Identity(name="y")(layer(inputs)))
    (tmp_path / "out.tflite").write_bytes(lite.to_lite(model))
    x = np.random.default_rng(0).standard_normal(sizes, np.float32)
    (found,) = lite.lite_runner(tmp_path / "out.tflite", ["y"])({"x": x})
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=1e-5, atol=1e-5)
    assert [kept.name for kept in model.layers] == ["x", kind, "y"]
    assert operators(tmp_path / "out.tflite")["TRANSPOSE"] == (2 if kind == "product" else 0)
