"""The walk that all targets share, with a target that is no framework: NumPy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from onnx_nhwc import files
from onnx_nhwc.export.preparation import prepared
from onnx_nhwc.export.walk import UnsupportedNodesError, Walk
from onnx_nhwc.passes.options import Options
from tests.models.catalogue import by_name
from tests.support.numpy_target import TABLE, NumPy

NETWORKS = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


def computed(model: onnx.ModelProto, feeds: Arrays) -> list[Array]:
    graph = prepared(files.from_proto(model), Options(io="keep"), TABLE)
    found: list[Array] = Walk(graph.model, NumPy(list(feeds.values()))).run()
    return found


def expected(model: onnx.ModelProto, feeds: Arrays) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, dict(feeds)))


def same(model: onnx.ModelProto, feeds: Arrays) -> None:
    for found, wanted in zip(computed(model, feeds), expected(model, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * float(np.abs(wanted).max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_light_networks_in_numpy(name: str) -> None:
    case = by_name(f"light/{name}")
    same(case.load(), case.inputs())


LOOP = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[1,4,6,6] x, bool late, int64 turns) => (float[1,4,6,6] y, float[n,1,4,6,6] all)
<bool yes = {1}> {
    start = If (late) <
        then_branch = a () => (float[1,4,6,6] p) { p = Add(x, x) },
        else_branch = b () => (float[1,4,6,6] q) { q = Relu(x) }
    >
    last = Min(turns, five)
    y, all = Loop (last, yes, start) <
        body = body (int64 i, bool go, float[1,4,6,6] s) => (bool on, float[1,4,6,6] t, float[1,4,6,6] u) {
            on = Identity(go)
            c = Conv <pads = [1,1,1,1]> (s, w)
            t = Add(c, s)
            u = Relu(t)
        }
    >
}
"""


@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize("late", [False, True])
def test_control_flow_is_the_walks(turns: int, late: bool) -> None:
    """Branches are chosen, and a Loop ends early, by nothing but the steps that a target has."""
    model = onnx.parser.parse_model(LOOP)
    rng = np.random.default_rng(3)
    weight = rng.uniform(-0.3, 0.3, (4, 4, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(5), "five"))
    x = rng.standard_normal((1, 4, 6, 6)).astype(np.float32)
    same(model, {"x": x, "late": np.array(late), "turns": np.array(turns)})


def test_refusals_are_gathered() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 18]>
    g (float[2,3] x) => (float[2,3] y) { a = Erf(x)  b = Relu(a)  c = Sinh(x)  y = Add(c, b) }
    """
    with pytest.raises(UnsupportedNodesError, match="2 of the model's 4 nodes cannot be expressed in NumPy"):
        computed(onnx.parser.parse_model(text), {"x": np.ones((2, 3), np.float32)})


def test_the_walk_needs_no_framework() -> None:
    """Nothing that targets share imports one, and neither does what they get a graph from."""
    code = (
        "import sys, onnx_nhwc.export.walk, onnx_nhwc.export.preparation, onnx_nhwc.export.loops\n"
        "import onnx_nhwc.export.control, onnx_nhwc.export.target\n"
        "print(*{'keras', 'tensorflow', 'torch', 'tf2onnx'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
