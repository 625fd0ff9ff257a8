"""Files that state things in odd ways: nodes in any order, names twice, sizes below 0, inputs as outputs.

Each converts in both directions and dialects, and computes what onnxruntime makes of the file as it is, with
its optimisations off and at its defaults.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnx_nhwc.passes.errors import ConversionError, FileError
from tests.support.running import (
    Feeds,
    Session,
    converted,
    differences,
    layouts,
    stored,
    transposes,
)

DIRECTIONS = (
    {"to": "channels-last", "dialect": "functions"},
    {"to": "channels-last", "dialect": "standard"},
    {"to": "channels-last", "io": "keep"},
    {"to": "channels-first"},
)


def model(text: str, opset: int = 17, ir_version: int = 8, **weights: tuple[int, ...]) -> onnx.ModelProto:
    """A model from text, with random weights of these shapes."""
    header = f'<ir_version: {ir_version}, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    proto: onnx.ModelProto = parser.parse_model(f"{header} {text}")
    rng = np.random.default_rng(3)
    for name, shape in weights.items():
        array = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


def random_feeds(proto: onnx.ModelProto, **sizes: int) -> dict[str, np.ndarray[Any, Any]]:
    """Noise for every input; ``sizes`` gives the symbolic ones, those without a name are 2."""
    rng = np.random.default_rng(5)
    fed = {}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        shape = [
            sizes[dim.dim_param] if dim.dim_param else dim.dim_value if dim.dim_value > 0 else 2
            for dim in kind.shape.dim
        ]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        fed[value.name] = rng.standard_normal(shape).astype(dtype)
    return fed


def agreed(proto: onnx.ModelProto, feeds: Feeds, **options: Any) -> onnx.ModelProto:
    """The converted model, which computes the same, however onnxruntime optimises it."""
    result, _ = converted(proto, **options)
    names = [value.name for value in proto.graph.output]
    assert [value.name for value in result.graph.output] == names
    perms = layouts(result)
    for optimized in (False, True):
        expected = Session(proto, optimized).run(feeds)
        actual = Session(result, optimized).run(stored(feeds, perms))
        assert not differences(names, expected, actual, perms)
    return result


@pytest.mark.parametrize("options", DIRECTIONS, ids=lambda o: "-".join(o.values()))
class TestOrder:
    """Nodes come in any order."""

    def test_in_the_graph(self, options: dict[str, str]) -> None:
        text = """g (float[1,3,8,10] x) => (float[1,4,2,3] y)
            { y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)  a = Conv(x, w)  r = Relu(a) }"""
        proto = model(text, w=(4, 3, 3, 3))
        proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 3
        proto.graph.output[0].type.tensor_type.shape.dim[3].dim_value = 4
        agreed(proto, random_feeds(proto), **options)

    def test_what_a_branch_captures_is_defined_after_it(self, options: dict[str, str]) -> None:
        text = """g (float[1,3,8,10] x, bool c) => (float[1,4,6,8] y) {
            y = If(c) <
              then_branch = t () => (float[1,4,6,8] p) { q = Neg(a)  p = Conv(q, w) },
              else_branch = e () => (float[1,4,6,8] r) { r = Conv(x, w) }>
            a = Abs(x) }"""
        proto = model(text, w=(4, 3, 3, 3))
        for taken in (True, False):
            agreed(proto, {**random_feeds(proto), "c": np.array(taken)}, **options)

    def test_in_the_body_of_a_loop(self, options: dict[str, str]) -> None:
        text = """g (float[1,3,8,10] x) => (float[1,3,8,10] y) {
            y = Loop(n, keep, x) <
              body = b (int64 i, bool go, float[1,3,8,10] s) => (bool on, float[1,3,8,10] t)
                { on = Identity(go)  c = Conv<pads=[1,1,1,1]>(s, w)  t = Add(c, twice) }>
            n = Constant<value = int64 {3}>()  keep = Constant<value = bool {1}>()
            twice = Mul(x, two)  two = Constant<value = float {2}>() }"""
        proto = model(text, w=(3, 3, 3, 3))
        result = agreed(proto, random_feeds(proto), **options)
        body = proto.graph.node[0].attribute[0].g.node  # onnxruntime wants the nodes of bodies in order
        conv, add = body.pop(), body.pop()
        body.extend([conv, add])
        assert converted(proto, **options)[0] == result

    def test_a_circle_is_refused(self, options: dict[str, str]) -> None:
        proto = model("g (float[1,3,8,10] x) => (float[1,3,8,10] y) { y = Add(x, z)  z = Relu(y) }")
        with pytest.raises(ConversionError, match="circle"):
            converted(proto, **options)


@pytest.mark.parametrize("options", DIRECTIONS, ids=lambda o: "-".join(o.values()))
class TestNames:
    """Names that stand for one thing in two places, or for two things."""

    def test_equal_constants_of_one_name(self, options: dict[str, str]) -> None:
        text = """g (float[1,3,8,10] x) => (float[1,4,6,8] y) {
            a = Conv(x, w)  k = Constant<value_float=2.0>()  b = Mul(a, k)
            k2 = Constant<value_float=2.0>()  y = Add(b, k) }"""
        proto = model(text, w=(4, 3, 3, 3))
        proto.graph.node[3].output[0] = "k"
        proto.graph.initializer.append(proto.graph.initializer[0])
        agreed(proto, random_feeds(proto), **options)
        proto.graph.node[3].attribute[0].f = 3.0
        with pytest.raises(FileError, match="'k'"):
            converted(proto, **options)

    def test_an_output_listed_twice(self, options: dict[str, str]) -> None:
        text = """g (float[1,3,8,10] x) => (float[1,4,6,8] y, float[1,4,6,8] z, float[1,4,6,8] y)
            { y = Conv(x, w)  z = Relu(y) }"""
        agreed(proto := model(text, w=(4, 3, 3, 3)), random_feeds(proto), **options)

    def test_outputs_that_are_an_input_and_a_constant(self, options: dict[str, str]) -> None:
        text = """g (float[1,3,8,10] x) => (float[1,4,6,8] y, float[1,3,8,10] x, float[4,3,3,3] w)
            { y = Conv(x, w) }"""
        agreed(proto := model(text, w=(4, 3, 3, 3)), random_feeds(proto), **options)

    def test_a_model_without_nodes(self, options: dict[str, str]) -> None:
        proto = model("g (float[1,3,8,10] x) => (float[1,3,8,10] x) {}")
        agreed(proto, random_feeds(proto), **options)


def test_a_size_below_zero_is_an_unknown_one() -> None:
    text = """g (float[b,3,8,10] x) => (float[b,80,4] y) {
        a = Conv<pads=[1,1,1,1]>(x, w)  s = Shape(a)  n = Slice(s, zero, one)
        to = Concat<axis=0>(n, rest)  r = Reshape(a, to)  y = Transpose<perm=[0,2,1]>(r)
        zero = Constant<value = int64[1] {0}>()  one = Constant<value = int64[1] {1}>()
        rest = Constant<value = int64[2] {4, 80}>() }"""
    proto = model(text, w=(4, 3, 3, 3))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    assert not transposes(agreed(proto, random_feeds(proto)))
    shaped = agreed(proto, random_feeds(proto), shapes={"x": (2, 3, 8, 10)})
    assert shaped.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


SLICED = "s = Slice(a, i, i, i)  i = Constant<value = int64[1] {1}>()"
NO_ELEMENTS = {
    "constant": ("(float[1,4,6,8] y)", "y = Concat<axis=1>(a, e)", (1, 0, 6, 8)),
    "constant, negative axis": ("(float[1,4,6,8] y)", "y = Concat<axis=-1>(e, a)", (1, 4, 6, 0)),
    "computed": ("(float[1,4,6,8] y)", f"{SLICED}  y = Concat<axis=1>(a, s)", None),
    "nothing but such": ("(float[1,0,6,8] y)", f"{SLICED}  y = Concat<axis=1>(s, s)", None),
    "of a Split": ("(float[1,4,6,8] y, float[1,0,6,8] z)", "y, z = Split<axis=1>(a, p)", None),
    "added": ("(float[1,4,6,8] a, float[1,0,6,8] y)", f"{SLICED}  y = Add(s, e)", (1, 0, 6, 8)),
    "an output": ("(float[1,4,6,8] a, float[1,0,6,8] y)", f"{SLICED}  y = Relu(s)", None),
    "flattened": ("(float[1,192] f, float[1,0] y)", f"{SLICED}  f = Flatten(a)  y = Flatten(s)", None),
    "transposed": ("(float[1,6,8,0] y)", f"{SLICED}  y = Transpose<perm=[0,2,3,1]>(s)", None),
}


@pytest.mark.parametrize("options", DIRECTIONS, ids=lambda o: "-".join(o.values()))
class TestNoElements:
    """Tensors without elements stay such, or disappear."""

    @pytest.mark.parametrize("kind", NO_ELEMENTS)
    def test_values(self, kind: str, options: dict[str, str]) -> None:
        outputs, nodes, constant = NO_ELEMENTS[kind]
        proto = model(
            f"g (float[1,3,8,10] x) => {outputs} {{ a = Conv(x, w)  {nodes} }}",
            w=(4, 3, 3, 3),
            **({} if constant is None else {"e": constant}),
        )
        if "Split" in nodes:
            proto.graph.initializer.append(numpy_helper.from_array(np.array([4, 0]), "p"))
        agreed(proto, random_feeds(proto), **options)

    def test_inputs(self, options: dict[str, str]) -> None:
        text = """g (float[1,3,8,10] x, float[1,0,6,8] e) => (float[1,4,6,8] y)
            { a = Conv(x, w)  r = Relu(e)  y = Concat<axis=1>(e, a, r) }"""
        proto = model(text, w=(4, 3, 3, 3))
        fed = {**random_feeds(proto), "e": np.zeros((1, 0, 6, 8), np.float32)}
        perm = layouts(agreed(proto, fed, **options))["inputs"]["e"]
        assert sorted(perm) == [0, 1, 2, 3]

    def test_a_batch(self, options: dict[str, str]) -> None:
        proto = model(
            "g (float[0,3,8,10] x) => (float[0,4,6,8] y) { a = Conv(x, w)  y = Relu(a) }", w=(4, 3, 3, 3)
        )
        agreed(proto, {"x": np.zeros((0, 3, 8, 10), np.float32)}, **options)

    @pytest.mark.parametrize("opset", [11, 13])
    @pytest.mark.parametrize("length", ["0", "k"])
    def test_a_roi_that_nobody_reads(self, options: dict[str, str], opset: int, length: str) -> None:
        text = f"""g (float[1,3,8,10] x, float[{length}] roi, float[4] s) => (float[1,3,h,v] y)
            {{ a = Conv<pads=[1,1,1,1]>(x, w)  y = Resize<mode="linear">(a, roi, s) }}"""
        proto = model(text, opset=opset, w=(3, 3, 3, 3))
        fed = {"x": random_feeds(proto, k=8)["x"], "s": np.array([1, 1, 2, 1.5], np.float32)}
        agreed(proto, {**fed, "roi": np.zeros(0, np.float32)}, **options)

    @pytest.mark.parametrize("length", ["0", "k"])
    @pytest.mark.parametrize("mode", ["asymmetric", "tf_crop_and_resize"])
    def test_scales_where_sizes_are_given(self, options: dict[str, str], length: str, mode: str) -> None:
        text = f"""g (float[1,3,8,10] x, float[8] roi, float[{length}] s, int64[4] z) => (float[1,3,h,v] y)
            {{ a = Conv<pads=[1,1,1,1]>(x, w)
              y = Resize<mode="linear", coordinate_transformation_mode="{mode}">(a, roi, s, z) }}"""
        proto = model(text, opset=11, w=(3, 3, 3, 3))
        roi = np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.6], np.float32)
        fed = {"roi": roi, "s": np.zeros(0, np.float32), "z": np.array([1, 3, 5, 12])}
        agreed(proto, {"x": random_feeds(proto, k=0)["x"], **fed}, **options)
