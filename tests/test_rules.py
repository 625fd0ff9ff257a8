"""Every row of the rule table keeps the law: see ``tests/law.py``."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from tests import cases
from tests.law import VARIANTS, Case, check

CASES: list[Case] = [
    test
    for module in pkgutil.iter_modules(cases.__path__)
    for test in importlib.import_module(f"tests.cases.{module.name}").CASES
]


def _parameters() -> list[object]:
    return [
        pytest.param(test, opset, id=f"{test}-{opset}") for test in CASES for opset in test.opsets
    ]


@pytest.mark.parametrize(("test", "opset"), _parameters())
def test_rule_commutes_with_its_layout(test: Case, opset: int) -> None:
    """f(x) moved to the layout == rewritten f on x already there."""
    for variant in VARIANTS:
        if test.whole and variant is not VARIANTS[0]:
            continue
        if test.dynamic or not variant.dynamic:
            check(test, opset, variant)
