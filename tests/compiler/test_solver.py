"""The solver against brute force, and its bounds against the truth."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx_nhwc.passes.solver import cut as solver_cut
from onnx_nhwc.passes.solver import search as solver_search
from onnx_nhwc.passes.solver.optimum import Problem, Solution, Tap, Value, solve

HUGE = 2**40


def objective(problem: Problem, labels: tuple[int, ...]) -> tuple[int, int, int]:
    """Bytes, Transposes and preference of a labelling, straight from the definition."""
    moved = transposes = 0
    for value in problem.values:
        produced = value.producer.keys[labels[value.producer.variable]]
        wanted = {use.keys[labels[use.variable]] for use in value.uses} - {produced}
        moved += value.weight * len(wanted)
        transposes += len(wanted)
    penalty = sum(row[label] for row, label in zip(problem.preference, labels, strict=True))
    return moved, transposes, penalty


def all_labels(problem: Problem) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*map(range, problem.labels))


def optimum(problem: Problem) -> tuple[int, int, int]:
    return min(objective(problem, labels) for labels in all_labels(problem))


def assert_optimal(problem: Problem, solution: Solution) -> None:
    assert objective(problem, solution.labels) == optimum(problem)
    assert (solution.cost, solution.transposes) == objective(problem, solution.labels)[:2]
    assert solution.lower_bound == solution.cost
    assert solution.exact


def weights(rng: np.random.Generator) -> Callable[[], int]:
    """One of: few small ones with zeros, medium, nearly equal huge, of every magnitude."""
    return [
        lambda: int(rng.integers(0, 4)),
        lambda: int(rng.integers(1, 100)),
        lambda: HUGE - int(rng.integers(0, 3)),
        lambda: 2 ** int(rng.integers(0, 41)),
    ][rng.integers(4)]


def tangle(seed: int) -> Problem:
    """1-4 labels, keys drawn freely: same-key taps, self-use, one variable twice at a value."""
    rng = np.random.default_rng(seed)
    weight, keys = weights(rng), int(rng.integers(2, 4))
    labels = tuple(rng.integers(1, rng.integers(2, 5) + 1, rng.integers(2, 7)).tolist())

    def tap() -> Tap:
        variable = int(rng.integers(len(labels)))
        return Tap(variable, tuple(rng.integers(0, keys, labels[variable]).tolist()))

    values = [
        Value(weight(), tap(), tuple(tap() for _ in range(rng.integers(0, 5))))
        for _ in range(rng.integers(1, 9))
    ]
    preference = tuple(tuple(rng.integers(0, 3, count).tolist()) for count in labels)
    return Problem(labels, tuple(values), preference)


def network(
    size: int, seed: int, pinned: float, third: float = 0.0, extra: float = 0.6, reach: int = 3
) -> Problem:
    """A chain with fan-out and residual diamonds; keys in the order of each variable's own."""
    rng = np.random.default_rng(seed)
    weight = weights(rng)
    keys: list[tuple[str, ...]] = []
    uses: list[list[int]] = [[] for _ in range(size)]
    for variable in range(size):
        first, second = rng.permutation(["first", "last"]).tolist()
        kind = rng.random()
        keys.append((first,) if kind < pinned else (first, second))
        if pinned <= kind < pinned + third:
            keys[-1] += ("merged",)
        if variable:
            uses[variable - 1].append(variable)
        if variable > reach and rng.random() < extra:
            uses[variable - int(rng.integers(2, reach + 2))].append(variable)
    values = tuple(
        Value(weight(), Tap(v, keys[v]), tuple(Tap(use, keys[use]) for use in uses[v])) for v in range(size)
    )
    preference = tuple(tuple(int(key != "last") for key in row) for row in keys)
    return Problem(tuple(map(len, keys)), values, preference)


@pytest.mark.parametrize("start", range(0, 2000, 250))
def test_solve_equals_brute_force_on_tangles(start: int) -> None:
    for seed in range(start, start + 250):
        problem = tangle(seed)
        assert_optimal(problem, solve(problem))


def test_solve_equals_brute_force_on_networks() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        problem = network(8, seed, pinned=rng.choice([0.0, 0.3]), third=rng.choice([0.0, 0.2]))
        assert_optimal(problem, solve(problem))


def test_solve_equals_brute_force_where_a_flow_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    flows = []
    source_side = solver_cut._source_side
    monkeypatch.setattr(
        solver_cut,
        "_source_side",
        lambda *graph: flows.append(len(graph[2])) or source_side(*graph),
    )
    for seed in range(300):
        problem = network(10, seed, pinned=0.2, extra=1.0, reach=6)
        assert_optimal(problem, solve(problem))
    assert sum(edges > 0 for edges in flows) > 100


def test_source_side_is_a_minimum_cut_of_any_magnitude() -> None:
    size = 8
    sides = np.array(list(itertools.product([False, True], repeat=size - 2)))
    sides = np.hstack([sides, np.tile([True, False], (len(sides), 1))])
    for seed in range(300):
        rng = np.random.default_rng(seed)
        tails, heads = rng.integers(0, size, (2, 30))
        bits = int(rng.integers(1, 91))
        capacities = [int(rng.integers(0, 2**30)) ** 3 >> (90 - bits) for _ in tails]

        def cut(side: np.ndarray) -> int:
            crossing = side[tails] & ~side[heads]  # noqa: B023
            return sum(itertools.compress(capacities, crossing))  # noqa: B023

        best = min(map(cut, sides))
        smallest = min(side.sum() for side in sides if cut(side) == best)
        found = solver_cut._source_side(tails, heads, capacities, size)
        assert cut(found) == best
        assert found.sum() == smallest


def without_elimination(monkeypatch: pytest.MonkeyPatch, program: bool) -> None:
    monkeypatch.setattr(solver_search, "_TABLE_LIMIT", 4 << 4)
    monkeypatch.setattr(solver_search, "_TABLES_LIMIT", 1)
    if not program:
        monkeypatch.setattr(solver_search, "_PROGRAM_LIMIT", 0)


@pytest.mark.parametrize("program", [False, True])
def test_bounds_are_honest_where_elimination_gives_up(monkeypatch: pytest.MonkeyPatch, program: bool) -> None:
    without_elimination(monkeypatch, program)
    proven = inexact = 0
    for seed in range(300):
        problem = tangle(seed)
        solution = solve(problem)
        reached, best = objective(problem, solution.labels), optimum(problem)
        assert (solution.cost, solution.transposes) == reached[:2]
        assert solution.lower_bound <= best[0]
        if solution.exact:
            assert reached == best
        proven += solution.exact
        inexact += reached != best
    assert proven > 100
    # Without the program, tables of 4 entries leave a local search with little to see.
    assert inexact < (10 if program else 100)


def test_integer_program_proves_all_levels_of_moderate_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_elimination(monkeypatch, program=True)
    for seed in range(200):
        problem = tangle(seed)
        if max(value.weight for value in problem.values) < 1000:
            assert_optimal(problem, solve(problem))


AB = ("first", "last")


def shared() -> Problem:
    """Value 0 of a pinned producer: one pinned use of its order, two free uses.

    Moving both free uses to the other order costs one shared Transpose of 10 bytes; leaving them
    costs 6 each at their own pinned consumers.
    """
    values = (
        Value(10, Tap(0, ("first",)), (Tap(1, ("first",)), Tap(2, AB), Tap(3, AB))),
        Value(6, Tap(2, AB), (Tap(4, ("last",)),)),
        Value(6, Tap(3, AB), (Tap(5, ("last",)),)),
    )
    return Problem((1, 1, 2, 2, 1, 1), values, ((0,), (0,), (0, 0), (0, 0), (0,), (0,)))


def test_one_transpose_is_shared() -> None:
    solution = solve(shared())
    assert solution == Solution((0, 0, 1, 1, 0, 0), 10, 1, 10, True)


def test_one_dummy_vertex_per_value_would_be_wrong() -> None:
    """The common form, producer - dummy - uses with one weight, charges a mixed fan-out twice."""

    def dummy_cost(problem: Problem, labels: tuple[int, ...]) -> int:
        total = 0
        for value in problem.values:
            ends = [tap.keys[labels[tap.variable]] for tap in (value.producer, *value.uses)]
            total += value.weight * min(sum(end != dummy for end in ends) for dummy in AB)
        return total

    problem = shared()
    misled = min(all_labels(problem), key=lambda labels: dummy_cost(problem, labels))
    assert objective(problem, misled)[0] == 12
    assert solve(problem).cost == 10


def test_fewer_transposes_before_preference_and_bytes_before_both() -> None:
    # A Transpose that moves nothing still counts as one.
    pinned = Tap(0, ("first",))
    free = Value(0, pinned, (Tap(1, AB),))
    assert solve(Problem((1, 2), (free,), ((0,), (1, 0)))).labels == (0, 0)
    # Two small Transposes beat one of more bytes.
    values = (
        Value(5, Tap(0, ("last",)), (Tap(1, AB),)),
        Value(2, Tap(1, AB), (Tap(2, ("first",)),)),
        Value(2, Tap(1, AB), (Tap(2, ("first",)),)),
    )
    solution = solve(Problem((1, 2, 1), values, ((0,), (0, 1), (0,))))
    assert (solution.labels, solution.cost, solution.transposes) == ((0, 1, 0), 4, 2)


def test_preference_alone_decides_what_costs_nothing() -> None:
    problem = Problem((2, 3), (Value(7, Tap(0, AB), ()),), ((1, 0), (2, 1, 0)))
    assert solve(problem) == Solution((1, 2), 0, 0, 0, True)


def test_empty_problem() -> None:
    assert solve(Problem((), (), ())) == Solution((), 0, 0, 0, True)


@pytest.mark.parametrize(
    ("problem", "match"),
    [
        (Problem((0,), (), ((),)), "at least one label"),
        (Problem((2,), (), ((0,),)), "a preference for each"),
        (Problem((1,), (), ((-1,),)), "not negative"),
        (Problem((2,), (Value(1, Tap(0, ("first",)), ()),), ((0, 0),)), "a key for every label"),
        (Problem((1,), (Value(-1, Tap(0, ("first",)), ()),), ((0,),)), "less than 0"),
    ],
)
def test_malformed_problems_are_refused(problem: Problem, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        solve(problem)


def test_same_problem_same_answer_in_every_process() -> None:
    # Without preference many optima tie; the hash seed must not choose among them.
    program = (
        "from tests.compiler.test_solver import *\n"
        "for seed in range(3):\n"
        "    for third in (0.0, 0.3):\n"
        "        problem = network(300, seed, 0.2, third)\n"
        "        ties = tuple((0,) * count for count in problem.labels)\n"
        "        print(solve(Problem(problem.labels, problem.values, ties)))\n"
    )
    root = Path(__file__).parents[2]
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(answers) == 1
    assert "Solution" in answers.pop()


@pytest.mark.parametrize(("pinned", "third"), [(0.3, 0.0), (0.02, 0.0), (0.3, 0.1)])
def test_fifty_thousand_variables(pinned: float, third: float) -> None:
    problem = network(50_000, 3, pinned, third, extra=0.3)
    solution = solve(problem)
    assert objective(problem, solution.labels)[:2] == (solution.cost, solution.transposes)
    assert solution.lower_bound == solution.cost
    assert solution.exact


def test_dense_blocks_with_three_labels_are_solved() -> None:
    """Every layer reads all before it: too wide for tables, where the relaxation is tight."""
    size, block = 160, 40
    keys = [(*AB, "merged")[: 1 + (v * 7) % 3] for v in range(size)]
    values = tuple(
        Value(
            3 + (v * 11) % 17,
            Tap(v, keys[v]),
            tuple(
                Tap(use, keys[use])
                for use in range(v + 1, size)
                if use == v + 1 or (use // block == v // block and v % 2 == use % 3 == 0)
            ),
        )
        for v in range(size)
    )
    preference = tuple(tuple(range(len(row))) for row in keys)
    solution = solve(Problem(tuple(map(len, keys)), values, preference))
    assert solution.cost >= solution.lower_bound >= 0.9 * solution.cost
