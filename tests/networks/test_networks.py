"""Whole networks: each computes what its source computes, and no Transpose is left without a reason.

Every model of the catalogue is converted in both dialects and compared with its source on
onnxruntime, with graph optimizations off and on, with the tolerances of ``onnx_nhwc.verify``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnx_ir.passes.common
import pytest

from onnx_nhwc import optimize
from onnx_nhwc.passes import ChannelsLast
from onnx_nhwc.passes.summary import Summary
from tests.models.catalogue import CASES, Case, by_name
from tests.support.running import (
    SPATIAL,
    Session,
    accepted,
    census,
    converted,
    differences,
    layouts,
    nodes,
    stored,
    transposes,
)

DIALECTS = ("functions", "standard")


def parameters(cases: list[Case]) -> list[Any]:
    marks = [pytest.mark.slow]
    return [pytest.param(case, id=case.name, marks=marks if case.heavy else []) for case in cases]


def network(case: Case) -> str:
    return case.name.split("/")[1].split(".")[0]


@lru_cache(maxsize=1)
def source(name: str) -> onnx.ModelProto:
    return by_name(name).load(dense=256)


@lru_cache(maxsize=4)
def session(name: str, optimized: bool) -> Session:
    return Session(source(name), optimized)


@lru_cache(maxsize=2)
def result(name: str, **options: Any) -> tuple[onnx.ModelProto, Summary]:
    return converted(source(name), **options)


EVERY = pytest.mark.parametrize("case", parameters(CASES))
ONCE = pytest.mark.parametrize(
    "case",
    parameters([c for c in CASES if c.family in ("torch", "pitfalls") and not (c.heavy or c.degenerate)]),
)
PLAIN = pytest.mark.parametrize(
    "case",
    parameters([c for c in CASES if c.zero_transposes and not (c.own_transposes or c.heavy or c.degenerate)]),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@EVERY
def test_the_result_computes_the_same(case: Case, dialect: str) -> None:
    model, _ = result(case.name, dialect=dialect)
    if not accepted(source(case.name)):
        assert accepted(model) == ""
    agree(case, model, optimized=False)
    agree(case, model, optimized=True)


def agree(case: Case, model: onnx.ModelProto, optimized: bool) -> None:
    """Compare outputs for every choice of sizes.

    With optimizations on, like is compared with like: optimized source with optimized result. Where
    onnxruntime optimizes the source wrongly, the result may also have what is right.
    """
    truth = session(case.name, False)
    like = session(case.name, optimized)
    ours = Session(model, optimized)
    perms = layouts(model)
    for sizes in range(case.sizes):
        feeds = case.inputs(1, sizes)
        actual = ours.run(stored(feeds, perms))
        found = differences(like.names, like.run(feeds), actual, perms)
        if optimized and found:
            found = differences(truth.names, truth.run(feeds), actual, perms) and found
        assert not found, f"sizes {sizes}: {found[0]}"


@EVERY
def test_no_channels_first_operator_is_left(case: Case) -> None:
    model, summary = result(case.name, dialect="functions")
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for graph in graphs(model.graph)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    named = {barrier.op_type for barrier in summary.barriers}
    left = [
        f"{node.op_type} '{node.name}'"
        for node in nodes(model.graph)
        if node.domain == "" and node.op_type in SPATIAL - named
        if ranks.get(node.input[0]) != 2  # BatchNormalization of features has no image
    ]
    assert not left


def graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    bodies = [
        body
        for node in graph.node
        for attribute in node.attribute
        for body in (attribute.g, *attribute.graphs)
        if body.node
    ]
    return [graph, *(inner for body in bodies for inner in graphs(body))]


@EVERY
def test_transposes_left_are_few_and_have_reasons(case: Case) -> None:
    model, summary = result(case.name, dialect="functions")
    left = transposes(model)
    assert len(left) == summary.transposes_after == len(summary.remaining)
    assert all(sorted(perm) != list(perm) for perm in left), "an identity Transpose"
    assert all(entry.reason and entry.forced_by for entry in summary.remaining)
    if case.zero_transposes:
        assert len(left) <= case.own_transposes
    elif case.family != "pitfalls":
        assert summary.bytes_after <= summary.bytes_before
    if network(case).startswith("shufflenet"):
        assert all(is_shuffle(perm) for perm in left)


def is_shuffle(perm: tuple[int, ...]) -> bool:
    """Whether a Transpose is a shuffle of channels and nothing else: n h w g k -> n h w k g.

    Without a split image (n (h w) g k) or with unit axes dropped, it is the same with fewer axes.
    """
    *outer, first, second = perm
    return outer == list(range(len(outer))) and (first, second) == (len(perm) - 1, len(perm) - 2)


@ONCE
def test_converting_again_changes_nothing(case: Case) -> None:
    """Exactly so where nothing is left to move.

    Elsewhere the second conversion starts from other operators and may meet another choice of layouts,
    which has to compute the same and to move no more than the source did.
    """
    once, before = result(case.name, dialect="functions")
    twice, after = converted(once, dialect="functions")
    if case.zero_transposes:
        assert census(once) == census(twice)
    if case.family == "torch":
        assert after.bytes_after <= max(before.bytes_before, before.bytes_after)
    for perms in layouts(twice).values():
        assert all(perm == sorted(perm) for perm in perms.values())
    perms = layouts(once)
    feeds = case.inputs(1)
    expected = Session(once).run(stored(feeds, perms))
    actual = Session(twice).run(stored(feeds, perms))
    assert not differences([v.name for v in once.graph.output], expected, actual, layouts(twice))


@PLAIN
def test_channels_first_gives_the_source_back(case: Case) -> None:
    last, _ = result(case.name, dialect="functions")
    first, summary = converted(last, to="channels-first")
    # some sources move their channels to the last axis, to normalise them there
    own = len(transposes(source(case.name)))
    assert summary.transposes_after == len(transposes(first)) <= own
    assert {domain for domain, _ in census(first)} == {""}
    perms = {
        kind: {name: [there[name][axis] for axis in back] for name, back in layouts(first)[kind].items()}
        for kind, there in layouts(last).items()
    }
    if case.family == "keras" and ".last." in case.name:
        assert any(perm != sorted(perm) for perm in perms["inputs"].values())
    else:
        assert all(perm == sorted(perm) for perm in perms["inputs"].values())
    feeds = case.inputs(1)
    truth = session(case.name, False)
    actual = Session(first).run(stored(feeds, perms))
    assert not differences(truth.names, truth.run(feeds), actual, perms)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "case",
    parameters([c for c in CASES if c.family == "torch" and c.name.endswith("dynamo.batch")]),
)
def test_inputs_and_outputs_are_kept(case: Case, dialect: str) -> None:
    model, summary = result(case.name, dialect=dialect, io="keep")
    for perms in layouts(model).values():
        assert all(perm == sorted(perm) for perm in perms.values())
    assert summary.inputs == {k: tuple(v) for k, v in layouts(model)["inputs"].items()}
    for kind in ("input", "output"):
        ours, theirs = (getattr(m.graph, kind) for m in (model, source(case.name)))
        assert [(v.name, shape(v)) for v in ours] == [(v.name, shape(v)) for v in theirs]
    agree(case, model, optimized=False)


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims]


@pytest.mark.parametrize("io", ["auto", "keep"])
@pytest.mark.parametrize(
    ("name", "pins"),
    [
        ("torch/unet_transposed.ts.batch", {"x": "NCHW"}),
        ("torch/unet_transposed.ts.batch", {"y": "NCHW"}),
        ("torch/unet_transposed.ts.batch", {"x": "NHWC", "y": (0, 1, 2, 3)}),
        ("torch/unet_transposed.ts.static", {"x": (0, 3, 2, 1)}),
        ("torch/unet_transposed.ts.static", {"x": [0, 2, 3, 1]}),
        ("torch/resnet_basic.dynamo.static", {"x": "NHWC", "y": (1, 0)}),
        ("torch/tcn.dynamo.batch", {"x": "NWC"}),
        ("torch/video.dynamo.batch", {"x": "NDHWC"}),
        ("torch/vit.dynamo.static", {"x": "NHWC"}),
    ],
    ids=str,
)
def test_pins_beat_the_policy(name: str, pins: dict[str, Any], io: str) -> None:
    case = by_name(name)
    ports = {
        "x": source(name).graph.input[0].name,
        "y": source(name).graph.output[0].name,
    }
    model, _ = converted(source(name), io=io, layouts={ports[k]: v for k, v in pins.items()})
    letters = {
        "NCHW": [0, 1, 2, 3],
        "NHWC": [0, 2, 3, 1],
        "NWC": [0, 2, 1],
        "NDHWC": [0, 2, 3, 4, 1],
    }
    found = {**layouts(model)["inputs"], **layouts(model)["outputs"]}
    for port, pin in pins.items():
        assert found[ports[port]] == (letters[pin] if isinstance(pin, str) else list(pin))
    for port in ports.keys() - pins.keys() if io == "keep" else ():
        assert found[ports[port]] == sorted(found[ports[port]])
    agree(case, model, optimized=False)


def test_operators_between_pins_follow_them() -> None:
    """Where no operator wants a layout, the stated one is nobody's reason for a Transpose."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 3, 4, 5] x) => (float[N, 3, 4, 5] y) { z = Relu(x) y = Softmax<axis = 1>(z) }"""
    model, summary = converted(onnx.parser.parse_model(text), layouts={"x": "NHWC", "y": "NHWC"})
    assert summary.transposes_after == 0
    softmax = next(node for node in nodes(model.graph) if node.op_type == "Softmax")
    assert onnx.helper.get_node_attr_value(softmax, "axis") == 3


def test_a_difference_is_seen() -> None:
    """The comparison fails where two channels of the result change places."""
    case = by_name("torch/unet_transposed.ts.static")
    model, _ = converted(case.load())
    bias = next(
        t
        for n in model.graph.node
        if n.op_type.startswith("Conv")
        for t in model.graph.initializer
        if t.name == n.input[2]
    )
    values = onnx.numpy_helper.to_array(bias)
    bias.CopyFrom(onnx.numpy_helper.from_array(np.roll(values, 1), bias.name))
    with pytest.raises(AssertionError, match="differs"):
        agree(case, model, optimized=False)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["torch/mobilenetv3.dynamo.batch", "torch/unet_bilinear.dynamo.hw"])
def test_an_onnx_ir_pipeline_gives_what_the_command_line_gives(
    name: str, dialect: str, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    onnx.save(source(name), before)
    arguments = [str(before), str(after), "--dialect", dialect, "--no-verify", "--quiet"]
    assert optimize.main(arguments) == 0
    pipeline = onnx_ir.passes.Sequential(
        onnx_ir.passes.common.RemoveUnusedNodesPass(), ChannelsLast(dialect=dialect)
    )
    model = onnx_ir.to_proto(pipeline(onnx_ir.load(before)).model)
    assert facts(model) == facts(onnx.load(after))
    agree(by_name(name), model, optimized=False)


def facts(model: onnx.ModelProto) -> dict[str, Any]:
    """Everything but the order in which weights and functions are written."""
    weights = {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}
    return {
        "nodes": [node.SerializeToString(deterministic=True) for node in nodes(model.graph)],
        "functions": sorted(f.SerializeToString(deterministic=True) for f in model.functions),
        "ports": [v.SerializeToString() for v in (*model.graph.input, *model.graph.output)],
        "opsets": sorted((x.domain, x.version) for x in model.opset_import),
        "layouts": layouts(model),
        "weights": weights,
    }
