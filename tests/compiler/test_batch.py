"""A batch that an export fixed at 1: freed where it only passes through, else left, with the reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from onnx_nhwc import files
from onnx_nhwc.files.weights import to_proto
from onnx_nhwc.passes.batch.free import Freed, free_batch
from onnx_nhwc.verification.comparison import compare
from tests.models.catalogue import CASES, Case
from tests.support.running import Feeds, Session

SAMPLES = 3


def freed(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Freed]:
    work, result = free_batch(files.from_proto(model))
    return to_proto(work), result


def wrong(source: onnx.ModelProto, samples: list[Feeds]) -> list[str]:
    """Where several samples together differ from the source's results for one at a time."""
    model, result = freed(source)
    assert result.inputs, result.reason
    session = Session(source)
    singles = [session.run(sample) for sample in samples]
    together = {
        name: np.concatenate([sample[name] for sample in samples]) if name in result.inputs else value
        for name, value in samples[0].items()
    }
    found = []
    for name, actual, *parts in zip(session.names, Session(model).run(together), *singles, strict=True):
        compared = compare(name, np.concatenate(parts, result.outputs[name]), actual, None)
        found += [] if compared.ok else [f"{name}: {compared.reason}"]
    return found


STATIC = [
    pytest.param(case, id=case.name)
    for case in CASES
    if case.family == "torch" and case.name.endswith(".static")
]


@pytest.mark.parametrize("case", STATIC)
def test_the_batch_of_a_network_is_free(case: Case) -> None:
    assert wrong(case.load(), [case.inputs(seed=i) for i in range(SAMPLES)]) == []


def model_of(body: str, constants: str = "", x: str = "1,2,6") -> onnx.ModelProto:
    """A model of ``x`` in ONNX's text syntax."""
    graph = onnx.parser.parse_graph(f"g (float[{x}] x) => (float[] y) <{constants}> {{ {body} }}")
    graph.output[0].type.tensor_type.ClearField("shape")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def samples(shape: str) -> list[dict[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    sizes = [int(size) for size in shape.split(",")]
    return [{"x": rng.standard_normal(sizes).astype(np.float32)} for _ in range(SAMPLES)]


FLAT = "int64[1] flat = {-1}"
LOOKUPS = {
    "storage as it is": ("int64[1,12,1] i = {0,1,2,3,4,5,6,7,8,9,10,11}", "1,2,6"),
    "storage reversed": ("int64[12] i = {11,10,9,8,7,6,5,4,3,2,1,0}", "1,2,6"),
    "a stride": ("int64[2,3] i = {0,2,4,6,8,10}", "1,2,6"),
    "a transpose": ("int64[1,6,2] i = {0,6,1,7,2,8,3,9,4,10,5,11}", "1,2,6"),
    "windows that overlap": ("int64[1,4,3] i = {0,1,2,1,2,3,2,3,4,3,4,5}", "1,2,6"),
    "counted from the end": ("int64[2] i = {-1,-12}", "1,2,6"),
    "the sample, twice": ("int64[2] i = {0,0}", "1,1"),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_what_is_looked_up_in_one_sample_is_in_each(name: str) -> None:
    """``as_strided``, as an exporter writes it: the batch of 1 is a factor of the storage."""
    indices, shape = LOOKUPS[name]
    model = model_of("f = Reshape(x, flat)\n p = Gather(f, i)\n y = Relu(p)", f"{FLAT}, {indices}", shape)
    assert wrong(model, samples(shape)) == []


PASSES = {
    "a lookup, whole axes before": (
        """t = Transpose<perm = [1, 0, 2]>(x)
        r = Reshape(t, s)
        p = Gather<axis = -1>(r, i)
        y = Relu(p)""",
        "int64[2] s = {2,6}, int64[2,2] i = {5,0,1,1}",
    ),
    "one entry of the batch's axis": (
        "r = Reshape(x, s)\n p = Gather(r, i)\n y = Relu(p)",
        "int64[2] s = {2,6}, int64 i = {1}",
    ),
    "the first of one": ("p = Gather(x, i)\n y = Softmax<axis = 1>(p)", "int64 i = {0}"),
    "an operand for each part, twice": (
        "r = Reshape(x, s)\n a = Add(r, w)\n b = Mul(a, w)\n y = Reshape(b, t)",
        "int64[2] s = {2,6}, float[2,1] w = {3.0,-2.0}, int64[2] t = {1,12}",
    ),
    "a token": ("y = Concat<axis = 1>(w, x)", "float[1,1,6] w = {0.5,1.5,2.5,3.5,4.5,5.5}"),
    "a size stated": ("y = Expand(x, s)", "int64[4] s = {5,1,2,6}"),
    "a resize of all axes": (
        'u = Unsqueeze(x, a)\n y = Resize<mode = "linear">(u, , , s)',
        "int64[1] a = {1}, int64[4] s = {1,1,4,12}",
    ),
    "a resize of some axes": (
        'u = Unsqueeze(x, a)\n y = Resize<mode = "linear", axes = [3, 2]>(u, , , s)',
        "int64[1] a = {1}, int64[2] s = {12,4}",
    ),
    "a resize of some axes and the batch": (
        'u = Unsqueeze(x, a)\n y = Resize<mode = "linear", axes = [2, 3, 0]>(u, , , s)',
        "int64[1] a = {1}, int64[3] s = {4,12,1}",
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_batch_that_passes_through_is_free(name: str) -> None:
    assert wrong(model_of(*PASSES[name]), samples("1,2,6")) == []


BOUND = {
    "leaves no axis for the batch": (
        "f = Reshape(x, s)\n y = Gather(f, i)",
        "int64[1] s = {-1}, int64 i = {3}",
    ),
    "joins the batch with another axis": (
        "f = Reshape(x, s)\n m = ArgMax<axis = 2>(x)\n i = Reshape(m, s)\n y = Gather(f, i)",
        "int64[1] s = {-1}",
    ),
    "works along the batch": ("y = Softmax<axis = 0>(x)", ""),
    "puts other axes around the batch": (
        "t = Transpose<perm = [1, 0, 2]>(x)\n y = Reshape(t, s)",
        "int64[1] s = {-1}",
    ),
    "sums over the batch": ('y = Einsum<equation = "nij->ij">(x)', ""),
    "has no batch": ("y = Identity(w)", "float[2] w = {1.0,2.0}"),
    "has an operand for one sample only": (
        "u = Unsqueeze(x, a)\n s = GridSample(u, w)\n y = Add(s, u)",
        "int64[1] a = {1}, float[1,1,1,2] w = {0.0,0.5}",
    ),
}


@pytest.mark.parametrize("reason", BOUND)
def test_what_binds_the_batch_is_told(reason: str) -> None:
    model = files.from_proto(model_of(*BOUND[reason]))
    same, result = free_batch(model)
    assert same is model
    assert not result.inputs
    assert reason in result.describe()


def test_indices_that_are_no_constants_bind_the_batch() -> None:
    """They may follow from sizes that are other numbers once the batch is free."""
    body = "f = Reshape(x, flat)\n y = Gather(f, i)"
    text = f"g (float[1,2,6] x, int64[3] i) => (float[3] y) <{FLAT}> {{ {body} }}"
    source = helper.make_model(onnx.parser.parse_graph(text), opset_imports=[helper.make_opsetid("", 18)])
    assert "works along the batch" in freed(source)[1].reason
