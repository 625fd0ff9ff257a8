"""MatMul, Gemm, Einsum: products that sum over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from .. import graph as g
from ..algebra.layout import ONE, Step, Transpose
from .relation import Arrangement, Letters, Move, Relation, Site, barrier


def _ends_with(letters: Sequence[int]) -> Callable[[Arrangement], bool]:
    """A condition: the innermost stored are the factors of these letters, letter by letter."""

    def holds(order: Arrangement) -> bool:
        runs: list[int] = []
        for part in order:
            if not runs or runs[-1] != part.letter:
                runs.append(part.letter)
        return len(runs) == len(set(runs)) and runs[-len(letters) :] == list(letters)

    return holds


def matmul(site: Site) -> Relation:
    """``... m k, ... k n -> ... m n``: the matrices stay the last two axes, their factors may move.

    Read from right to left it is a MatMul too, of the transposed: ``... n k, ... k m -> ... n m``. A
    right operand of rank 2 does not care how the rows of the left are ordered, so these may go among
    the batch axes. A 1-D operand has no row or no column.
    """
    a, b, y, tail = _product(site, 0, 1)
    columns = [] if len(a) <= 2 or len(b) == 1 else [b[-1]]
    forwards, backwards = _ends_with(tail), _ends_with([*columns, a[-1], *a[-2:-1]])
    return Relation(
        site.ports(a, b),
        (y,),
        broadcast=_batch(a, b, y),
        allows=lambda order: forwards(order) or backwards(order),
    )


def move_matmul(move: Move) -> None:
    """Exchange the operands where the columns of the result are stored before its rows."""
    if not _ends_with(_product(move.site, 0, 1)[3])(move.order):
        left, right = move.node.inputs
        move.node.replace_input_with(0, right)
        move.node.replace_input_with(1, left)


def _product(site: Site, left_at: int, right_at: int) -> tuple[Letters, Letters, Letters, Letters]:
    """Letters of both operands and the result, and those that have to be the innermost, in order."""
    left, right = len(site.shape(left_at)), len(site.shape(right_at))
    batch = tuple(range(max(left - 2, right - 2, 0)))
    m, k, n = range(len(batch), len(batch) + 3)
    a = (k,) if left == 1 else (*batch[len(batch) - (left - 2) :], m, k)
    b = (k,) if right == 1 else (*batch[len(batch) - (right - 2) :], k, n)
    y = (*batch, *([m] if left > 1 else []), *([n] if right > 1 else []))
    rows = [] if right <= 2 or left == 1 else [m]
    return a, b, y, (*rows, k, *([n] if right > 1 else []))


def _batch(a: Letters, b: Letters, y: Letters) -> frozenset[int]:
    """Letters that broadcast: all but those of the matrices."""
    return frozenset(y) - frozenset(a[-2:]) - frozenset(b[-2:])


def integer_matmul(site: Site, right_at: int, vectors: Sequence[int]) -> Relation:
    """A MatMul whose operands have scales and zero points: of a tensor, or of its rows or columns.

    ``vectors`` are inputs of the right operand; those of the left one follow the left operand.
    """
    a, b, y, tail = _product(site, 0, right_at)
    row, column = (a[-2],) if len(a) > 1 else None, (b[-1],) if len(b) > 1 else None
    ports: list[Letters | None] = [None] * len(site.node.inputs)
    ports[0], ports[right_at] = a, b
    for index in range(len(ports)):
        rank = len(site.shape(index)) if site.has(index) else 0
        if index not in (0, right_at) and rank > 1:
            return barrier(site.node, "its scales or zero points have more than one axis")
        if index not in (0, right_at) and rank == 1 and site.shape(index) != (ONE,):
            ports[index] = column if index in vectors else row
    return Relation(tuple(ports), (y,), broadcast=_batch(a, b, y), allows=_ends_with(tail))


def gemm(site: Site, right_at: int = 1, added_at: int = 2, vectors: Sequence[int] = ()) -> Relation:
    """``m k, k n, m n -> m n``, the first two possibly transposed.

    ``vectors`` are scales and zero points: of the right operand, or of each column of it.
    """
    k_m, n_k = site.attribute("transA", 0), site.attribute("transB", 0)
    if k_m and n_k:
        return barrier(site.node, "it reads both operands transposed")
    order = "kmn" if k_m else "mnk" if n_k else "mkn"
    m, k, n = (order.index(name) for name in "mkn")
    ports: list[Letters | None] = [None] * len(site.node.inputs)
    ports[0], ports[right_at] = (k, m) if k_m else (m, k), (n, k) if n_k else (k, n)
    if site.has(added_at):
        ports[added_at] = (m, n)[2 - len(site.shape(added_at)) :]
    for index in vectors:
        if site.has(index) and len(site.shape(index)) == 1 and site.shape(index) != (ONE,):
            ports[index] = (n,)
    return Relation(
        tuple(ports),
        ((m, n),),
        allows=_ends_with(range(3)),
    )


def _terms(site: Site) -> tuple[list[str], str] | None:
    """The terms of an Einsum's equation, spaces removed and its result made explicit."""
    equation = site.attribute("equation")
    equation = (equation.decode() if isinstance(equation, bytes) else equation).replace(" ", "")
    if "." in equation:
        return None
    left, arrow, right = equation.partition("->")
    if not arrow:
        right = "".join(sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1))
    return left.split(","), right


def einsum_view(site: Site) -> list[Step] | None:
    """An Einsum of one operand that keeps every axis is a Transpose."""
    terms = _terms(site)
    if terms is None or len(terms[0]) != 1 or sorted(terms[0][0]) != sorted(terms[1]):
        return None
    if len(set(terms[1])) != len(terms[1]):
        return None
    return [Transpose(tuple(terms[0][0].index(name) for name in terms[1]))]


def einsum(site: Site) -> Relation:
    """Any layout for any operand: the letters of the equation move."""
    terms = _terms(site)
    if terms is None or any(len(set(term)) != len(term) for term in terms[0]):
        return barrier(site.node, "its equation has an ellipsis or repeats a letter")
    order = _consistent(terms[0], terms[1])
    if order is None:
        return barrier(site.node, "its terms name axes in contradicting orders")
    number = {name: i for i, name in enumerate(order)}
    ports = tuple(tuple(number[name] for name in term) for term in (*terms[0], terms[1]))
    return Relation(ports[:-1], (ports[-1],), whole=frozenset(number.values()))


def _consistent(inputs: list[str], output: str) -> str | None:
    """One order of all letters in which every term's letters ascend, if there is one."""
    after: dict[str, set[str]] = {name: set() for term in (*inputs, output) for name in term}
    for term in (*inputs, output):
        for first, second in pairwise(term):
            after[second].add(first)
    order = ""
    while len(order) < len(after):
        free = [name for name in after if name not in order and after[name] <= set(order)]
        if not free:
            return None
        order += free[0]
    return order


def move_einsum(move: Move) -> None:
    terms = _terms(move.site)
    assert terms is not None
    names: dict[int, str] = {}
    for term, port in zip(
        (*terms[0], terms[1]), (*move.relation.inputs, *move.relation.outputs), strict=True
    ):
        names.update(zip(port or (), term, strict=True))
    order = [names[part.letter] for part in move.order]
    moved = ["".join(c for c in order if c in term) for term in (*terms[0], terms[1])]
    g.set_attribute(move.node, "equation", f"{','.join(moved[:-1])}->{moved[-1]}")
