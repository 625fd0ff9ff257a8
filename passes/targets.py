"""Targets of the Reshapes that are written: numbers where sizes are known, else computed from other sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from . import graph as g
from .algebra.layout import Dim, Shape, Stored, product
from .assign.flow import Flow
from .errors import ConversionError
from .rules.relation import identity_stored
from .shapes.arithmetic import MAX_INTEGERS

__all__ = ["Targets", "inserter", "shape_arithmetic"]


class Targets:
    """Writes the shapes that values are brought into.

    Args:
        flow: The model.
        edits: What is written with.
        stored: How values are stored by now, where that is not the source's way.
    """

    def __init__(self, flow: Flow, edits: g.Edits, stored: Mapping[ir.Value, Stored]) -> None:
        self._flow = flow
        self._edits = edits
        self._stored = stored

    def of(self, value: ir.Value, before: Shape, after: Shape, insert: Callable[[ir.Node], None]) -> ir.Value:
        """A Reshape's target: numbers, 0 for a size that stays in place, one -1, else computed."""
        entries: list[int | Dim] = []
        for i, dim in enumerate(after):
            if dim.static:
                entries.append(dim.number)
            else:
                entries.append(0 if i < len(before) and before[i] == dim else dim)
        open_dims = [i for i, entry in enumerate(entries) if isinstance(entry, Dim)]
        if len(open_dims) == 1:
            entries[open_dims[0]] = -1
            open_dims = []
        if not open_dims:
            return self._edits.constant([int(e) for e in entries if not isinstance(e, Dim)], "shape")
        parts = [
            self._size_of(e, value, insert) if isinstance(e, Dim) else self._edits.constant([e], "size")
            for e in entries
        ]
        return self._edits.node("Concat", parts, {"axis": 0}, name="shape", insert=insert)

    def _size_of(self, dim: Dim, near: ir.Value, insert: Callable[[ir.Node], None]) -> ir.Value:
        """A symbolic size as a tensor of one element, read from a value that has it as an axis."""
        found: ir.Value | None = None
        factors = [self._symbol(symbol, near, insert) for symbol in dim.symbols]
        if dim.number != 1:
            factors.append(self._edits.constant([dim.number], "factor"))
        for factor in factors:
            found = (
                factor
                if found is None
                else self._edits.node("Mul", [found, factor], name="size", insert=insert)
            )
        assert found is not None
        return found

    def _symbol(self, symbol: str, near: ir.Value, insert: Callable[[ir.Node], None]) -> ir.Value:
        found = self._flow.shapes.source(symbol, near)
        if found is None:
            raise ConversionError(
                f"the size '{symbol}' cannot be read from any value",
                "Fix the model's input sizes with --shape NAME=1,3,224,224",
            )
        source, axis = found
        dims = self._flow.shape(source)
        assert dims is not None
        stored = self._stored.get(source, identity_stored(dims))
        position = stored.shape.index(dims[axis])
        shape = self._edits.node("Shape", [source], name=f"{source.name}_shape", insert=insert)
        index = self._edits.constant([position], "axis")
        return self._edits.node("Gather", [shape, index], {"axis": 0}, name=f"{symbol}_size", insert=insert)


def shape_arithmetic(value: ir.Value, shape: Shape) -> bool:
    """Whether a value holds a few integers, as lists of sizes and pads do."""
    small = all(dim.static for dim in shape) and product(shape).number <= MAX_INTEGERS
    return small and value.dtype in (ir.DataType.INT64, ir.DataType.INT32) and not value.is_graph_input()


def inserter(model: ir.Model, value: ir.Value) -> Callable[[ir.Node], None]:
    """Puts nodes where ``value`` has just been computed, each after the one before."""
    anchor = value.producer()
    graph = value.graph or model.graph

    def insert(node: ir.Node) -> None:
        nonlocal anchor
        if anchor is not None:
            anchor.append(node)
        elif len(graph):
            graph[0].prepend(node)
        else:
            graph.append(node)
        anchor = node

    return insert
