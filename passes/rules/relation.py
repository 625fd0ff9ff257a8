"""What one operator says of layouts: how its axes relate, and how it is rewritten.

A :class:`Relation` names the axes of every port of one node by *letters*, like the equation of an einsum:
axes that must move together share a letter. Letters are numbers, and their ascending order is the source
model's own order on every port. The node as a whole runs in an :class:`Arrangement`, one order of all its
letters; each port is stored in that order restricted to its own letters.

    Conv:    x: n c h w,  w: o i y x,  b: o  ->  n o h w
    Reduce:  x: n c h w  ->  n c
    Add:     a: n c h w,  b: c h w  ->  n c h w
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import (
    ONE,
    Dim,
    Factor,
    Mode,
    Shape,
    Stored,
    canonical,
    identity,
    is_empty,
    product,
    strides,
)

Letters = tuple[int, ...]
"""A port's axes, a letter each."""


class Part(NamedTuple):
    """A letter, or one factor of it (``size`` elements, ``stride`` apart within the letter)."""

    letter: int
    size: Dim | None = None
    stride: Dim = ONE


Arrangement = tuple[Part, ...]
"""The order in which a node runs: its letters from the outermost stored to the innermost."""


def arrangement(letters: Iterable[int]) -> Arrangement:
    """An arrangement of whole letters."""
    return tuple(Part(letter) for letter in letters)


@dataclass(frozen=True)
class Relation:
    """How the axes of a node's ports relate.

    ``inputs`` and ``outputs`` name each port's axes; ``None`` is a port that keeps the source model's
    order (or has no axes that move: a scalar, a list of pads).
    """

    inputs: tuple[Letters | None, ...]
    outputs: tuple[Letters | None, ...]
    whole: frozenset[int] = frozenset()
    """Letters that may not be stored in pieces, since an attribute speaks of them."""
    resized: frozenset[int] = frozenset()
    """Letters whose size differs between ports."""
    broadcast: frozenset[int] = frozenset()
    """Letters for which a port that lacks them needs a unit axis, as NumPy's broadcasting does."""
    native: Letters | None = None
    """The order of a function (channels last, batch first): a node runs in this or the source's only."""
    optional: bool = False
    """Whether a node with a native order may run in the source's where the dialect has functions."""
    image: Letters = ()
    """The image's letters, if a spatial operator treats them alike: they may change places."""
    kernel: Letters = ()
    """The kernel's letters; they change places as the image's do."""
    allows: Callable[[Arrangement], bool] | None = None
    """Further conditions on the order."""
    barrier: str = ""
    """Why this node stays in the source's order, if it does."""

    @cached_property
    def letters(self) -> Letters:
        """All letters, in the source model's order."""
        return tuple(sorted({a for port in (*self.inputs, *self.outputs) if port for a in port}))

    @property
    def identity(self) -> Arrangement:
        return arrangement(self.letters)

    def exchanged(self, last: bool, image: Sequence[int]) -> Arrangement:
        """The native order (channels last or as the source) with the image's axes in another order."""
        base = (self.native or ()) if last else self.letters
        places = dict(zip(self.image, image, strict=True))
        partner = dict(zip(self.image, self.kernel, strict=False))
        places |= {partner[a]: partner[b] for a, b in zip(self.image, image, strict=True) if partner}
        return arrangement(places.get(letter, letter) for letter in base)

    def image_order(self, order: Arrangement) -> Letters:
        """The order of the image's letters in an arrangement."""
        return tuple(part.letter for part in order if part.letter in self.image)

    def is_last(self, order: Arrangement) -> bool:
        """Whether a spatial operator's order is the channels-last one, up to the image's axes."""
        return self.native is not None and order == self.exchanged(True, self.image_order(order))

    def admits(self, wanted: Arrangement) -> bool:
        """Whether the node can run in this order."""
        if any(part.size is not None and part.letter in self.whole for part in wanted):
            return False
        return self.allows is None or self.allows(wanted)


def barrier(node: ir.Node, reason: str) -> Relation:
    """Every port in the source model's order."""
    return Relation((None,) * len(node.inputs), (None,) * len(node.outputs), barrier=reason)


@dataclass(frozen=True)
class Form:
    """How one port is stored when its node runs in some arrangement.

    ``groups[i]`` holds the factors of the value's axes that stored axis ``i`` is made of; none is a unit
    axis that broadcasting asks for.
    """

    groups: tuple[tuple[Factor, ...], ...]
    dims: Shape

    @cached_property
    def stored(self) -> Stored:
        steps = strides(self.dims)
        modes = (Mode(f.size, steps[f.axis] * f.stride) for group in self.groups for f in group)
        return Stored(canonical(modes), tuple(product(f.size for f in group) for group in self.groups))

    @property
    def parts(self) -> list[Factor]:
        return [factor for group in self.groups for factor in group]

    def axis(self, axis: int) -> int:
        """Where a whole axis of the source is stored."""
        return next(i for i, group in enumerate(self.groups) if any(f.axis == axis for f in group))

    @cached_property
    def perm(self) -> tuple[int, ...] | None:
        """The permutation, if this is one of whole axes."""
        perm = [group[0].axis for group in self.groups if len(group) == 1]
        whole = all(f.size == self.dims[f.axis] for f in self.parts)
        return tuple(perm) if whole and len(perm) == len(self.groups) == len(self.dims) else None

    def spread(self, vector: Sequence[Any], neutral: Any) -> list[Any]:
        """A vector with an entry per source axis, as one with an entry per stored axis.

        Axes that are stored in pieces, and unit axes that the source does not have, get ``neutral``.
        """
        whole = [len(group) == 1 and group[0].size == self.dims[group[0].axis] for group in self.groups]
        return [vector[grp[0].axis] if w else neutral for grp, w in zip(self.groups, whole, strict=True)]


def kept(dims: Shape) -> Form:
    """The source model's own order."""
    return Form(tuple((Factor(axis, dim, ONE),) for axis, dim in enumerate(dims)), dims)


def form(order: Arrangement, relation: Relation, letters: Letters | None, dims: Shape) -> Form:
    """How a port with these letters and sizes is stored when its node runs in ``order``."""
    return kept(dims) if letters is None else _form(order, relation.broadcast, letters, dims)


@lru_cache(1 << 14)
def _form(order: Arrangement, broadcast: frozenset[int], letters: Letters, dims: Shape) -> Form:
    """Most nodes of a model are like others: this is computed once for all of them."""
    groups: list[tuple[Factor, ...]] = []
    last, placed = -1, set[int]()
    for letter, size, stride in order:
        if letter in letters:
            axis = letters.index(letter)
            whole = size is None or dims[axis] == ONE
            factor = Factor(axis, dims[axis], ONE) if whole else Factor(axis, size or ONE, stride)
            added: tuple[Factor, ...] = () if whole and axis in placed else (factor,)
            placed.add(axis)
        elif letter in broadcast:
            added = ()
        else:
            last = letter  # pieces that another port stores apart stay apart
            continue
        if letter == last:
            groups[-1] = (*groups[-1], *added)
        else:
            groups.append(added)
        last = letter
    while len(groups) > len(letters) and not groups[0]:
        del groups[0]
    return Form(tuple(groups), dims)


def extend(relation: Relation, letters: Letters, dims: Shape, parts: Sequence[Factor]) -> Arrangement:
    """The arrangement of a whole node that stores one port as ``parts`` says.

    Letters that the port lacks follow the letter before them in the source's order.
    """
    found = [
        Part(letters[f.axis]) if f.size == dims[f.axis] else Part(letters[f.axis], f.size, f.stride)
        for f in parts
    ]
    for letter in relation.letters:
        if any(part.letter == letter for part in found):
            continue
        before = [i for i, part in enumerate(found) if part.letter < letter]
        latest = max((found[i].letter for i in before), default=None)
        position = max((i + 1 for i in before if found[i].letter == latest), default=0)
        found.insert(position, Part(letter))
    return tuple(found)


def completions(
    relation: Relation, letters: Letters, dims: Shape, parts: Sequence[Factor]
) -> Iterator[Arrangement]:
    """Arrangements that store one port as ``parts`` says: :func:`extend`'s first, then others.

    Only a node with conditions on its order is worth the others.
    """
    first = extend(relation, letters, dims, parts)
    yield first
    present = {letters[f.axis] for f in parts}
    missing = [letter for letter in relation.letters if letter not in present]
    if relation.allows is None or len(missing) > 2:
        return
    partial: list[Arrangement] = [tuple(part for part in first if part.letter in present)]
    for letter in missing:
        partial = [
            (*order[:place], Part(letter), *order[place:])
            for order in partial
            for place in range(len(order), -1, -1)
        ]
    yield from partial


@dataclass
class Site:
    """One node as its rule sees it: sizes of the inputs, constants, parameters."""

    node: ir.Node
    inputs: tuple[Shape | None, ...]
    """Shapes of the inputs; None if the input is left out or of unknown rank."""
    values: Callable[[ir.Value | None], tuple[Dim, ...] | None] = lambda value: None
    """The integers that a one-dimensional value holds, as far as shape arithmetic tells."""
    opset: int = field(init=False)

    def __post_init__(self) -> None:
        self.opset = g.opset_of(self.node)

    @classmethod
    def of(
        cls,
        node: ir.Node,
        shape: Callable[[ir.Value], Shape | None],
        values: Callable[[ir.Value | None], tuple[Dim, ...] | None],
    ) -> Site:
        """A node in a graph whose sizes are known through ``shape``."""
        return cls(node, tuple(None if v is None or not v.name else shape(v) for v in node.inputs), values)

    @property
    def rank(self) -> int:
        """Rank of the first input."""
        return len(self.shape(0))

    def shape(self, index: int) -> Shape:
        """An input's shape; raises :class:`UnknownRankError` where that is not known."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise UnknownRankError(index)
        return found

    def has(self, index: int) -> bool:
        """Whether a parameter is given; an empty list, as Resize's ``roi`` was before 13, is not."""
        if g.input_at(self.node, index) is None:
            return False
        shape = self.inputs[index] if index < len(self.inputs) else None
        return shape is None or len(shape) != 1 or not is_empty(shape[0])

    def parameter(self, name: str, index: int | None = None) -> list[int] | None:
        return g.parameter(self.node, name, index)

    def attribute(self, name: str, default: Any = None) -> Any:
        return g.attribute(self.node, name, default)

    def axis(self, default: int | None = None, rank: int | None = None) -> int:
        """The attribute ``axis``, counted from the front."""
        axis = self.attribute("axis", default)
        rank = self.rank if rank is None else rank
        return int(axis) % rank if rank else 0

    def ports(self, *letters: Letters | None) -> tuple[Letters | None, ...]:
        """Input ports, padded to the number of inputs that the node has."""
        return (*letters, *[None] * (len(self.node.inputs) - len(letters)))[: len(self.node.inputs)]


class UnknownRankError(Exception):
    """A rule needs the rank of an input that is not known."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


@dataclass
class Move:
    """A node's chosen layout, as its rewriter sees it."""

    node: ir.Node
    rule: Rule
    relation: Relation
    order: Arrangement
    inputs: tuple[Form | None, ...]
    outputs: tuple[Form | None, ...]
    edits: g.Edits
    site: Site

    @property
    def native(self) -> bool:
        """Whether a spatial operator runs channels last."""
        return self.relation.is_last(self.order)

    @property
    def x(self) -> Form:
        """The first input's form."""
        found = self.inputs[0]
        assert found is not None
        return found

    @property
    def y(self) -> Form:
        """The first output's form."""
        found = self.outputs[0]
        assert found is not None
        return found

    def emit(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """A node of its own just before this one."""
        return self.edits.node(
            op_type,
            inputs,
            attributes,
            name=f"{self.node.name}_{op_type}",
            insert=self.node.prepend,
        )

    def set_parameter(self, name: str, index: int | None, values: Sequence[int]) -> None:
        """State a list of integers in the form, attribute or input, that the node already uses."""
        if index is None or name in self.node.attributes:
            g.set_attribute(self.node, name, list(values))
        else:
            g.set_input(self.node, index, self.edits.constant(list(values), name))


Relate = Callable[[Site], Relation]
Rewrite = Callable[[Move], None]


@dataclass(frozen=True)
class Rule:
    """One operator's row: how its axes relate, and how it is rewritten into an arrangement."""

    relate: Relate
    rewrite: Rewrite | None = None
    view: Callable[[Site], list[Any] | None] | None = None
    """For operators that only rename factors: the steps that they stand for."""
    sizes: Callable[[Site, int], Shape | None] | None = None
    """The sizes of an output, where integers tell them."""

    def usual_inputs(self, op_type: str) -> str:
        """The inputs, one digit each, of the operator's function without a suffix."""
        return "0123"  # of a recurrent operator: no lengths, no states


def identity_stored(dims: Shape) -> Stored:
    """A value in the source model's own order."""
    return Stored(identity(dims), dims)
