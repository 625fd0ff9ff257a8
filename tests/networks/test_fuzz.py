"""Whole random graphs: source and result agree, whatever the operators and the layouts.

make fuzz        20,000 graphs
"""

from __future__ import annotations

import secrets
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, reject, seed, settings
from hypothesis import strategies as st
from onnxruntime.capi import onnxruntime_pybind11_state as refusals

from onnx_nhwc.passes.plausible import SourceWarning
from onnx_nhwc.passes.rules import RULES
from onnx_nhwc.verification.judging import Judge
from tests.graphs import Graph, graphs
from tests.support.running import (
    APPROXIMATE,
    Session,
    accepted,
    converted,
    differences,
    layouts,
    nodes,
    stored,
)

WAYS = [
    (dialect, io, to)
    for dialect in ("functions", "standard")
    for io in ("auto", "keep")
    for to in ("channels-last", "channels-first")
]

PARTS = 4
"""They run side by side."""

FAULTY = (*APPROXIMATE, "DoubleQDQPairsRemover")
"""This one of onnxruntime 1.32 leaves out roundings, and takes one scale for all channels."""
REFUSALS = (refusals.Fail, refusals.InvalidGraph, refusals.InvalidArgument)


def negative(model: onnx.ModelProto) -> bool:
    """Whether a size is declared to be negative, on which onnx's checker can end the whole process."""
    dims = (dim for value in model.graph.value_info for dim in value.type.tensor_type.shape.dim)
    return any(dim.dim_value < 0 for dim in dims)


def agree(graph: Graph, dialect: str, io: str, to: str) -> None:
    """Source and result agree, with onnxruntime's optimizations off and at its defaults."""
    try:
        source = Session(graph.model)
        expected = source.run(graph.feeds)
    except REFUSALS:
        reject()  # declared so wrongly that onnxruntime does not run it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SourceWarning)
        model, _ = converted(graph.model, dialect=dialect, io=io, to=to)
    if not negative(graph.model) and not accepted(graph.model):
        assert accepted(model) == "", "the checker no longer accepts it"
    perms = layouts(model)
    if io == "keep":
        assert all(perm == sorted(perm) for kind in perms.values() for perm in kind.values())
    fed = stored(graph.feeds, perms)
    judge = Judge(graph.model, [graph.feeds], [expected], source.names)
    actual = Session(model).run(fed)
    found = differences(source.names, expected, actual, perms)
    if found and any(node.op_type == "QuantizeLinear" for node in nodes(graph.model.graph)):
        found = [c.reason for c in judge.compare(actual, perms["outputs"]) if not c.ok]
    assert not found, found[0]
    if judge.refusal is None:
        at_defaults = Session(model, optimized=True, without=FAULTY).run(fed)
        found = [c.reason for c in judge.compare_at_defaults(at_defaults, perms["outputs"]) if not c.ok]
        assert not found, f"at onnxruntime's defaults: {found[0]}"


@pytest.mark.parametrize("part", range(PARTS))
def test_source_and_result_agree(part: int) -> None:
    """CI has the same graphs on any day, ``make fuzz`` others each time."""
    usual = settings.default
    assert usual is not None

    @seed(part if usual.derandomize else secrets.randbits(64))
    @settings(max_examples=usual.max_examples // PARTS)
    @given(graphs(), st.sampled_from(WAYS))
    def search(graph: Graph, way: tuple[str, str, str]) -> None:
        agree(graph, *way)

    search()


# What the fuzz test found, made small: it stays found.
FOUND = {
    "a body's operators have the model's opset": """
        <ir_version: 8, opset_import: ["" : 16]>
        found (float[1,2,3] x, bool condition) => (float[1,2,3] y) <float[2,2,1] w = {1, 2, 3, 5}> {
            y = If (condition) <
                then_branch = yes () => (float[1,2,3] a) { a = Softmax <axis = 1> (x) },
                else_branch = no () => (float[1,2,3] b) {
                    c = Softmax <axis = 1> (x)
                    b = Conv (c, w)
                }
            >
        }""",
    "a branch that nothing reads any more holds on to nothing": """
        <ir_version: 8, opset_import: ["" : 17]>
        found (float[n,1,3,4] x, bool yes, bool no) => (float[n,4,3] y)
        <int64 zero = {0}, float[3,3,1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
            p = MaxPool <kernel_shape = [1, 1]> (x)
            g = Gather <axis = 1> (p, zero)
            y = If (yes) <
                then_branch = then () => (float[n,4,3] a) {
                    unread = If (no) <
                        then_branch = inner () => (float[n,3,4] b) { b = Relu (g) },
                        else_branch = other () => (float[n,3,4] c) { c = Erf (g) }
                    >
                    a = Transpose <perm = [0, 2, 1]> (g)
                },
                else_branch = otherwise () => (float[n,4,3] d) {
                    e = Conv (g, w)
                    d = Transpose <perm = [0, 2, 1]> (e)
                }
            >
        }""",
    "a DequantizeLinear that became an output stays": """
        <ir_version: 10, opset_import: ["" : 21]>
        found (float[2,2,2] x) => (float[1,1,2,2,2] y, float[1,1,2,2,2] z)
        <float s = {0.03}, int8 o = {0}, int64[5] t = {1, 1, 2, 2, 2}> {
            r = Reshape (x, t)
            q = QuantizeLinear (r, s, o)
            z = DequantizeLinear (q, s, o)
            y = Reshape (z, t)
        }""",
    "what dequantises for two readers stands before both": """
        <ir_version: 8, opset_import: ["" : 17]>
        found (float[1,2,2,2] x) => (float[1,2,2,1,2] y, float[1,2,2,2] z, float[1,2,1,1] m, float[1,2,2,2] d)
        <float s = {0.03}, int8 o = {0}, int64[1] axis = {3}, int64[5] t = {1, 2, 1, 2, 2},
         int64[4] u = {1, 2, 2, 2}, float[2,1,1,1] w = {1, 2}> {
            c = Conv <group = 2> (x, w)
            q = QuantizeLinear (c, s, o)
            d = DequantizeLinear (q, s, o)
            r = Reshape (d, t)
            p = Transpose <perm = [0, 2, 1, 3, 4]> (r)
            z = Reshape (p, u)
            y = Unsqueeze (d, axis)
            m = GlobalMaxPool (d)
        }""",
    "a size that both branches have is not what is declared": """
        <ir_version: 8, opset_import: ["" : 20]>
        found (float[n] x, bool yes) => (int64[1] y)
        <float[1] a, int64[1] axis = {0}, int64[2] pads = {1, 0}> {
            r = Pad (x, pads)
            a = If (yes) <
                then_branch = then () => (float[m] c) { c = Abs (r) },
                else_branch = otherwise () => (float[m] d) { d = Neg (r) }
            >
            b = Unsqueeze (a, axis)
            y = Shape <start = 1> (b)
        }""",
}


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND.keys())
def test_what_was_found_stays_found(text: str, way: tuple[str, str, str]) -> None:
    model = onnx.parser.parse_model(text)
    for number in range(2):
        agree(Graph(model, _fed(model, number)), *way)


def _fed(model: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Noise for every input, True or False by the seed; symbols are 3."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [dim.dim_value or 3 for dim in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        array = rng.standard_normal(shape) if dtype != np.bool_ else np.full(shape, seed == 0)
        feeds[value.name] = np.asarray(array, dtype)
    return feeds


def test_a_broken_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: it fails if a Concat forgets to move its axis."""
    monkeypatch.setitem(RULES, "Concat", replace(RULES["Concat"], rewrite=lambda move: None))

    @settings(max_examples=1000, phases=[Phase.generate])
    @given(graphs(), st.sampled_from(WAYS))
    def search(graph: Graph, way: tuple[str, str, str]) -> None:
        agree(graph, *way)

    with pytest.raises(Exception, match=r"Concat|differs|accepted"):
        search()
