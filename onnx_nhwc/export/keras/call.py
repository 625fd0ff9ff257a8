"""One node as its mapping sees it: inputs, attributes, and the means to build Keras operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.export.determined import determined
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.values import Array, Constant, UnsupportedError
from onnx_nhwc.load.keras.form_writer import FROZEN, LAYER
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.algebra.layout import Dim

if TYPE_CHECKING:
    from onnx_nhwc.export.keras.export import Exporter

__all__ = ["Call", "dtype_name", "is_float"]

_SMALL = 4096
"""Constants of more elements are stored as weights, not as text in the model's configuration."""

Load = Callable[[], Array]


def dtype_name(dtype: ir.DataType | None) -> str:
    """Return the name that Keras has for a type of ONNX.

    >>> dtype_name(ir.DataType.DOUBLE)
    'float64'
    """
    names = {
        ir.DataType.FLOAT: "float32",
        ir.DataType.DOUBLE: "float64",
        ir.DataType.FLOAT16: "float16",
        ir.DataType.BFLOAT16: "bfloat16",
        ir.DataType.BOOL: "bool",
        **{
            getattr(ir.DataType, f"{sign}INT{bits}"): f"{sign.lower()}int{bits}"
            for sign in ("", "U")
            for bits in (8, 16, 32, 64)
        },
    }
    if dtype is None or dtype not in names:
        raise UnsupportedError(f"Keras has no tensors of type {dtype.name if dtype else 'unknown'}")
    return names[dtype]


def is_float(dtype: str) -> bool:
    return "float" in dtype


class Call:
    """A node to map.

    ``op_type`` and the positions of the inputs are those of the standard operator, also where the
    node calls a function such as ``Conv2D``. ``images`` says where the axes of an operator on images
    are: channels last in a function, channels first in the standard operator.
    """

    def __init__(
        self,
        exporter: Exporter,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        images: Images | None = None,
    ) -> None:
        self.exporter = exporter
        self.node = node
        self.op_type = op_type
        self.values = inputs
        self._images = images
        self.opset = g.opset_of(node)
        self.layers = 0
        """How many layers the node has become; the first takes its name."""
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

    def out_dtype(self, index: int = 0) -> str:
        return dtype_name(self.node.outputs[index].dtype)

    @property
    def on_images(self) -> bool:
        """Is this an operator on images, of which the axes are known?"""
        return self._images is not None

    @property
    def images(self) -> Images:
        """Where the images' axes are."""
        if self._images is None:
            raise UnsupportedError(f"it has no {self.exporter.layout} form")
        return self._images

    # --- inputs ------------------------------------------------------------------------------

    def constant(self, index: int) -> Constant | None:
        """An input that is known now, else None."""
        if not self.has(index):
            return None
        found = self.exporter.fact(self.value(index))
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
            found = determined(self, name)
            if found is not None:
                return found
        return [int(v) for v in self.array(index, name).reshape(-1)]

    def sizes(self, index: int) -> tuple[Dim, ...] | None:
        """The integers of an input as far as shape arithmetic tells."""
        return self.exporter.shapes.values(self.value(index))

    def dims(self, index: int) -> tuple[Dim, ...]:
        """The sizes of an input."""
        found = self.exporter.dims(self.value(index))
        if found is None:
            raise UnsupportedError(f"the rank of its input '{self.value(index).name}' is unknown")
        return found

    def shape(self, index: int) -> tuple[int | None, ...]:
        """The sizes of an input, None where they are not known before run time."""
        fact = self.exporter.fact(self.value(index))
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
        return str(self.exporter.fact(self.value(index)).dtype)

    def x(self, index: int) -> Any:
        """An input as an operand: a symbolic tensor, or a constant that Keras stores."""
        return self.exporter.operand(self.value(index))

    def tensor(self, index: int = 0) -> Any:
        """An input as a symbolic tensor, also if it is a constant."""
        return self.exporter.symbolic(self.value(index))

    # --- building ----------------------------------------------------------------------------

    def call_it(self, name: str) -> None:
        """Name what this node becomes, where it becomes one with another node."""
        self._name = name

    def name(self, weight: int | None = None) -> str:
        """The name of what this node becomes; ``weight`` is the input that holds its weight."""
        if not self._name:
            found = self.constant(weight) if weight is not None else None
            node = self.node.name or self.node.outputs[0].name or ""
            label = found.name if found is not None else ""
            self._name = self.exporter.names.of_node(node, self.op_type, label)
        return self._name

    def layer(
        self, cls: Any, weight: int | None = None, *, more: Sequence[ir.Value] = (), **config: Any
    ) -> Any:
        """A layer named after this node, of the type of its first input.

        It is the layer of another node with the same parameters, if there is one like that.

        Args:
            cls: The class.
            weight: The input that holds its main weight, for the name.
            more: Parameters that other nodes have, which the layer is to hold as well.
            config: Its arguments.
        """
        dtype = config.pop("dtype", None) or self.dtype(0)
        made_with = (cls, dtype, config)
        keys = [(key, self.layers) for key in (self.node, self._tied(more)) if key is not None]
        self.layers += 1
        for key in keys:
            if key in self.exporter.shared and self.exporter.shared[key][1] == made_with:
                return self.exporter.shared[key][0]
        name = self.name(weight)
        if self.layers > 1:
            name = self.exporter.names.unique(f"{name}_{cls.__name__.lower()}")
        made = self.exporter.keep(cls(name=name, dtype=dtype, **config))
        if FROZEN in self.node.metadata_props:
            made.trainable = False
        self.exporter.shared.update(dict.fromkeys(keys, (made, made_with)))
        return made

    def _tied(self, more: Sequence[ir.Value]) -> tuple[Any, ...] | None:
        """The parameters of a layer, if other nodes have the same ones.

        Exporters merge initializers with equal numbers, so that all biases of zeros are one. Parameters
        that are all uniform say nothing, unless it is known which layer the node comes from.
        """
        values = [v for v in (*self.values, *more) if v is not None and v.name]
        known = {v: self.exporter.fact(v) for v in values}
        own = [v for v, fact in known.items() if isinstance(fact, Constant) and fact.trainable]
        layer = self.node.metadata_props.get(LAYER)
        if not own or any(len(v.uses()) < 2 for v in own):
            return None
        if layer is None and all(np.ptp(known[v].array) == 0 for v in own):
            return None
        return (layer, *own)

    def assign(self, variable: Any, load: Load) -> None:
        """Fill a variable once the whole model is known to work."""
        self.exporter.pending.append((variable, load))

    def loader(self, index: int, change: Callable[[Array], Array] = lambda a: a) -> Load:
        """What loads a constant input, changed."""
        found = self.constant(index)
        if found is None:
            raise UnsupportedError(f"its input {index} is no constant")
        load = found.load
        return lambda: change(load())

    def cast(self, x: Any, dtype: str) -> Any:
        return x if getattr(x, "dtype", None) == dtype else ops.cast(x, dtype)

    def transpose(self, x: Any, perm: Sequence[int]) -> Any:
        """Transpose, undoing a Transpose that ``x`` came from."""
        return self.exporter.transpose(x, tuple(perm))


def small(constant: Constant) -> bool:
    return constant.size <= _SMALL


def literal(constant: Constant) -> Any:
    """A constant as an argument that is written into the model's configuration."""
    array = constant.array
    return array.item() if array.ndim == 0 else np.asarray(array)


__all__ += ["layers", "literal", "small"]
