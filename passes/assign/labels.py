"""The arrangements that every node could run in: the labels of the layout problem.

Layouts are carried along the edges of the graph, forwards and backwards, to a fixed point. They start
from the nodes that insist on one: spatial operators on the native layout, barriers and operators with
conditions on the source's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import ONE, Dim, Factor, Order, Shape, channels_last, factors, permuted
from ..errors import UsageError
from ..rules.relation import Arrangement, Letters, Relation, arrangement, completions, extend, form
from .flow import Flow, Operation, Use

MAX_LABELS = 8
"""More arrangements of one node are not considered: they come from ever longer detours."""

Pin = str | tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """What is wanted of the result."""

    channels_last: bool = True
    functions: bool = True
    keep_io: bool = False
    batch_first: bool = False
    """Whether recurrent operators run batch first only, as functions in either layout."""
    pins: Mapping[str, Pin] = field(default_factory=dict)

    @property
    def native(self) -> bool:
        """Whether spatial operators run channels last."""
        return self.channels_last and self.functions


@dataclass(frozen=True)
class Offer:
    """A layout of a root that some node produces or wants.

    ``parts`` also places unit axes, which an order cannot; ``image`` says that the root's axes are
    batch, channel and image axes of a spatial operator, each whole.
    """

    order: Order
    parts: tuple[Factor, ...] | None
    image: bool


class Carrier:
    """Carries layouts along edges to a fixed point: every node's labels."""

    def __init__(self, flow: Flow, target: Target) -> None:
        self.flow = flow
        self.target = target
        self.labels: dict[Operation, dict[Arrangement, bool]] = {}
        self.inputs: dict[ir.Value, dict[tuple[int, ...], bool]] = {}
        self.outputs: dict[int, dict[tuple[int, ...], bool]] = {}
        self._queue: deque[tuple[Operation, Arrangement]] = deque()
        self._offered: dict[ir.Value, set[Offer]] = {}

    def run(self) -> None:
        for node in self.flow.nodes:
            relation = self.flow.relation(node)
            self.labels[node] = {}
            if relation.optional:
                self._label(node, relation.identity, False)
                if self.target.native or self.target.batch_first:
                    self._label(node, arrangement(relation.native or ()), False)
            elif relation.native is not None:
                wanted = arrangement(relation.native)
                first, last = relation.identity, wanted
                own, other = (last, first) if self.target.channels_last else (first, last)
                self._label(node, own, True)
                self._label(node, other, False)
            else:
                self.labels[node][relation.identity] = False
                if relation.barrier or relation.allows is not None or None in relation.inputs[:1]:
                    self._queue.append((node, relation.identity))
        self._settle()
        self._offer_pins()
        self._settle()

    def channels_last(self, images: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The channels-last layouts of a port, from what the images' nodes have offered it."""
        return [p if self.target.channels_last else (p[0], *p[2:], p[1]) for p in images]

    def _settle(self) -> None:
        while self._queue:
            node, order = self._queue.popleft()
            self._spread(node, order)

    def _offer_pins(self) -> None:
        """Offer what is stated of inputs and outputs; which axis is which, the images have said by now."""
        graph = self.flow.model.graph
        ports = [(value, self.inputs.get(value, {})) for value in graph.inputs]
        ports += [(value, self.outputs.get(i, {})) for i, value in enumerate(graph.outputs)]
        for value, images in ports:
            pin, dims = self.target.pins.get(value.name or ""), self.flow.shape(value)
            if pin is None or dims is None:
                continue
            perm = resolve_pin(value.name or "", pin, len(dims), self.channels_last(images))
            view = self.flow.view(value)
            order = view.to_root(permuted(dims, perm))
            if order is not None and g.constant(view.root) is None:
                whole = [Factor(axis, dims[axis], ONE) for axis in perm]
                parts = tuple(view.parts_to_root(whole)) if view.only_transposes else None
                self._offer(view.root, Offer(order, parts, False))

    def _label(self, node: Operation, order: Arrangement, image: bool) -> None:
        known = self.labels[node]
        if order in known:
            if known[order] or not image:
                return
        elif len(known) >= MAX_LABELS:
            return
        known[order] = image
        self._queue.append((node, order))

    def _spread(self, node: Operation, order: Arrangement) -> None:
        """Offer what this arrangement means for every port to whoever shares the port's value."""
        relation = self.flow.relation(node)
        image = self.labels[node][order]
        ports = [(v, relation.inputs[i]) for i, v in enumerate(node.inputs) if v is not None and v.name]
        ports += list(zip(node.outputs, relation.outputs, strict=True))
        for value, letters in ports:
            dims = self.flow.shape(value)
            view = self.flow.view(value)
            if dims is None or g.constant(view.root) is not None:
                continue
            port = form(order, relation, letters, dims)
            found = view.to_root(port.stored.order)
            if found is None:
                continue
            parts = tuple(view.parts_to_root(port.parts)) if view.only_transposes else None
            whole = image and parts is not None and self._is_image(node, relation, letters, dims)
            self._offer(view.root, Offer(found, parts, whole))

    def _is_image(self, node: Operation, relation: Relation, letters: Letters | None, dims: Shape) -> bool:
        """Whether a port of an image's node is the image itself: all axes, none broadcast."""
        if letters is None or len(dims) < 3:
            return False
        if relation.native is not None:
            return letters == relation.inputs[0] or letters == relation.outputs[0]
        if len(letters) != len(relation.letters):
            return False
        shapes = [self.flow.shape(v) if v is not None else None for v in node.inputs]
        for axis, letter in enumerate(letters):
            if letter in relation.broadcast and dims[axis] == ONE:
                for port, shape in zip(relation.inputs, shapes, strict=True):
                    if port and shape and letter in port and shape[port.index(letter)] != ONE:
                        return False
        return True

    def _offer(self, root: ir.Value, offer: Offer) -> None:
        known = self._offered.setdefault(root, set())
        if offer in known or len(known) > 4 * MAX_LABELS:
            return
        known.add(offer)
        maker = self.flow.producer(root)
        if maker is None:
            self._offer_input(root, offer)
        else:
            node, index = maker
            letters = self.flow.relation(node).outputs[index]
            self._try(node, letters, root, offer.order, offer.parts, offer.image)
        for use in self.flow.uses.get(root, ()):
            self._offer_use(use, offer)

    def _offer_use(self, use: Use, offer: Offer) -> None:
        order = use.view.from_root(offer.order)
        if order is None:
            return
        parts = None
        if use.view.only_transposes and offer.parts is not None:
            parts = tuple(use.view.parts_from_root(list(offer.parts)))
        image = offer.image and parts is not None
        if use.node is not None:
            letters = self.flow.relation(use.node).inputs[use.index]
            self._try(use.node, letters, use.value, order, parts, image)
        elif use.index >= 0 and image and parts is not None:
            self._perm(self.outputs.setdefault(use.index, {}), use.value, parts)

    def _offer_input(self, root: ir.Value, offer: Offer) -> None:
        if offer.image and offer.parts is not None:
            self._perm(self.inputs.setdefault(root, {}), root, offer.parts)

    def _perm(self, known: dict[tuple[int, ...], bool], value: ir.Value, parts: tuple[Factor, ...]) -> None:
        dims = self.flow.shape(value) or ()
        if len(parts) == len(dims) and all(f.size == dims[f.axis] for f in parts):
            known[tuple(f.axis for f in parts)] = True

    def _try(
        self,
        node: Operation,
        letters: Letters | None,
        value: ir.Value,
        order: Order,
        parts: tuple[Factor, ...] | None,
        image: bool,
    ) -> None:
        relation = self.flow.relation(node)
        dims = self.flow.shape(value)
        if letters is None or dims is None:
            return
        found = factors(order, dims) if parts is None else list(parts)
        if found is None:
            return
        if relation.native is not None:
            self._try_exchanged(node, relation, extend(relation, letters, dims, found))
            return
        orders = completions(relation, letters, dims, found)
        wanted = next((order for order in orders if relation.admits(order)), None)
        if wanted is not None and self._divides_constants(node, relation, wanted):
            self._label(node, wanted, image and self._is_image(node, relation, letters, dims))

    def _divides_constants(self, node: Operation, relation: Relation, order: Arrangement) -> bool:
        """Whether the pieces of an axis make up that axis of each constant, which is certain of its size.

        The sizes of a value may be known by other symbols only: what a Gemm contracts, say.
        """
        pieces: dict[int, Dim] = {}
        for letter, size, _ in order:
            if size is not None:
                pieces[letter] = pieces.get(letter, ONE) * size
        for value, port in zip(node.inputs, relation.inputs, strict=True) if pieces else ():
            if value is None or port is None or g.constant(self.flow.view(value).root) is None:
                continue
            sizes = zip(port, self.flow.shape(value) or (), strict=False)
            if any(pieces.get(letter, dim) != dim and dim != ONE for letter, dim in sizes):
                return False
        return True

    def _try_exchanged(self, node: Operation, relation: Relation, wanted: Arrangement) -> None:
        """A spatial operator can run with its image's axes in another order."""
        image = relation.image_order(wanted)
        if len(image) < 2 or image == relation.image or any(p.size is not None for p in wanted):
            return
        for last in (True, False):
            order = relation.exchanged(last, image)
            port = [p.letter for p in order if p.letter in (relation.inputs[0] or ())]
            if port == [p.letter for p in wanted if p.letter in (relation.inputs[0] or ())]:
                self._label(node, order, False)


def resolve_pin(name: str, pin: Pin, rank: int, images: list[tuple[int, ...]]) -> tuple[int, ...]:
    """A stated layout as a permutation of the source's axes.

    Letters speak of what the axes are. Which axis is which follows from the spatial operators that read
    or write the value; where there are none, the source is taken to be channels first.

    >>> resolve_pin("x", "NHWC", 4, [])
    (0, 2, 3, 1)
    """
    if isinstance(pin, tuple):
        if sorted(pin) != list(range(rank)):
            raise UsageError(f"--layout {name}={','.join(map(str, pin))}: '{name}' has rank {rank}")
        return pin
    letters = pin.upper()
    first = "NC" + "DHW"[5 - len(letters) :] if 3 <= len(letters) <= 5 else ""
    first = "NCW" if len(letters) == 3 else first
    if sorted(letters) != sorted(first):
        raise UsageError(
            f"--layout {name}={pin}: not a layout. Use NCHW, NHWC, NCW, NWC, NCDHW, NDHWC or 0,2,3,1"
        )
    if len(letters) != rank:
        raise UsageError(f"--layout {name}={pin}: '{name}' has rank {rank}, not {len(letters)}")
    last = images[0] if images else channels_last(rank)
    axis_of = dict(zip(first[0] + first[2:] + "C", last, strict=True))
    return tuple(axis_of[letter] for letter in letters)
