"""Operators of onnxruntime's own run in the layout of what surrounds them, and compute the same."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from onnx_nhwc.passes.forms.contributed import FORMS
from onnx_nhwc.passes.rules import CONTRIB, RULES
from onnx_nhwc.passes.rules.contrib import UNLISTED, FixedRule
from tests.support.running import Session, census, converted, differences, layouts, stored, transposes

RNG = np.random.default_rng(6)
X = RNG.standard_normal((2, 3, 6, 5)).astype(np.float32)
C = "com.microsoft"
Q = "q = QuantizeLinear(p, s, z)"
LAST = f"{Q}  h = Transpose<perm = [0, 2, 3, 1]>(q)"
END = "y = DequantizeLinear(r, s, z)"
BACK = f"r = Transpose<perm = [0, 3, 1, 2]>(o)  {END}"
TOKENS = "h = Reshape(p, tokens)  m = Sigmoid(h)"
IMAGE = "l = Add(k, total)  y = Reshape(l, image)"
WINDOW = "kernel_shape = [2, 3], strides = [2, 1], pads = [1, 0, 0, 1]"
BODIES = {
    "QLinearAdd": f"{Q}  r = {C}.QLinearAdd(q, s, z, q, t, z, t, z)  {END}",
    "QLinearAdd of a column": f"{Q}  r = {C}.QLinearAdd(q, s, z, column, t, z, t, z)  {END}",
    "QLinearMul": f"{Q}  r = {C}.QLinearMul(q, s, z, column, t, z, t, z)  {END}",
    "QLinearSigmoid": f"{Q}  r = {C}.QLinearSigmoid(q, s, z, t, z)  {END}",
    "QLinearLeakyRelu": f"{Q}  r = {C}.QLinearLeakyRelu<alpha = 0.2>(q, s, z, t, z)  {END}",
    "QLinearConcat": f"{Q}  r = {C}.QLinearConcat<axis = 1>(t, z, q, s, z, q, t, z)  {END}",
    "QLinearConcat behind": f"{Q}  r = {C}.QLinearConcat<axis = -1>(t, z, q, s, z, q, t, z)  {END}",
    "QLinearGlobalAveragePool": f"{Q}  r = {C}.QLinearGlobalAveragePool(q, s, z, t, z)  {END}",
    "QLinearAveragePool": f"{Q}  r = {C}.QLinearAveragePool<{WINDOW}>(q, s, z, t, z)  {END}",
    "QLinearAveragePool last": f"{LAST}  o = {C}.QLinearAveragePool<{WINDOW}, channels_last = 1>"
    f"(h, s, z, t, z)  {BACK}",
    "QLinearSoftmax": f"{Q}  r = {C}.QLinearSoftmax<axis = 1, opset = 13>(q, s, z, t, z)  {END}",
    "QLinearSoftmax old": f"{Q}  r = {C}.QLinearSoftmax<axis = 2, opset = 11>(q, s, z, t, z)  {END}",
    "QLinearWhere": f"{Q}  c = Greater(p, zero)  r = {C}.QLinearWhere(c, q, s, z, column, t, z, t, z)  {END}",
    "QLinearConv": f"{Q}  r = {C}.QLinearConv(q, s, z, bytes, s, z, t, z)  {END}",
    "QLinearConv last": f"{LAST}  o = {C}.QLinearConv<channels_last = 1, pads = [1, 1, 0, 0]>"
    f"(h, s, z, bytes, s, z, t, z)  {BACK}",
    "NhwcMaxPool": f"{LAST}  o = {C}.NhwcMaxPool<{WINDOW}>(h)  {BACK}",
    "QuantizeLinear": f"q = {C}.QuantizeLinear<axis = 1>(p, scales, points)"
    f"  y = {C}.DequantizeLinear<axis = 1>(q, scales, points)",
    "DequantizeLinear of 16 bits": f"q = {C}.QuantizeLinear<axis = 1>(p, scales, wide)"
    f"  y = {C}.DequantizeLinear<axis = 1>(q, scales, wide)",
    "QGemm": f"{Q}  f = Flatten(q)  r = {C}.QGemm<transB = 1>(f, s, z, rows, s, z, , t, z)  {END}",
    "QGemm of a mean": f"{Q}  a = {C}.QLinearGlobalAveragePool(q, s, z, t, z)  f = Flatten(a)"
    f"  y = {C}.QGemm(f, t, z, three, s, z)",
    "QGemm of means": f"{Q}  a = {C}.QLinearAveragePool"
    "<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>"
    f"(q, s, z, t, z)  f = Flatten(a)  y = {C}.QGemm(f, t, z, eighteen, s, z)",
    "QLinearConcat shuffled": f"{Q}  j = {C}.QLinearConcat<axis = 1>(t, z, q, s, z, q, t, z)"
    f"  j5 = Reshape(j, groups)  k5 = Transpose<perm = [0, 2, 1, 3, 4]>(j5)  r = Reshape(k5, joined)  {END}",
    "QGemm by columns": f"{Q}  f = Flatten(q)  y = {C}.QGemm<transB = 1>(f, s, z, rows, four, fours)",
    "MatMulInteger16": f"a = Cast<to = 5>(p)  r = {C}.MatMulInteger16(a, shorts)  y = Cast<to = 1>(r)",
    "MatMulIntegerToFloat": f"{Q}  y = {C}.MatMulIntegerToFloat(q, square, s, four, z, fours, bias)",
    "DynamicQuantizeMatMul": f"y = {C}.DynamicQuantizeMatMul(p, square, four, fours, bias)",
    "MatMulNBits": f"h = Concat<axis = -1>(p, p, p, one)"
    f"  y = {C}.MatMulNBits<K = 16, N = 4, bits = 4, block_size = 16>(h, packed, blocks)",
    "MatMulBnb4": "h = Concat<axis = -1>(p, p, p, one)"
    f"  y = {C}.MatMulBnb4<K = 16, N = 4, block_size = 16, quant_type = 1>(h, codes, four)",
    "Gelu": f"y = {C}.Gelu(p)",
    "QuickGelu": f"y = {C}.QuickGelu<alpha = 1.7>(p)",
    "FastGelu": f"y = {C}.FastGelu(p)",
    "BiasGelu": f"m = Relu(p)  y = {C}.BiasGelu(m, five)",
    "FusedConv": f'y = {C}.FusedConv<activation = "Relu">(p, w, bias)',
    "FusedConv and more": f'a = Conv(p, w)  y = {C}.FusedConv<activation = "Tanh">(p, w, bias, a)',
    "FusedConv without": f"a = Conv(p, w)  y = {C}.FusedConv(p, w, bias, a)",
    "FusedConv leaky": f'y = {C}.FusedConv<activation = "LeakyRelu", activation_params = [0.3]>(p, w)',
    "FusedConv hard": f'y = {C}.FusedConv<activation = "HardSigmoid", activation_params = [0.3, 0.4]>(p, w)',
    "FusedConv clip": f'y = {C}.FusedConv<activation = "Clip", activation_params = [0.1, 0.5]>(p, w)',
    "FusedConv swish": f'y = {C}.FusedConv<activation = "HardSwish">(p, w)',
    "FusedGemm": f'f = Flatten(p)  y = {C}.FusedGemm<activation = "LeakyRelu", activation_alpha = 0.3,'
    " alpha = 0.5, beta = 2.0, transB = 1>(f, dense, bias)",
    "FusedMatMul": f"y = {C}.FusedMatMul<transA = 1, alpha = 0.5>(p, p)",
    "FusedMatMul constant": f"y = {C}.FusedMatMul<transB = 1>(p, right)",
    "FusedMatMul batch": f"y = {C}.FusedMatMul<transB = 1, transBatchA = 1, transBatchB = 1>(p, p)",
    "TransposeMatMul": f"y = {C}.TransposeMatMul<transB = 1>(p, p)",
    "SkipLayerNormalization": f"{TOKENS}  k, , , total = {C}.SkipLayerNormalization<epsilon = 0.01>"
    f"(h, m, five, five, fifth)  {IMAGE}",
    "SkipSimplifiedLayerNormalization": f"{TOKENS}  k, , , total = {C}.SkipSimplifiedLayerNormalization"
    f"<epsilon = 0.01>(h, m, five, fifth)  {IMAGE}",
    "SimplifiedLayerNormalization": "y = SimplifiedLayerNormalization<axis = 2, epsilon = 0.01>(p, last_two)",
    "Inverse": f"m = MatMul(turned, p)  y = {C}.Inverse(m)",
    "Trilu": f"y = {C}.Trilu(p)",
    "Pad": f"y = {C}.Pad(p, pads, zero)",
    "Pad computed": f"twice = Mul(pads, two)  y = {C}.Pad(p, twice, zero)",
    "GatherND": f"y = {C}.GatherND(p, places)",
    "GridSample": f'y = {C}.GridSample<mode = "bicubic">(p, grid)',
    "ExpandDims": f"e = {C}.ExpandDims(p, minus)  y = Relu(e)",
    "ConvTransposeWithDynamicPads": f"y = {C}.ConvTransposeWithDynamicPads<strides = [2, 2]>"
    "(p, v, margins, bias)",
    "Range": f"n = {C}.Range(zero, five_numbers, unit)  y = Add(p, n)",
    "ScaledSiLU": f"y = {C}.ScaledSiLU<alpha = 1.5>(p)",
    "MurmurHash3": f"i = Cast<to = 6>(p)  h = {C}.MurmurHash3<positive = 0>(i)  y = Cast<to = 1>(h)",
}
FORCED = {
    *("BiasGelu", "QLinearSoftmax old", "MatMulInteger16", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    *(
        "MatMulBnb4",
        "MatMulNBits",
        "FusedMatMul",
        "FusedMatMul constant",
        "FusedMatMul batch",
        "TransposeMatMul",
    ),
    *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization"),
    *("Inverse", "Trilu", "GatherND", "ExpandDims", "QGemm of means"),
}
"""Those that speak of their last axes, or whose sizes are not told: the order is forced upon them."""

OWN = {"QLinearConcat shuffled": 1}
"""Transposes that are the model's own work."""


def _floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _bytes(low: int, high: int, *shape: int) -> np.ndarray:
    return RNG.integers(low, high, shape).astype(np.uint8)


CONSTANTS: dict[str, np.ndarray] = {
    "s": np.float32(0.05),
    "t": np.float32(0.07),
    "z": np.uint8(120),
    "zero": np.float32(0),
    "unit": np.float32(1),
    "five_numbers": np.float32(5),
    "two": np.int64(2),
    "minus": np.int32(-1),
    "w": _floats(4, 3, 2, 2),
    "v": _floats(3, 4, 3, 3),
    "bias": _floats(4),
    "dense": _floats(4, 90),
    "five": _floats(5),
    "fifth": _floats(5),
    "last_two": _floats(6, 5),
    "turned": _floats(5, 6),
    "right": _floats(4, 5),
    "one": np.ones((2, 3, 6, 1), np.float32),
    "grid": RNG.uniform(-1, 1, (2, 4, 4, 2)).astype(np.float32),
    "scales": np.array([0.01, 0.02, 0.03], np.float32),
    "four": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
    "blocks": np.array([[0.1], [0.2], [0.3], [0.4]], np.float32),
    "column": np.array([9, 140, 250], np.uint8).reshape(3, 1, 1),
    "points": np.array([120, 100, 140], np.uint8),
    "fours": np.array([120, 121, 119, 118], np.uint8),
    "wide": np.array([30000, 31000, 32000], np.uint16),
    "bytes": _bytes(0, 255, 4, 3, 2, 2),
    "three": _bytes(100, 140, 3, 4),
    "eighteen": _bytes(100, 140, 18, 4),
    "rows": _bytes(100, 140, 4, 90),
    "square": _bytes(0, 255, 5, 4),
    "packed": _bytes(0, 255, 4, 1, 8),
    "codes": _bytes(0, 255, 32),
    "shorts": RNG.integers(-9, 9, (5, 4)).astype(np.int16),
    "pads": np.array([[0, 0, 1, 0, 0, 1, 0, 2]]),
    "places": np.array([[[0, 1]], [[1, 2]]]),
    "margins": np.array([1, 0, 1, 1]),
    "tokens": np.array([6, 6, 5]),
    "groups": np.array([2, 2, 3, 6, 5]),
    "joined": np.array([2, 6, 6, 5]),
    "image": np.array([2, 3, 6, 5]),
}


def model(body: str, opset: int = 17) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1]>
        g (float[2,3,6,5] x) => (float[N,C,H,W] y) {{ p = MaxPool<kernel_shape = [1, 1]>(x)  {body} }}"""
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in CONSTANTS.items() if name in read
    )
    return proto


def agrees(source: onnx.ModelProto, result: onnx.ModelProto) -> None:
    perms: Any = layouts(result)
    for optimized in (False, True):
        expected = Session(source, optimized).run({"x": X})
        actual = Session(result, optimized).run(stored({"x": X}, perms))
        assert not differences(["y"], expected, actual, perms)


SINCE = {"ScaledSiLU": (1, 31), "FusedConv swish": (1, 30)}
"""Releases of onnxruntime that are the first to have it; older ones end on such a model."""
RELEASE = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
RUN = [name for name in BODIES if SINCE.get(name, (0, 0)) <= RELEASE]


@pytest.mark.parametrize("name", RUN)
def test_a_contributed_operator_follows_the_layout(name: str) -> None:
    source = model(BODIES[name])
    for to in ("channels-last", "channels-first"):
        for dialect in ("functions", "standard"):
            result, summary = converted(source, to=to, dialect=dialect)
            assert not summary.barriers
            if dialect == "functions" and name not in FORCED:
                assert len(transposes(result)) == OWN.get(name, 0)
            agrees(source, result)


@pytest.mark.parametrize("opset", [12, 21])
@pytest.mark.parametrize("name", RUN)
def test_a_contributed_operator_in_other_opsets(name: str, opset: int) -> None:
    source = model(BODIES[name], opset)
    result, _ = converted(source)
    agrees(source, result)


def test_every_row_has_a_case() -> None:
    tested = {op for body in BODIES.values() for op in re.findall(r"com\.microsoft\.(\w+)", body)}
    assert FORMS.keys() <= tested
    assert {name for name, rule in CONTRIB.items() if not isinstance(rule, FixedRule)} <= tested
    assert not RULES.keys() & UNLISTED.keys()


def test_fusions_are_written_out() -> None:
    """What onnxruntime fused it fuses again; other runtimes, and exporters, see what they know."""
    source = model(BODIES["FusedConv and more"])
    result, _ = converted(source)
    assert census(result) == {
        ("onnx_nhwc", "MaxPool2D"): 1,
        ("onnx_nhwc", "Conv2D"): 2,
        ("", "Add"): 1,
        ("", "Tanh"): 1,
    }


def test_a_slice_by_inputs_follows_the_layout() -> None:
    """DynamicSlice, an experiment of the standard's domain, by bounds that are computed."""
    source = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 9]>
        g (float[2,3,6,5] x) => (float[N,C,H,W] y) <int64[2] ends = {4, 2}, int64[2] axes = {2, 1}> {
            p = MaxPool<kernel_shape = [1, 1]>(x)
            shape = Shape(x)
            starts = Slice<axes = [0], starts = [0], ends = [2]>(shape)
            less = Sub(starts, ends)
            y = DynamicSlice(p, less, ends, axes)
        }"""
    )
    result, summary = converted(source)
    assert not summary.barriers
    assert not transposes(result)
    agrees(source, result)


def test_blocks_of_channels_say_what_to_do() -> None:
    """What onnxruntime saves at its highest level is for one CPU."""
    source = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft.nchwc": 1]>
        g (float[2,16,6,5] x) => (float[2,16,6,5] y) {
            a = com.microsoft.nchwc.ReorderInput(x)
            b = com.microsoft.nchwc.MaxPool<kernel_shape = [1, 1]>(a)
            y = com.microsoft.nchwc.ReorderOutput<channels = 16>(b)
        }"""
    )
    _, summary = converted(source)
    assert any("ORT_ENABLE_EXTENDED" in barrier.reason for barrier in summary.barriers)
