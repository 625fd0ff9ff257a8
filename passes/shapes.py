"""Sizes of every value, numbers or symbols, and how each node's axes relate.

onnx's own shape inference comes first. What it leaves unknown is filled in by the rule table: an output
axis has the size of the input axes that share its letter, a view has the sizes of its steps. Integer
tensors of shape arithmetic (Shape, Gather, Concat, ...) are followed symbolically, so that a Reshape
whose target is computed is understood as well as one whose target is written down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from . import graph as g
from .errors import ConversionError
from .layout import ONE, Dim, Shape, Step, Transpose
from .rules import RULES
from .rules.relation import Relation, Rule, Site, UnknownRank, barrier
from .rules.spatial import SpatialRule

Integers = tuple[Dim, ...]
MAX_INTEGERS = 64
"""Longer integer tensors are data, not shapes."""


@dataclass
class Shapes:
    """What is known of a model's values and nodes before anything is moved."""

    dims: dict[ir.Value, Shape | None] = field(default_factory=dict)
    integers: dict[ir.Value, Integers] = field(default_factory=dict)
    relations: dict[ir.Node, Relation] = field(default_factory=dict)
    views: dict[ir.Node, list[Step]] = field(default_factory=dict)
    sites: dict[ir.Node, Site] = field(default_factory=dict)
    sources: dict[str, tuple[ir.Value, int]] = field(default_factory=dict)
    """Where a symbol's number can be read at run time: an axis of a value."""

    def shape(self, value: ir.Value) -> Shape | None:
        """A value's sizes; None if not even its rank is known."""
        if value not in self.dims:
            self.dims[value] = self._declared(value)
            self._remember(value)
        return self.dims[value]

    def values(self, value: ir.Value | None) -> Integers | None:
        """The integers that a scalar or one-dimensional value holds, if they are known."""
        if value is None:
            return None
        if value not in self.integers:
            tensor = g.constant(value)
            if tensor is None or tensor.size > MAX_INTEGERS or len(tensor.shape) > 1:
                return None
            found = g.integers(value)
            if found is None:
                return None
            self.integers[value] = tuple(Dim(v) for v in found)
        return self.integers[value]

    def _declared(self, value: ir.Value) -> Shape | None:
        shape: object = value.shape
        if g.constant(value) is not None and value.const_value is not None:
            shape = value.const_value.shape
        if not isinstance(shape, ir.Shape):
            return None
        return tuple(self._dim(value, axis, size) for axis, size in enumerate(shape))

    def _dim(self, value: ir.Value, axis: int, size: int | ir.SymbolicDim) -> Dim:
        if isinstance(size, int):
            # An empty axis divides nothing: a symbol of its own keeps the algebra sound.
            return Dim(size) if size > 0 else Dim(1, (f"empty {value.name} {axis}",))
        return Dim(1, (size.value or f"{value.name}.{axis}",))

    def _remember(self, value: ir.Value) -> None:
        for axis, dim in enumerate(self.dims[value] or ()):
            if dim.number == 1 and len(dim.symbols) == 1:
                self.sources.setdefault(dim.symbols[0], (value, axis))


def infer(model: ir.Model) -> Shapes:
    """Find the sizes of all values and the relation of every node; changes no node."""
    level = logging.getLogger("onnx_ir").level
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    try:
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        pass  # the declared shapes and the rule table remain
    finally:
        logging.getLogger("onnx_ir").setLevel(level)
    shapes = Shapes()
    _walk(model.graph, shapes)
    return shapes


def _walk(graph: ir.Graph, shapes: Shapes) -> None:
    for value in graph.inputs:
        shapes.shape(value)
    for node in graph:
        for body in g.subgraphs(node):
            _walk(body, shapes)
        _visit(node, shapes)


def _visit(node: ir.Node, shapes: Shapes) -> None:
    inputs = tuple(None if v is None or not v.name else shapes.shape(v) for v in node.inputs)
    site = Site(node, inputs, shapes.values)
    shapes.sites[node] = site
    rule = RULES.get(node.op_type) if node.domain in g.STANDARD else None
    result: Shape | None = None
    relation = None
    try:
        steps = rule.view(site) if rule is not None and rule.view is not None else None
        if steps is not None:
            result = _apply(steps, site.shape(0))
            shapes.views[node] = steps
        else:
            relation = _relation(site, rule)
    except UnknownRank as error:
        relation = _unknown(node, rule, error.index)
    if relation is not None:
        shapes.relations[node] = relation
    for index, output in enumerate(node.outputs):
        letters = relation.outputs[index] if relation is not None else None
        found = result if relation is None else _outputs(site, relation, letters)
        _settle(output, found, shapes, keep_products=relation is None)
    integers = arithmetic(site, shapes)
    if integers is not None and len(integers) <= MAX_INTEGERS:
        shapes.integers[node.outputs[0]] = integers


def _relation(site: Site, rule: Rule | None) -> Relation:
    if rule is None:
        domain = f" of domain '{site.node.domain}'" if site.node.domain not in g.STANDARD else ""
        return barrier(site.node, f"there is no rule for {site.node.op_type}{domain}")
    return rule.relate(site)


def _unknown(node: ir.Node, rule: Rule | None, index: int) -> Relation:
    value = node.inputs[index] if index < len(node.inputs) else None
    name = value.name if value is not None else str(index)
    if isinstance(rule, SpatialRule):
        inputs = [v.name for v in node.graph.inputs if g.constant(v) is None] if node.graph else []
        example = f"--shape {inputs[0]}=1,3,224,224" if inputs else "--shape NAME=1,3,224,224"
        raise ConversionError(
            f"the rank of its input '{name}' is unknown",
            f"Give the model's input shape: {example}",
            g.describe(node),
        )
    return barrier(node, f"the rank of its input '{name}' is unknown")


def _apply(steps: list[Step], shape: Shape) -> Shape:
    for step in steps:
        shape = tuple(shape[a] for a in step.perm) if isinstance(step, Transpose) else step.shape
    return shape


def _outputs(site: Site, relation: Relation, letters: tuple[int, ...] | None) -> Shape | None:
    """Sizes of an output by its letters; an empty product marks one that the letters do not tell."""
    if letters is None:
        return None
    sizes = []
    for letter in letters:
        found = [
            shape[port.index(letter)]
            for port, shape in zip(relation.inputs, site.inputs, strict=True)
            if port is not None and shape is not None and letter in port
        ]
        wide = [dim for dim in found if dim != ONE]
        unclear = letter in relation.resized or not found or len(set(wide)) > 1
        sizes.append(Dim(0) if unclear else (wide or found)[0])
    return tuple(sizes)


def _settle(value: ir.Value, derived: Shape | None, shapes: Shapes, keep_products: bool) -> None:
    """Join what inference and the rules say of an output's sizes."""
    declared = shapes._declared(value)
    if derived is None or (declared is not None and len(declared) != len(derived)):
        shapes.dims[value] = declared
    else:
        fresh = declared or tuple(Dim(1, (f"{value.name}.{axis}",)) for axis in range(len(derived)))
        shapes.dims[value] = tuple(
            own if keep_products or not (stated.static or own == Dim(0)) else stated
            for own, stated in zip(derived, fresh, strict=True)
        )
    if not keep_products and shapes.dims[value] is not None:
        shapes.dims[value] = tuple(
            dim if all(s in shapes.sources for s in dim.symbols) else Dim(1, (f"{value.name}.{axis}",))
            if len(dim.symbols) > 1 or dim.number > 1
            else dim
            for axis, dim in enumerate(shapes.dims[value] or ())
        )
    if not keep_products:
        shapes._remember(value)


Fold = Callable[[Site, Shapes], Integers | None]


def arithmetic(site: Site, shapes: Shapes) -> Integers | None:
    """The integers of a node's first output, where it takes part in shape arithmetic."""
    fold = FOLDS.get(site.node.op_type) if site.node.domain in g.STANDARD else None
    if fold is None:
        return None
    try:
        return fold(site, shapes)
    except UnknownRank:
        return None


def _passed(site: Site, shapes: Shapes) -> Integers | None:
    return shapes.values(site.node.inputs[0])


def _integral_cast(site: Site, shapes: Shapes) -> Integers | None:
    integral = ir.DataType(site.attribute("to", 1)).is_integer()
    return shapes.values(site.node.inputs[0]) if integral else None


def _shape(site: Site, shapes: Shapes) -> Integers | None:
    return site.shape(0)[slice(site.attribute("start", 0), site.attribute("end", None))]


def _size(site: Site, shapes: Shapes) -> Integers | None:
    total = ONE
    for dim in site.shape(0):
        total = total * dim
    return (total,)


def _gather(site: Site, shapes: Shapes) -> Integers | None:
    data, indices = shapes.values(site.node.inputs[0]), shapes.values(site.node.inputs[1])
    if data is None or indices is None or len(site.shape(0)) != 1:
        return None
    if not all(i.static and -len(data) <= i.number < len(data) for i in indices):
        return None
    return tuple(data[i.number] for i in indices)


def _slice(site: Site, shapes: Shapes) -> Integers | None:
    data = shapes.values(site.node.inputs[0])
    starts, ends = site.parameter("starts", 1), site.parameter("ends", 2)
    steps = site.parameter("steps", 4) or ([1] if not site.has(4) else None)
    if data is None or starts is None or ends is None or steps is None or len(starts) != 1:
        return None
    stop = ends[0] if steps[0] > 0 or ends[0] >= -len(data) else None
    return data[starts[0] : stop : steps[0]]


def _concat(site: Site, shapes: Shapes) -> Integers | None:
    parts = [shapes.values(v) for v in site.node.inputs]
    if any(part is None for part in parts):
        return None
    return tuple(dim for part in parts for dim in part or ())


def _binary(
    combine: Callable[[Dim, Dim], Dim | None],
) -> Fold:
    def fold(site: Site, shapes: Shapes) -> Integers | None:
        left, right = shapes.values(site.node.inputs[0]), shapes.values(site.node.inputs[1])
        if left is None or right is None or 1 not in (len(left), len(right), 1 + len(left) - len(right)):
            return None
        size = max(len(left), len(right))
        pairs = zip(left * (size if len(left) == 1 else 1), right * (size if len(right) == 1 else 1), strict=True)
        found = [combine(a, b) for a, b in pairs]
        if any(dim is None for dim in found):
            return None
        return tuple(dim for dim in found if dim is not None)

    return fold


def _opaque(sign: str, a: Dim, b: Dim) -> Dim:
    """A sum or quotient as one symbol: the same expression is the same number."""
    return Dim(1, (f"({a}{sign}{b})",))


def _add(a: Dim, b: Dim) -> Dim:
    return Dim(a.number + b.number) if a.static and b.static else _opaque("+", a, b)


def _sub(a: Dim, b: Dim) -> Dim:
    if a.static and b.static:
        return Dim(a.number - b.number)
    return Dim(0) if a == b else _opaque("-", a, b)


def _mul(a: Dim, b: Dim) -> Dim:
    return a * b


def _div(a: Dim, b: Dim) -> Dim | None:
    if b.number == 0 or a.number < 0 or b.number < 0:
        return None
    if a.static and b.static:
        return Dim(a.number // b.number)
    exact = a.over(b)
    return exact if exact is not None else _opaque("//", a, b)


def _filled(site: Site, shapes: Shapes) -> Integers | None:
    length = shapes.values(site.node.inputs[0])
    value = site.attribute("value")
    if length is None or len(length) != 1 or not length[0].static or length[0].number > MAX_INTEGERS:
        return None
    if value is None or not value.dtype.is_integer():
        return None
    return (Dim(int(value.numpy().reshape(-1)[0])),) * length[0].number


FOLDS: dict[str, Fold] = {
    **dict.fromkeys(("Identity", "Unsqueeze", "Squeeze"), _passed),
    "Reshape": lambda site, shapes: _passed(site, shapes) if shapes.values(site.node.inputs[1]) in (
        (Dim(-1),), (), (ONE,)) else None,
    "Cast": _integral_cast,
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Add": _binary(_add),
    "Sub": _binary(_sub),
    "Mul": _binary(_mul),
    "Div": _binary(_div),
}
