"""The layout algebra: in which order the elements of a tensor are stored.

Everything here is a pure value; nothing knows of ONNX. The idea, as in einops and in CuTe's layouts: an
axis is a product of *factors*, and a layout is the order in which factors are stored. A factor is named
by where it lies in the tensor's row-major index, as a :class:`Mode` ``(size, stride)``. Names of this
kind survive every Reshape, Flatten, Squeeze and Unsqueeze, since those leave the row-major index alone;
only a Transpose renames factors. Sizes may be symbolic: products of a number and symbols (:class:`Dim`).

The law, with ``x`` in the source model's order: ``stored = rearrange(x, "n c h w -> n h w c")``, in
permutations ``stored = np.transpose(x, perm)``, stored axis ``i`` being the source's axis ``perm[i]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple


class Dim(NamedTuple):
    """A size: a number times symbols (sorted, with repetition).

    >>> str(Dim(4, ("w",)) * Dim(2, ("h",)))
    '8*h*w'
    >>> Dim(8, ("h", "w")).over(Dim(2, ("w",)))
    Dim(number=4, symbols=('h',))
    """

    number: int
    symbols: tuple[str, ...] = ()

    def __mul__(self, other: Dim) -> Dim:  # type: ignore[override]
        if not self.symbols and not other.symbols:
            return Dim(self.number * other.number)
        return Dim(self.number * other.number, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Dim) -> Dim | None:
        """The exact quotient, or None where ``other`` does not divide this size whatever the symbols."""
        if self.number % other.number:
            return None
        if not other.symbols:
            return Dim(self.number // other.number, self.symbols)
        rest = list(self.symbols)
        for symbol in other.symbols:
            if symbol not in rest:
                return None
            rest.remove(symbol)
        return Dim(self.number // other.number, tuple(rest))

    @property
    def static(self) -> bool:
        return not self.symbols

    def __str__(self) -> str:
        parts = ([] if self.symbols and self.number == 1 else [str(self.number)]) + list(self.symbols)
        return "*".join(parts)


ONE = Dim(1)
UNKNOWN = Dim(0)
"""Marks a size that nothing tells. No size is 0: empty axes have a symbol of their own."""
EMPTY = "empty "
"""How the symbol of an axis without elements begins."""
Shape = tuple[Dim, ...]


def is_empty(dim: Dim) -> bool:
    """Whether an axis has no elements.

    An empty axis divides nothing: a symbol of its own keeps the algebra sound.

    >>> is_empty(empty("x", 1) * Dim(3))
    True
    """
    return any(symbol.startswith(EMPTY) for symbol in dim.symbols)


def empty(name: str | None, axis: int) -> Dim:
    """The size of an axis without elements."""
    return Dim(1, (f"{EMPTY}{name} {axis}",))


def product(dims: Iterable[Dim]) -> Dim:
    """The product of sizes; of none, 1."""
    number, symbols = 1, tuple[str, ...]()
    for dim in dims:
        number *= dim.number
        symbols += dim.symbols
    return Dim(number, tuple(sorted(symbols)))


def strides(dims: Sequence[Dim]) -> tuple[Dim, ...]:
    """Row-major strides, in elements: how far apart neighbours along each axis lie.

    >>> [s.number for s in strides((Dim(2), Dim(3), Dim(4)))]
    [12, 4, 1]
    """
    result, step = [], ONE
    for dim in reversed(dims):
        result.append(step)
        step = step * dim
    return tuple(reversed(result))


class Mode(NamedTuple):
    """One factor: ``size`` elements that lie ``stride`` apart in the row-major index of the tensor."""

    size: Dim
    stride: Dim


class Factor(NamedTuple):
    """A mode, seen from the axis it lies in: its stride within that axis."""

    axis: int
    size: Dim
    stride: Dim


Order = tuple[Mode, ...]
"""A layout: modes from the outermost stored to the innermost, in canonical form."""


def canonical(modes: Iterable[Mode]) -> Order:
    """Drop factors of size 1, fuse neighbours that are neighbours in the row-major index too.

    Two layouts of one tensor are the same order of its elements iff their canonical forms are equal.
    """
    result: list[Mode] = []
    for mode in modes:
        if mode.size == ONE:
            continue
        if result and result[-1].stride == mode.size * mode.stride:
            result[-1] = Mode(result[-1].size * mode.size, mode.stride)
        else:
            result.append(mode)
    return tuple(result)


def identity(dims: Sequence[Dim]) -> Order:
    """The source model's own order."""
    return canonical([Mode(product(dims), ONE)])


def permuted(dims: Sequence[Dim], perm: Sequence[int]) -> Order:
    """The order in which ``np.transpose(x, perm)`` stores a tensor ``x`` of shape ``dims``."""
    steps = strides(dims)
    return canonical(Mode(dims[axis], steps[axis]) for axis in perm)


def factors(order: Order, dims: Sequence[Dim]) -> list[Factor] | None:
    """Split an order's modes where the axes of ``dims`` meet, and name each piece by its axis.

    None if some mode straddles the boundary between two axes without being divisible there: such an
    order cannot be told in terms of these axes.

    >>> n, c, h, w = Dim(1, ("n",)), Dim(3), Dim(1, ("h",)), Dim(1, ("w",))
    >>> [f.axis for f in factors(permuted((n, c, h, w), (0, 2, 3, 1)), (n, c, h, w))]
    [0, 2, 3, 1]
    """
    steps = strides(dims)
    axes = [(axis, steps[axis], steps[axis] * dim) for axis, dim in enumerate(dims) if dim != ONE]
    result: list[Factor] = []
    for mode in order:
        pieces: list[Factor] = []
        here, end = mode.stride, mode.stride * mode.size
        while here != end:
            left = end.over(here)
            if left is None:
                return None
            for axis, start, stop in axes:  # noqa: B007  the axis that the loop stops at is used below
                inner, room = here.over(start), stop.over(here)
                if inner is not None and room is not None and room != ONE:
                    break
            else:
                return None
            size = room if left.over(room) is not None else left
            if room.over(size) is None:
                return None
            pieces.append(Factor(axis, size, inner))
            here = here * size
        result.extend(reversed(pieces))
    return result


def before_transpose(order: Order, dims: Sequence[Dim], perm: Sequence[int]) -> Order | None:
    """An order of ``y = transpose(x, perm)`` told as an order of ``x``, whose shape is ``dims``."""
    found = factors(order, [dims[axis] for axis in perm])
    if found is None:
        return None
    steps = strides(dims)
    return canonical(Mode(f.size, steps[perm[f.axis]] * f.stride) for f in found)


def after_transpose(order: Order, dims: Sequence[Dim], perm: Sequence[int]) -> Order | None:
    """An order of ``x``, whose shape is ``dims``, told as an order of ``y = transpose(x, perm)``."""
    inverse = invert(perm)
    return before_transpose(order, [dims[axis] for axis in perm], inverse)


def invert(perm: Sequence[int]) -> tuple[int, ...]:
    """The inverse permutation: source axis ``a`` is stored at ``invert(perm)[a]``."""
    inverse = [0] * len(perm)
    for position, axis in enumerate(perm):
        inverse[axis] = position
    return tuple(inverse)


def channels_last(rank: int) -> tuple[int, ...]:
    """The permutation from (N, C, spatial...) to (N, spatial..., C).

    >>> channels_last(4)
    (0, 2, 3, 1)
    """
    return (0, *range(2, rank), 1)


class Stored(NamedTuple):
    """How a tensor lies in memory: the order of its elements, and the shape that is put on them."""

    order: Order
    shape: Shape


@dataclass(frozen=True)
class Reshape:
    """A step of a chain: the same elements under another shape."""

    shape: Shape


@dataclass(frozen=True)
class Transpose:
    """A step of a chain: ``np.transpose(x, perm)``; moves data."""

    perm: tuple[int, ...]


Step = Reshape | Transpose


def shape_after(step: Step, shape: Shape) -> Shape:
    """The shape that a step leaves of a tensor of this shape."""
    return tuple(shape[axis] for axis in step.perm) if isinstance(step, Transpose) else step.shape


def chain(source: Stored, target: Stored) -> list[Step] | None:
    """The shortest chain of Reshape and Transpose that leads from one storage to another.

    At most one Transpose, as two always compose to one; none if only the shape or unit axes differ. Two,
    by way of the source model's order, if the two orders have no common factors (``(6, 4)`` and
    ``(8, 3)``, both transposed). None if sizes are too symbolic for either.

    >>> n, c, h, w = Dim(1), Dim(3), Dim(5), Dim(7)
    >>> first = Stored(identity((n, c, h, w)), (n, c, h, w))
    >>> last = Stored(permuted((n, c, h, w), (0, 2, 3, 1)), (n, h, w, c))
    >>> chain(first, last)
    [Transpose(perm=(0, 2, 3, 1))]
    """
    steps = _chain(source, target)
    return None if steps is None else list(steps)


@lru_cache(1 << 14)
def _chain(source: Stored, target: Stored) -> list[Step] | None:
    if source.order == target.order:
        return [] if source.shape == target.shape else [Reshape(target.shape)]
    pairing = _pair(source.order, target.order)
    if pairing is None:
        return _detour(source, target)
    sizes, perm = pairing
    direct = _whole_axes(sizes, perm, source.shape, target.shape)
    if direct is not None:
        shape = tuple(source.shape[axis] for axis in direct)
        return [Transpose(direct), *([] if shape == target.shape else [Reshape(target.shape)])]
    backwards = _whole_axes([sizes[i] for i in perm], invert(perm), target.shape, source.shape)
    if backwards is not None:
        shape = tuple(target.shape[axis] for axis in backwards)
        return [*([] if shape == source.shape else [Reshape(shape)]), Transpose(invert(backwards))]
    moved = tuple(sizes[i] for i in perm)
    last: list[Step] = [] if moved == target.shape else [Reshape(target.shape)]
    return [Reshape(tuple(sizes)), Transpose(perm), *last]


def _detour(source: Stored, target: Stored) -> list[Step] | None:
    """A chain by way of the row-major order; its shape there has one axis for each mode of the source."""
    total = product(mode.size for mode in source.order)
    if len(source.order) < 2 or len(target.order) < 2:
        return None
    sizes: list[Dim] = []
    while (here := product(sizes)) != total:
        found = [mode.size for mode in source.order if mode.stride == here]
        if not found:
            return None
        sizes.insert(0, found[0])
    middle = Stored(identity(sizes), tuple(sizes))
    first, second = chain(source, middle), chain(middle, target)
    return None if first is None or second is None else first + second


def _refine(order: Order, cuts: Iterable[Dim]) -> list[Mode]:
    """Split modes at every cut (a stride) that lies strictly inside one."""
    modes = list(order)
    for cut in cuts:
        for i, (size, stride) in enumerate(modes):
            inner = cut.over(stride)
            outer = None if inner is None else size.over(inner)
            if inner is not None and outer is not None and ONE not in (inner, outer):
                modes[i : i + 1] = [Mode(outer, cut), Mode(inner, stride)]
                break
    return modes


def _pair(source: Order, target: Order) -> tuple[list[Dim], tuple[int, ...]] | None:
    """Common factors of two orders: their sizes as the source stores them, and the permutation."""
    refined = _refine(source, [c for m in target for c in (m.stride, m.stride * m.size)])
    wanted = _refine(target, [c for m in refined for c in (m.stride, m.stride * m.size)])
    position = {mode: i for i, mode in enumerate(refined)}
    if len(wanted) != len(refined) or any(mode not in position for mode in wanted):
        return None
    perm = [position[mode] for mode in wanted]
    runs: list[list[int]] = []
    for atom in perm:
        if runs and runs[-1][-1] + 1 == atom:
            runs[-1].append(atom)
        else:
            runs.append([atom])
    ordered = sorted(runs)
    sizes = [product(refined[atom].size for atom in run) for run in ordered]
    return sizes, tuple(ordered.index(run) for run in runs)


def _whole_axes(
    sizes: Sequence[Dim], perm: Sequence[int], shape: Shape, wanted: Shape
) -> tuple[int, ...] | None:
    """The permutation of whole axes of ``shape`` that does what ``perm`` does to factors of ``sizes``.

    Unit axes of ``shape`` go where ``wanted`` has unit axes, as far as they reach.
    """
    steps = strides(sizes)
    found = factors(canonical(Mode(sizes[i], steps[i]) for i in perm), shape)
    if found is None or any(f.size != shape[f.axis] for f in found):
        return None
    moved = [f.axis for f in found]
    units = [axis for axis, dim in enumerate(shape) if dim == ONE]
    result: list[int] = []
    for dim in wanted:
        if dim == ONE and units:
            result.append(units.pop(0))
        elif dim != ONE and moved:
            result.append(moved.pop(0))
    return tuple(result + moved + units)
