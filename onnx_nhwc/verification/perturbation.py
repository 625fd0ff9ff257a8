"""A model whose roundings fall otherwise: what its results move by is noise, in any order of sums.

Every float that is computed from the inputs, and each float input, is multiplied by a random factor within an
ulp of 1 (as in Monte Carlo arithmetic: D. S. Parker, 1997). Inputs alone would not do: where weights
are constant, all elements of a value then move together, while another order of sums moves each by itself.
Where another runtime computes the result, some few of each quantiser's results, and one at least, are a step
away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import TensorProto, helper

from onnx_nhwc.verification.ancestry import SIZES, Flow, is_quantiser

__all__ = ["perturbed"]

_ULPS: dict[int, float] = {  # type -> the distance of 1 from the next number
    TensorProto.DOUBLE: 2.0**-52,
    TensorProto.FLOAT: 2.0**-23,
    TensorProto.FLOAT16: 2.0**-10,
    TensorProto.BFLOAT16: 2.0**-7,
}
_EIGHT_BITS: dict[int, float] = {
    TensorProto.FLOAT8E4M3FN: 2.0**-3,
    TensorProto.FLOAT8E4M3FNUZ: 2.0**-3,
    TensorProto.FLOAT8E5M2: 2.0**-2,
    TensorProto.FLOAT8E5M2FNUZ: 2.0**-2,
}
_LIMITS: dict[int, tuple[int, int]] = {
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-(2**15), 2**15 - 1),
    TensorProto.UINT16: (0, 2**16 - 1),
}
_ONE_IN = 1024
"""One in so many of a quantiser's results is a step away."""

_EXACT = frozenset(
    {
        *("Abs", "ArgMax", "ArgMin", "Cast", "CastLike", "Ceil", "Clip", "Compress", "Concat"),
        *("ConcatFromSequence", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "Flatten", "Floor"),
        *("Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "If", "Loop", "Max"),
        *("MaxPool", "MaxRoiPool", "MaxUnpool", "Min", "Neg", "NonZero", "OneHot", "Pad", "Range"),
        *("ReduceMax", "ReduceMin", "Relu", "Reshape", "ReverseSequence", "Scan", "ScatterElements"),
        *("ScatterND", "Sign", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK", "Transpose"),
        *("Trilu", "Unique", "Unsqueeze", "Upsample", "Where", *SIZES),
    }
)
"""Operators that round nothing, whose results move as what they read does."""


def perturbed(model: onnx.ModelProto, seed: int, roundings: bool) -> onnx.ModelProto:
    """Return a model that draws other noise in each of its runs, the same for the same seed.

    Args:
        model: Its external data need not be loaded.
        seed: Seeds of the noise are made from it.
        roundings: Let some results of quantisers be a step away, too.
    """
    flow = Flow(model)
    result = onnx.ModelProto()
    result.CopyFrom(flow.model)
    _Noise(flow, seed, roundings).apply(result.graph, is_main=True)
    return result


class _Noise:
    def __init__(self, flow: Flow, seed: int, roundings: bool) -> None:
        self._flow = flow
        self._roundings = roundings
        self._seed = 1_000_003 * (seed + 1)
        self._count = 0

    def apply(self, graph: onnx.GraphProto, is_main: bool) -> None:
        """Put noise behind each rounding; bodies are changed first."""
        old = list(graph.node)
        del graph.node[:]
        if is_main:
            self._inputs(graph, old)
        for node in old:
            for entry in node.attribute:
                for body in (*([entry.g] if entry.HasField("g") else []), *entry.graphs):
                    self.apply(body, is_main=False)
            after: list[onnx.NodeProto] = []
            for index, name in enumerate(node.output):
                if name and name in self._flow.live and self._moves(node, index):
                    exact = f"{name}/exact"
                    nodes = list(self._behind(exact, name, self._flow.types.get(name, 0), node, index))
                    if nodes:
                        node.output[index] = exact
                        after += nodes
            graph.node.extend([node, *after])

    def _inputs(self, graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
        constants = {tensor.name for tensor in graph.initializer}
        for value in graph.input:
            kind = value.type.tensor_type.elem_type
            if value.name in constants or kind not in _ULPS:
                continue
            moved = f"{value.name}/moved"
            graph.node.extend(self._ulp(value.name, moved, kind))
            for node in nodes:
                _rename(node, value.name, moved)

    def _moves(self, node: onnx.NodeProto, index: int) -> bool:
        if is_quantiser(node) and index == 0:
            return self._roundings
        return node.op_type not in _EXACT

    def _behind(
        self, exact: str, name: str, kind: int, node: onnx.NodeProto, index: int
    ) -> Iterator[onnx.NodeProto]:
        if is_quantiser(node) and index == 0:
            if not kind and node.op_type.startswith("QLinear"):
                kind = next((k for n in node.input if (k := self._flow.types.get(n, 0)) in _LIMITS), 0)
            if kind in _LIMITS or kind in _EIGHT_BITS or kind in _ULPS:
                yield from self._step(exact, name, kind)
        elif kind in _ULPS:
            yield from self._ulp(exact, name, kind)

    def _random(self, like: str, name: str, reach: float, kind: int) -> onnx.NodeProto:
        self._count += 1
        seed = float((self._seed + 7919 * self._count) % 2**24)
        return helper.make_node(
            "RandomUniformLike", [like], [name], low=-reach, high=reach, dtype=kind, seed=seed
        )

    def _ulp(self, exact: str, name: str, kind: int) -> Iterator[onnx.NodeProto]:
        """``name`` = ``exact`` * exp(a random number of the size of an ulp)."""
        own = kind if kind in (TensorProto.FLOAT, TensorProto.DOUBLE) else TensorProto.FLOAT
        wide = exact if own == kind else f"{name}/wide"
        if own != kind:
            yield helper.make_node("Cast", [exact], [wide], to=own)
        yield self._random(wide, f"{name}/noise", _ULPS[kind], own)
        yield helper.make_node("Exp", [f"{name}/noise"], [f"{name}/factor"])
        product = name if own == kind else f"{name}/product"
        yield helper.make_node("Mul", [wide, f"{name}/factor"], [product])
        if own != kind:
            yield helper.make_node("Cast", [product], [name], to=kind)

    def _step(self, exact: str, name: str, kind: int) -> Iterator[onnx.NodeProto]:
        """``name`` = ``exact``, but a step away in some places."""

        def node(op: str, *operands: str, **attributes: Any) -> onnx.NodeProto:
            made = helper.make_node(op, operands[:-1], [f"{name}/{operands[-1]}"], **attributes)
            made.input[:] = [
                operand if operand == exact else f"{name}/{operand}" for operand in operands[:-1]
            ]
            return made

        def number(label: str, value: float) -> onnx.NodeProto:
            return helper.make_node(
                "Constant", [], [f"{name}/{label}"], value=helper.make_tensor("", 1, [], [value])
            )

        yield node("Cast", exact, "wide", to=TensorProto.FLOAT)
        yield self._random(f"{name}/wide", f"{name}/draw", 1.0, TensorProto.FLOAT)
        yield node("Abs", "draw", "far")
        yield node("ReduceMax", "far", "farthest")
        yield number("rare", 1 - 1 / _ONE_IN)
        yield node("Min", "farthest", "rare", "limit")
        yield node("Less", "far", "limit", "kept")
        yield node("Not", "kept", "taken")
        yield node("Cast", "taken", "chosen", to=TensorProto.FLOAT)
        yield node("Sign", "draw", "sign")
        yield node("Mul", "chosen", "sign", "away")
        if kind in _EIGHT_BITS:  # a step is relative to the number
            yield number("step", _EIGHT_BITS[kind])
            yield node("Mul", "away", "step", "share")
            yield node("Mul", "wide", "share", "more")
            yield node("Add", "wide", "more", "result")
        elif kind in _LIMITS:
            yield node("Add", "wide", "away", "sum")
            yield number("low", _LIMITS[kind][0])
            yield number("high", _LIMITS[kind][1])
            yield node("Max", "sum", "low", "above")
            yield node("Min", "above", "high", "result")
        else:
            yield node("Add", "wide", "away", "result")
        yield helper.make_node("Cast", [f"{name}/result"], [name], to=kind)


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    """Let a node, and the bodies in it, read another value."""
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new
    for entry in node.attribute:
        for body in (*([entry.g] if entry.HasField("g") else []), *entry.graphs):
            if any(value.name == old for value in body.input):
                continue
            for inner in body.node:
                _rename(inner, old, new)
            for value in body.output:
                if value.name == old:
                    value.name = new
