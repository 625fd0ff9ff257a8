"""Converting a model and running it beside its source: what the tests of whole models share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from onnx_nhwc import files
from onnx_nhwc.files.weights import to_proto
from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.pipeline import METADATA, convert
from onnx_nhwc.passes.rules import RULES
from onnx_nhwc.passes.rules.spatial import SpatialRule
from onnx_nhwc.passes.summary import Summary
from onnx_nhwc.verification.comparison import compare

Feeds = Mapping[str, NDArray[Any]]
Perms = dict[str, dict[str, list[int]]]

SPATIAL = {name for name, rule in RULES.items() if isinstance(rule, SpatialRule)}
"""Operators that the standard defines channels first."""


def converted(model: onnx.ModelProto, **options: Any) -> tuple[onnx.ModelProto, Summary]:
    """The converted model and what was done; ``model`` is left as it is."""
    work = files.from_proto(model)
    summary = convert(work, Options(**options))
    return to_proto(work), summary


def layouts(model: onnx.ModelProto) -> Perms:
    """How a converted model stores its inputs and outputs."""
    (text,) = (entry.value for entry in model.metadata_props if entry.key == METADATA)
    return dict(json.loads(text))


def accepted(model: onnx.ModelProto) -> str:
    """What the checker has against a model; empty if nothing."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        return str(error) or repr(error)
    return ""


APPROXIMATE = ("WeightBiasQuantization",)
"""Optimisations of onnxruntime that change results: this one rounds float weights to 8 bits."""


class Session:
    """A model on onnxruntime, one thread."""

    def __init__(
        self, model: onnx.ModelProto, optimized: bool = False, without: Sequence[str] = APPROXIMATE
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.x64quantprecision", "1")  # as the comparison does
        if not optimized:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        self.names = [value.name for value in model.graph.output]
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(without),
        )

    def run(self, feeds: Feeds) -> list[Any]:
        return list(self._session.run(self.names, dict(feeds)))


def stored(feeds: Feeds, perms: Perms) -> dict[str, NDArray[Any]]:
    """Inputs of the source as the converted model reads them."""
    return {
        name: np.ascontiguousarray(np.transpose(value, perms["inputs"][name]))
        for name, value in feeds.items()
    }


def differences(
    names: Sequence[str],
    expected: Sequence[Any],
    actual: Sequence[Any],
    perms: Perms,
    **tolerances: float,
) -> list[str]:
    """Where the converted model's outputs are not the source's, transposed."""
    compared = (
        compare(name, a, b, perms["outputs"][name] or None, **tolerances)
        for name, a, b in zip(names, expected, actual, strict=True)
    )
    return [f"output '{c.name}' differs: {c.reason}" for c in compared if not c.ok]


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the bodies in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from nodes(body)


def transposes(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    """The permutation of every Transpose that a viewer of the graph sees."""
    found = (node for node in nodes(model.graph) if node.op_type == "Transpose")
    return [tuple(node.attribute[0].ints) if node.attribute else () for node in found]


def census(model: onnx.ModelProto) -> Counter[tuple[str, str]]:
    """How often each operator occurs."""
    return Counter((node.domain, node.op_type) for node in nodes(model.graph))
