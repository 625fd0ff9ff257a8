"""At the door: arrays and finished models in the other layout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx_nhwc
from onnx_nhwc import LayoutWarning, UsageError, to_layout, wrap

LAYOUTS = [
    ("NCHW", "NHWC", (0, 2, 3, 1)),
    ("NHWC", "NCHW", (0, 3, 1, 2)),
    ("ncw", "NWC", (0, 2, 1)),
    ("NCDHW", "NDHWC", (0, 2, 3, 4, 1)),
    ("HWC", "CHW", (2, 0, 1)),
    ((0, 1, 2, 3), (0, 2, 3, 1), (0, 2, 3, 1)),
    ((0, 2, 3, 1), (0, 1, 2, 3), (0, 3, 1, 2)),
    ("NHWC", (0, 1, 2, 3), (0, 3, 1, 2)),
]
SIZES = {"distinct": (5, 7, 11, 13, 17), "equal": (4,) * 5}


def made(framework: str, x: np.ndarray) -> object:
    pytest.importorskip(framework)
    if framework == "torch":
        import torch

        return torch.from_numpy(x)
    if framework == "tensorflow":
        import tensorflow as tf

        return tf.constant(x)
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.asarray(x)
    return x


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("framework", ["numpy", "torch", "tensorflow", "jax"])
def test_arrays(framework: str, sizes: str) -> None:
    for source, target, perm in LAYOUTS:
        x = np.arange(np.prod(SIZES[sizes][: len(perm)]), dtype=np.float32)
        x = x.reshape(SIZES[sizes][: len(perm)])
        array = made(framework, x)
        result = to_layout(array, source, target)
        assert isinstance(result, type(array))
        assert np.array_equal(np.asarray(result), x.transpose(perm)), (source, target)
        assert to_layout(array, source, source) is array
        back = to_layout(result, target, source)
        assert np.array_equal(np.asarray(back), x)


def test_no_copy_where_none_is_needed() -> None:
    x = np.zeros((2, 5, 6, 7))
    assert np.shares_memory(to_layout(x, "NCHW", "NHWC"), x)
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(2, 5, 6, 7)
    assert to_layout(tensor, "NCHW", "NHWC").data_ptr() == tensor.data_ptr()
    assert to_layout(tensor, "NCHW", "NHWC").shape == (2, 6, 7, 5)


def test_tensors_of_a_model_being_built() -> None:
    keras = pytest.importorskip("keras")
    assert to_layout(keras.Input((5, None, 9)), "NCHW", "NHWC").shape == (None, None, 9, 5)
    tf = pytest.importorskip("tensorflow")
    variable = tf.Variable(np.zeros((2, 5, 6, 7)))
    assert to_layout(variable, "NCHW", "NHWC").shape == (2, 6, 7, 5)
    assert to_layout(tf.zeros((2, 1, 6, 7)), "NCHW", "NHWC").shape == (2, 6, 7, 1)
    traced = tf.function(lambda t: to_layout(t, "NCHW", "NHWC"))
    assert traced(tf.zeros((2, 5, 6, 7))).shape == (2, 6, 7, 5)


def test_no_framework_is_imported() -> None:
    code = (
        "import sys, numpy, onnx_nhwc; onnx_nhwc.to_layout(numpy.zeros((1, 2, 3, 4)), 'NCHW', "
        "'NHWC'); print({'torch', 'tensorflow', 'keras', 'jax', 'onnx', 'h5py'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("array", "source", "target", "says"),
    [
        (np.zeros((1, 2, 3)), "NCHW", "NHWC", "has 3 axes, NCHW has 4"),
        (np.zeros((1, 2, 3, 4)), "NCHW", "NWC", "do not have the same axes"),
        (np.zeros((1, 2, 3, 4)), "NCHH", "NHWC", "is not a layout"),
        (np.zeros((1, 2, 3, 4)), (0, 1, 1, 3), (0, 1, 2, 3), "is not a permutation"),
        (np.zeros((2, 3, 4)), "HWC", (0, 2, 1), "says nothing of the order"),
        ([[1]], "HW", "WH", "list is not an array"),
    ],
)
def test_what_does_not_fit(array: object, source: object, target: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        to_layout(array, source, target)


# -------------------------------------------------------------------------------------- ONNX


def network(*, batch: object = "n", sizes: tuple[int, int] = (8, 6)) -> onnx.ModelProto:
    """Two inputs, one of them for a Loop-free If as well; image, image and scores as outputs."""
    rng = np.random.default_rng(0)
    kernel = numpy_helper.from_array(rng.standard_normal((5, 3, 3, 3)).astype(np.float32), "k")
    inside = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["then_y"])], "then", [],
        [helper.make_tensor_value_info("then_y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    outside = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["else_y"])], "else", [],
        [helper.make_tensor_value_info("else_y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("If", ["flag"], ["chosen"], then_branch=inside, else_branch=outside),
        helper.make_node("Conv", ["chosen", "k"], ["y"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("GlobalAveragePool", ["y"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    image = [batch, 3, *sizes]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image),
         helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5, *sizes]),
         helper.make_tensor_value_info("x", TensorProto.FLOAT, image),
         helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 5])],
        [kernel],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([output.name for output in model.graph.output], feeds)


@pytest.mark.parametrize("sizes", [(8, 6), (3, 3)])
@pytest.mark.parametrize("flag", [True, False])
def test_a_wrapped_model_takes_and_returns_the_other_layout(sizes: tuple[int, int], flag: bool) -> None:
    model = network(sizes=sizes)
    before = model.SerializeToString()
    wrapped = wrap(model, "NCHW", "NHWC")
    assert model.SerializeToString() == before
    onnx.checker.check_model(wrapped, full_check=True)
    x = np.random.default_rng(1).standard_normal((2, 3, *sizes)).astype(np.float32)
    y, x_out, scores = run(model, {"x": x, "flag": np.array(flag)})
    door = {"x": np.ascontiguousarray(x.transpose(0, 2, 3, 1)), "flag": np.array(flag)}
    results = run(wrapped, door)
    for result, expected in zip(results, (y, x_out), strict=False):
        assert np.array_equal(result, expected.transpose(0, 2, 3, 1))
    assert np.array_equal(results[2], scores)


def test_one_transpose_each_and_nothing_else() -> None:
    model, wrapped = network(), wrap(network(), "NCHW", "NHWC")
    count = [node.op_type for node in wrapped.graph.node].count("Transpose")
    assert count == 2  # x in, y out; the output x is the input x
    assert len(wrapped.graph.node) == len(model.graph.node) + 2
    assert [t.raw_data for t in wrapped.graph.initializer] == [t.raw_data for t in model.graph.initializer]
    for group in ("input", "output"):
        names = [[v.name for v in getattr(m.graph, group)] for m in (model, wrapped)]
        assert names[0] == names[1]
    dims = wrapped.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value or d.dim_param for d in dims] == ["n", 8, 6, 3]


def test_metadata_compose() -> None:
    def said(model: onnx.ModelProto) -> dict[str, dict[str, list[int]]]:
        return json.loads({p.key: p.value for p in model.metadata_props}["onnx_nhwc.layouts"])

    once = wrap(network(), "NCHW", "NHWC")
    assert said(once) == {
        "inputs": {"x": [0, 2, 3, 1], "flag": []},
        "outputs": {"y": [0, 2, 3, 1], "x": [0, 2, 3, 1], "scores": [0, 1]},
    }
    twice = wrap(once, "NHWC", "NWHC", names=["y"])
    assert said(twice)["outputs"]["y"] == [0, 3, 2, 1]
    assert said(twice)["inputs"]["x"] == [0, 2, 3, 1]


def test_files_and_names(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(network(), path)
    wrapped = wrap(path, "NCHW", "NHWC", names=["y"])
    assert [d.dim_value for d in wrapped.graph.input[0].type.tensor_type.shape.dim[1:]] == [3, 8, 6]
    with pytest.raises(UsageError, match="no input or output 'z', only 'x', 'flag'"):
        wrap(path, "NCHW", "NHWC", names=["z"])
    with pytest.raises(UsageError, match="'scores' has 2 axes"):
        wrap(path, "NCHW", "NHWC", names=["scores"])
    with pytest.raises(UsageError, match="known to have 5 axes"):
        wrap(path, "NCDHW", "NDHWC")


# ------------------------------------------------------------------------------------- Keras


@pytest.fixture
def keras():
    return pytest.importorskip("keras")


def global_state(keras) -> tuple:
    import tensorflow as tf

    return (
        keras.config.image_data_format(),
        keras.config.floatx(),
        keras.config.epsilon(),
        keras.config.dtype_policy().name,
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
        tf.random.get_global_generator().state.numpy().tolist(),
        tf.config.get_visible_devices(),
        tf.executing_eagerly(),
        id(tf.compat.v1.get_default_graph()),
    )


def keras_network(keras):
    layers = keras.layers
    image, size = keras.Input((9, 7, 3), name="image"), keras.Input((2,), name="size")
    y = layers.Conv2D(5, 3, name="conv", data_format="channels_last")(image)
    scores = layers.Dense(4, name="scores")(
        layers.Concatenate()([layers.GlobalAveragePooling2D(data_format="channels_last")(y), size])
    )
    return keras.Model({"image": image, "size": size}, {"y": y, "scores": scores})


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # TensorFlow's
def test_a_wrapped_keras_model(keras, tmp_path: Path) -> None:
    model = keras_network(keras)
    before = global_state(keras)
    wrapped = wrap(model, "NHWC", "NCHW")
    assert global_state(keras) == before
    rng = np.random.default_rng(0)
    x, size = rng.random((2, 9, 7, 3), np.float32), rng.random((2, 2), np.float32)
    expected = model({"image": x, "size": size})
    door = {"image": x.transpose(0, 3, 1, 2), "size": size}
    wrapped.save(tmp_path / "wrapped.keras")
    for one in (wrapped, keras.saving.load_model(tmp_path / "wrapped.keras")):
        result = one(door)
        y = np.asarray(expected["y"]).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(np.asarray(result["y"]), y, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(result["scores"], expected["scores"], rtol=1e-6, atol=1e-6)
    kinds = [type(layer).__name__ for layer in wrapped.layers]
    assert kinds.count("Permute") == 2
    assert wrapped.count_params() == model.count_params()
    assert wrapped.get_layer(model.name) is model


def test_a_keras_policy_does_not_reach_the_door(keras) -> None:
    model = keras.Sequential([keras.Input((5, 4, 3)), keras.layers.Activation("linear", dtype="float32")])
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        wrapped = wrap(model, "NHWC", "NCHW")
    finally:
        keras.config.set_dtype_policy(policy)
    x = np.full((1, 3, 5, 4), 1 / 3, np.float32)
    assert np.array_equal(np.asarray(wrapped(x)), x)


def test_a_keras_model_without_inputs(keras) -> None:
    model = keras.Sequential([keras.layers.Conv2D(3, 3)])
    with pytest.raises(onnx_nhwc.ConversionError, match="are not known"):
        wrap(model, "NHWC", "NCHW")


# ---------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("shape", "layout", "odd"),
    [
        ((8, 224, 200, 3), "NCHW", True),
        ((8, 3, 224, 200), "NHWC", True),
        ((8, 1, 28, 28), "NHWC", True),
        ((16000, 1), "CW", True),
        ((8, 3, 224, 200), "NCHW", False),
        ((8, 224, 200, 3), "NHWC", False),
        ((8, 512, 1, 1), "NCHW", False),
        ((8, 64, 7, 7), "NHWC", False),
        ((3, 3, 3, 3), "NHWC", False),
        ((8, 5, 3, 3), "NCHW", False),
    ],
)
def test_a_shape_against_its_layout_is_warned_of(
    recwarn: pytest.WarningsRecorder, shape: tuple[int, ...], layout: str, odd: bool
) -> None:
    target = layout[::-1]
    to_layout(np.zeros(shape), layout, target)
    assert [w.category for w in recwarn] == [LayoutWarning] * odd
    assert all(w.filename == __file__ for w in recwarn)


def test_wrap_warns_of_declared_shapes(keras) -> None:
    with pytest.warns(LayoutWarning, match="input 'x' of shape .* a height of 3") as record:
        wrap(network(), "NHWC", "NCHW")
    assert record[0].filename == __file__
    model = keras.Sequential([keras.Input((9, 7, 3)), keras.layers.ReLU()])
    with pytest.warns(LayoutWarning, match="9 channels and a width of 3") as record:
        wrap(model, "NCHW", "NHWC")
    assert record[0].filename == __file__


def conv(sizes: tuple[int, ...]) -> onnx.ModelProto:
    """A convolution of an image whose channels come first, whatever its sizes look like."""
    kernel = numpy_helper.from_array(np.zeros((4, sizes[0], 1, 1), np.float32), "k")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *sizes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [kernel],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_converting_warns_of_declared_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(LayoutWarning, match="input 'x' .* 40 channels and a width of 3") as record:
        onnx_nhwc.to_channels_last(conv((40, 30, 3)), layouts={"x": "NWHC"})
    assert record[0].filename == __file__
    onnx_nhwc.to_channels_last(conv((3, 40, 30)), layouts={"x": "NHWC"})  # no warning
    from onnx_nhwc.optimize import main

    onnx.save(conv((40, 30, 3)), tmp_path / "in.onnx")
    assert main([str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--layout", "x=NCHW"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("onnx-nhwc: warning: input 'x' of shape (1, 40, 30, 3)")
