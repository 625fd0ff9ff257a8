"""A second net: the operator tests that come with onnx, each converted as it is.

Every case whose model onnxruntime runs is converted in both dialects, and once with every input and output
pinned to channels last; the result has to load and to compute the same, permuted as the metadata says. CI
runs every fourth case; ``ONNX_NHWC_ALL_CASES=1`` runs all.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnx_nhwc.passes.algebra.layout import channels_last
from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.pipeline import convert
from tests.support.case import NEWEST, OLDEST
from tests.support.law import compare, onnxruntime

STEP = 1 if os.environ.get("ONNX_NHWC_ALL_CASES") else 4
TOLERANCE = 1e-4
RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
DRAWS = {"Dropout", "Multinomial", *RANDOM}
"""Operators that draw random numbers: two runs of one model differ already."""


@cache
def _cases() -> dict[str, Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = {test.name: test for test in collect_testcases(None) if test.model is not None}
    return {name: found[name] for name in sorted(found) if _supported(found[name].model)}


def _supported(model: onnx.ModelProto) -> bool:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    draws = any(node.op_type in DRAWS for node in model.graph.node)
    return OLDEST <= opsets.get("", OLDEST) <= NEWEST and not draws


NAMES = list(_cases())[::STEP]


def _feeds(model: onnx.ModelProto, data: tuple[Any, Any]) -> Mapping[str, Any]:
    inputs = [value.name for value in model.graph.input]
    return dict(zip(inputs, data[0], strict=False))


@pytest.mark.parametrize("name", NAMES)
def test_a_case_of_onnx_survives_conversion(name: str) -> None:
    test = _cases()[name]
    model, feeds = test.model, _feeds(test.model, test.data_sets[0])
    try:
        expected = onnxruntime(model, feeds)
    except Exception:
        pytest.skip("onnxruntime does not run the source")
    pins = {value.name: channels_last(rank) for value, rank in _ranked(model) if rank > 2}
    for dialect, layouts in (("functions", {}), ("standard", {}), ("functions", pins)):
        source = ir.from_proto(model)
        summary = convert(source, Options(dialect=dialect, layouts=layouts))
        result = ir.to_proto(source)
        permuted = {k: _moved(v, summary.inputs.get(k, ())) for k, v in feeds.items()}
        actual = onnxruntime(result, permuted)
        outputs = [summary.outputs[v.name] or None for v in model.graph.output]
        compare(expected, actual, outputs, TOLERANCE, f"{name} {dialect} {layouts}")


def _ranked(model: onnx.ModelProto) -> Iterator[tuple[onnx.ValueInfoProto, int]]:
    """The inputs and outputs that are tensors of known rank."""
    for value in (*model.graph.input, *model.graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            yield value, len(value.type.tensor_type.shape.dim)


def _moved(value: Any, perm: tuple[int, ...]) -> Any:
    if not isinstance(value, np.ndarray) or perm == tuple(range(len(perm))):
        return value
    return np.array(np.transpose(value, perm), order="C")
