"""Keras models from ONNX: the same results, Keras's own layers, trainable, readable anywhere."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import onnx_nhwc
from onnx_nhwc import files
from onnx_nhwc.files.weights import to_proto
from onnx_nhwc.passes.batch.free import free_batch
from tests.models.catalogue import CASES, Case, by_name
from tests.support.keras_models import (
    Exported,
    UnsupportedNodesError,
    exported,
    foreign,
    keras,
    stored,
    transposes,
    wrong,
)
from tests.support.running import converted
from tests.support.running import transposes as onnx_transposes

pytestmark = pytest.mark.filterwarnings("ignore")

BATCH_INSIDE = {"crnn"}
"""Networks whose output has its batch within: free, it takes a Transpose that a batch of 1 does not."""


def quick(case: Case) -> bool:
    variant = case.name.split(".", 1)[-1]
    return case.family == "light" or variant in ("ts.static", "dynamo.batch", "first.static")


EVERY = bool(os.environ.get("ONNX_NHWC_ALL_CASES"))
"""CI runs one variant of a network for each exporter as a Keras model; ``make fuzz`` runs all."""
CHECKED = [
    pytest.param(case, id=case.name)
    for case in CASES
    if case.family in ("torch", "light", "keras") and not case.degenerate
    if EVERY or (quick(case) and not case.heavy)
]


@lru_cache(maxsize=2)
def result(name: str) -> Exported:
    return exported(by_name(name).load())


@pytest.mark.parametrize("case", CHECKED)
def test_a_network_computes_the_same(case: Case) -> None:
    assert wrong(case, result(case.name), case.load()) == []


@pytest.mark.parametrize("case", CHECKED)
def test_a_network_is_made_of_what_keras_has(case: Case) -> None:
    """No class of ours, no Lambda, no Transpose that the functions dialect does not hold."""
    model = result(case.name).model
    assert foreign(model) == []
    source = case.load()
    if case.name.split("/")[1].split(".")[0] in BATCH_INSIDE:
        source = to_proto(free_batch(files.from_proto(source))[0])
    functions, _ = converted(source)
    assert transposes(model) <= len(onnx_transposes(functions))


NOT_EXPRESSED = {
    *("custom_bias", "custom_domain"),
}
"""Pitfalls with operators that Keras has no form for."""
NOT_WHILE_DYNAMIC = {"pools", "shape_slice"}
"""Pitfalls with windows that have to know a size."""
ROUNDED = {"casts"}
"""Pitfalls with booleans that hang on the last bit of a convolution."""


STEP = 1 if EVERY else 5
"""CI runs every fifth pitfall as a Keras model; ``make fuzz`` runs all."""
PITFALLS = [pytest.param(case, id=case.name) for case in CASES if case.family == "pitfalls"][::STEP]


@pytest.mark.parametrize("case", PITFALLS)
def test_a_pitfall_computes_the_same_or_is_refused(case: Case) -> None:
    kind, *_, variant = case.name.split("/")[1].split(".")
    dynamic = variant in ("n", "nhw", "hw") or case.dynamic
    try:
        one = exported(case.load())
    except UnsupportedNodesError:
        assert kind in NOT_EXPRESSED or (dynamic and kind in NOT_WHILE_DYNAMIC)
        return
    found = wrong(case, one, case.load())
    assert found == [] or (kind in ROUNDED and "elements are unequal" in found[0])


def test_a_batch_that_was_fixed_is_free() -> None:
    for name in ("resnet_basic", "vit", "swin", "yolov8", "diffusion_unet", "detr"):
        model = result(f"torch/{name}.ts.static").model
        assert {tensor.shape[0] for tensor in model.inputs} == {None}


@pytest.mark.parametrize("name", ["swin", "swinv2"])
def test_a_batch_in_flat_storage_is_free(name: str) -> None:
    """The dynamo exporter writes ``as_strided`` as a Gather of the flattened sample."""
    case = by_name(f"torch/{name}.dynamo.static")
    one = result(case.name)
    assert one.batch.inputs == ("image",)
    assert wrong(case, one, case.load()) == []


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name.endswith(".hw")] if EVERY else [by_name("torch/segformer.ts.hw")],
    ids=str,
)
def test_a_model_of_unknown_sizes_compiles(case: Case) -> None:
    """Compiled for no sizes in particular, it computes what it computes operation by operation."""
    tf = pytest.importorskip("tensorflow")
    one = result(case.name)
    compiled = tf.function(
        lambda *x: one.model(x[0] if len(x) == 1 else list(x), training=False),
        input_signature=[tf.TensorSpec(x.shape, x.dtype, x.name) for x in one.model.inputs],
    )
    for sizes in range(case.sizes):
        feeds = stored(one, case.inputs(seed=1, sizes=sizes))
        values = [feeds[x.name] for x in one.model.inputs]
        found = compiled(*values)
        wanted = one.model(values[0] if len(values) == 1 else values, training=False)
        for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------------------- training


@pytest.mark.parametrize("name", ["resnet_basic", "convnext", "vit"])
def test_a_step_of_training_lowers_the_loss(name: str) -> None:
    case = by_name(f"torch/{name}.ts.batch")
    model = exported(case.load()).model
    keras.utils.set_random_seed(0)
    shape = tuple(size or 32 for size in model.inputs[0].shape[1:])
    x = np.random.default_rng(0).standard_normal((8, *shape), np.float32)
    classes = model.outputs[0].shape[-1]
    y = np.arange(8) % classes
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < losses[0]


def test_every_parameter_is_trainable() -> None:
    """As many trainable numbers as the source holds, moving statistics apart."""
    for name in ("resnet_bottleneck.dynamo.batch", "convnext.ts.batch", "vit.ts.batch"):
        model = by_name(f"torch/{name}").load()
        statistics = {
            name
            for node in model.graph.node
            if node.op_type == "BatchNormalization"
            for name in node.input[3:]
        }
        wanted = sum(
            int(np.prod(tensor.dims))
            for tensor in model.graph.initializer
            if tensor.data_type == TensorProto.FLOAT and tensor.name not in statistics
            if np.prod(tensor.dims) > 1
        )
        weights = exported(model).model.trainable_weights
        assert sum(int(np.prod(w.shape)) for w in weights) == wanted


def test_a_number_in_a_formula_is_no_parameter_whatever_its_name() -> None:
    """The compiler numbers names in the same way as this model does."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,3,4,5] x) => (float[1,2,4,5] y, float[1,3,4,5] z)
        <float[3,1,1] k = {1, 2, 3}, float[2,3,1,1] w = {1, 2, 3, 4, 5, 6}> {
        k_1 = Constant <value = float[3,1,1] {4, 5, 6}> ()
        w_1 = Constant <value = float[1,3,4,1] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> ()
        a = Max(x, k_1)
        b = Max(a, w_1)
        c = Max(b, k)
        y = Conv(c, w)
        z = Relu(c)
    }"""
    weights = exported(onnx.parser.parse_model(text)).model.trainable_weights
    assert sorted(int(np.prod(w.shape)) for w in weights) == [3, 6]


def test_a_model_without_inputs_gets_one(tmp_path: Path) -> None:
    """It is called on a vector of any length; its weights are weights all the same."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g () => (float[1,1,1,2] y, float[2] z)
        <float[1,1,2,2] x = {1, 2, 3, 4}, float[1,1,2,1] w = {1, 2}> {
        y = Conv(x, w)
        z = Constant <value = float[2] {5, 6}> ()
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    report = onnx_nhwc.convert_file(tmp_path / "m.onnx", tmp_path / "m.keras")
    assert report.verification is not None
    assert report.verification.ok
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    for count in (1, 4):
        found = loaded(np.ones(count, np.float32))
        np.testing.assert_array_equal(np.reshape(found["y"], -1), [7, 10])
        np.testing.assert_array_equal(found["z"], [5, 6])


@pytest.mark.parametrize("outputs", ["float[1,3,4,5] y, float[1,3,4,5] x", "float[1,3,4,5] x"])
def test_an_input_that_is_an_output_too(outputs: str, tmp_path: Path) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,4,5] x) => ({outputs}) {{
        y = Relu(x)
    }}"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    report = onnx_nhwc.convert_file(tmp_path / "m.onnx", tmp_path / "m.keras")
    assert report.verification is not None
    assert report.verification.ok
    assert keras.saving.load_model(tmp_path / "m.keras").inputs[0].name == "x"


# ------------------------------------------------------------------------------ names, settings


def test_layers_are_called_as_the_nodes_were() -> None:
    for variant in ("ts.static", "dynamo.static"):  # scopes of modules, names of weights
        names = {layer.name for layer in result(f"torch/resnet_basic.{variant}").model.layers}
        assert {"0_0_0", "1_body_0_0", "2_skip_0", "5_tail_1"} <= names
    model = result("torch/resnet_basic.ts.static").model
    source = by_name("torch/resnet_basic.ts.static").load()
    assert model.inputs[0].name == source.graph.input[0].name
    assert model.output_names == [source.graph.output[0].name]
    loaded = [op.name for op in keras.Model.from_config(model.get_config()).operations]
    assert loaded == [op.name for op in model.operations]


def test_matrices_of_weights_belong_to_layers() -> None:
    """Also where the compiler lets a product run transposed: keys, queries and values of attention."""
    made = result("torch/vit.ts.static").model.layers
    loose = [layer.name for layer in made if isinstance(layer, keras.layers.Embedding)]
    assert loose == ["model_vit_embeddings_position_embeddings"]
    turned = [layer.name for layer in made if isinstance(layer, keras.layers.EinsumDense)]
    assert len(turned) == 6
    assert all("attention" in name for name in turned)


def test_global_settings_neither_matter_nor_change() -> None:
    settings = keras.config
    before = settings.image_data_format(), settings.floatx(), settings.dtype_policy()
    state = random.getstate()
    case = by_name("torch/resnet_basic.ts.batch")
    try:
        settings.set_image_data_format("channels_first")
        settings.set_floatx("float16")
        settings.set_dtype_policy("mixed_float16")
        policy = settings.dtype_policy()
        one = exported(case.load())
        assert settings.image_data_format() == "channels_first"
        assert settings.floatx() == "float16"
        assert settings.dtype_policy() is policy
        assert random.getstate() == state
        assert wrong(case, one, case.load()) == []
    finally:
        settings.set_image_data_format(before[0])
        settings.set_floatx(before[1])
        settings.set_dtype_policy(before[2])


def model_of(nodes: list[onnx.NodeProto], weights: dict[str, Any], **shapes: Any) -> onnx.ModelProto:
    """A small model from ``x`` to ``y``; shapes and the type by keyword."""
    dtype = shapes.pop("dtype", TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", dtype, shapes["x"])],
        [helper.make_tensor_value_info("y", dtype, shapes.get("y"))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_one_error_names_all_that_cannot_be_expressed() -> None:
    nodes = [
        helper.make_node("RandomUniformLike", ["x"], ["a"], name="first"),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("RandomNormalLike", ["x"], ["d"], name="second"),
        helper.make_node("ReduceSum", ["c"], ["e"], keepdims=0),
        helper.make_node("Add", ["d", "e"], ["y"]),
    ]
    with pytest.raises(UnsupportedNodesError) as caught:
        exported(model_of(nodes, {}, x=[2, 3], y=[2, 3]))
    assert [name for name, _ in caught.value.nodes] == [
        "RandomUniformLike 'first'",
        "RandomNormalLike 'second'",
    ]
    assert "2 of the model's 6 nodes" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_model_keeps_its_type(dtype: str) -> None:
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(dtype)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 0, 0, 1]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    source = model_of(nodes, {"w": kernel}, x=[2, 3, 8, 9], y=[2, 4, 7, 8], dtype=kind)
    one = exported(source)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 9)).astype(dtype)
    y = np.asarray(one.model(np.transpose(x, (0, 2, 3, 1))))
    assert y.dtype == dtype
    assert {w.dtype for w in one.model.weights} == {dtype}
    wanted = np.transpose(ReferenceEvaluator(source).run(None, {"x": x})[0], (0, 2, 3, 1))
    tolerance = 1e-12 if dtype == "float64" else 1e-2
    np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=tolerance)


def test_without_keras_the_message_says_what_to_install() -> None:
    code = """
        import sys
        sys.modules["keras"] = None
        import onnx_nhwc
        try:
            onnx_nhwc.to_keras("x.onnx")
        except onnx_nhwc.UsageError as error:
            assert "onnx-nhwc[keras]" in str(error), error
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_to_keras_takes_a_path_and_leaves_models_alone(tmp_path: Path) -> None:
    model = by_name("torch/resnet_basic.ts.batch").load()
    before = model.SerializeToString(deterministic=True)
    onnx.save(model, tmp_path / "in.onnx")
    a, b = onnx_nhwc.to_keras(model), onnx_nhwc.to_keras(tmp_path / "in.onnx")
    assert model.SerializeToString(deterministic=True) == before
    assert [w.path for w in a.weights] == [w.path for w in b.weights]
    for v, w in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(v), np.asarray(w))
