"""Inputs of a model are followed to all who read them, through what only moves or shifts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import helper, numpy_helper

from onnx_nhwc.verification.demands.demand import Array, Demand, Row, Site, Sizes, between

__all__ = ["Demands"]

_LARGE = 1024
"""Constants of more elements are weights, whose values no row asks for."""


class Demands:
    """The inputs of a model of which something is demanded, and values that satisfy it.

    Args:
        model: The model; its external data need not be loaded.
        rows: What each input of an operator demands, by the operator's name and the input's number.
    """

    def __init__(self, model: onnx.ModelProto, rows: Mapping[tuple[str, int], Row]) -> None:
        self._rows = rows
        self._model = _light(onnx.inliner.inline_local_functions(model) if model.functions else model)
        self._opset = next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 1)
        self._uses: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        self._places: dict[str, int] = {}
        for graph in _graphs(self._model.graph):
            for node in graph.node:
                self._places |= dict.fromkeys(node.output, len(self._places))
                for index, name in enumerate(node.input):
                    self._uses.setdefault(name, []).append((node, index))
        constants = {tensor.name for tensor in self._model.graph.initializer}
        self._inputs = [v.name for v in self._model.graph.input if v.name not in constants]

    def values(
        self,
        shapes: Mapping[str, Sequence[int]],
        types: Mapping[str, Any],
        rng: np.random.Generator,
        given: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Choose values for the inputs of which something is demanded.

        Args:
            shapes: The shape of each input.
            types: Its NumPy type.
            rng: Draws what is free.
            given: Inputs whose values are chosen already.
        """
        waiting = [name for name in self._in_order() if name in shapes and name not in given]
        chosen: dict[str, Array] = {}
        if not waiting:
            return chosen
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for value in model.graph.input:
            if value.name in shapes:
                _state(value, shapes[value.name])
        for name, array in given.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        while waiting:
            facts = _Facts(model, self._uses, self._rows, self._opset, rng)
            found = ((name, facts.demand(name)) for name in waiting)
            name, demand = next(((n, d) for n, d in found if d is not None), ("", None))
            if demand is None:
                break
            chosen[name] = demand.draw(shapes[name], types[name], rng)
            # who comes later may count on it
            model.graph.initializer.append(numpy_helper.from_array(chosen[name], name))
            waiting.remove(name)
        return chosen

    def _in_order(self) -> list[str]:
        """The inputs that reach a row, in the order in which they are read."""
        found = [(order, name) for name in self._inputs if (order := self._reach(name, set())) is not None]
        return [name for _, name in sorted(found)]

    def _reach(self, name: str, seen: set[str]) -> int | None:
        if name in seen:
            return None
        seen.add(name)
        orders: list[int | None] = []
        for node, index in self._uses.get(name, ()):
            if (node.op_type, index) in self._rows:
                orders.append(self._places[node.output[0]])
            orders += [self._reach(follower, seen) for follower in _followers(node, index)]
        known = [order for order in orders if order is not None]
        return min(known) if known else None


_MOVES = frozenset({"Identity", "Cast", "CastLike", "Squeeze", "Unsqueeze", "Reshape", "Flatten"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Floor", "Ceil", "Round", "Min", "Max"})


def _followers(node: onnx.NodeProto, index: int) -> Iterator[str]:
    """Values that hold the same numbers as an input of a node, moved or shifted."""
    op = node.op_type
    if (
        (op in _MOVES and index == 0)
        or op in ("Concat", *_ARITHMETIC)
        or (op in ("Gather", "Slice", "Split") and index == 0)
        or (op == "Where" and index > 0)
    ):
        yield from node.output
    bodies = [entry.g for entry in node.attribute if entry.HasField("g")]
    if (op == "Loop" and index > 1) or (op == "Scan" and index < len(bodies[0].input)):
        yield bodies[0].input[index].name


class _Facts:
    """What is known of all values, with the inputs chosen so far."""

    def __init__(
        self,
        model: onnx.ModelProto,
        uses: Mapping[str, Sequence[tuple[onnx.NodeProto, int]]],
        rows: Mapping[tuple[str, int], Row],
        opset: int,
        rng: np.random.Generator,
    ) -> None:
        self._uses, self._rows, self._opset, self._rng = uses, rows, opset, rng
        declared = [_shapes_and_types(graph) for graph in _graphs(model.graph)]
        with suppress(Exception):  # what is declared remains
            model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        self._shapes: dict[str, Sizes] = {}
        self._types: dict[str, int] = {}
        for shapes, types in (*declared, *(_shapes_and_types(graph) for graph in _graphs(model.graph))):
            self._shapes |= shapes
            self._types |= types
        self._constants = _constants(model.graph)
        self._shapes |= {name: value.shape for name, value in self._constants.items()}

    def demand(self, name: str, seen: frozenset[str] = frozenset()) -> Demand | None:
        """What all readers of a value demand of it together."""
        result: Demand | None = None
        for node, index in self._uses.get(name, ()):
            row = self._rows.get((node.op_type, index))
            site = Site(node, index, self._opset, self._shapes, self._constants, self._types, self._rng)
            found = [row(site)] if row is not None else []
            for follower in _followers(node, index):
                if follower not in seen:
                    behind = self.demand(follower, seen | {name})
                    found.append(None if behind is None else self._before(site, behind, follower))
            for demand in found:
                if demand is not None:
                    result = demand if result is None else result.both(demand)
        return result

    def _before(self, site: Site, demand: Demand, follower: str) -> Demand | None:
        """What a demand of a result demands of the input that it is moved or computed from."""
        op, shape = site.node.op_type, site.sizes(site.index)
        if op in _MOVES and shape is not None:
            return _each(demand, lambda bound: bound.reshape(shape) if bound.size > 1 else bound.reshape(()))
        if op == "Concat" and demand.low.ndim == 1:
            counts = [self._length(name) for name in site.node.input]
            if None not in counts[: site.index + 1]:
                start = sum(n for n in counts[: site.index] if n is not None)
                stop = start + (counts[site.index] or 0)
                return _each(demand, lambda bound: bound[start:stop])
        if op == "Gather" and demand.low.ndim <= 1 and shape is not None and len(shape) == 1:
            chosen = site.constant(1)
            return None if chosen is None else _spread(demand, shape, np.asarray(chosen))
        if op in ("Add", "Sub", "Mul", "Div"):
            other = site.constant(1 - site.index)
            if other is not None and other.size == 1 and (site.index == 0 or op in ("Add", "Mul")):
                return _shifted(op, demand, float(other.reshape(())))
        if op in _ARITHMETIC:
            return between(1, 2)
        return demand if demand.low.ndim == 0 or op in ("Where", "Loop") else None

    def _length(self, name: str) -> int | None:
        shape = self._shapes.get(name)
        return shape[0] if shape is not None and len(shape) == 1 else None


def _each(demand: Demand, move: Callable[[Array], Array]) -> Demand | None:
    try:
        return Demand(move(demand.low), move(demand.high))
    except ValueError:
        return None


def _spread(demand: Demand, shape: tuple[int, ...], chosen: Array) -> Demand:
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    low[chosen], high[chosen] = demand.low, demand.high
    return Demand(low, high)


def _shifted(op: str, demand: Demand, by: float) -> Demand:
    inverse: dict[str, Callable[[Array], Array]] = {
        "Add": lambda bound: bound - by,
        "Sub": lambda bound: bound + by,
        "Mul": lambda bound: bound / by if by else bound,
        "Div": lambda bound: bound * by,
    }
    a, b = inverse[op](demand.low), inverse[op](demand.high)
    return Demand(np.minimum(a, b), np.maximum(a, b))


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its weights as inputs: their shapes matter here, not their values."""
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.graph.node.extend(model.graph.node)
    light.graph.name = model.graph.name
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    light.graph.value_info.extend(model.graph.value_info)
    stated = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        external = tensor.data_location == onnx.TensorProto.EXTERNAL
        if np.prod(tensor.dims, dtype=np.int64) <= _LARGE and not external:
            light.graph.initializer.append(tensor)
        elif tensor.name not in stated:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(value)
    return light


def _state(value: onnx.ValueInfoProto, shape: Sequence[int]) -> None:
    tensor = value.type.tensor_type
    tensor.shape.Clear()
    for size in shape:
        tensor.shape.dim.add().dim_value = int(size)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for entry in node.attribute:
            if entry.HasField("g"):
                yield from _graphs(entry.g)


def _shapes_and_types(graph: onnx.GraphProto) -> tuple[dict[str, Sizes], dict[str, int]]:
    shapes: dict[str, Sizes] = {}
    types: dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        types[value.name] = tensor.elem_type
        if value.type.HasField("tensor_type") and tensor.HasField("shape"):
            shapes[value.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
                for dim in tensor.shape.dim
            )
    return shapes, types


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for each in _graphs(graph):
        found |= {tensor.name: numpy_helper.to_array(tensor) for tensor in each.initializer}
        for node in each.node:
            if node.op_type == "Constant" and node.attribute:
                value = _number(node.attribute[0])
                found |= {} if value is None else {node.output[0]: value}
    return found


def _number(attribute: onnx.AttributeProto) -> Array | None:
    """What a Constant holds, in any of its forms; None for strings and sparse tensors."""
    if attribute.name == "value":
        return numpy_helper.to_array(attribute.t)
    if attribute.name in ("value_int", "value_ints"):
        return np.array(onnx.helper.get_attribute_value(attribute), np.int64)
    if attribute.name in ("value_float", "value_floats"):
        return np.array(onnx.helper.get_attribute_value(attribute), np.float32)
    return None
