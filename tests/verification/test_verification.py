"""verify: equal is equal, different is different, and nothing is tried until it fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx_nhwc
from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.verification.comparison import compare
from onnx_nhwc.verification.feeds import Input, candidates
from onnx_nhwc.verification.verdict import verify
from tests.support.running import converted

FLOAT = TensorProto.FLOAT
LAST = (0, 2, 3, 1)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    weights: dict[str, np.ndarray] | None = None,
    layouts: dict[str, dict[str, tuple[int, ...]]] | None = None,
    kind: int = FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    if layouts is not None:
        model.metadata_props.add(key="onnx_nhwc.layouts", value=json.dumps(layouts))
    return model


def pool(shape: Any = (1, 3, 4, 4)) -> onnx.ModelProto:
    """Halves H: by hand, so that the tests need no compiler."""
    nodes = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 1], strides=[2, 1])]
    out = [shape[0], shape[1], None, shape[3]]
    return model_of(nodes, {"x": list(shape)}, {"y": out})


def pool_last(shape: Any = (1, 4, 4, 3), **changes: Any) -> onnx.ModelProto:
    """The same with channels last."""
    layouts = {"inputs": {"x": LAST}, "outputs": {"y": LAST}}
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 1], strides=[2, 1]),
        helper.make_node("Transpose", ["b"], ["y"], perm=changes.pop("perm", [0, 2, 3, 1])),
    ]
    return model_of(nodes, {"x": list(shape)}, {"y": None}, layouts=changes.pop("layouts", layouts))


# ----------------------------------------------------------------------------------- comparisons


def test_equal_models_agree() -> None:
    result = verify(pool(), pool_last())
    assert result.ok
    assert result
    assert result.inputs == {"x": (1, 3, 4, 4)}
    assert result.outputs[0].perm == LAST
    assert result.outputs[0].error == 0
    result.raise_if_different()


def test_a_match_under_another_permutation_is_a_failure() -> None:
    """All sizes are equal: only the values tell H from W."""
    result = verify(pool((4, 4, 4, 4)), pool_last((4, 4, 4, 4), perm=[0, 3, 2, 1]))
    assert not result.ok
    with pytest.raises(VerificationError, match="output 'y' of the converted model differs"):
        result.raise_if_different()


def test_models_may_be_given_in_every_form(tmp_path: Path) -> None:
    source, converted = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(pool(), source)
    onnx.save(pool_last(), converted)
    assert verify(source, str(converted))
    assert verify(ir.from_proto(pool()), ir.from_proto(pool_last()))
    assert verify(source, pool_last(), optimizations=True)


@pytest.mark.parametrize(
    ("source", "converted", "reason"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), ""),
        (np.float32([1, 1000]), np.float32([1.05, 1000]), ""),
        (np.float32([1, 100]), np.float32([1.05, 100]), "by up to 0.05"),
        (np.float32([1, 2]), np.float64([1, 2]), "type is float64"),
        (np.float32([1, 2]), np.float32([[1, 2]]), "shape is"),
        (np.float32([np.nan, 2]), np.float32([np.nan, 2]), ""),
        (np.float32([np.inf, 2]), np.float32([np.inf, 2]), ""),
        (np.float32([np.inf, 2]), np.float32([-np.inf, 2]), "1 elements are NaN or infinite"),
        (np.float32([np.nan, 2]), np.float32([2, np.nan]), "2 elements are NaN or infinite"),
        (np.float32([0, 0]), np.float32([0, 2e-5]), "by up to 2e-05"),
        (np.int64([1, 2]), np.int64([1, 3]), "1 of 2 elements"),
        (np.bool_([1, 0]), np.bool_([1, 1]), "1 of 2 elements"),
        (np.array(["a"], object), np.array(["b"], object), "1 of 1 elements"),
        (np.float16([1, 2]), np.float16([1.01, 2]), ""),
        (np.float64([1, 2]), np.float64([1.00001, 2]), "by up to 1e-05"),
        (np.float32(3), np.float32(3), ""),
        ([np.float32([1])], [np.float32([1])], ""),
        ([np.float32([1])], [np.float32([2])], "by up to 1"),
        ([np.float32([1])], [], "0 entries"),
        ({"a": 1}, {"a": 2}, "unequal"),
        (None, None, ""),
    ],
)
def test_tolerances(source: Any, converted: Any, reason: str) -> None:
    if isinstance(source, np.generic):
        source, converted = np.asarray(source), np.asarray(converted)
    result = compare("y", source, converted, None)
    assert result.ok == (reason == "")
    assert reason in result.reason


def test_tolerances_can_be_given() -> None:
    a, b = np.float32([1, 100]), np.float32([1.05, 100])
    assert compare("y", a, b, None, atol=0.1).ok
    assert compare("y", a, b, None, rtol=1e-3).ok
    assert not compare("y", a, np.float32([1.000001, 100]), None, rtol=0, atol=0).ok


def test_metadata_of_another_rank() -> None:
    assert "rank is 1" in compare("y", np.zeros(3), np.zeros(3), (0, 1)).reason


# ---------------------------------------------------------------------------------------- inputs


def test_dynamic_sizes_are_found_and_names_respected() -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    shape = ["n", 3, "h", "w"]
    source = model_of(nodes, {"a": shape, "b": shape}, {"y": shape})
    layouts = {"inputs": {}, "outputs": {}}
    result = verify(source, model_of(nodes, {"a": shape, "b": shape}, {"y": shape}, {}, layouts))
    assert result.inputs["a"] == result.inputs["b"] == (2, 3, 64, 96)


def test_sizes_that_the_model_does_not_accept_are_skipped() -> None:
    """The reshape wants 224 x 224 and one sample."""
    weights = {"s": np.int64([1, 3 * 224 * 224])}
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    layouts = {"inputs": {}, "outputs": {}}
    models = [
        model_of(nodes, {"x": ["n", 3, "h", "w"]}, {"y": None}, weights, meta) for meta in (None, layouts)
    ]
    assert verify(*models).inputs["x"] == (1, 3, 224, 224)


def test_sizes_that_were_fixed_by_the_conversion_are_used() -> None:
    result = verify(pool(["n", 3, "h", "w"]), pool_last([2, 40, 10, 3]))
    assert result
    assert result.inputs["x"] == (2, 3, 40, 10)


def test_no_size_runs() -> None:
    weights = {"s": np.int64([1, 3, 77, 13])}
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    model = model_of(nodes, {"x": ["n", 3, "h", "w"]}, {"y": None}, weights,
                     {"inputs": {}, "outputs": {}})  # fmt: skip
    with pytest.raises(VerificationError, match="--shape x=N,3,N,N"):
        verify(model, model)
    given = {"x": np.zeros((1, 3, 77, 13), np.float32)}
    assert verify(model, model, inputs=given)
    with pytest.raises(VerificationError, match="no input 'z'"):
        verify(model, model, inputs={"z": np.zeros(1)})


def test_indices_stay_in_range() -> None:
    """Gather reads from a table of 2 entries."""
    nodes = [
        helper.make_node("Gather", ["t", "x"], ["z"]),
        helper.make_node("Cast", ["z"], ["y"], to=7),
    ]
    weights = {"t": np.float32([[1], [2]])}
    model = model_of(nodes, {"x": [50]}, {"y": None}, weights, {"inputs": {}, "outputs": {}},
                     kind=TensorProto.INT64)  # fmt: skip
    assert verify(model, model)


def test_values_are_seeded_and_typed() -> None:
    inputs = [
        Input("f", "tensor(float16)", (100,)),
        Input("i", "tensor(int32)", (100,)),
        Input("u", "tensor(uint8)", (100,)),
        Input("b", "tensor(bool)", (100,)),
        Input("s", "tensor(string)", (3,)),
        Input("scalar", "tensor(int64)", ()),
    ]
    one, same, other = (next(candidates(inputs, seed, {})) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["f"], other["f"])
    assert one["f"].dtype == np.float16
    assert one["i"].min() >= 0
    assert one["i"].max() < 8
    assert one["u"].max() > 100
    assert one["b"].dtype == np.bool_
    assert one["scalar"].shape == ()
    with pytest.raises(VerificationError, match="no values can be made up"):
        next(candidates([Input("q", "seq(tensor(float))", ())], 0, {}))


def test_an_unknown_image_gets_channels_where_they_belong() -> None:
    first = Input("x", "tensor(float)", ("n", "c", "h", "w"))
    last = Input("x", "tensor(float)", ("n", "h", "w", 3))
    assert next(candidates([first], 0, {}))["x"].shape == (2, 3, 64, 96)
    assert next(candidates([last], 0, {}))["x"].shape == (2, 64, 96, 3)


# ---------------------------------------------------------------------------------------- errors


def test_a_model_without_metadata() -> None:
    with pytest.raises(VerificationError, match="does not state its layouts"):
        verify(pool(), pool())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": 3}', "nonsense"])
def test_damaged_metadata(text: str) -> None:
    converted = pool_last(layouts=None)
    converted.metadata_props.add(key="onnx_nhwc.layouts", value=text)
    with pytest.raises(VerificationError, match="layouts' are damaged"):
        verify(pool(), converted)


def test_metadata_that_do_not_fit() -> None:
    with pytest.raises(VerificationError, match="whose rank is 4"):
        verify(pool(), pool_last(layouts={"inputs": {"x": (0, 1)}, "outputs": {}}))


def test_a_custom_operator_cannot_be_verified() -> None:
    nodes = [helper.make_node("Strange", ["x"], ["y"], domain="custom")]
    model = model_of(nodes, {"x": [1]}, {"y": [1]})
    with pytest.raises(VerificationError, match=r"cannot load the source.*--no-verify") as caught:
        verify(model, model)
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_run() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    model = model_of(nodes, {"x": [3]}, {"y": None}, {"s": np.int64([2])},
                     {"inputs": {}, "outputs": {}})  # fmt: skip
    with pytest.raises(VerificationError, match=r"cannot (load|run) the source"):
        verify(model, model)


def test_random_numbers_are_no_fault() -> None:
    """onnxruntime's seeds depend on a node's place in the graph, which a conversion may change."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"], name="noise"),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    moved = [helper.make_node("Abs", ["x"], ["unused"]), *nodes]
    layouts: dict[str, Any] = {"inputs": {}, "outputs": {}}
    source, converted = (model_of(each, {"x": [5]}, {"y": [5]}, layouts=layouts) for each in (nodes, moved))
    result = verify(source, converted)
    assert result
    assert not result.outputs[0].by_value
    assert result.outputs[0].basis == "random numbers: RandomNormalLike 'noise'"


def test_other_outputs() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["z"])]
    other = model_of(nodes, {"x": [1]}, {"z": [1]}, layouts={"inputs": {}, "outputs": {}})
    source = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]})
    with pytest.raises(VerificationError, match=r"the outputs are \['z'\]"):
        verify(source, other)


# ---------------------------------------------------------------------------------- node by node


def chain(slope: float, meta: bool, prefix: str = "") -> onnx.ModelProto:
    names = [f"{prefix}{name}" for name in ("a", "b", "c")]
    nodes = [
        helper.make_node("Relu", ["x"], [names[0]], name="first"),
        helper.make_node("LeakyRelu", [names[0]], [names[1]], name="zero", alpha=slope),
        helper.make_node("Neg", [names[1]], [names[2]], name="minus"),
        helper.make_node("LeakyRelu", [names[2]], ["y"], name="leaky", alpha=slope),
    ]
    layouts = {"inputs": {}, "outputs": {}} if meta else None
    return model_of(nodes, {"x": [2, 3]}, {"y": [2, 3]}, layouts=layouts)


@pytest.mark.parametrize("as_files", [False, True])
def test_the_first_operator_that_differs_is_named(tmp_path: Path, as_files: bool) -> None:
    source: Any = chain(0.1, meta=False)
    converted: Any = chain(0.2, meta=True, prefix="new_")
    if as_files:
        onnx.save(source, tmp_path / "a.onnx")
        onnx.save(converted, tmp_path / "b.onnx")
        source, converted = tmp_path / "a.onnx", tmp_path / "b.onnx"
    values = {name: (f"new_{name}", (0, 1)) for name in "abc"} | {"y": ("y", (0, 1))}
    result = verify(source, converted, values=values)
    assert result.first_difference == "LeakyRelu 'leaky'"
    with pytest.raises(VerificationError, match=r"^LeakyRelu 'leaky': output 'y'"):
        result.raise_if_different()


def test_external_data_are_found_node_by_node(tmp_path: Path) -> None:
    def save(path: Path, factor: float) -> None:
        weights = {"w": np.full((2, 3), factor, np.float32)}
        nodes = [
            helper.make_node("Abs", ["x"], ["a"], name="abs"),
            helper.make_node("Mul", ["a", "w"], ["b"], name="mul"),
            helper.make_node("Neg", ["b"], ["y"], name="neg"),
        ]
        meta = {"inputs": {}, "outputs": {}}
        model = model_of(nodes, {"x": [2, 3]}, {"y": [2, 3]}, weights, meta)
        onnx.save(model, path, save_as_external_data=True, location=path.name + ".data",
                  size_threshold=0)  # fmt: skip

    save(tmp_path / "a.onnx", 1.0)
    save(tmp_path / "b.onnx", 2.0)
    values = {name: (name, (0, 1)) for name in "aby"}
    result = verify(tmp_path / "a.onnx", tmp_path / "b.onnx", values=values)
    assert result.first_difference == "Mul 'mul'"


# ------------------------------------------------------------------------------ with the compiler


def test_a_corrupted_weight_is_found() -> None:
    rng = np.random.default_rng(0)
    weights = {
        f"w{i}": rng.standard_normal((5, 3 if i == 0 else 5, 3, 3)).astype(np.float32) for i in range(3)
    }
    nodes = [
        helper.make_node("Conv", [f"y{i - 1}" if i else "x", f"w{i}"], [f"y{i}"], name=f"conv{i}")
        for i in range(3)
    ]
    source = model_of(nodes, {"x": [1, 3, 11, 13]}, {"y2": [1, 5, 5, 7]}, weights)
    converted = onnx_nhwc.to_channels_last(source)
    assert verify(source, converted)
    tensor = next(t for t in converted.graph.initializer if len(t.raw_data) == 5 * 5 * 9 * 4)
    data = numpy_helper.to_array(tensor).copy()
    data.flat[7] += 1
    tensor.CopyFrom(numpy_helper.from_array(data, tensor.name))
    assert not verify(source, converted)


MOVED_OVER = """
<ir_version: 8, opset_import: ["" : 17]>
captured (float[1,2,6,6] x, bool c) => (float[1,2,3,3] y)
<float{of} s = {{{scales}}}, int8{of} z = {{{zeros}}}> {{
    q = QuantizeLinear <axis = 1> (x, s, z)
    d = DequantizeLinear <axis = 1> (q, s, z)
    m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (d)
    y = If (c) <
        then_branch = yes () => (float[1,2,3,3] a) {{ a = Softmax <axis = 1> (m) }},
        else_branch = no () => (float[1,2,3,3] b) {{ b = Relu (m) }}
    >
}}
"""


@pytest.mark.parametrize(
    ("of", "scales", "zeros", "defaults"), [("", "0.05", "0", False), ("[2]", "0.05, 0.02", "0, 0", True)]
)
def test_a_source_on_which_onnxruntime_ends_the_process(
    of: str, scales: str, zeros: str, defaults: bool
) -> None:
    """Its optimiser moves a DequantizeLinear of one scale over the MaxPool, and finds no input for it."""
    source = onnx.parser.parse_model(MOVED_OVER.format(of=of, scales=scales, zeros=zeros))
    found = verify(source, converted(source)[0])
    assert found.ok
    assert found.how.endswith("and at its defaults" if defaults else " only")
