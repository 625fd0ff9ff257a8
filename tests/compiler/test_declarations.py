"""What a model states of its values may be wrong, or missing: their ranks follow from what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnx_nhwc
from onnx_nhwc.passes.errors import ConversionError
from onnx_nhwc.passes.plausible import SourceWarning
from tests.networks.test_odd_files import DIRECTIONS, agreed, model, random_feeds
from tests.support.running import converted, transposes

CONV = "y = Conv<pads=[1,1,1,1]>(b, w)"
RANKS = {
    "contrib": ("a = com.microsoft.QuickGelu(x)  b = com.microsoft.Gelu(a)", CONV),
    "contrib with a constant": ("b = com.microsoft.BiasGelu(x, k)", CONV),
    "contrib, batch normalisation": (
        "b = com.microsoft.QuickGelu(x)",
        "y = BatchNormalization(b, s, s, s, v)",
    ),
    "an If of two ranks": (
        """b = If(c) < then_branch = t () => (p) { p = Identity(x) },
                     else_branch = e () => (q) { q = ReduceSum<keepdims=0>(x, one) } >""",
        CONV,
    ),
    "an If, then a Relu and a Pad": (
        """a = If(c) < then_branch = t () => (p) { p = Identity(x) },
                     else_branch = e () => (q) { q = ReduceSum<keepdims=0>(x, one) } >
           r = Relu(a)  b = Pad<mode="reflect">(r, pads)""",
        CONV,
    ),
    "an If, then an Unsqueeze and a pool": (
        """a = If(c) < then_branch = t () => (p) { p = Squeeze(x, zero) },
                     else_branch = e () => (q) { q = Identity(x) } >
           b = Unsqueeze(a, zero)""",
        "y = MaxPool<kernel_shape=[2,2]>(b)",
    ),
}


@pytest.mark.parametrize("options", DIRECTIONS, ids=lambda o: "-".join(o.values()))
@pytest.mark.parametrize("kind", RANKS)
def test_a_rank_is_found(kind: str, options: dict[str, str]) -> None:
    before, after = RANKS[kind]
    text = f"g (float[1,3,8,10] x, bool c) => (y) {{ {before}  {after} }}"
    proto = model(text, w=(4, 3, 3, 3), k=(10,), s=(3,), v=(3,))
    for name, values in (("one", [1]), ("zero", [0]), ("pads", [0, 0, 1, 1, 0, 0, 1, 1])):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), name))
    for tensor in proto.graph.initializer:
        if tensor.name == "v":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([1, 2, 3], np.float32), "v"))
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    agreed(proto, {**random_feeds(proto), "c": np.array(True)}, **options)


def test_an_input_gets_its_rank_from_the_kernel() -> None:
    proto = model(
        "g (float[1,3,8,10] x) => (float[1,4,6,8] y) { a = Relu(x)  y = Conv(a, w) }", w=(4, 3, 3, 3)
    )
    fed = random_feeds(proto)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert not transposes(agreed(proto, fed))


def test_a_remedy_is_named_only_where_it_helps() -> None:
    proto = model("g (float[1,3,8,10] x) => (float y) { y = GlobalAveragePool(x) }")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ConversionError, match="--shape x="):
        converted(proto)
    text = "g (float[1,3,8,10] x) => (float y) { a = com.nobody.Thing(x)  y = GlobalAveragePool(a) }"
    unknown = model(text)
    unknown.opset_import.append(onnx.helper.make_opsetid("com.nobody", 1))
    unknown.graph.output[0].type.tensor_type.ClearField("shape")
    _, summary = converted(unknown)
    assert [barrier.reason for barrier in summary.barriers if "rank" in barrier.reason]


def test_an_output_of_unknown_rank_is_left_as_it_is(tmp_path: Path) -> None:
    text = """g (float[1,3,8,10] x, bool c) => (y) { a = Conv(x, w)
        y = If(c) < then_branch = t () => (p) { p = Identity(a) },
                    else_branch = e () => (q) { q = Flatten(a) } > }"""
    proto = model(text, w=(4, 3, 3, 3))
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(proto, tmp_path / "source.onnx")
    report = onnx_nhwc.convert_file(tmp_path / "source.onnx", tmp_path / "result.onnx")
    assert report.verification is not None
    assert report.verification.ok
    for c in (True, False):
        agreed(proto, {**random_feeds(proto), "c": np.array(c)})


WRONG: dict[str, Any] = {
    "a scalar": [],
    "another rank": [1, 4],
    "another size": [1, 4, 9, 11],
    "ones": [1, 1, 1, 1],
}


@pytest.mark.parametrize("options", DIRECTIONS, ids=lambda o: "-".join(o.values()))
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("place", ["output", "value"])
def test_a_wrong_shape_is_put_right(kind: str, place: str, options: dict[str, str]) -> None:
    text = """g (float[1,3,h,v] x) => (float[1,4,h,v] y, float[1,t] f)
        { a = Conv<pads=[1,1,1,1]>(x, w)  y = Sigmoid(a)  f = Flatten(a) }"""
    proto = model(text, w=(4, 3, 3, 3))
    wrong = onnx.helper.make_tensor_value_info("y" if place == "output" else "a", 1, WRONG[kind])
    if place == "output":
        proto.graph.output[0].CopyFrom(wrong)
    else:
        proto.graph.value_info.append(wrong)
    with pytest.warns(SourceWarning, match=f"'{wrong.name}' is declared as .*, but is \\(1, 4, h, v\\)"):
        result = agreed(proto, random_feeds(proto, h=5, v=6), **options)
    assert len(result.graph.output[0].type.tensor_type.shape.dim) == 4


def test_what_is_right_is_not_warned_of_and_names_are_kept() -> None:
    text = """g (float[n,3,h,v] x) => (float[n,4,h_out,v_out] y)
        { a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w)  y = Sigmoid(a) }"""
    proto = model(text, w=(4, 3, 3, 3))
    agreed(proto, random_feeds(proto, n=2, h=5, v=6))


def test_a_size_that_a_resize_changes_is_not_the_inputs() -> None:
    proto = model(
        """g (float[1,3,8,10] x) => (float[1,6,16,10] y) {
        a = Resize<mode="nearest">(x, , scales)  y = Conv<pads=[1,1,1,1]>(a, w) }""",
        w=(6, 6, 3, 3),
    )
    scales = onnx.numpy_helper.from_array(np.array([1, 2, 2, 1], np.float32), "scales")
    proto.graph.initializer.append(scales)
    onnx.checker.check_model(agreed(proto, random_feeds(proto), dialect="standard"), full_check=True)
