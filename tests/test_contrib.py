"""Operators of com.microsoft run in the layout of what surrounds them, and compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.running import Session, converted, differences, layouts, stored, transposes

RNG = np.random.default_rng(6)
X = RNG.standard_normal((2, 3, 6, 5)).astype(np.float32)
Q = "q = QuantizeLinear(p, s, z)"
END = "y = DequantizeLinear(r, s, z)"
BODIES = {
    "QLinearAdd": f"{Q}  r = com.microsoft.QLinearAdd(q, s, z, q, t, z, t, z)  {END}",
    "QLinearAdd of a column": f"{Q}  r = com.microsoft.QLinearAdd(q, s, z, k, t, z, t, z)  {END}",
    "QLinearMul": f"{Q}  r = com.microsoft.QLinearMul(q, s, z, k, t, z, t, z)  {END}",
    "QLinearSigmoid": f"{Q}  r = com.microsoft.QLinearSigmoid(q, s, z, t, z)  {END}",
    "QLinearLeakyRelu": f"{Q}  r = com.microsoft.QLinearLeakyRelu<alpha = 0.2>(q, s, z, t, z)  {END}",
    "QLinearConcat": f"{Q}  r = com.microsoft.QLinearConcat<axis = 1>(t, z, q, s, z, q, t, z)  {END}",
    "QLinearConcat behind": f"{Q}  r = com.microsoft.QLinearConcat<axis = -1>(t, z, q, s, z, q, t, z)  {END}",
    "QLinearGlobalAveragePool": f"{Q}  r = com.microsoft.QLinearGlobalAveragePool(q, s, z, t, z)  {END}",
    "Gelu": "y = com.microsoft.Gelu(p)",
    "QuickGelu": "y = com.microsoft.QuickGelu<alpha = 1.7>(p)",
    "FastGelu": "y = com.microsoft.FastGelu(p)",
    "BiasGelu": "m = Relu(p)  y = com.microsoft.BiasGelu(m, b)",
}
FORCED = {"BiasGelu"}
"""Those that the source's order is forced upon: the bias lies along the last axis."""


def model(body: str, size: str = "2,3,6,5") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[{size}] x) => (float[N,C,H,W] y)
        <float s = {{0.05}}, float t = {{0.07}}, uint8 z = {{120}}, uint8[3,1,1] k = {{9, 140, 250}},
         float[5] b = {{0.1, 0.2, 0.3, 0.4, 0.5}}> {{
            p = MaxPool<kernel_shape = [1, 1]>(x)  {body}
        }}"""
    )


@pytest.mark.parametrize("name", BODIES)
def test_a_contributed_operator_follows_the_layout(name: str) -> None:
    source, feeds = model(BODIES[name]), {"x": X}
    for to in ("channels-last", "channels-first"):
        for dialect in ("functions", "standard"):
            result, summary = converted(source, to=to, dialect=dialect)
            assert not summary.barriers
            perms: Any = layouts(result)
            if dialect == "functions" and name not in FORCED:
                assert not transposes(result)
            for optimized in (False, True):
                expected = Session(source, optimized).run(feeds)
                actual = Session(result, optimized).run(stored(feeds, perms))
                assert not differences(["y"], expected, actual, perms)
