"""Sizes of every value, numbers or symbols, and how each node's axes relate.

onnx's own shape inference comes first. What it leaves unknown is filled in by the rule table: an output
axis has the size of the input axes that share its letter, a view has the sizes of its steps. Integer
tensors of shape arithmetic (Shape, Gather, Concat, ...) are followed symbolically, so that a Reshape
whose target is computed is understood as well as one whose target is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import ONE, UNKNOWN, Dim, Shape, Step, empty, is_empty, shape_after
from ..algebra.symbols import read, written
from ..errors import ConversionError
from ..rules import rule_of, views
from ..rules.relation import Relation, Rule, Site, UnknownRankError, barrier
from ..rules.spatial import SpatialRule
from .arithmetic import MAX_INTEGERS, Integers, arithmetic
from .declarations import MADE_UP, Declarations
from .fold import evaluate, filled, foldable, moved
from .foreign import infer_foreign, is_foreign
from .inference import infer_model, infer_node
from .ranks import ranks_by_readers
from .ties import Tie


@dataclass
class Shapes:
    """What is known of a model's values and nodes before anything is moved."""

    dims: dict[ir.Value, Shape | None] = field(default_factory=dict)
    integers: dict[ir.Value, Integers] = field(default_factory=dict)
    relations: dict[ir.Node | Tie, Relation] = field(default_factory=dict)
    views: dict[ir.Node, list[Step]] = field(default_factory=dict)
    sites: dict[ir.Node, Site] = field(default_factory=dict)
    sources: dict[str, dict[ir.Graph | None, tuple[ir.Value, int]]] = field(default_factory=dict)
    """Where a symbol's number can be read at run time: an axis of a value of a graph, or of a body."""
    outer: dict[ir.Graph | None, ir.Graph] = field(default_factory=dict)
    """The graph around a body, whose values it sees; not the other way."""
    declarations: Declarations = field(default_factory=Declarations)
    """What the model states of the results of its nodes, right or wrong."""
    ranks: dict[ir.Value, int] = field(default_factory=dict)
    """Ranks that only a value's readers tell."""

    def source(self, symbol: str, value: ir.Value) -> tuple[ir.Value, int] | None:
        """The value and its axis that tell a symbol's number where ``value`` is computed, if any do."""
        told, graph = self.sources.get(symbol, {}), value.graph
        while graph not in told and graph in self.outer:
            graph = self.outer[graph]
        return told.get(graph)

    def shape(self, value: ir.Value) -> Shape | None:
        """A value's sizes; None if not even its rank is known."""
        if value not in self.dims:
            found, rank = self.declared(value), self.ranks.get(value)
            self.dims[value] = _fresh(value, rank) if found is None and rank is not None else found
            self._remember(value)
        return self.dims[value]

    def values(self, value: ir.Value | None) -> Integers | None:
        """The integers that a scalar or one-dimensional value holds, if they are known."""
        found = self.elements(value)
        shape = None if value is None or found is None else self.shape(value)
        return None if shape is not None and len(shape) > 1 else found

    def elements(self, value: ir.Value | None) -> Integers | None:
        """The integers that a value holds, row-major, if they are known."""
        if value is None:
            return None
        if value not in self.integers:
            tensor = g.constant(value)
            if tensor is None or tensor.size > MAX_INTEGERS:
                return None
            found = g.integers(value)
            if found is None:
                return None
            self.integers[value] = tuple(Dim(v) for v in found)
        return self.integers[value]

    def declared(self, value: ir.Value) -> Shape | None:
        shape: object = value.shape
        if g.constant(value) is not None and value.const_value is not None:
            shape = value.const_value.shape
        if not isinstance(shape, ir.Shape) or not isinstance(value.type, ir.TensorType | None):
            return None
        return tuple(self._dim(value, axis, size) for axis, size in enumerate(shape))

    def _dim(self, value: ir.Value, axis: int, size: int | ir.SymbolicDim) -> Dim:
        if isinstance(size, int):
            return Dim(size) if size > 0 else empty(value.name, axis)
        return read(size.value) if size.value else Dim(1, (f"{value.name}.{axis}",))

    def settle(self, value: ir.Value, opinions: list[Shape | None]) -> None:
        """Take the best of several opinions: numbers, then symbols, the later ones of the list first.

        Where there is none, the readers of a value or else its declaration tell the rank.

        A symbol has to be readable at run time, so a product of symbols that no value has as an axis yet
        becomes one symbol.
        """
        known = [shape for shape in opinions if shape is not None]
        rank = len(known[-1]) if known else self.ranks.get(value, self.declarations.rank(value))
        if rank is None:
            self.dims[value] = None
            return
        columns = zip(
            self._untold(value, rank), *(shape for shape in known if len(shape) == rank), strict=True
        )
        self.dims[value] = tuple(self._best(value, fresh, told) for fresh, *told in columns)
        self._remember(value)
        self.declarations.correct(value, self.dims[value])

    def _untold(self, value: ir.Value, rank: int) -> Shape:
        """Sizes that nothing tells: as they are declared, if that is believed, or symbols of their own."""
        stated = (self.declarations.size(value, axis, rank) for axis in range(rank))
        return tuple(
            dim if size is None else read(size) if isinstance(size, str) else Dim(size) if size else dim
            for size, dim in zip(stated, _fresh(value, rank), strict=True)
        )

    def _best(self, value: ir.Value, fresh: Dim, opinions: Sequence[Dim]) -> Dim:
        told = [dim for dim in reversed(opinions) if dim != UNKNOWN]
        if MADE_UP.search(str(fresh)) is None and all(map(_made_up, told)):
            told.insert(0, fresh)
        told.sort(key=_made_up)
        for dim in told:
            if dim.static:
                return dim
        for dim in told:
            single = dim.number == 1 and len(dim.symbols) == 1
            if single or all(self.source(symbol, value) for symbol in dim.symbols):
                return dim
            name = written(dim)
            if name is not None:
                return Dim(1, (name,))
        return fresh

    def _remember(self, value: ir.Value) -> None:
        for axis, dim in enumerate(self.dims[value] or ()):
            if dim.number == 1 and len(dim.symbols) == 1:
                self.sources.setdefault(dim.symbols[0], {}).setdefault(value.graph, (value, axis))


def _fresh(value: ir.Value, rank: int) -> Shape:
    """Sizes of which nothing is known, each a symbol of its own."""
    return tuple(Dim(1, (f"{value.name}.{axis}",)) for axis in range(rank))


def _made_up(dim: Dim) -> bool:
    """Whether onnx named this size itself, for want of anything better."""
    return any(symbol.startswith("unk__") for symbol in dim.symbols)


def infer(model: ir.Model) -> Shapes:
    """Find the sizes of all values and the relation of every node; what is constant is folded."""
    shapes = Shapes()
    stated = infer_model(model)
    inputs = [dim for value in model.graph.inputs for dim in shapes.declared(value) or ()]
    shapes.declarations = Declarations(model, stated, inputs)
    shapes.declarations.believe({value: shapes.declared(value) for value in stated})
    shapes.ranks = ranks_by_readers(model, shapes.declared)
    for value in model.graph.inputs:
        if value.shape is None and value in shapes.ranks:
            value.shape = ir.Shape([None] * shapes.ranks[value])
    _walk(model.graph, shapes, g.Edits(model))
    g.remove_dead(model)
    return shapes


def _walk(graph: ir.Graph, shapes: Shapes, edits: g.Edits) -> None:
    for value in graph.inputs:
        shapes.shape(value)
    for node in graph:
        for body in g.subgraphs(node):
            shapes.outer[body] = graph
            _carry_ranks(node, body, shapes)
            _walk(body, shapes, edits)
        _forget(node, shapes, edits)
        if not _fold(node, shapes, edits):
            _visit(node, shapes)


def _carry_ranks(node: ir.Node, body: ir.Graph, shapes: Shapes) -> None:
    """A Loop's states have the rank of their initial values; their sizes may change."""
    if node.op_type != "Loop" or node.domain not in g.STANDARD:
        return
    for value, initial in zip(body.inputs[2:], node.inputs[2:], strict=True):
        shape = shapes.shape(initial) if initial is not None else None
        if shape is not None and (value.shape is None or len(value.shape) != len(shape)):
            value.shape = None
            shapes.settle(value, [(UNKNOWN,) * len(shape)])
        if value.dtype is None and initial is not None and initial.dtype is not None:
            value.dtype = initial.dtype


def _forget(node: ir.Node, shapes: Shapes, edits: g.Edits) -> None:
    """Drop operands that say nothing: of a Concat those without elements, of most Resizes the ``roi``."""
    if node.domain not in g.STANDARD:
        return
    roi = g.input_at(node, 1) if node.op_type == "Resize" and g.opset_of(node) >= 11 else None
    if roi is not None and g.attribute(node, "coordinate_transformation_mode") != "tf_crop_and_resize":
        dtype = None if g.opset_of(node) >= 13 or roi.dtype is None else roi.dtype.numpy()
        node.replace_input_with(1, None if dtype is None else edits.constant([], "roi", dtype))
    if node.op_type == "Concat":
        site = Site.of(node, shapes.shape, shapes.values)
        pairs = zip(node.inputs, site.inputs, strict=True)
        full = [
            value for value, shape in pairs if not shape or not is_empty(shape[site.axis(1, rank=len(shape))])
        ]
        if 0 < len(full) < len(node.inputs):
            node.resize_inputs(len(full))
            for index, value in enumerate(full):
                node.replace_input_with(index, value)


def _fold(node: ir.Node, shapes: Shapes, edits: g.Edits) -> bool:
    """Put constants in the place of what is known already."""
    g.state_type(node)
    if not node.outputs or all(output.is_graph_output() for output in node.outputs):
        return False
    found = _exactly(node, shapes)
    if found is None:
        found = evaluate(node) if foldable(node) else None
    if found is None:
        return False
    for output, result in zip(node.outputs, found, strict=True):
        if not output.is_graph_output():
            origin = _moved(node)
            name = (origin.name if origin is not None else output.name) or "folded"
            tensor = ir.tensor(result, dtype=output.dtype)
            output.replace_all_uses_with(edits.initializer(tensor, name, origin))
    return not any(output.is_graph_output() for output in node.outputs)


def _exactly(node: ir.Node, shapes: Shapes) -> list[np.ndarray] | None:
    """What needs no runtime: constants that are moved or filled, and the integers of shape arithmetic."""
    site, output = Site.of(node, shapes.shape, shapes.values), node.outputs[0]
    rule, data = rule_of(node), g.constant(g.input_at(node, 0))
    steps = rule.view(site) if rule is not None and rule.view is not None and data is not None else None
    known = moved(data, steps) if steps is not None and data is not None else filled(node)
    if known is not None or steps is not None:
        return None if known is None else [known]
    integers = arithmetic(site, shapes.elements)
    if integers is None or output.shape is None or not all(dim.static for dim in integers):
        return None
    if output.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    shape = [size for size in output.shape if isinstance(size, int)] if len(output.shape) != 1 else [-1]
    if len(shape) != len(output.shape):
        return None
    return [np.reshape([dim.number for dim in integers], shape).astype(output.dtype.numpy())]


def _moved(node: ir.Node) -> ir.Value | None:
    """The constant that a node only reshapes or transposes: it is still that parameter."""
    rule = rule_of(node)
    data = node.inputs[0] if rule is not None and rule.view is not None and node.inputs else None
    return data if data is not None and g.constant(data) is not None else None


def _visit(node: ir.Node, shapes: Shapes) -> None:
    site = Site.of(node, shapes.shape, shapes.values)
    shapes.sites[node] = site
    rule = rule_of(node)
    result: Shape | None = None
    relation = None
    try:
        steps = rule.view(site) if rule is not None and rule.view is not None else None
        if steps is not None:
            result = _apply(steps, site.shape(0))
            shapes.views[node] = steps
        else:
            relation = _relation(site, rule)
    except UnknownRankError as error:
        relation = _unknown(node, rule, error.index, shapes)
    if relation is not None:
        shapes.relations[node] = relation
    if result is not None:
        shapes.dims[node.outputs[0]] = result
        shapes.declarations.correct(node.outputs[0], result)
    else:
        _settle(site, relation, rule, shapes)
    integers = arithmetic(site, shapes.elements)
    if integers is not None and len(integers) <= MAX_INTEGERS:
        shapes.integers[node.outputs[0]] = integers


def _relation(site: Site, rule: Rule | None) -> Relation:
    if rule is None:
        domain = f" of domain '{site.node.domain}'" if site.node.domain not in g.STANDARD else ""
        return barrier(site.node, f"there is no rule for {site.node.op_type}{domain}")
    return rule.relate(site)


def _unknown(node: ir.Node, rule: Rule | None, index: int, shapes: Shapes) -> Relation:
    """Left as it is, unless the user can help."""
    value = node.inputs[index] if index < len(node.inputs) else None
    reason = f"the rank of its input '{value.name if value is not None else index}' is unknown"
    open_inputs = [v.name for v in shapes.declarations.inputs if shapes.shape(v) is None]
    if isinstance(rule, SpatialRule) and open_inputs:
        remedy = f"Give the model's input shape: --shape {open_inputs[0]}=1,3,224,224"
        raise ConversionError(reason, remedy, g.describe(node))
    return barrier(node, reason)


def _apply(steps: list[Step], shape: Shape) -> Shape:
    for step in steps:
        shape = shape_after(step, shape)
    return shape


def _settle(site: Site, relation: Relation | None, rule: Rule | None, shapes: Shapes) -> None:
    """Join what the rules and inference say of the sizes of a node's outputs."""
    declared = [shapes.declared(value) for value in site.node.outputs]
    complete = all(sizes is not None and all(dim.static for dim in sizes) for sizes in declared)
    inferred = declared
    if is_foreign(site.node):
        inferred = infer_foreign(site.node, site.inputs)
        both = zip(inferred, declared, strict=True)
        declared = [stated if sizes is None else sizes for sizes, stated in both]
    elif site.node.domain in g.STANDARD and not complete:
        inferred = infer_node(site.node, site.inputs)
    for index, value in enumerate(site.node.outputs):
        letters = relation.outputs[index] if relation is not None else None
        derived = None if letters is None else _by_letters(site, relation, letters)
        if derived is None and rule is not None and rule.view is not None:
            rank = views.rank(site)
            derived = None if rank is None else (UNKNOWN,) * rank
        told = _told(rule, site, index) or _from_bodies(site.node, index, shapes)
        shapes.settle(value, [told, inferred[index], declared[index], derived])


def _told(rule: Rule | None, site: Site, index: int) -> Shape | None:
    try:
        return rule.sizes(site, index) if rule is not None and rule.sizes is not None else None
    except UnknownRankError:
        return None


def _from_bodies(node: ir.Node, index: int, shapes: Shapes) -> Shape | None:
    """The shape of what an If or a Loop gives out, as far as its bodies know; the sizes may differ."""
    bodies = list(g.subgraphs(node))
    if node.domain not in g.STANDARD or node.op_type not in ("If", "Loop") or not bodies:
        return None
    loop = node.op_type == "Loop"
    found = [shapes.shape(body.outputs[index + loop]) for body in bodies]
    ranks = {None if shape is None else len(shape) for shape in found}
    if None in ranks or len(ranks) != 1:
        return None
    if not loop:
        return tuple(map(shapes.declarations.common, *(shape or () for shape in found)))
    scanned = index >= len(bodies[0].inputs) - 2
    return (UNKNOWN,) * (len(found[0] or ()) + scanned)


def _by_letters(site: Site, relation: Relation | None, letters: tuple[int, ...]) -> Shape:
    """Sizes of an output: an axis has the size of the input axes that share its letter."""
    assert relation is not None
    sizes = []
    for letter in letters:
        found = [
            shape[port.index(letter)]
            for port, shape in zip(relation.inputs, site.inputs, strict=True)
            if port is not None and shape is not None and letter in port
        ]
        wide = [dim for dim in found if dim != ONE]
        unclear = letter in relation.resized or not found or len(set(wide)) > 1
        sizes.append(UNKNOWN if unclear else (wide or found)[0])
    return tuple(sizes)
