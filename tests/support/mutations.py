"""Faults as a compiler of layouts makes them, put into a converted model: does the comparison see them?

A mutation that leaves every output as it was, bit for bit, is no fault on what was fed, and is not counted.
Nor is one that moves roundings only: a bias that the normalisation behind it takes out, or that softmax does,
may be permuted, which double precision shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.verification.judging import Judge
from onnx_nhwc.verification.runtime import Session
from tests.support.doubled import run_in_double
from tests.support.running import Feeds, Perms, layouts, stored

__all__ = ["KINDS", "Tally", "mutated", "tally"]

Array = NDArray[Any]
Mutation = Callable[[onnx.ModelProto], None]


def _transposed(array: Array) -> Array | None:
    """A kernel whose axes of one size are swapped, the last such pair."""
    pairs = [(a, b) for a, b in combinations(range(array.ndim), 2) if array.shape[a] == array.shape[b] > 1]
    return array.swapaxes(*pairs[-1]) if pairs else None


def _rolled(array: Array) -> Array | None:
    """Channels in another order: each takes its neighbour's place along the longest axis."""
    return np.roll(array, 1, int(np.argmax(array.shape))) if array.ndim else None


def _weights(change: Callable[[Array], Array | None]) -> Callable[[onnx.ModelProto], list[Mutation]]:
    def find(model: onnx.ModelProto) -> list[Mutation]:
        found: list[Mutation] = []
        for index, tensor in enumerate(model.graph.initializer):
            if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
                continue
            other = change(numpy_helper.to_array(tensor))
            if other is not None and not np.array_equal(other, numpy_helper.to_array(tensor)):
                found.append(_put(index, other))
        return found

    return find


def _put(index: int, array: Array) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[index]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))

    return mutate


def _attributes(model: onnx.ModelProto) -> list[Mutation]:
    """Axes that are off by one, permutations with two entries swapped."""
    found: list[Mutation] = []
    for index, node in enumerate(model.graph.node):
        for place, entry in enumerate(node.attribute):
            if entry.name == "axis" or (entry.name == "perm" and len(entry.ints) > 1):
                found.append(_other_attribute(index, place))
    return found


def _other_attribute(index: int, place: int) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        entry = model.graph.node[index].attribute[place]
        if entry.name == "axis":
            entry.i = entry.i - 1 if entry.i != 0 else 1
        else:
            entry.ints[-2], entry.ints[-1] = entry.ints[-1], entry.ints[-2]

    return mutate


def _doors(model: onnx.ModelProto) -> list[Mutation]:
    """An input whose layout is another than the metadata say: two of its axes of one size are swapped."""
    found: list[Mutation] = []
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        pairs = [(a, b) for a, b in combinations(range(len(sizes)), 2) if sizes[a] == sizes[b] > 1]
        if pairs and value.name not in constants:
            found.append(_swapped_input(value.name, len(sizes), pairs[-1]))
    return found


def _swapped_input(name: str, rank: int, pair: tuple[int, int]) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        perm = list(range(rank))
        perm[pair[0]], perm[pair[1]] = pair[1], pair[0]
        for node in model.graph.node:
            for index, operand in enumerate(node.input):
                if operand == name:
                    node.input[index] = f"{name}/swapped"
        model.graph.node.insert(0, onnx.helper.make_node("Transpose", [name], [f"{name}/swapped"], perm=perm))

    return mutate


KINDS: dict[str, Callable[[onnx.ModelProto], list[Mutation]]] = {
    "kernel transposed": _weights(_transposed),
    "channels permuted": _weights(_rolled),
    "axis or permutation changed": _attributes,
    "input axes swapped": _doors,
}


@dataclass
class Tally:
    """How many faults were put in, how many were seen, and which were not."""

    faults: int = 0
    caught: int = 0
    without_effect: int = 0
    missed: list[str] = field(default_factory=list)
    only_roundings: list[str] = field(default_factory=list)


def mutated(model: onnx.ModelProto, kind: str, most: int, seed: int) -> Iterator[onnx.ModelProto]:
    """Copies of a model with one fault of a kind each, ``most`` of them, drawn with the seed."""
    options = KINDS[kind](model)
    order = np.random.default_rng(seed).permutation(len(options))[:most]
    for index in sorted(order):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        options[index](copy)
        yield copy


def tally(
    source: onnx.ModelProto, converted: onnx.ModelProto, feeds: Feeds, kinds: Sequence[str], most: int
) -> dict[str, Tally]:
    """Put faults into ``converted``, and judge each as both comparisons do, ONNX's and the wider of Keras."""
    session = Session(source, "source", False)
    expected = session.run(feeds)
    perms: Perms = layouts(converted)
    given = stored(feeds, perms)
    right = Session(converted, "converted", False).run(given)
    judges = [Judge(source, [feeds], [expected], session.outputs, roundings=wide) for wide in (False, True)]
    found = {kind: Tally() for kind in kinds}
    for kind, count in found.items():
        for number, model in enumerate(mutated(converted, kind, most, seed=len(kind))):
            try:
                actual = Session(model, "converted", False).run(given)
            except VerificationError:  # onnxruntime itself refuses it
                count.faults += 1
                count.caught += 1
                continue
            if all(
                np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
                for a, b in zip(right, actual, strict=True)
            ):
                count.without_effect += 1
                continue
            if all(not all(c.ok for c in judge.compare(actual, perms["outputs"])) for judge in judges):
                count.caught += 1
            elif _same_in_double(converted, model, given):
                count.only_roundings.append(f"{kind} {number}")
                continue
            else:
                count.missed.append(f"{kind} {number}")
            count.faults += 1
    return found


def _same_in_double(model: onnx.ModelProto, other: onnx.ModelProto, feeds: Feeds) -> bool:
    """Whether two models compute the same but for the roundings of double precision."""
    pairs = zip(run_in_double(model, feeds), run_in_double(other, feeds), strict=True)
    return all(np.abs(a - b).max(initial=0) <= 1e-12 * np.abs(a).max(initial=0) for a, b in pairs)
