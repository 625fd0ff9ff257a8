"""The table of operators for the README: ``python -m onnx_nhwc.export.keras.operators``."""

from __future__ import annotations

from typing import Any

import onnx

from onnx_nhwc.export.keras.table import OPERATORS
from onnx_nhwc.passes.rules import RULES
from onnx_nhwc.passes.rules.recurrent import RecurrentRule
from onnx_nhwc.passes.rules.spatial import SpatialRule

__all__ = ["markdown"]


def markdown() -> str:
    """Return a row for each standard operator: its rule, its function, its form in Keras."""
    rows = ["| operator | layouts | functions dialect | Keras |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {name} | {_rule(name)} | {_function(name)} | {_keras(name)} |"
        for name in sorted({*RULES, *OPERATORS})
    ]
    return "\n".join(rows) + "\n"


def _rule(name: str) -> str:
    rule = RULES.get(name)
    if rule is None:
        return "the source's"
    if isinstance(rule, SpatialRule):
        return "the source's, channels last"
    if isinstance(rule, RecurrentRule):
        return "the source's, batch first"
    if rule.view is not None:
        return "any: it only renames axes"
    return "any" if rule.rewrite is not None or _is_elementwise(name) else "as its definition allows"


def _is_elementwise(name: str) -> bool:
    return RULES[name].relate is RULES["Add"].relate or RULES[name].relate is RULES["Relu"].relate


def _function(name: str) -> str:
    rule = RULES.get(name)
    if isinstance(rule, RecurrentRule):
        return f"as it is, `{name}BatchFirst`"
    return f"`{name}1D`, `2D`, `3D`" if isinstance(rule, SpatialRule) else "as it is"


def _keras(name: str) -> str:
    if name in OPERATORS:
        return "yes"
    try:
        schema: Any = onnx.defs.get_schema(name)
    except onnx.defs.SchemaError:
        return "no"
    defined = schema.has_function or schema.has_context_dependent_function
    return "by its definition" if defined else "no"


if __name__ == "__main__":
    print(markdown(), end="")
