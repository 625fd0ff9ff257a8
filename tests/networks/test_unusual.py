"""Sparse weights become dense on reading, and values that are maps pass through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnx_nhwc
from onnx_nhwc import FileError
from onnx_nhwc.passes.plausible import SourceWarning
from onnx_nhwc.verification.comparison import compare
from tests.support.running import Session, converted, differences, layouts, stored

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(4)
X = RNG.standard_normal((2, 3, 6, 5)).astype(np.float32)
KERNEL = np.where(RNG.random((4, 3, 3, 3)) < 0.7, 0, RNG.standard_normal((4, 3, 3, 3)))
KINDS = ("linear", "per axis")


def sparse(array: Array, name: str, kind: str) -> onnx.SparseTensorProto:
    places = np.flatnonzero(array)
    values = numpy_helper.from_array(array.reshape(-1)[places], name)
    indices = places if kind == "linear" else np.argwhere(array)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(indices.astype(np.int64)), array.shape)


def convolution(text: str = "y = Conv(x, w)") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "own": 1]>
        g (float[2,3,6,5] x, bool c) => (float[N,M,H,W] y) {{ {text} }}"""
    )


def agrees(sparse_model: onnx.ModelProto, dense: onnx.ModelProto, **feeds: Array) -> None:
    """The result computes what onnxruntime makes of the dense source."""
    with pytest.warns(SourceWarning, match="made dense"):
        result, _ = converted(sparse_model)
    perms = layouts(result)
    expected, actual = Session(dense).run(feeds), Session(result).run(stored(feeds, perms))
    names = [value.name for value in dense.graph.output]
    assert not differences(names, expected, actual, perms)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sparse_weight_is_read_as_a_dense_one(kind: str) -> None:
    kernel = KERNEL.astype(np.float32)
    model, dense = convolution(), convolution()
    model.graph.sparse_initializer.append(sparse(kernel, "w", kind))
    dense.graph.initializer.append(numpy_helper.from_array(kernel, "w"))
    agrees(model, dense, x=X, c=np.array(True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.int8, np.float64, np.int64])
def test_of_any_type(kind: str, dtype: type) -> None:
    weight = np.array([[0, 3, 0], [-2, 0, 0]], dtype)
    text = "k = Cast<to = 1>(w)  m = MaxPool<kernel_shape = [1, 1]>(x)  s = ReduceSum(k)  y = Mul(m, s)"
    model, dense = convolution(text), convolution(text)
    model.graph.sparse_initializer.append(sparse(weight, "w", kind))
    dense.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    agrees(model, dense, x=X, c=np.array(True))


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_branch_and_in_a_function(kind: str) -> None:
    kernel = KERNEL.astype(np.float32)
    text = """y = If(c) <
        then_branch = a () => (float[N,M,H,W] t) { t = Conv(x, w) },
        else_branch = b () => (float[N,M,H,W] e) { k = Constant()  n = Neg(x)  e = Conv(n, k) }>"""
    models = convolution(text), convolution(text)
    for model, is_sparse in zip(models, (True, False), strict=True):
        then, other = (attribute.g for attribute in model.graph.node[0].attribute)
        if then.name != "a":
            then, other = other, then
        constant = other.node[0]
        if is_sparse:
            then.sparse_initializer.append(sparse(kernel, "w", kind))
            constant.attribute.append(helper.make_attribute("sparse_value", sparse(kernel, "k", kind)))
        else:
            then.initializer.append(numpy_helper.from_array(kernel, "w"))
            constant.attribute.append(helper.make_attribute("value", numpy_helper.from_array(kernel, "k")))
    for condition in (True, False):
        agrees(*models, x=X, c=np.array(condition))
    called = convolution("y = own.f(x)")
    stated = helper.make_attribute("sparse_value", sparse(kernel, "k", kind))
    nodes = [helper.make_node("Constant", [], ["k"]), helper.make_node("Conv", ["v", "k"], ["r"])]
    nodes[0].attribute.append(stated)
    opset = [helper.make_opsetid("", 17)]
    called.functions.append(helper.make_function("own", "f", ["v"], ["r"], nodes, opset))
    dense = convolution()
    dense.graph.initializer.append(numpy_helper.from_array(kernel, "w"))
    agrees(called, dense, x=X, c=np.array(True))


def test_whose_values_are_external(tmp_path: Path) -> None:
    kernel, model = KERNEL.astype(np.float32), convolution()
    model.graph.sparse_initializer.append(sparse(kernel, "w", "linear"))
    values = model.graph.sparse_initializer[0].values
    (tmp_path / "values.bin").write_bytes(values.raw_data)
    values.ClearField("raw_data")
    values.data_location = onnx.TensorProto.EXTERNAL
    values.external_data.add(key="location", value="values.bin")
    (tmp_path / "in.onnx").write_bytes(model.SerializeToString())
    with pytest.warns(SourceWarning, match="1 sparse weight is made dense"):
        result = onnx_nhwc.to_channels_last(tmp_path / "in.onnx")
    dense = convolution()
    dense.graph.initializer.append(numpy_helper.from_array(kernel, "w"))
    feeds, perms = {"x": X, "c": np.array(True)}, layouts(result)
    actual = Session(result).run(stored(feeds, perms))
    assert not differences(["y"], Session(dense).run(feeds), actual, perms)


def test_indices_that_do_not_fit_are_refused() -> None:
    model = convolution()
    broken = sparse(KERNEL.astype(np.float32), "w", "linear")
    broken.dims[0] = 1
    model.graph.sparse_initializer.append(broken)
    with pytest.raises(FileError, match="indices of the sparse weight 'w' do not fit"):
        onnx_nhwc.to_channels_last(model)


CLASSIFIERS = {
    "ZipMap of numbers": "y = ai.onnx.ml.ZipMap<classlabels_int64s = [4, 5, 6]>(f)",
    "ZipMap of strings": 'y = ai.onnx.ml.ZipMap<classlabels_strings = ["a", "b", "c"]>(f)',
    "a classifier": """l, s = ai.onnx.ml.LinearClassifier<classlabels_ints = [4, 5], intercepts = [0.1, 0.2],
        coefficients = [1.0, 0.5, 2.0, -1.0, 0.3, 0.2]>(f)
        y = ai.onnx.ml.ZipMap<classlabels_int64s = [4, 5]>(s)""",
    "a scaler": """n = ai.onnx.ml.Normalizer<norm = "L2">(f)
        s = ai.onnx.ml.Scaler<offset = [1.0], scale = [2.0]>(n)
        y = ai.onnx.ml.ZipMap<classlabels_int64s = [4, 5, 6]>(s)""",
}


@pytest.mark.parametrize("dialect", ["functions", "standard"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_maps_pass_through(name: str, dialect: str) -> None:
    key = "string" if "strings" in name else "int64"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 1]>
        g (float[2,3,6,5] x) => (seq(map({key}, float)) y, float[2,3,1,1] p) {{
            p = GlobalAveragePool(x)  f = Flatten(p)  {CLASSIFIERS[name]}
        }}"""
    )
    result, _ = converted(model, dialect=dialect)
    assert result.graph.output[0].type == model.graph.output[0].type
    feeds, perms = {"x": X}, layouts(result)
    expected, actual = Session(model).run(feeds), Session(result).run(stored(feeds, perms))
    assert isinstance(actual[0][0], dict)
    assert not compare("y", expected[0], actual[0], None).reason
    assert not differences(["p"], expected[1:], actual[1:], perms)


def test_maps_are_compared_by_their_keys_and_within_the_tolerance() -> None:
    assert compare("y", {1: 0.5}, {1: 0.5 + 1e-7}, None).ok
    assert not compare("y", {1: 0.5}, {1: 0.6}, None).ok
    assert not compare("y", {1: 0.5}, {2: 0.5}, None).ok
