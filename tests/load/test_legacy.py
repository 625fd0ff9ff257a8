"""Files of Keras 1 and 2: what they compute after the conversion is what they computed before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onnx_nhwc
from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError
from tests.support import old_keras as old
from tests.support.old_keras import FIRST, LAST

pytest.importorskip("h5py")

RNG = np.random.default_rng(4)


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def close(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())


IMAGE = {1: (7,), 2: (7, 5), 3: (7, 5, 4)}
KERNEL = {1: (3,), 2: (3, 2), 3: (3, 2, 2)}
SQUARE = {1: (4,), 2: (4, 4), 3: (4, 4, 4)}
CONVOLUTIONS = {
    "conv": ("Conv{n}D", old.theano_conv, old.conv),
    "transposed": ("Conv{n}DTranspose", old.theano_transposed, old.transposed),
    "strided": ("Conv{n}DTranspose", *(
        lambda x, k, f=f: f(x, k, 2) for f in (old.theano_transposed, old.transposed)
    )),
    "depthwise": ("DepthwiseConv{n}D", old.theano_depthwise, old.depthwise),
}  # fmt: skip
CASES = [(kind, n) for kind in CONVOLUTIONS for n in (1, 2, 3)]
CASES = [case for case in CASES if case not in [("transposed", 1), ("strided", 1), ("depthwise", 3)]]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "weights"])
@pytest.mark.parametrize("equal", [False, True], ids=["distinct", "equal"])
@pytest.mark.parametrize(("kind", "n"), CASES)
def test_kernel(tmp_path: Path, kind: str, n: int, equal: bool, whole: bool) -> None:
    name, theano, tensorflow = CONVOLUTIONS[kind]
    name = name.format(n=n)
    ins, outs = (4, 4) if equal else (3, 2)
    x = random(2, ins, *(SQUARE[n] if equal else IMAGE[n]))
    axes = (outs, ins) if name.endswith("Transpose") else (ins, outs)
    kernel = random(*(KERNEL[n] if not equal else SQUARE[n]), *axes)
    word = "depthwise_kernel" if kind == "depthwise" else "kernel"
    config = {"data_format": FIRST, "filters": outs}
    layer = (name, "layer", config, [(f"layer/{word}:0", kernel), ("layer/bias:0", random(outs))])
    src = old.write(tmp_path / "in.h5", [layer], whole=whole)
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5")
    close(tensorflow(x, old.read(tmp_path / "out.h5")["layer"][0]), theano(x, kernel))
    onnx_nhwc.convert_weights(tmp_path / "out.h5", tmp_path / "back.h5", to_backend="theano")
    assert np.array_equal(old.read(tmp_path / "back.h5")["layer"][0], kernel)


@pytest.mark.parametrize("n", [1, 2])
def test_separable(tmp_path: Path, n: int) -> None:
    x, depth, point = random(2, 3, *IMAGE[n]), random(*KERNEL[n], 3, 2), random(*[1] * n, 6, 5)
    weights = [("s/depthwise_kernel:0", depth), ("s/pointwise_kernel:0", point)]
    layer = (f"SeparableConv{n}D", "s", {"data_format": FIRST, "filters": 5}, weights)
    src = old.write(tmp_path / "in.h5", [layer], version="2.2.4")
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5", data_format=LAST)
    depth2, point2 = old.read(tmp_path / "out.h5")["s"]
    expected = old.theano_conv(old.theano_depthwise(x, depth), point)
    close(old.conv(old.depthwise(x, depth2), point2), expected)


def test_both_kernels_of_a_convlstm_are_turned(tmp_path: Path) -> None:
    kernel, recurrent = random(3, 2, 3, 8), random(3, 2, 2, 8)
    weights = [("l/kernel:0", kernel), ("l/recurrent_kernel:0", recurrent), ("l/bias:0", random(8))]
    layer = ("ConvLSTM2D", "l", {"data_format": FIRST, "filters": 2}, weights)
    onnx_nhwc.convert_weights(old.write(tmp_path / "in.h5", [layer]), tmp_path / "out.h5")
    found = old.read(tmp_path / "out.h5")["l"]
    assert np.array_equal(found[0], kernel[::-1, ::-1])
    assert np.array_equal(found[1], recurrent[::-1, ::-1])


# ------------------------------------------------------------------------------------- Keras 1


def th(kernel: np.ndarray) -> np.ndarray:
    """(s..., in, out) as Keras 1 kept it for channels first."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


KERAS1 = {
    "Convolution2D": (2, th, old.theano_conv, old.conv),
    "AtrousConvolution2D": (2, th, old.theano_conv, old.conv),
    "Convolution3D": (3, th, old.theano_conv, old.conv),
    "Convolution1D": (1, lambda k: k[:, None], old.theano_conv, old.conv),
    "Convolution1D of 1.0": (1, lambda k: k.T[..., None], old.theano_conv, old.conv),
    # kept as (out, in, kH, kW), as if it were no transposed one; used as (kH, kW, out, in)
    "Deconvolution2D": (2, th, lambda x, k: old.theano_transposed(x, k.swapaxes(-1, -2)),
                        old.transposed),
}  # fmt: skip


@pytest.mark.parametrize("equal", [False, True], ids=["distinct", "equal"])
@pytest.mark.parametrize("kind", KERAS1)
def test_keras1_kernel(tmp_path: Path, kind: str, equal: bool) -> None:
    n, stored, theano, tensorflow = KERAS1[kind]
    ins, outs = (4, 4) if equal else (3, 2)
    x = random(2, ins, *(SQUARE[n] if equal else IMAGE[n]))
    kernel = random(*(SQUARE[n] if equal else KERNEL[n]), ins, outs)
    config = {"dim_ordering": "th", "nb_filter": outs}
    weights = [("layer_W", stored(kernel)), ("layer_b", random(outs))]
    layer = (kind.split()[0], "layer", config, weights)
    src = old.write(tmp_path / "in.h5", [layer], version="1.2.2")
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5")
    close(tensorflow(x, old.read(tmp_path / "out.h5")["layer"][0]), theano(x, kernel))


def test_keras1_gates_are_joined(tmp_path: Path) -> None:
    parts = {f"{w}_{gate}": random(*s) for gate in "icfo" for w, s in
             {"W": (3, 2), "U": (2, 2), "b": (2,)}.items()}  # fmt: skip
    layer = ("LSTM", "l", {"output_dim": 2}, [(f"l_{k}", v) for k, v in parts.items()])
    src = old.write(tmp_path / "in.h5", [layer], version="1.2.2", backend="tensorflow")
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5")
    found = old.read(tmp_path / "out.h5")["l"]
    for i, w in enumerate("WUb"):
        expected = np.concatenate([parts[f"{w}_{gate}"] for gate in "ifco"], axis=-1)
        assert np.array_equal(found[i], expected)


# -------------------------------------------------------------------------- Flatten, then Dense


class Network:
    """Conv, Conv, BatchNormalization, Flatten, BatchNormalization, PReLU, Dense: channels first."""

    def __init__(self, equal: bool) -> None:
        size, kernel, c = ((9, 9), (3, 3), (5, 5, 5)) if equal else ((9, 7), (3, 2), (3, 4, 5))
        self.x = random(2, c[0], *size)
        self.k1, self.b1 = random(*kernel, c[0], c[1]), random(c[1])
        self.k2, self.b2 = random(*kernel, c[1], c[2]), random(c[2])
        self.shape = (c[2], *(a - 2 * (b - 1) for a, b in zip(size, kernel, strict=True)))
        features = int(np.prod(self.shape))
        self.bn = [np.abs(random(features)) + 0.5 for _ in range(4)]
        self.image_slope = random(*self.shape)
        self.slope = random(features)
        self.dense, self.b3 = random(features, 6) / 9, random(6)

    def run(self) -> np.ndarray:
        y = old.bias(old.theano_conv(self.x, self.k1), self.b1)
        y = old.bias(old.theano_conv(y, self.k2), self.b2)
        y = np.where(y > 0, y, self.image_slope * y)
        y = y.reshape(len(y), -1)
        gamma, beta, mean, var = self.bn
        y = (y - mean) / np.sqrt(var + 1e-3) * gamma + beta
        y = np.where(y > 0, y, self.slope * y)
        return y @ self.dense + self.b3

    def layers(self, *, flatten: dict[str, str] | None = None) -> list[old.Entry]:
        image, f = (None, *self.x.shape[1:]), {"data_format": FIRST}
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        first = {"filters": len(self.b1), "batch_input_shape": image, **f}
        return [
            ("Conv2D", "c1", first, [("c1/kernel:0", self.k1), ("c1/bias:0", self.b1)]),
            ("Conv2D", "c2", {"filters": len(self.b2), **f},
             [("c2/kernel:0", self.k2), ("c2/bias:0", self.b2)]),
            ("PReLU", "p0", {}, [("p0/alpha:0", self.image_slope)]),
            ("Flatten", "f", flatten or {}, []),
            ("BatchNormalization", "bn", {},
             [(f"bn/{n}:0", v) for n, v in zip(names, self.bn, strict=True)]),
            ("PReLU", "p", {}, [("p/alpha:0", self.slope)]),
            ("Dense", "d", {"units": 6}, [("d/kernel:0", self.dense), ("d/bias:0", self.b3)]),
        ]  # fmt: skip

    def run_last(self, w: dict[str, list[np.ndarray]]) -> np.ndarray:
        """The converted network, channels last, under TensorFlow."""
        y = old.bias(old.conv(self.x, w["c1"][0]), w["c1"][1])
        y = old.last(old.bias(old.conv(y, w["c2"][0]), w["c2"][1]))
        y = np.where(y > 0, y, w["p0"][0] * y)
        y = y.reshape(len(y), -1)
        gamma, beta, mean, var = w["bn"]
        y = (y - mean) / np.sqrt(var + 1e-3) * gamma + beta
        y = np.where(y > 0, y, w["p"][0] * y)
        return y @ w["d"][0] + w["d"][1]


@pytest.fixture(params=[False, True], ids=["distinct", "equal"])
def network(request: pytest.FixtureRequest) -> Network:
    return Network(request.param)


@pytest.mark.parametrize("how", ["whole", "config", "stated"])
def test_flatten_dense(tmp_path: Path, network: Network, how: str) -> None:
    layers, options = network.layers(), {}
    if how == "config":
        (tmp_path / "net.json").write_text(json.dumps(old.sequential(layers)))
        options = {"config": tmp_path / "net.json"}
    elif how == "stated":
        options = {
            "flatten": dict.fromkeys(("d", "bn", "p"), network.shape),
            "classes": {"bn": "BatchNormalization", "p": "PReLU", "p0": "PReLU"},
            "source_data_format": FIRST,
        }
    src = old.write(tmp_path / "in.h5", layers, whole=how == "whole")
    dst = tmp_path / "out.h5"
    done = onnx_nhwc.convert_weights(src, dst, data_format=LAST, **options)
    close(network.run_last(old.read(dst)), network.run())
    assert any("rows reordered" in what for what in done.layers["d"])


def test_there_and_back(tmp_path: Path, network: Network) -> None:
    layers = network.layers()
    there, back = tmp_path / "there.h5", tmp_path / "back.h5"
    src = old.write(tmp_path / "in.h5", layers)
    onnx_nhwc.convert_weights(src, there, data_format=LAST)
    config = json.loads(json.dumps(old.sequential(layers)).replace(FIRST, LAST))
    onnx_nhwc.convert_weights(there, back, config=config, to_backend="theano", data_format=FIRST)
    before, after = old.read(src), old.read(back)
    for name, weights in before.items():
        assert all(map(np.array_equal, weights, after[name])), name


def test_a_flatten_that_keeps_the_order_needs_nothing(tmp_path: Path) -> None:
    """Since Keras 2.1 a Flatten with data_format="channels_first" moves the channels itself."""
    network = Network(equal=False)
    src = old.write(tmp_path / "in.h5", network.layers(flatten={"data_format": FIRST}))
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5", data_format=LAST)
    assert np.array_equal(old.read(tmp_path / "out.h5")["d"][0], network.dense)


def functional(join: str) -> dict[str, object]:
    """Two branches, joined along the channels, in a model within a model, flattened outside."""
    f = {"data_format": FIRST}

    def entry(kind: str, name: str, sources: list[str], config: dict, node: int = 0) -> dict:
        inbound = [[[source, node, 0, {}] for source in sources]] if sources else []
        return {"class_name": kind, "name": name, "config": config, "inbound_nodes": inbound}

    shape = {"batch_input_shape": [None, 3, 8, 6], "name": "in"}
    inner = {
        "name": "inner",
        "layers": [
            entry("InputLayer", "in", [], shape),
            entry("Conv2D", "a", ["in"], {"name": "a", "filters": 4, **f}),
            entry("Conv2D", "b", ["in"], {"name": "b", "filters": 2, **f}),
            entry(join, "join", ["a", "b"], {"name": "join", "axis": 1}),
        ],
        "input_layers": [["in", 0, 0]],
        "output_layers": [["join", 0, 0]],
    }
    layers = [
        entry("InputLayer", "image", [], {**shape, "name": "image"}),
        entry("Model", "inner", ["image"], inner),
        entry("Flatten", "flat", ["inner"], {"name": "flat"}, node=1),  # Keras 2 counts from 1
        entry("Dense", "d", ["flat"], {"name": "d", "units": 5}),
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["image", 0, 0]],
              "output_layers": [["d", 0, 0]]}  # fmt: skip
    return {"class_name": "Model", "config": config}


def test_a_model_within_a_model(tmp_path: Path) -> None:
    x, a, b, d = random(2, 3, 8, 6), random(3, 2, 3, 4), random(3, 2, 3, 2), random(6 * 6 * 5, 5)
    layers = [
        ("InputLayer", "image", {}, []),
        ("Model", "inner", {}, [("a/kernel:0", a), ("b/kernel:0", b)]),
        ("Flatten", "flat", {}, []),
        ("Dense", "d", {}, [("d/kernel:0", d)]),
    ]
    src = old.write(tmp_path / "in.h5", layers, config=functional("Concatenate"))
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5", data_format=LAST)
    found = old.read(tmp_path / "out.h5")
    before = np.concatenate([old.theano_conv(x, a), old.theano_conv(x, b)], axis=1)
    after = np.concatenate([old.conv(x, k) for k in found["inner"]], axis=1)
    close(old.last(after).reshape(2, -1) @ found["d"][0], before.reshape(2, -1) @ d)


# ------------------------------------------------------------------------------ into Keras 3


@pytest.mark.parametrize("name", ["out.weights.h5", "out.h5"])
def test_keras3_loads_it_and_computes_the_same(tmp_path: Path, name: str) -> None:
    keras = pytest.importorskip("keras")
    network = Network(equal=True)
    src = old.write(tmp_path / "in.h5", network.layers())
    onnx_nhwc.convert_weights(src, tmp_path / name, data_format=LAST)
    layers, f = keras.layers, {"data_format": LAST, "dtype": "float64"}
    model = keras.Sequential(
        [
            keras.Input(old.last(network.x).shape[1:], dtype="float64"),
            layers.Conv2D(5, 3, name="c1", **f),
            layers.Conv2D(5, 3, name="c2", **f),
            layers.PReLU(name="p0", dtype="float64"),
            layers.Flatten(**f),
            layers.BatchNormalization(name="bn", dtype="float64"),
            layers.PReLU(name="p", dtype="float64"),
            layers.Dense(6, name="d", dtype="float64"),
        ]
    )
    model.load_weights(tmp_path / name)
    found = keras.ops.convert_to_numpy(model(old.last(network.x)))
    close(found, network.run())


# -------------------------------------------------------------------- what is said, and what not

CONV = ("Conv2D", "conv2d_1", {}, [("conv2d_1/kernel:0", random(3, 3, 2, 4))])
DENSE = ("Dense", "dense_1", {}, [("dense_1/kernel:0", random(16, 4))])
OLD = ("Convolution2D", "c", {}, [("c_W", random(4, 2, 3, 3)), ("c_b", random(4))])
FILE = {"version": "2.1.0", "whole": False}


@pytest.mark.parametrize(
    ("layers", "file", "options", "says"),
    [
        ([CONV], {**FILE, "backend": None}, {}, "does not say which backend"),
        ([CONV, DENSE], FILE, {"data_format": LAST}, "does not say which data format"),
        ([CONV, DENSE], FILE, {"data_format": LAST, "source_data_format": FIRST},
         "Dense 'dense_1': the file does not say what it is applied to"),
        ([DENSE], FILE, {"data_format": LAST, "source_data_format": FIRST,
                         "flatten": {"dense_1": (2, 3)}}, "does not make 16 features"),
        ([DENSE], FILE, {"data_format": LAST, "source_data_format": FIRST,
                         "flatten": {"fc": (2, 8)}}, "there is no Dense layer 'fc'"),
        ([OLD], {"version": "1.2.2", "whole": False}, {}, "in the order of the data format"),
        ([OLD], {"version": "1.2.2", "whole": False}, {"source_data_format": LAST},
         "does not have 4 filters"),
        ([("Conv2D", "i", {"data_format": FIRST, "filters": 4}, []), ("Flatten", "f", {}, []),
          ("Reshape", "r", {"target_shape": [2, 3, 4]}, []),
          ("Conv2D", "c", {"data_format": FIRST}, CONV[3])], {},
         {"data_format": LAST}, "Reshape 'r' gives features the axes of an image"),
        ([("Dense", "d", {"batch_input_shape": [None, 2]}, []), ("Reshape", "r", {"target_shape":
          [2, 3, 4]}, []), ("Permute", "p", {"dims": [3, 1, 2]}, []),
          ("Conv2D", "c", {"data_format": FIRST}, CONV[3])], {},
         {"data_format": LAST}, "Reshape 'r' makes an image of features"),
        ([("Conv2D", "c", {"data_format": FIRST, "filters": 4}, []), ("Lambda", "l", {}, []),
          ("Flatten", "f", {}, []), DENSE], {}, {"data_format": LAST}, "Lambda 'l' is not known"),
    ],
)  # fmt: skip
def test_it_never_guesses(tmp_path: Path, layers, file, options, says) -> None:
    src, dst = old.write(tmp_path / "in.h5", layers, **file), tmp_path / "out.h5"
    with pytest.raises(ConversionError, match=says) as error:
        onnx_nhwc.convert_weights(src, dst, **options)
    assert error.value.remedy or isinstance(error.value, UsageError)
    assert not dst.exists()


def test_what_is_stated_beats_the_file_and_is_said(tmp_path: Path) -> None:
    src = old.write(tmp_path / "in.h5", [CONV], backend="tensorflow", whole=False)
    with pytest.warns(UserWarning, match="'theano' is taken"):
        onnx_nhwc.convert_weights(src, tmp_path / "out.h5", from_backend="theano")


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(FileError, match="not an HDF5 file"):
        onnx_nhwc.convert_weights(tmp_path / "text.h5", tmp_path / "out.h5")
    with pytest.raises(UsageError, match="does not exist"):
        onnx_nhwc.convert_weights(tmp_path / "none.h5", tmp_path / "out.h5")


def test_a_whole_model_stays_one(tmp_path: Path) -> None:
    import h5py

    src = old.write(tmp_path / "in.h5", Network(equal=False).layers())
    onnx_nhwc.convert_weights(src, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert json.loads(file.attrs["model_config"])["backend"] == "tensorflow"
        assert file["model_weights"].attrs["backend"] == "tensorflow"


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx_nhwc.legacy.__main__ import main

    network = Network(equal=False)
    src = str(old.write(tmp_path / "in.h5", network.layers(), backend=None))
    dst = tmp_path / "out.h5"
    assert main([src, str(dst), "--data-format", LAST]) == 1
    assert "--from theano" in capsys.readouterr().err
    assert main([src, str(dst), "--data-format", LAST, "--from", "theano"]) == 0
    assert "c1: kernel turned by 180 degrees" in capsys.readouterr().out
    close(network.run_last(old.read(dst)), network.run())
    assert main([src, str(dst), "--flatten", "d"]) == 2
    assert main([src, str(tmp_path / "out.txt"), "--from", "theano"]) == 2


def test_no_keras_is_imported(tmp_path: Path) -> None:
    src = old.write(tmp_path / "in.h5", Network(equal=False).layers())
    code = (
        f"import sys, onnx_nhwc; onnx_nhwc.convert_weights({str(src)!r}, "
        f"{str(tmp_path / 'out.weights.h5')!r}, data_format={LAST!r}); "
        "print({'keras', 'tensorflow', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
