"""Whole random graphs: source and result agree, whatever the operators and the layouts.

make fuzz        3,000 graphs
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onnx_nhwc.passes.rules import RULES
from tests.graphs import Graph, graphs
from tests.running import Session, accepted, converted, differences, layouts, stored

WAYS = [
    (dialect, io, to)
    for dialect in ("functions", "standard")
    for io in ("auto", "keep")
    for to in ("channels-last", "channels-first")
]


def agree(graph: Graph, dialect: str, io: str, to: str) -> None:
    model, _ = converted(graph.model, dialect=dialect, io=io, to=to)
    if not accepted(graph.model):
        assert accepted(model) == "", "the checker no longer accepts it"
    source = Session(graph.model)
    perms = layouts(model)
    if io == "keep":
        assert all(perm == sorted(perm) for kind in perms.values() for perm in kind.values())
    actual = Session(model).run(stored(graph.feeds, perms))
    found = differences(source.names, source.run(graph.feeds), actual, perms)
    assert not found, found[0]


@given(graphs(), st.sampled_from(WAYS))
def test_source_and_result_agree(graph: Graph, way: tuple[str, str, str]) -> None:
    agree(graph, *way)


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
}


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND.keys())
def test_what_was_found_stays_found(text: str, way: tuple[str, str, str]) -> None:
    model = onnx.parser.parse_model(text)
    for seed in range(2):
        agree(Graph(model, _fed(model, seed)), *way)


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
