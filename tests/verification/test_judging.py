"""What counts as a difference: the stated tolerance, or what the source's own result moves by; no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.verification.ancestry import Flow
from onnx_nhwc.verification.judging import Judge
from onnx_nhwc.verification.perturbation import perturbed
from onnx_nhwc.verification.runtime import Session, products_saturate
from onnx_nhwc.verification.verdict import verify

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
PLAIN: dict[str, Any] = {"inputs": {}, "outputs": {}}


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Any],
    outputs: dict[str, int],
    weights: dict[str, Any] | None = None,
    opset: int = 19,
) -> onnx.ModelProto:
    """A model that states that it keeps all layouts; outputs by element type, inputs by shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    model.metadata_props.add(key="onnx_nhwc.layouts", value='{"inputs": {}, "outputs": {}}')
    return model


def judge(model: onnx.ModelProto, x: Any = None, **options: Any) -> tuple[Judge, list[Any]]:
    """A judge of results for ``x``, or normally distributed inputs, and what the source computes."""
    session = Session(model, "source", False)
    rng = np.random.default_rng(0)
    made = {entry.name: rng.standard_normal(entry.shape).astype(np.float32) for entry in session.inputs}
    fed = made if x is None else dict.fromkeys(made, x)
    results = session.run(fed)
    return Judge(model, [fed], [results], session.outputs, **options), results


# ------------------------------------------------------------------------------------ noise


def scores(gain: float) -> onnx.ModelProto:
    """Class scores, equal as its weights are, so large that an ulp decides between classes."""
    weights = {"w": np.full((64, 10), gain, np.float32)}
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"]),
    ]
    return model_of(nodes, {"x": [1, 64]}, {"y": FLOAT}, weights)


def test_what_an_ulp_decides_is_no_difference() -> None:
    """All scores move alike with the inputs: each has to move by itself to show what they are worth."""
    judging, (value,) = judge(scores(1e8))
    other = np.roll(np.float32([[0.9, *[0.1 / 9] * 9]]), 3)
    (found,) = judging.compare([other], {})
    assert found.ok
    assert found.error > 0.5
    assert "ulp" in found.basis
    assert judging.compare([value], {})[0].basis == ""


def test_an_ordinary_network_is_held_to_the_stated_tolerance() -> None:
    judging, (value,) = judge(scores(0.1))
    (found,) = judging.compare([value + np.float32(3e-5)], {})
    assert not found.ok
    assert found.tolerance < 3e-5
    assert judging.compare([value + np.float32(1e-6)], {})[0].ok


def test_noise_is_the_same_each_time() -> None:
    first, second = (judge(scores(1e8))[0].compare([np.zeros((1, 10), np.float32)], {})[0] for _ in range(2))
    assert first == second


def test_an_index_that_an_ulp_decides_may_be_another() -> None:
    weights = {"w": np.full((64, 10), 1.0, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["s"]),
        helper.make_node("ArgMax", ["s"], ["y"], axis=1),
        helper.make_node("ArgMax", ["x"], ["z"], axis=1),
    ]
    model = model_of(nodes, {"x": [1, 64]}, {"y": TensorProto.INT64, "z": TensorProto.INT64}, weights)
    judging, (near, clear) = judge(model)
    agreed, different = judging.compare([near + 1, clear + 1], {})
    assert agreed.ok
    assert not different.ok


def test_a_shape_is_never_noise() -> None:
    judging, (value,) = judge(scores(1e8))
    assert "shape" in judging.compare([value.reshape(10, 1)], {})[0].reason
    assert "type" in judging.compare([value.astype(np.float64)], {})[0].reason


def body(output: str, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    return helper.make_graph(nodes, output, [], [helper.make_tensor_value_info(output, FLOAT, None)])


@pytest.mark.parametrize("opset", [7, 13, 21])
def test_noise_goes_into_bodies_and_functions(opset: int) -> None:
    """It is a factor within an ulp of 1, of all that is computed from the inputs, whatever the opset."""
    branches = {
        "then_branch": body("b", [helper.make_node("Exp", ["x"], ["b"])]),
        "else_branch": body("c", [helper.make_node("Neg", ["x"], ["c"])]),
    }
    nodes = [
        helper.make_node("If", ["yes"], ["i"], **branches),
        helper.make_node("Double", ["i"], ["y"], domain="own"),
    ]
    model = model_of(nodes, {"x": [100]}, {"y": FLOAT}, {"yes": np.bool_(1)}, opset)
    imports = [helper.make_opsetid("", opset)]
    sum_of = [helper.make_node("Sum", ["a", "a"], ["b"])]
    double = helper.make_function("own", "Double", ["a"], ["b"], sum_of, imports)
    model.functions.append(double)
    model.opset_import.append(helper.make_opsetid("own", 1))
    x = np.linspace(-1, 1, 100, dtype=np.float32)
    (moved,) = Session(model, "source", False, lambda m: perturbed(m, 0, roundings=False)).run({"x": x})
    relative = np.abs(moved / (2 * np.exp(x.astype(np.float64))) - 1)
    assert 2**-24 < relative.max() < 8 * 2**-23


def test_inputs_move_where_nothing_else_can() -> None:
    """onnxruntime has no multiplication of opset 6, so that no factor can be put in."""
    weights = {"w": np.tile(np.float32([[1e6], [-1e6]]), (32, 1))}
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 64]}, {"y": FLOAT}, weights, 6
    )
    judging, (value,) = judge(model, x=np.ones((1, 64), np.float32))
    assert value == 0  # where the ulps of the terms are some tenths
    near, far = (judging.compare([value + np.float32(by)], {})[0] for by in (0.05, 20))
    assert near.ok
    assert not far.ok


def test_a_tolerance_that_is_asked_for_is_all_there_is() -> None:
    judging, (value,) = judge(scores(1e8), rtol=0, atol=0.2)
    near, far = (judging.compare([value + np.float32(by)], {})[0] for by in (0.1, 0.3))
    assert near.ok
    assert not far.ok


def test_sizes_do_not_move() -> None:
    """A scale that is computed from a shape stays what it is, though it is a float."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["sizes"], to=FLOAT),
        helper.make_node("Mul", ["sizes", "half"], ["halves"]),
        helper.make_node("Mul", ["x", "half"], ["y"]),
    ]
    flow = Flow(model_of(nodes, {"x": [4]}, {"y": FLOAT}, {"half": np.float32(0.5)}))
    assert flow.live == {"x", "y"}


# ------------------------------------------------------------------------------- quantisers


def quantised(points: int = 256) -> onnx.ModelProto:
    """A quantised product of integers, whose result is requantised."""
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.integers(-90, 90, (16, 8)).astype(np.int8),
        "s": np.float32(0.05),
        "t": np.float32(0.5),
        "z": np.uint8(128),
        "zw": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["v"]),
        helper.make_node("MatMul", ["d", "v"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "t", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "t", "z"], ["e"]),
        helper.make_node("Reshape", ["e", "flat"], ["y"]),
    ]
    outputs = {"y": FLOAT, "r": TensorProto.UINT8}
    return model_of(nodes, {"x": [4, 16]}, outputs, weights | {"flat": np.int64([-1])})


def test_one_step_of_the_last_quantiser_is_no_difference() -> None:
    judging, (value, number) = judge(quantised())
    away = np.where(np.arange(value.size) == 5, np.float32(0.5), 0)
    result, integers = judging.compare([value + away, number + np.uint8(1)], {})
    assert result.ok
    assert integers.ok
    assert result.step == 0.5
    assert integers.step == 1
    result, integers = judging.compare([value + 3 * away, number + np.uint8(3)], {})
    assert not result.ok
    assert not integers.ok


def test_roundings_on_the_way_count_for_another_runtime() -> None:
    """A step of the first quantiser, times a weight, is 90 * 0.05 * 0.05 = 0.225 at most."""
    nodes = [*quantised().graph.node[:4]]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised().graph.initializer}
    model = model_of(nodes, {"x": [4, 16]}, {"m": FLOAT}, weights)
    for roundings in (False, True):
        judging, (value,) = judge(model, roundings=roundings)
        near, far = (judging.compare([value + np.float32(by)], {})[0] for by in (0.1, 1.0))
        assert near.ok == roundings
        assert not far.ok
        assert ("quantisers" in near.basis) == roundings


def test_the_roundings_that_fall_otherwise_are_few_and_one_at_least() -> None:
    shape, weights = [3, 40, 40], {"s": np.float32(0.1), "z": np.int8(0)}
    model = model_of([helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])], {"x": shape},
                     {"y": TensorProto.INT8}, weights)  # fmt: skip
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 100  # saturates
    (exact,) = Session(model, "source", False).run({"x": x})
    session = Session(model, "source", False, lambda m: perturbed(m, 0, roundings=True))
    moved = [session.run({"x": x})[0].astype(int) - exact for _ in range(8)]
    assert all(np.abs(each).max() <= 1 for each in moved)
    assert all(np.count_nonzero(each) < 20 for each in moved)
    assert any(each.any() for each in moved)


def test_products_are_exact_where_they_saturate() -> None:
    """uint8 times int8, added in pairs in 16 bits, is not what another runtime computes."""
    weights = {"w": np.full((8, 2), 127, np.int8)}
    nodes = [helper.make_node("MatMulInteger", ["q", "w"], ["y"])]
    model = model_of(nodes, {}, {"y": TensorProto.INT32}, weights)
    model.graph.input.append(helper.make_tensor_value_info("q", TensorProto.UINT8, [1, 8]))
    fed = {"q": np.full((1, 8), 255, np.uint8)}
    results = Session(model, "source", False).run(fed)
    exact = np.full((1, 2), 8 * 255 * 127, np.int32)
    assert products_saturate() == (results[0] != exact).all()
    judging = Judge(model, [fed], [results], ["y"], roundings=True)
    assert judging.compare([exact], {})[0].ok
    assert not judging.compare([exact - 1000], {})[0].ok


# ------------------------------------------------------------------------------ narrow types


def test_the_narrowest_type_on_the_way_counts() -> None:
    """Of what is computed: a constant that is stored in float16 rounds nothing."""
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=HALF),
        helper.make_node("Exp", ["h"], ["e"]),
        helper.make_node("Cast", ["e"], ["y"], to=FLOAT),
        helper.make_node("Cast", ["k"], ["c"], to=FLOAT),
        helper.make_node("Add", ["x", "c"], ["z"]),
    ]
    model = model_of(nodes, {"x": [20]}, {"y": FLOAT, "z": FLOAT}, {"k": np.float16(1.5)})
    judging, (half, single) = judge(model)
    by = np.float32(2e-3)
    found = judging.compare([half + by, single + by], {})
    assert [each.ok for each in found] == [True, False]
    assert "float16" in found[0].basis
    assert not judging.compare([half + np.float32(0.2), single], {})[0].ok


@pytest.mark.parametrize(("kind", "name"), [(HALF, "float16"), (TensorProto.BFLOAT16, "bfloat16")])
def test_types_within_bodies_and_behind_branches_count(kind: int, name: str) -> None:
    def body(label: str, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
        return helper.make_graph(nodes, label, [], [helper.make_tensor_value_info(label, FLOAT, None)])

    casts = [
        helper.make_node("Cast", ["x"], ["h"], to=kind),
        helper.make_node("Cast", ["h"], ["a"], to=FLOAT),
    ]
    branches = {
        "then_branch": body("a", casts),
        "else_branch": body("b", [helper.make_node("Neg", ["x"], ["b"])]),
    }
    nodes = [helper.make_node("If", ["yes"], ["i"], **branches), helper.make_node("Abs", ["i"], ["y"])]
    flow = Flow(model_of([*nodes, helper.make_node("Abs", ["x"], ["z"])], {"x": [3]},
                         {"y": FLOAT, "z": FLOAT}, {"yes": np.bool_(1)}))  # fmt: skip
    assert flow.ancestry("y").narrowest == name
    assert flow.ancestry("z").narrowest == "float32"


# ---------------------------------------------------------------------------- random numbers


def test_random_outputs_are_compared_in_shape_type_and_finiteness() -> None:
    nodes = [
        helper.make_node("Dropout", ["x", "ratio", "training"], ["d"], name="drop"),
        helper.make_node("Exp", ["d"], ["y"]),
        helper.make_node("Dropout", ["x", "ratio"], ["e"]),
        helper.make_node("Exp", ["e"], ["z"]),
    ]
    weights = {"ratio": np.float32(0.5), "training": np.bool_(1)}
    model = model_of(nodes, {"x": [50]}, {"y": FLOAT, "z": FLOAT}, weights)
    judging, (random, sure) = judge(model)
    found = judging.compare([random + 1, sure + 1], {})
    assert [each.ok for each in found] == [True, False]
    assert [each.by_value for each in found] == [False, True]
    assert found[0].basis == "random numbers: Dropout 'drop'"
    assert not judging.compare([random[:40], sure], {})[0].ok
    assert not judging.compare([random + np.float32(np.nan), sure], {})[0].ok


# -------------------------------------------------------------------------- at the defaults


def cubic(transposed: bool) -> onnx.ModelProto:
    """Cubic downsampling, which onnxruntime's optimizer moves its Transposes into and then refuses."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["a", "", "s"], ["b"], mode="cubic"),
        helper.make_node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1]),
    ]
    weights = {"s": np.float32([1, 1, 0.5, 0.5])}
    model = model_of(nodes if transposed else nodes[1:2], {"x": [1, 8, 12, 3]}, {"y": FLOAT}, weights)
    if not transposed:
        model.graph.node[0].input[0], model.graph.node[0].output[0] = "x", "y"
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", FLOAT, [1, 3, 8, 12]))
    return model


def refused(model: onnx.ModelProto) -> bool:
    try:
        Session(model, "source", True)
    except VerificationError:
        return True
    return False


def test_what_does_not_load_at_the_defaults_is_not_verified() -> None:
    """Whether onnxruntime refuses it depends on its version; with optimizations off it never does."""
    source, converted = cubic(transposed=False), cubic(transposed=True)
    text = '{"inputs": {"x": [0, 2, 3, 1]}, "outputs": {"y": [0, 2, 3, 1]}}'
    converted.metadata_props[0].value = text
    assert verify(source, converted, optimizations=False)
    if refused(converted):
        with pytest.raises(VerificationError, match="cannot load the converted model at its default optim"):
            verify(source, converted)
    else:
        assert verify(source, converted).defaults


def test_a_source_that_onnxruntime_refuses_at_its_defaults_is_said_to_be_so() -> None:
    model = cubic(transposed=True)
    result = verify(model, model)
    assert result
    if refused(model):
        assert result.defaults == ()
        assert "the source itself does not run" in result.notes[0]
        assert result.how.endswith("off only")
    else:
        assert result.notes == ()


def test_what_onnxruntime_makes_of_the_source_is_the_measure_at_the_defaults() -> None:
    """Float weights between quantisers are rounded to 8 bits by onnxruntime where it optimizes."""
    rng = np.random.default_rng(1)
    weights = {"w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32), "s": np.float32(0.05),
               "t": np.float32(0.001), "z": np.int8(0)}  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "t", "z16"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "t", "z16"], ["y"]),
    ]
    weights["t"], weights["z16"] = np.float32(0.1), np.int8(0)
    model = model_of(nodes, {"x": [1, 3, 9, 9]}, {"y": FLOAT}, weights)
    x = rng.standard_normal((1, 3, 9, 9)).astype(np.float32)
    plain, optimized = (Session(model, "source", way).run({"x": x})[0] for way in (False, True))
    result = verify(model, model, inputs={"x": x})
    assert result
    assert result.defaults[0].ok
    moved = float(np.abs(plain - optimized).max())
    assert bool(result.notes) == (moved > result.outputs[0].tolerance)
    if moved:
        assert f"move the source's 'y' by {moved:.2g}" in result.notes[0]


def test_a_difference_at_the_defaults_alone_is_refused() -> None:
    """Here onnxruntime's optimizer meets float weights, where the source keeps quantised ones."""
    judging, (value, number) = judge(quantised())
    assert all(each.ok for each in judging.compare_at_defaults([value, number], {}))
    found = judging.compare_at_defaults([value + 3, number], {})
    assert not found[0].ok
