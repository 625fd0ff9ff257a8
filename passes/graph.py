"""Queries and edits over an onnx_ir graph: constants, parameters, names, insertion.

An operator's parameter (axes, pads, split, ...) is an attribute in some opsets and an input in others;
:func:`parameter` and :func:`set_parameter` are the one place that knows both forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from .algebra.layout import Dim
from .algebra.symbols import written

STANDARD = ("", "ai.onnx")
PARAMETER = "onnx_nhwc.parameter"
"""Metadata of a value: the name of the source's initializer that it is, or was made of; empty for none."""
LAYER = "onnx_nhwc.layer"
"""Metadata of a node: which layer of a Keras model it comes from."""
FROZEN = "onnx_nhwc.frozen"
"""Metadata of a node that comes from a layer that is not trainable."""
COPIES = {"Expand", "Reshape", "Unsqueeze", "Slice", "Gather", "Identity"}
"""Operators whose result holds no other numbers than their first input."""


class Named(Protocol):
    """What has an operator's type and name: a node, or what stands for one."""

    @property
    def op_type(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def outputs(self) -> Sequence[ir.Value]: ...


def describe(node: Named) -> str:
    """How errors and reports call a node: ``Conv 'stem.conv'``."""
    name = node.name or (node.outputs[0].name if node.outputs else "")
    return f"{node.op_type} '{name}'"


def opset_of(node: ir.Node) -> int:
    """The opset version that defines this node's standard operators (bodies know it once normalized)."""
    versions = node.graph.opset_imports if node.graph is not None else {}
    return next((int(versions[domain]) for domain in STANDARD if domain in versions), 1)


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """The bodies of If, Loop, Scan and their like."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind an initializer that nobody can override, else None."""
    if value is None or value.producer() is not None or value.is_graph_input():
        return None
    return value.const_value


def record_parameters(model: ir.Model) -> None:
    """Let the initializers of a model, and whatever is made of them, say that they are its parameters."""
    for name, value in model.graph.initializers.items():
        value.metadata_props.setdefault(PARAMETER, name)


def integers(value: ir.Value | None) -> list[int] | None:
    """A constant's values as a flat list, else None."""
    tensor = constant(value)
    if tensor is None or not tensor.dtype.is_integer():
        return None
    return [int(v) for v in tensor.numpy().reshape(-1)]


def is_zero(value: ir.Value) -> bool:
    """Is a value zero everywhere: a constant, or what is filled with zeros?"""
    tensor = constant(value)
    if tensor is not None:
        return not np.any(tensor.numpy())
    node = value.producer()
    while node is not None and node.op_type in COPIES:
        source = node.inputs[0]
        if source is None:
            return False
        if constant(source) is not None:
            return is_zero(source)
        node = source.producer()
    if node is None or node.op_type != "ConstantOfShape":
        return False
    fill = attribute(node, "value")
    return fill is None or not np.any(fill.numpy())


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """An attribute's value, or ``default`` where the node does not state it."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """An input, or None where it is left out or left empty."""
    found = node.inputs[index] if index < len(node.inputs) else None
    return None if found is None or found.name == "" else found


def parameter(node: ir.Node, name: str, index: int | None = None) -> list[int] | None:
    """A list of integers given as an attribute or as a constant input.

    None if it is stated neither way, and if it is stated by an input that is no constant (tell these
    apart with :func:`input_at`).
    """
    found = attribute(node, name)
    if found is not None:
        return [int(v) for v in found] if isinstance(found, Iterable) else [int(found)]
    return integers(input_at(node, index)) if index is not None else None


def set_attribute(node: ir.Node, name: str, value: Any) -> None:
    """State an attribute; ``None`` removes it."""
    if value is None:
        node.attributes.pop(name, None)
    else:
        node.attributes[name] = ir.convenience.convert_attribute(name, value)


def state_type(node: ir.Node) -> None:
    """Write a CastLike of a constant as the Cast that it is, where the type is known."""
    like = input_at(node, 1) if node.op_type == "CastLike" and node.domain in STANDARD else None
    if like is not None and constant(node.inputs[0]) is not None and like.dtype is not None:
        node.op_type = "Cast"
        node.resize_inputs(1)
        set_attribute(node, "to", int(like.dtype))


def set_input(node: ir.Node, index: int, value: ir.Value | None) -> None:
    """Put a value at an input, growing the list of inputs where it is shorter."""
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


class Edits:
    """Adds nodes and constants to a graph; equal constants are shared."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._parameters: dict[tuple[ir.Value, tuple[int, ...], bytes], ir.Value] = {}
        self._names: set[str] = set()
        for graph in model.graphs():
            self._names.update(v.name for v in graph.inputs if v.name)
            self._names.update(graph.initializers)
            for node in graph:
                self._names.update(v.name for v in node.outputs if v.name)
                self._names.add(node.name or "")

    def name(self, wanted: str) -> str:
        """A name that nothing else in the model has."""
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def constant(self, values: Any, name: str = "const", dtype: Any = np.int64) -> ir.Value:
        """A small initializer of the main graph, shared with equal ones."""
        array = np.asarray(values, dtype=dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer(ir.tensor(array), name)
        return self._constants[key]

    def parameter(self, array: Any, origin: ir.Value | None, name: str) -> ir.Value:
        """What became of a constant, shared with equals of it; without one, a constant of its own."""
        if origin is None:
            return self.constant(array, name, array.dtype)
        key = (origin, array.shape, array.tobytes())
        if key not in self._parameters:
            self._parameters[key] = self.initializer(ir.tensor(array), origin.name or name, origin)
        return self._parameters[key]

    def initializer(self, tensor: ir.TensorProtocol, name: str, origin: ir.Value | None = None) -> ir.Value:
        """A new initializer of the main graph, visible in every scope; a parameter if ``origin`` is one."""
        value = ir.Value(
            name=self.name(name),
            shape=ir.Shape(tensor.shape.numpy()),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        if origin is not None and PARAMETER in origin.metadata_props:
            value.metadata_props[PARAMETER] = origin.metadata_props[PARAMETER]
        self.model.graph.register_initializer(value)
        return value

    def take_place(self, new: ir.Value, old: ir.Value) -> None:
        """Let a value be the output, by its name, wherever another is one of its graph's."""
        if not old.is_graph_output() or old.graph is None:
            return
        name, old.name = old.name, self.name(f"{old.name}_source")
        new.name = name
        outputs = old.graph.outputs
        for index, value in enumerate(outputs):
            if value is old:
                outputs[index] = new

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: dict[str, Any] | None = None,
        *,
        name: str,
        domain: str = "",
        insert: Callable[[ir.Node], None],
        dtype: ir.DataType | None = None,
        shape: Sequence[Dim] | None = None,
    ) -> ir.Value:
        """A new node with one output, put where ``insert`` puts it."""
        node = ir.node(op_type, inputs, attributes or {}, domain=domain, num_outputs=1, name=self.name(name))
        output = node.outputs[0]
        output.name = self.name(f"{node.name}_output")
        if dtype is not None:
            output.type = ir.TensorType(dtype)
        if shape is not None:
            output.shape = ir_shape(shape)
        insert(node)
        return output


def ir_shape(shape: Sequence[Dim]) -> ir.Shape:
    """A shape as onnx_ir states it; a product that has no name to be read back by becomes unknown."""
    return ir.Shape([dim.number if dim.static else written(dim) for dim in shape])


def _let_go(node: ir.Node) -> None:
    """Bodies of a node that goes read nothing of the graphs around them any more."""
    for body in subgraphs(node):
        for inner in body.all_nodes():
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def remove_dead(model: ir.Model) -> None:
    """Remove nodes and initializers that nothing reads any more."""
    for graph in reversed(list(model.graphs())):  # what bodies read of the graph around them, first
        for node in reversed(graph):
            if not any(value.uses() or value.is_graph_output() for value in node.outputs):
                _let_go(node)
                graph.remove(node, safe=True)
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                del graph.initializers[name]
