"""One node as its mapping sees it: inputs, attributes, sizes, and what is known of them.

A mapping is a function from a call to the target's tensors. Each target has a class of its own below
this one, with the means to build what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_nhwc.export import determined
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.values import Array, Constant, UnsupportedError, Values
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["Call", "Load"]

Load = Callable[[], Array]


class Call:
    """A node to map.

    ``op_type`` and the positions of the inputs are those of the standard operator, also where the
    node calls a function such as ``Conv2D``. ``images`` says where the axes of an operator on images
    are: channels last in a function, channels first in the standard operator.
    """

    def __init__(
        self,
        walk: Values,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        images: Images | None = None,
    ) -> None:
        self.walk = walk
        self.node = node
        self.op_type = op_type
        self.values = inputs
        self._images = images
        self.opset = g.opset_of(node)
        self._name = ""

    # --- what the node says ------------------------------------------------------------------

    def attribute(self, name: str, default: Any = None) -> Any:
        return g.attribute(self.node, name, default)

    def has(self, index: int) -> bool:
        value = self.values[index] if index < len(self.values) else None
        return value is not None and value.name != ""

    @property
    def count(self) -> int:
        """The number of inputs."""
        return len(self.values)

    def value(self, index: int) -> ir.Value:
        if not self.has(index):
            raise UnsupportedError(f"its input {index} is missing")
        value = self.values[index]
        assert value is not None
        return value

    def wants(self, index: int) -> bool:
        """Does something read this output?"""
        outputs = self.node.outputs
        if index >= len(outputs) or not outputs[index].name:
            return False
        return bool(outputs[index].uses()) or outputs[index].is_graph_output()

    @property
    def on_images(self) -> bool:
        """Is this an operator on images, of which the axes are known?"""
        return self._images is not None

    @property
    def images(self) -> Images:
        """Where the images' axes are."""
        if self._images is None:
            layout = "channels-first" if self.walk.channels_first else "channels-last"
            raise UnsupportedError(f"it has no {layout} form")
        return self._images

    # --- inputs ------------------------------------------------------------------------------

    def constant(self, index: int) -> Constant | None:
        """An input that is known now, else None."""
        if not self.has(index):
            return None
        found = self.walk.fact(self.value(index))
        return found if isinstance(found, Constant) else None

    def array(self, index: int, what: str = "") -> Array:
        """An input that has to be known now."""
        found = self.constant(index)
        if found is None:
            raise UnsupportedError(f"its {what or f'input {index}'} is computed at run time")
        return found.array

    def integers(self, name: str, index: int | None = None) -> list[int] | None:
        """A list of integers, attribute or constant input; None if it is not given."""
        if name in self.node.attributes:
            return g.parameter(self.node, name)
        if index is None or not self.has(index):
            return None
        dims = self.sizes(index)
        if dims is not None and all(dim.static for dim in dims):
            return [dim.number for dim in dims]
        if self.constant(index) is None:
            found = self.determined(name)
            if found is not None:
                return found
        return [int(v) for v in self.array(index, name).reshape(-1)]

    def sizes(self, index: int) -> tuple[Dim, ...] | None:
        """The integers of an input as far as shape arithmetic tells."""
        return self.walk.shapes.values(self.value(index))

    def dims(self, index: int) -> tuple[Dim, ...]:
        """The sizes of an input."""
        found = self.walk.dims(self.value(index))
        if found is None:
            raise UnsupportedError(f"the rank of its input '{self.value(index).name}' is unknown")
        return found

    def shape(self, index: int) -> tuple[int | None, ...]:
        """The sizes of an input, None where they are not known before run time."""
        fact = self.walk.fact(self.value(index))
        return tuple(fact.shape)

    def static(self, index: int) -> tuple[int, ...]:
        """The sizes of an input, all of which have to be known."""
        shape = self.shape(index)
        if any(size is None for size in shape):
            raise UnsupportedError(f"it needs to know the size of '{self.value(index).name}'")
        return tuple(size for size in shape if size is not None)

    def rank(self, index: int) -> int:
        return len(self.shape(index))

    def dtype(self, index: int) -> str:
        return str(self.walk.fact(self.value(index)).dtype)

    def x(self, index: int) -> Any:
        """An input as an operand: a tensor, or a constant that the target stores."""
        return self.walk.operand(self.value(index))

    def tensor(self, index: int = 0) -> Any:
        """An input as a tensor, also if it is a constant."""
        return self.walk.symbolic(self.value(index))

    # --- what sizes determine ----------------------------------------------------------------

    def result(self, index: int = 0) -> tuple[int, ...] | None:
        """The sizes of an output if all of them are numbers."""
        return determined.sizes_of(self.walk.shapes, self.node.outputs[index])

    def determined(self, name: str) -> list[int] | None:
        """A setting that follows from the sizes of inputs and outputs, else None."""
        return determined.determined(self.walk.shapes, self.node, self.op_type, name)

    def reduced(self) -> list[tuple[int, ...]]:
        """The axes that a reduction may leave out, by the sizes of its input and its result."""
        return determined.reduced(self.walk.shapes, self.node)

    # --- parameters --------------------------------------------------------------------------

    def call_it(self, name: str) -> None:
        """Name what this node becomes, where it becomes one with another node."""
        self._name = name

    def name(self, weight: int | None = None) -> str:
        """The name of what this node becomes; ``weight`` is the input that holds its weight."""
        if not self._name:
            found = self.constant(weight) if weight is not None else None
            node = self.node.name or self.node.outputs[0].name or ""
            label = found.name if found is not None else ""
            self._name = self.walk.names.of_node(node, self.op_type, label)
        return self._name

    @property
    def frozen(self) -> bool:
        """Does the node come from a layer that is not trainable?"""
        return g.FROZEN in self.node.metadata_props

    def tied(self, more: Sequence[ir.Value] = ()) -> tuple[Any, ...] | None:
        """The node's parameters and those in ``more``, if other nodes have the same ones.

        Exporters merge initializers with equal numbers, so that all biases of zeros are one. Parameters
        that are all uniform say nothing, unless it is known which layer the node comes from.
        """
        values = [v for v in (*self.values, *more) if v is not None and v.name]
        known = {v: self.walk.fact(v) for v in values}
        own = [v for v, fact in known.items() if isinstance(fact, Constant) and fact.trainable]
        layer = self.node.metadata_props.get(g.LAYER)
        if not own or any(len(v.uses()) < 2 for v in own):
            return None
        if layer is None and all(np.ptp(known[v].array) == 0 for v in own):
            return None
        return (layer, *own)

    def loader(self, index: int, change: Callable[[Array], Array] = lambda a: a) -> Load:
        """What loads a constant input, changed."""
        found = self.constant(index)
        if found is None:
            raise UnsupportedError(f"its input {index} is no constant")
        load = found.load
        return lambda: change(load())
