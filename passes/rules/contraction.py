"""MatMul, Gemm, Einsum: products that sum over axes."""

from __future__ import annotations

from collections.abc import Sequence

from .. import graph as g
from .relation import Arrangement, Move, Relation, Site, barrier


def _ends_with(letters: Sequence[int]) -> object:
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

    A matrix on the right (rank 2) does not care how the rows of the left are ordered, so ``m`` may go
    among the batch axes. A 1-D operand has no row or no column.
    """
    left, right = len(site.shape(0)), len(site.shape(1))
    batch = tuple(range(max(left - 2, right - 2, 0)))
    m, k, n = range(len(batch), len(batch) + 3)
    a = (k,) if left == 1 else (*batch[len(batch) - (left - 2) :], m, k)
    b = (k,) if right == 1 else (*batch[len(batch) - (right - 2) :], k, n)
    y = (*batch, *([m] if left > 1 else []), *([n] if right > 1 else []))
    rows = [] if right <= 2 or left == 1 else [m]
    tail = [*rows, k, *([n] if right > 1 else [])]
    return Relation((a, b), (y,), broadcast=frozenset(batch), allows=_ends_with(tail))


def gemm(site: Site) -> Relation:
    """``m k, k n (or n k), n -> m n``."""
    if site.attribute("transA", 0):
        return barrier(site.node, "it reads its first operand transposed")
    m, k, n = range(3)
    b = (n, k) if site.attribute("transB", 0) else (k, n)
    order = (m, n, k) if site.attribute("transB", 0) else (m, k, n)
    letter = dict(zip(order, range(3), strict=True))
    c = (m, n)[2 - len(site.shape(2)) :] if site.has(2) else None
    return Relation(
        site.ports(
            (letter[m], letter[k]),
            tuple(letter[x] for x in b),
            None if c is None else tuple(letter[x] for x in c),
        ),
        ((letter[m], letter[n]),),
        allows=_ends_with((letter[order[1]], letter[order[2]])),
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
        for first, second in zip(term, term[1:], strict=False):
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
    names = {}
    for term, port in zip((*terms[0], terms[1]), (*move.relation.inputs, *move.relation.outputs), strict=True):
        names.update(zip(port or (), term, strict=True))
    order = [names[part.letter] for part in move.order]
    moved = ["".join(c for c in order if c in term) for term in (*terms[0], terms[1])]
    g.set_attribute(move.node, "equation", f"{','.join(moved[:-1])}->{moved[-1]}")
