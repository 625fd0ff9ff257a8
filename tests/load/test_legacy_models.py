"""Whole models of Keras 1 and 2, through the command line: they compute what they did under Theano."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support import old_keras as old
from tests.support.old_keras import FIRST, LAST
from tests.support.running import Session, layouts

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from onnx_nhwc import optimize  # noqa: E402
from onnx_nhwc.files.weights import to_proto  # noqa: E402
from onnx_nhwc.legacy.__main__ import main as legacy  # noqa: E402
from onnx_nhwc.load.keras.reading import read  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(11)


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32") / max(1, int(np.prod(shape[:-1]))) ** 0.5


def agree(src: Path, x: np.ndarray, expected: np.ndarray, *to: str, first: bool = True) -> None:
    """After the command, the model in ``src`` computes ``expected``, as .onnx and as .keras.

    ``first``: is its source channels first, as ``x`` and ``expected`` are?
    """
    for name in to or ("out.onnx", "out.keras"):
        dst = src.with_name(name)
        assert optimize.main(["-q", str(src), str(dst)]) == 0
        moved = [old.last(a) if a.ndim > 2 and name.endswith(".keras") else a for a in (x, expected)]
        if name.endswith(".onnx"):
            model = onnx.load(dst)
            perms = layouts(model)
            ((feed, perm),), ((_, end),) = perms["inputs"].items(), perms["outputs"].items()
            if not first:
                moved = [old.last(x), old.last(expected)]
            given, wanted = moved[0].transpose(perm), moved[1].transpose(end)
            result = Session(model).run({feed: np.ascontiguousarray(given)})[0]
        else:
            given, wanted = moved
            result = np.asarray(keras.saving.load_model(dst)(given))
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def same(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Theano's "same": ``k // 2`` zeros before the image, and ``ceil(n / stride)`` pixels."""
    sizes = kernel.shape[:-2]
    padded = np.pad(x, [(0, 0), (0, 0), *((k // 2, (k - 1) // 2) for k in sizes)])
    steps = (slice(None), slice(None), *[slice(None, None, stride)] * len(sizes))
    return old.theano_conv(padded, kernel)[steps]


# ------------------------------------------------------------------------------------- Keras 2


def scaling(distribution: str = "uniform") -> dict[str, Any]:
    settings = {"scale": 1.0, "mode": "fan_avg", "distribution": distribution, "seed": None}
    return {"class_name": "VarianceScaling", "config": settings}


def keras2(kernel: np.ndarray, **settings: Any) -> dict[str, Any]:
    """The configuration of a convolution, as Keras 2.0 wrote it."""
    n = kernel.ndim - 2
    return {
        "trainable": True, "filters": kernel.shape[-1], "kernel_size": list(kernel.shape[:-2]),
        "strides": [1] * n, "padding": "valid", "data_format": FIRST, "dilation_rate": [1] * n,
        "activation": "linear", "use_bias": True, "kernel_initializer": scaling(),
        "bias_initializer": {"class_name": "Zeros", "config": {}}, "kernel_regularizer": None,
        "bias_regularizer": None, "activity_regularizer": None, "kernel_constraint": None,
        "bias_constraint": None, **settings,
    }  # fmt: skip


def one(kind: str, config: dict[str, Any], shape: tuple[int, ...], weights: dict[str, np.ndarray]) -> Any:
    """A model of one layer."""
    start = {"batch_input_shape": [None, *shape], "dtype": "float32", **config}
    return [(kind, "layer", start, [(f"layer/{name}:0", value) for name, value in weights.items()])]


LAYERS = {
    "Conv1D": (("Conv1D", (3, 4, 5), (4, 9)), old.theano_conv, {"data_format": LAST}),
    "Conv2D": (("Conv2D", (3, 2, 4, 5), (4, 9, 7)), old.theano_conv, {}),
    "Conv2D, equal sizes": (("Conv2D", (4, 4, 4, 4), (4, 4, 4)), same,
                            {"padding": "same"}),
    "Conv2D, strided": (("Conv2D", (3, 3, 4, 5), (4, 8, 6)), lambda x, k: same(x, k, 2),
                        {"padding": "same", "strides": [2, 2]}),
    "Conv3D": (("Conv3D", (3, 2, 2, 4, 5), (4, 6, 7, 5)), old.theano_conv, {}),
    "Conv2DTranspose": (("Conv2DTranspose", (3, 2, 5, 4), (4, 5, 6)), old.theano_transposed, {"filters": 5}),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_of_theano(tmp_path: Path, case: str) -> None:
    (kind, sizes, shape), expected, settings = LAYERS[case]
    kernel, x = random(*sizes), random(2, *shape)
    config = keras2(kernel, **settings)
    bias = random(config["filters"])
    first = config["data_format"] == FIRST
    start = shape if first else (*shape[1:], shape[0])
    layers = one(kind, config, start, {"kernel": kernel, "bias": bias})
    src = old.write(tmp_path / "old.h5", layers)
    agree(src, x, old.bias(expected(x, kernel), bias), first=first)


def test_separable_and_depthwise(tmp_path: Path) -> None:
    x, depth, point, own = random(2, 3, 8, 7), random(3, 2, 3, 2), random(1, 1, 6, 5), random(2, 3, 5, 1)
    config = keras2(depth, filters=5, depth_multiplier=2, use_bias=False)
    weights = {"depthwise_kernel": depth, "pointwise_kernel": point}
    layers = one("SeparableConv2D", config, (3, 8, 7), weights)
    config = keras2(own, depth_multiplier=1, use_bias=False, groups=1)
    for gone in ("filters", "kernel_initializer", "kernel_regularizer", "kernel_constraint", "dilation_rate"):
        del config[gone]
    layers.append(("DepthwiseConv2D", "own", config, [("own/depthwise_kernel:0", own)]))
    src = old.write(tmp_path / "old.h5", layers, version="2.2.4")
    expected = old.theano_conv(old.theano_depthwise(x, depth), point)
    agree(src, x, old.theano_depthwise(expected, own))


class Network:
    """Padded convolutions, a pool, Flatten, Dense, channels first, as Keras 2.0.8 wrote them."""

    def __init__(self) -> None:
        self.x = random(2, 3, 10, 12)
        self.k1, self.b1 = random(3, 3, 3, 4), random(4)
        self.k2, self.b2 = random(2, 4, 4, 5), random(5)
        self.dense, self.b3 = random(5 * 2 * 3, 6), random(6)

    def layers(self) -> list[old.Entry]:
        pool = {"trainable": True, "pool_size": [2, 2], "padding": "valid", "strides": [2, 2],
                "data_format": FIRST}  # fmt: skip
        dense = {"trainable": True, "units": 6, "activation": "linear", "use_bias": True,
                 "kernel_initializer": scaling("normal")}  # fmt: skip
        start = {"batch_input_shape": [None, 3, 10, 12], "dtype": "float32"}
        first = keras2(self.k1, padding="same", activation="relu", **start)
        return [
            ("Conv2D", "c1", first, [("c1/kernel:0", self.k1), ("c1/bias:0", self.b1)]),
            ("Conv2D", "c2", keras2(self.k2, padding="same", strides=[2, 2]),
             [("c2/kernel:0", self.k2), ("c2/bias:0", self.b2)]),
            ("MaxPooling2D", "p", pool, []),
            ("Flatten", "f", {"trainable": True}, []),
            ("Dense", "d", dense, [("d/kernel:0", self.dense), ("d/bias:0", self.b3)]),
        ]  # fmt: skip

    def run(self) -> np.ndarray:
        y = np.maximum(old.bias(same(self.x, self.k1), self.b1), 0)
        y = old.bias(same(y, self.k2, 2), self.b2)
        n, c, h, w = y.shape
        y = y[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))
        return y.reshape(n, -1) @ self.dense + self.b3


def test_a_network_of_theano(tmp_path: Path) -> None:
    network = Network()
    src = old.write(tmp_path / "old.h5", network.layers())
    before = src.read_bytes()
    agree(src, network.x, network.run())
    assert src.read_bytes() == before


def test_a_model_within_a_model(tmp_path: Path) -> None:
    """Keras 2 numbers the calls of the inner ones from 1 on, Keras 3 does not."""
    x, a, b, s = random(2, 3, 8, 6), random(3, 2, 3, 4), random(3, 2, 3, 2), random(2, 2, 6, 3)
    shape = {"batch_input_shape": [None, 3, 8, 6], "dtype": "float32"}

    def entry(kind: str, name: str, sources: list[tuple[str, int]], config: Any) -> dict[str, Any]:
        config = {"name": name, **config} if isinstance(config, dict) else config
        inbound = [[[source, number, 0, {}] for source, number in sources]] if sources else []
        return {"class_name": kind, "name": name, "config": config, "inbound_nodes": inbound}

    def model(layers: list[Any], start: str, end: list[Any]) -> dict[str, Any]:
        return {"layers": layers, "input_layers": [[start, 0, 0]], "output_layers": [end]}

    inner = model(
        [
            entry("InputLayer", "in", [], shape),
            entry("Conv2D", "a", [("in", 0)], keras2(a, use_bias=False)),
            entry("Conv2D", "b", [("in", 0)], keras2(b, use_bias=False)),
            entry("Concatenate", "join", [("a", 0), ("b", 0)], {"axis": 1}),
        ],
        "in",
        ["join", 0, 0],
    )
    start = {"batch_input_shape": [None, 6, 6, 5], "dtype": "float32", "name": "s"}
    sequence = [{"class_name": "Conv2D", "config": {**keras2(s, use_bias=False), **start}}]
    outer = model(
        [
            entry("InputLayer", "image", [], shape),
            entry("Model", "inner", [("image", 0)], inner),
            entry("Sequential", "sequence", [("inner", 1)], sequence),
        ],
        "image",
        ["sequence", 1, 0],
    )
    layers = [
        ("InputLayer", "image", {}, []),
        ("Model", "inner", {}, [("a/kernel:0", a), ("b/kernel:0", b)]),
        ("Sequential", "sequence", {}, [("s/kernel:0", s)]),
    ]
    config = {"class_name": "Model", "config": {"name": "outer", **outer}}
    src = old.write(tmp_path / "old.h5", layers, config=config)
    y = np.concatenate([old.theano_conv(x, a), old.theano_conv(x, b)], axis=1)
    agree(src, x, old.theano_conv(y, s))


def test_padding_of_its_own_in_a_layer_called_twice_or_wrapped(tmp_path: Path) -> None:
    x, k, shape = random(2, 3, 8, 6), random(2, 2, 3, 3), [3, 8, 6]
    conv = keras2(k, padding="same", use_bias=False)
    layers = [
        ("InputLayer", "image", {"batch_input_shape": [None, *shape], "dtype": "float32"}, [], []),
        ("Conv2D", "c", conv, [("image", 0), ("c", 0)], [("c/kernel:0", k)]),
        ("Activation", "a", {"activation": "relu"}, [("c", 1)], []),
    ]
    entries = [
        {"class_name": kind, "name": name, "config": {"name": name, **config},
         "inbound_nodes": [[[source, number, 0, {}]] for source, number in calls]}
        for kind, name, config, calls, _ in layers
    ]  # fmt: skip
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["a", 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "m", "layers": entries, **ends}}
    weights = [(kind, name, {}, values) for kind, name, _, _, values in layers]
    src = old.write(tmp_path / "old.h5", weights, config=config)
    agree(src, x, np.maximum(same(same(x, k), k), 0))

    x = random(2, 5, *shape)
    inner = {"class_name": "Conv2D", "config": {"name": "c", **conv}}
    wrapped = one("TimeDistributed", {"layer": inner}, (5, *shape), {"kernel": k})
    src = old.write(tmp_path / "old.h5", wrapped)
    model = to_proto(read(src))
    (result,) = Session(model).run({model.graph.input[0].name: x})
    np.testing.assert_allclose(
        result, np.stack([same(x[:, i], k) for i in range(5)], 1), rtol=1e-4, atol=1e-5
    )


def gates(x: np.ndarray, w: np.ndarray, u: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The last state of a GRU of Keras 2 with its hard_sigmoid, ``x / 5 + 1 / 2``."""
    h = np.zeros((len(x), u.shape[0]), x.dtype)
    size = u.shape[0]
    for step in range(x.shape[1]):
        given = x[:, step] @ w + b
        z, r = (
            np.clip((given[:, i] + h @ u[:, i]) / 5 + 0.5, 0, 1) for i in (slice(size), slice(size, 2 * size))
        )
        new = np.tanh(given[:, 2 * size :] + (r * h) @ u[:, 2 * size :])
        h = z * h + (1 - z) * new
    return h


def test_a_hard_sigmoid_is_that_of_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, w, u, b = random(2, 5, 3) * 4, random(3, 12), random(4, 12), random(12)
    config = {"units": 4, "activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True,
              "return_sequences": False, "implementation": 0}  # fmt: skip
    weights = {"kernel": w, "recurrent_kernel": u, "bias": b}
    src = old.write(tmp_path / "old.h5", one("GRU", config, (5, 3), weights), backend="tensorflow")
    agree(src, x, gates(x, w, u, b), "out.onnx")
    assert legacy([str(src), str(tmp_path / "new.h5")]) == 0
    assert "layer (Keras 3 has another hard_sigmoid)" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- Keras 1


def test_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    src = old.write(tmp_path / "old.h5", Network().layers(), whole=False)
    assert optimize.main([str(src), str(tmp_path / "out.onnx")]) == 1
    assert "holds weights alone" in capsys.readouterr().err
    pool = {"pool_size": [2, 2], "strides": [2, 2], "padding": "same", "data_format": FIRST}
    layers = one("MaxPooling2D", pool, (3, 8, 8), {})
    src = old.write(tmp_path / "old.h5", layers)
    assert optimize.main(["-q", str(src), str(tmp_path / "out.onnx")]) == 0
    assert "layer (Theano put the padding 'same' elsewhere)" in capsys.readouterr().err


def test_a_layer_that_keras_3_has_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = random(36, 27, 4)
    config = {"filters": 4, "kernel_size": [3, 3], "data_format": FIRST}
    src = old.write(tmp_path / "old.h5", one("LocallyConnected2D", config, (3, 8, 8), {"kernel": kernel}))
    assert optimize.main([str(src), str(tmp_path / "out.onnx")]) == 1
    assert "LocallyConnected2D 'layer': Keras 3 has no such layer" in capsys.readouterr().err
