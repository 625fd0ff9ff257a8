"""A node in an old form: what it says, and the means to write it anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import UNKNOWN, Dim, Shape
from ..errors import ConversionError
from ..shapes.inference import infer_node

__all__ = ["FAR", "OLDEST", "Old", "Sizes"]

OLDEST = 7
"""The oldest opset that the rules know."""
FAR = 2**31 - 1
"""The end of an axis of any size."""


@dataclass
class Sizes:
    """Sizes of values as far as they are declared, or follow from what computes them."""

    found: dict[ir.Value, Shape | None] = field(default_factory=dict)

    def of(self, value: ir.Value | None) -> Shape | None:
        """The sizes of a value; None if not even its rank is known."""
        pending = [] if value is None else [value]
        while pending:
            last = pending[-1]
            node = last.producer()
            if last in self.found:
                pending.pop()
                continue
            tensor = g.constant(last)
            shape = tensor.shape if tensor is not None else last.shape
            if isinstance(shape, ir.Shape):
                self.found[last] = tuple(Dim(s) if isinstance(s, int) and s > 0 else UNKNOWN for s in shape)
            elif node is None or node.domain not in g.STANDARD:
                self.found[last] = None
            else:
                missing = [v for v in node.inputs if v is not None and v not in self.found]
                pending += missing
                if not missing:
                    inputs = tuple(None if v is None else self.found[v] for v in node.inputs)
                    self.found.update(zip(node.outputs, infer_node(node, inputs), strict=True))
        return None if value is None else self.found[value]


@dataclass
class Old:
    """A node in an old form, and the means to rewrite it."""

    node: ir.Node
    edits: g.Edits
    sizes: Sizes

    def rank(self, index: int) -> int:
        """The rank of an input; raises :class:`ConversionError` where nothing tells it."""
        found = self.known_rank(index)
        if found is None:
            value = g.input_at(self.node, index)
            name = value.name if value is not None else index
            raise self.refused(
                f"the rank of its input '{name}' is unknown", "Give the model's input shapes: --shape"
            )
        return found

    def known_rank(self, index: int) -> int | None:
        """The rank of an input, where something tells it."""
        shape = self.sizes.of(g.input_at(self.node, index))
        return None if shape is None else len(shape)

    def attribute(self, name: str, default: Any = None) -> Any:
        return g.attribute(self.node, name, default)

    def refused(self, reason: str, remedy: str) -> ConversionError:
        return ConversionError(reason, remedy, g.describe(self.node))

    def take(self, name: str, default: Any = None) -> Any:
        """An attribute's value, which the node loses."""
        value = g.attribute(self.node, name, default)
        g.set_attribute(self.node, name, None)
        return value

    def number(self, value: Any, name: str) -> ir.Value:
        """A constant of the type of the first input."""
        first = self.node.inputs[0]
        dtype = first.dtype.numpy() if first is not None and first.dtype is not None else np.float32
        return self.edits.constant(value, name, dtype)

    def emit(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A node of its own just before this one."""
        name = f"{self.node.name}_{op_type}"
        first = inputs[0]
        return self.edits.node(
            op_type,
            inputs,
            attributes,
            name=name,
            insert=self.node.prepend,
            dtype=first.dtype if first is not None else None,
        )

    def become(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> None:
        """Let the node, whose outputs stay, be another operator."""
        self.node.op_type = op_type
        for name in list(self.node.attributes):
            g.set_attribute(self.node, name, None)
        for name, value in attributes.items():
            g.set_attribute(self.node, name, value)
        self.node.resize_inputs(len(inputs))
        for index, value in enumerate(inputs):
            self.node.replace_input_with(index, value)
