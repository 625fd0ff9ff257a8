"""A tolerance that follows the source's own noise hides no fault; the benchmarks count on all networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.models.catalogue import by_name
from tests.support.mutations import KINDS, tally
from tests.support.running import converted

NETWORKS = ["torch/resnet_basic.ts.batch", "torch/mobilenetv3.ts.hw", "torch/convnext.dynamo.static"]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_fault_is_seen(name: str) -> None:
    case = by_name(name)
    source = case.load()
    result, _ = converted(source)
    found = tally(source, result, case.inputs(), list(KINDS), 2)
    assert not [missed for count in found.values() for missed in count.missed]
    assert sum(count.faults for count in found.values()) >= 4


def test_a_fault_below_the_noise_is_told() -> None:
    """The test of the test: logits that cancel to their last bits hide a small weight behind them."""
    rng = np.random.default_rng(0)
    large = np.tile(np.float32([[1e8], [-1e8]]), (8, 1)) * rng.uniform(1, 2, (16, 1)).astype(np.float32)
    small = np.float32([1e-3, 2e-3])
    nodes = [
        helper.make_node("MatMul", ["x", "large"], ["a"]),
        helper.make_node("Add", ["a", "small"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "noisy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2])],
        [numpy_helper.from_array(large, "large"), numpy_helper.from_array(small, "small")],
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result, _ = converted(source)
    feeds = {"x": rng.standard_normal((3, 16)).astype(np.float32)}
    count = tally(source, result, feeds, ["channels permuted"], 9)["channels permuted"]
    assert count.faults + count.without_effect == 2
    assert count.caught == 1  # the large weights: what is added in the last bits is not to be seen


def test_what_moves_roundings_only_is_no_fault() -> None:
    """A bias that the normalisation behind it takes out; what double precision shows too, is one."""
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        normal (float[1,3,8,8] x) => (float[1,3,8,8] y)
        <float[3,3,1,1] w = {1, 2, 3, -4, 5, 6, 7, -8, 9}, float[3] bias = {1, 2, 4},
         float[3] scale = {1, 1.5, 2}, float[3] shift = {0, 0.5, 1}>
        { a = Conv (x, w, bias)
          y = InstanceNormalization (a, scale, shift) }"""
    source = onnx.parser.parse_model(text)
    result, _ = converted(source)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    count = tally(source, result, feeds, ["channels permuted"], 9)["channels permuted"]
    assert count.missed == []
    assert len(count.only_roundings) + count.without_effect == 1
    assert count.caught == count.faults == 3


def test_faults_are_put_in_without_touching_the_model() -> None:
    case = by_name(NETWORKS[0])
    result, _ = converted(case.load())
    before = result.SerializeToString(deterministic=True)
    kinds = [kind for kind in KINDS if KINDS[kind](result)]
    tally(case.load(), result, case.inputs(), kinds, 1)
    assert result.SerializeToString(deterministic=True) == before
    assert kinds
    onnx.checker.check_model(result)
