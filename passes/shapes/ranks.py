"""Ranks that nothing before a value tells, from what reads it.

A convolution says the rank of its image by its kernel, a pool by its window, a Transpose by its permutation.
From there ranks are carried backwards, through operators of which only one rank makes the result's:

    x - Unknown - a - Relu - b - Conv(kernel of rank 4)        a and b have rank 4

Readers in a body say nothing of what the body captures, as they need not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import Dim, Reshape, Shape, Step, Transpose
from ..rules import rule_of, views
from ..rules.recurrent import RecurrentRule
from ..rules.relation import Site, UnknownRankError
from ..rules.spatial import SpatialRule
from .foreign import infer_foreign, is_foreign
from .inference import infer_node

MAX_RANK = 6
"""Higher ranks are not tried."""
OF_IMAGES = {"DepthToSpace": 4, "SpaceToDepth": 4, "RoiAlign": 4, "MaxRoiPool": 4}
ENTRIES = {"Transpose": ("perm", None, 1), "Tile": ("", 1, 1), "Pad": ("pads", 1, 2)}
"""A list with an entry (or two) per axis: as an attribute, as an input."""
PER_IMAGE_AXIS = (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 2))

Known = Callable[[ir.Value], Shape | None]


def ranks_by_readers(model: ir.Model, shape: Known) -> dict[ir.Value, int]:
    """The ranks of values that ``shape`` does not know, as far as they can be told."""
    unknown = {value for value in _values(model) if shape(value) is None}
    if not unknown:
        return {}
    found: dict[ir.Value, int] = {}

    def known(value: ir.Value) -> Shape | None:
        return _any_sizes(value, found[value]) if value in found else shape(value)

    count = -1
    while len(found) > count:
        count = len(found)
        for graph in model.graphs():
            for node in reversed(graph):
                for value, rank in (*_results(node, known), *_operands(node, known)):
                    if value in unknown and value not in found:
                        found[value] = rank
    return found


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        for node in graph:
            yield from node.outputs


def _any_sizes(value: ir.Value, rank: int) -> Shape:
    return tuple(Dim(1, (f"{value.name}.{axis}",)) for axis in range(rank))


def _results(node: ir.Node, known: Known) -> Iterator[tuple[ir.Value, int]]:
    """The ranks of a node's results, from those of all of its inputs."""
    inputs = tuple(None if v is None or not v.name else known(v) for v in node.inputs)
    if any(shape is None for v, shape in zip(node.inputs, inputs, strict=True) if v is not None and v.name):
        return
    for value, rank in zip(node.outputs, _outcome(Site(node, inputs)) or (), strict=False):
        if rank is not None:
            yield value, rank


def _operands(node: ir.Node, known: Known) -> Iterator[tuple[ir.Value, int]]:
    """The ranks of inputs that are not known, from what the node says of them, or from its results."""
    for index, value in enumerate(node.inputs):
        if value is None or not value.name or known(value) is not None or value.graph is not node.graph:
            continue
        site = Site(node, tuple(None if v is None or not v.name else known(v) for v in node.inputs))
        rank = _stated(site, index)
        if rank is None:
            rank = _backwards(site, index, known)
        if rank is not None:
            yield value, rank


def _stated(site: Site, index: int) -> int | None:
    """The rank that a node's kernel, window or list of entries says an input to have."""
    node = site.node
    row = rule_of(node)
    if isinstance(row, RecurrentRule):
        return 3 if index == 0 else None
    if isinstance(row, SpatialRule):
        ports = row.at(site.opset).inputs
        if index >= len(ports) or " s" not in ports[index]:
            return None
        for other, port in enumerate(ports[: len(site.inputs)]):
            shape = site.inputs[other]
            if shape is not None and (" s" in port or " k" in port):
                return len(shape)
            if shape is not None and port in ("*", "**") and len(shape) == 1 and shape[0].static:
                return shape[0].number // len(port) or None
        if node.op_type == "GridSample" and index == 0 and site.inputs[1] is not None:
            return len(site.inputs[1])
    if index == 0 and (isinstance(row, SpatialRule) or node.domain not in g.STANDARD):
        for name, halves in PER_IMAGE_AXIS:
            numbers = site.attribute(name)
            if isinstance(numbers, (list, tuple)) and numbers:
                return len(numbers) // halves + 2
        return OF_IMAGES.get(node.op_type)
    if row is not None and index == 0 and node.op_type in ENTRIES and g.input_at(node, 3) is None:
        name, at, halves = ENTRIES[node.op_type]
        numbers = site.parameter(name, at)
        return None if numbers is None else len(numbers) // halves
    return None


def _backwards(site: Site, index: int, known: Known) -> int | None:
    """The only rank of an input with which the results have the ranks that are known of them."""
    wanted = [known(value) for value in site.node.outputs]
    if all(shape is None for shape in wanted):
        return None
    value = site.node.inputs[index]
    assert value is not None
    fitting = []
    for rank in range(MAX_RANK + 1):
        inputs = list(site.inputs)
        inputs[index] = _any_sizes(value, rank)
        outcome = _outcome(Site(site.node, tuple(inputs)))
        if outcome is not None and all(
            shape is None or made is None or made == len(shape)
            for shape, made in zip(wanted, outcome, strict=True)
        ):
            fitting.append(rank)
    return fitting[0] if len(fitting) == 1 else None


def _outcome(site: Site) -> list[int | None] | None:
    """The ranks of a node's results; None if its inputs cannot have the ranks that the site says."""
    node = site.node
    row = rule_of(node)
    if row is None:
        return [None if shape is None else len(shape) for shape in infer_foreign(node, site.inputs)]
    try:
        if row.view is not None:
            steps = row.view(site)
            return [views.rank(site)] if steps is None else _through(steps, site.rank)
        relation = row.relate(site)
    except UnknownRankError:
        return [None] * len(node.outputs)
    except (ArithmeticError, IndexError, ValueError, AssertionError):  # no such axis
        return None
    by_letters = [None if port is None else len(port) for port in relation.outputs]
    if None not in by_letters:
        return by_letters
    told_sizes = (infer_foreign if is_foreign(node) else infer_node)(node, site.inputs)
    return [rank if s is None else len(s) for rank, s in zip(by_letters, told_sizes, strict=True)]


def _through(steps: list[Step], rank: int) -> list[int | None] | None:
    """The rank after the steps of a view; None where one is for another rank."""
    for step in steps:
        if isinstance(step, Transpose) and len(step.perm) != rank:
            return None
        rank = len(step.shape) if isinstance(step, Reshape) else rank
    return [rank]
