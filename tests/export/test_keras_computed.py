"""Parameters that are computed, or fed: no layer of Keras has a place for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray

import onnx_nhwc
from tests.support.keras_models import exported, once_saved

pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {1: (11,), 2: (9, 11), 3: (6, 7, 8)}
KERNELS = {1: (3,), 2: (3, 2), 3: (3, 2, 2)}
SETTINGS = {
    "strides": "strides = [{2}], pads = [{1}{0}]",
    "dilations": "dilations = [{2}], pads = [{0}{1}]",
    "both": "strides = [{2}], dilations = [{2}], group = 2",
    "groups": "group = 2, pads = [{1}{1}]",
    "depthwise": "group = 6, pads = [{1}{0}]",
    "same": 'auto_pad = "SAME_UPPER", strides = [{2}]',
}


def floats(*shape: int, seed: int = 7) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> NDArray[Any]:
    return np.abs(floats(*shape)) + np.float32(0.1)


def model(graph: str, opset: int = 21, **constants: NDArray[Any]) -> onnx.ModelProto:
    """A model of which some inputs are initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> agraph {graph}')
    kept = [value for value in proto.graph.input if value.name not in constants]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in constants.items())
    return proto


def listed(*sizes: object) -> str:
    return ",".join(map(str, sizes))


def convolution(spatial: int, setting: str, batch: str) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """A convolution by a kernel that is fed, and one by a kernel and a bias that are computed."""
    group = {"both": 2, "groups": 2, "depthwise": 6}.get(setting, 1)
    size, kernel = SIZES[spatial], KERNELS[spatial]
    lists = {"{0}": "0,", "{1}": "1,", "{2}": "2,"}
    attributes = SETTINGS[setting]
    for key, number in lists.items():
        attributes = attributes.replace(key, number * spatial)
    attributes = attributes.replace(",]", "]")
    free = listed(*(f"s{i}" for i in range(spatial)))
    text = f"""(float[{batch},6,{listed(*size)}] x, float[6,{6 // group},{listed(*kernel)}] w,
        float[6,1,{listed(*[1] * spatial)}] g, float[6] b)
        => (float[{batch},6,{free}] y, float[{batch},6,{free}] z) {{
        y = Conv <{attributes}> (x, w)
        turned = Mul(w, g)
        bias = Neg(b)
        z = Conv <{attributes}> (x, turned, bias)
    }}"""
    feeds = {
        "x": floats(1 if batch == "1" else 2, 6, *size),
        "w": floats(6, 6 // group, *kernel),
        "g": floats(6, 1, *[1] * spatial),
        "b": floats(6),
    }
    return model(text), feeds


@pytest.mark.parametrize("spatial", SIZES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_kernel_that_is_fed_or_computed(spatial: int, setting: str, tmp_path: Path) -> None:
    source, feeds = convolution(spatial, setting, "1")
    assert once_saved(source, feeds, tmp_path / "m.keras") == []
    source, feeds = convolution(spatial, setting, "n")
    assert once_saved(source, feeds, tmp_path / "m.keras") == []


def test_the_comparison_feeds_every_sample_the_same_kernel(tmp_path: Path) -> None:
    """The batch is freed, the kernel is no part of it: it is not drawn anew for the second sample."""
    source, _ = convolution(2, "groups", "1")
    onnx.save(source, tmp_path / "m.onnx")
    report = onnx_nhwc.convert_file(tmp_path / "m.onnx", tmp_path / "m.keras")
    assert report.verification is not None
    assert report.verification.ok
    assert "free" in report.batch


def test_a_kernel_computed_from_the_sample_leaves_the_batch_alone(tmp_path: Path) -> None:
    text = """(float[1,4,7,9] x) => (float[1,1,h,w] y) { k = GlobalAveragePool(x)  y = Conv(x, k) }"""
    result = exported(model(text))
    assert not result.batch.inputs
    assert once_saved(model(text), {"x": floats(1, 4, 7, 9)}, tmp_path / "m.keras") == []


CONSTANT_KERNELS = {
    "convolution": """(float[1,4,5,6] x, float[6,4,3,3] w, float[6] b) => (float[1,6,h,v] y) {
        bias = Neg(b)
        y = Conv(x, w, bias)
    }""",
    "transposed": """(float[1,4,5,6] x, float[4,6,3,3] w, float[6] b) => (float[1,6,h,v] y) {
        bias = Neg(b)
        y = ConvTranspose <strides = [2,2]> (x, w, bias)
    }""",
    "separable": """(float[1,4,5,6] x, float[4,1,3,3] d, float[6,4,1,1] w, float[6] b) => (float[1,6,h,v] y) {
        bias = Neg(b)
        a = Conv <group = 4> (x, d)
        y = Conv(a, w, bias)
    }""",
}


@pytest.mark.parametrize("name", CONSTANT_KERNELS)
def test_a_bias_that_is_computed(name: str, tmp_path: Path) -> None:
    kernels = {
        "convolution": {"w": floats(6, 4, 3, 3)},
        "transposed": {"w": floats(4, 6, 3, 3)},
        "separable": {"d": floats(4, 1, 3, 3), "w": floats(6, 4, 1, 1)},
    }
    source = model(CONSTANT_KERNELS[name], **kernels[name])
    assert once_saved(source, {"x": floats(1, 4, 5, 6), "b": floats(6)}, tmp_path / "m.keras") == []
    assert exported(source).model.trainable_weights


OTHERS = """(float[1,4,5,6] x, float[4] s, float[4] b, float[4] m, float[4] v, float[6] r, float[5,4] k,
        float[5] c)
    => (float[1,4,5,6] batch, float[1,4,5,6] instance, float[1,4,5,6] group, float[1,4,5,6] prelu,
        float[1,4,5,6] layer, float[1,5] gemm, float[1,5,5,6] product)
    <int64[3] to = {4,1,1}, int64[2] flat = {1,4}> {
    batch = BatchNormalization(x, s, b, m, v)
    instance = InstanceNormalization(x, s, b)
    group = GroupNormalization <num_groups = 2> (x, s, b)
    slope = Reshape(s, to)
    prelu = PRelu(x, slope)
    layer = LayerNormalization(x, r)
    pooled = GlobalMaxPool(x)
    flattened = Flatten(pooled)
    gemm = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (flattened, k, c)
    turned = Transpose <perm = [0,2,3,1]> (x)
    columns = Transpose <perm = [1,0]> (k)
    multiplied = MatMul(turned, columns)
    product = Transpose <perm = [0,3,1,2]> (multiplied)
}"""


def test_normalisations_and_products_by_what_is_fed(tmp_path: Path) -> None:
    feeds = {"x": floats(1, 4, 5, 6), "s": floats(4), "b": floats(4, seed=1), "m": floats(4, seed=2)}
    feeds |= {"v": positive(4), "r": floats(6), "k": floats(5, 4), "c": floats(5)}
    assert once_saved(model(OTHERS), feeds, tmp_path / "m.keras") == []
    constants = {name: feeds.pop(name) for name in ("s", "m", "k")}  # some are known, some are not
    assert once_saved(model(OTHERS, **constants), feeds, tmp_path / "m.keras") == []


def test_quantised_and_deformable_kernels_that_are_fed(tmp_path: Path) -> None:
    text = """(uint8[n,4,5,6] x, uint8[6,2,3,2] w, uint8 z, float[n,6,9,11] f, float[n,12,4,6] o,
            float[12,3,3,2] k)
        => (int32[n,6,h,v] y, uint8[n,6,h,v] q, float[n,12,4,6] d)
        <float xs = {0.02}, float ws = {0.013}, float ys = {0.07}> {
        y = ConvInteger <group = 2> (x, w, z, z)
        q = QLinearConv <group = 2> (x, xs, z, w, ws, z, ys, z)
        d = DeformConv <group = 2, strides = [2, 2], pads = [0, 1, 0, 1]> (f, k, o)
    }"""
    rng = np.random.default_rng(1)
    feeds = {
        "x": rng.integers(0, 255, (2, 4, 5, 6)).astype(np.uint8),
        "w": rng.integers(0, 255, (6, 2, 3, 2)).astype(np.uint8),
        "z": np.array(120, np.uint8),
        "f": floats(2, 6, 9, 11),
        "o": floats(2, 12, 4, 6),
        "k": floats(12, 3, 3, 2),
    }
    assert once_saved(model(text), feeds, tmp_path / "m.keras") == []
