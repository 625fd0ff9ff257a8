"""Every row of the rule table keeps the law: see ``tests/support/law.py``."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

import pytest
from onnx.defs import onnx_opset_version

from onnx_nhwc.passes.algebra.layout import Step, Transpose, invert
from onnx_nhwc.passes.rules import RULES, axes, contraction, normalization, shaping, views
from onnx_nhwc.passes.rules.recurrent import RecurrentRule
from onnx_nhwc.passes.rules.relation import Relation, Rule, Site
from onnx_nhwc.passes.rules.spatial import spatial
from tests import cases
from tests.support.case import VARIANTS, Case, versions
from tests.support.law import check

CASES: list[Case] = [
    test
    for module in pkgutil.iter_modules(cases.__path__)
    for test in importlib.import_module(f"tests.cases.{module.name}").CASES
]


def _parameters() -> list[object]:
    return [
        pytest.param(
            test,
            opset,
            id=f"{test}-{opset}",
            marks=pytest.mark.skipif(
                not test.runs, reason="neither onnxruntime nor this onnx runs the source"
            ),
        )
        for test in CASES
        for opset in test.opsets
    ]


@pytest.mark.parametrize(("test", "opset"), _parameters())
def test_rule_commutes_with_its_layout(test: Case, opset: int) -> None:
    """f(x) moved to the layout == rewritten f on x already there."""
    for variant in VARIANTS:
        if test.whole and variant is not VARIANTS[0]:
            continue
        if test.dynamic or not variant.dynamic:
            check(test, opset, variant)


EXCUSED = {
    ("GlobalLpPool", 22): "neither onnxruntime nor onnx's evaluator runs it",
    ("MaxRoiPool", 22): "neither onnxruntime nor onnx's evaluator runs it",
    ("Multinomial", 22): "neither onnxruntime nor onnx's evaluator runs it",
    ("GroupNormalization", 18): "deprecated; its scale has another shape, so the row makes it a barrier",
    ("Upsample", 10): "deprecated",
    ("Scatter", 11): "deprecated",
    ("Scan", 8): "its body has an implicit batch axis; onnxruntime alone runs it",
}
"""Forms without a case, and why."""

FIRST = {"BitCast": 26, "CumProd": 26}
"""The first opset of operators that the oldest onnx admitted does not know yet."""


def test_every_row_has_a_case_in_every_form_of_its_operator() -> None:
    tested = {(test.op, opset) for test in CASES for opset in test.opsets}
    missing = {(op, opset) for op in RULES for opset in versions(op) if (op, opset) not in tested} - set(
        EXCUSED
    )
    assert not missing, f"add a case to tests/cases: {sorted(missing)}"
    unknown = {op for op in RULES if not versions(op) and FIRST.get(op, 0) <= onnx_opset_version()}
    assert not unknown, f"onnx knows no such operator: {unknown}"
    assert not tested & set(EXCUSED), "these have a case after all"


def _case(op: str, note: str = "") -> Case:
    return next(test for test in CASES if test.op == op and note in str(test))


def _swapped(site: Site) -> list[Step] | None:
    """A Transpose the wrong way round."""
    return [Transpose(invert(tuple(site.attribute("perm"))))]


BREAKAGES = {
    "Concat's axis stays": (_case("Concat"), Rule(axes.concat, None)),
    "Softmax's axis stays": (_case("Softmax", "axis=1"), Rule(axes.softmax, None)),
    "Pad's pads stay": (_case("Pad", "edge"), Rule(shaping.pad, None)),
    "Shape tells the stored order": (_case("Shape"), Rule(shaping.shape, None)),
    "Tile repeats other axes": (_case("Tile"), Rule(shaping.tile, None)),
    "MatMul runs in any order": (
        _case("MatMul", "abcd abde"),
        Rule(lambda site: replace(contraction.matmul(site), allows=None)),
    ),
    "Add forgets to align at the last axis": (
        _case("Add", "abcd cd"),
        Rule(lambda site: Relation(((0, 1, 2, 3), (0, 1)), ((0, 1, 2, 3),), broadcast=frozenset(range(4)))),
    ),
    "Conv's kernel is stored O,I": (
        _case("Conv", "nchw"),
        spatial("n c s, b a k, - -> n d s'"),
    ),
    "LSTM's directions come before its batch": (
        _case("LSTM", "bidirectional"),
        RecurrentRule(
            lambda site: replace(RULES["RNN"].relate(site), outputs=((0, 2, 1, 4), None, None)),
            RULES["LSTM"].rewrite,
        ),
    ),
    "Transpose runs backwards": (
        _case("Transpose", "[0, 3, 1, 2]".replace("[", "(").replace("]", ")")),
        Rule(views.opaque, view=_swapped),
    ),
    "LayerNormalization keeps its scale in place": (
        _case("LayerNormalization", "=cd =cd"),
        Rule(lambda site: _only_first(normalization.layer(site)), normalization.move_layer),
    ),
}


def _only_first(relation: Relation) -> Relation:
    return replace(relation, inputs=(relation.inputs[0], None, None))


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_row_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: distinct sizes see it, and so do equal ones."""
    test, broken = BREAKAGES[name]
    opset = test.opsets[-1]
    variants = VARIANTS[:1] if test.op == "Shape" else VARIANTS[:2]  # equal sizes are told in any order
    for variant in variants:
        check(test, opset, variant)
    monkeypatch.setitem(RULES, test.op, broken)
    for variant in variants:
        with pytest.raises(Exception, match=r".") as caught:  # a wrong model may also not load
            check(test, opset, variant)
        assert not isinstance(caught.value, (AttributeError, TypeError, KeyError)), caught.value
