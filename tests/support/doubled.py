"""A model in double precision: what it computes but for float's roundings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.support.running import Feeds

__all__ = ["run_in_double"]


def run_in_double(model: onnx.ModelProto, feeds: Feeds) -> list[Any]:
    """A model's outputs on onnx's reference evaluator, computed in double precision."""
    double = onnx.inliner.inline_local_functions(model)
    for tensor in double.graph.initializer:
        _widen_tensor(tensor)
    for value in (*double.graph.input, *double.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del double.graph.value_info[:]
    _widen(double.graph.node)
    wide = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in feeds.items()}
    return list(ReferenceEvaluator(double).run(None, wide))


def _widen(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for entry in node.attribute:
            _widen_tensor(entry.t)
            _widen(entry.g.node)
            if node.op_type == "Cast" and entry.name == "to" and entry.i == TensorProto.FLOAT:
                entry.i = TensorProto.DOUBLE


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
