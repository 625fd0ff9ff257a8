"""Control flow: branches whose condition is known, or whose results are alike."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnx_nhwc.export.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["if_"]


def if_(call: Call) -> Any:
    """If on a constant is one branch; else both are computed, and one is chosen."""
    then, other = (call.attribute(name) for name in ("then_branch", "else_branch"))
    known = call.constant(0)
    if known is not None:
        branch = then if bool(known.array.reshape(-1)[0]) else other
        return [call.walk.fact(v) for v in _evaluated(call, branch)]
    steps = call.walk.steps
    condition = steps.scalar(call.tensor(0))
    results = []
    for a, b in zip(_evaluated(call, then), _evaluated(call, other), strict=True):
        x, y = call.walk.symbolic(a), call.walk.symbolic(b)
        if call.walk.dims(a) != call.walk.dims(b):
            raise UnsupportedError("its branches give results of different shapes")
        results.append(steps.choose(condition, x, y))
    return results


def _evaluated(call: Call, branch: ir.Graph) -> list[ir.Value]:
    before = len(call.walk.errors)
    for node in branch:
        call.walk.evaluate(node)
    if len(call.walk.errors) > before:
        raise UnsupportedError("its branch cannot be expressed")
    return list(branch.outputs)
