"""Operators with an axis or a list of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.case import Case, case, fed, given, weight

SUMS = 1e-5
"""Sums in another order, relative to the largest result."""
FIRST_WITH_AXES_INPUT = {"ReduceSum": 13}
REDUCTIONS = (
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
)


def distinct(shape: list[int], axis: int) -> list[Any]:
    """Indices that do not repeat along ``axis``: what a Scatter writes twice is not defined."""
    return list(np.flip(np.indices(shape)[axis], axis).tolist())


def _reductions(op: str) -> list[Case]:
    first, x = FIRST_WITH_AXES_INPUT.get(op, 18), fed("abcd", low=0.5)
    cases = [case(op, x, tol=SUMS), case(op, x, keepdims=0, tol=SUMS)]
    for axes in ([1], [-1], [2, 3], [0, -2]):
        for keepdims in (0, 1):
            cases.append(case(op, x, axes=axes, keepdims=keepdims, until=first - 1, tol=SUMS))
            cases.append(case(op, x, given(axes), keepdims=keepdims, since=first, tol=SUMS))
    return [
        *cases,
        case(op, x, given([]), noop_with_empty_axes=1, since=first, tol=SUMS),
        case(op, x, given([]), since=first, tol=SUMS),
        case(op, x, given([2, -4], constant=False), since=first, tol=SUMS),
        case(op, x, given([1], constant=False), keepdims=0, since=first, fixed=True, tol=SUMS),
    ]


CASES = [
    *[case("Concat", "abcd", "abcd", axis=axis) for axis in (1, -1)],
    case("Concat", "abcd", "aXcd", weight("aYcd"), axis=1),
    case("Concat", "abcde", "abcXe", axis=-2),
    *[
        case("Split", "abcd", axis=axis, split=[1, 3], outputs=2, sizes={c: 4}, until=12)
        for axis, c in ((1, "b"), (-1, "d"))
    ],
    *[
        case("Split", "abcd", given([1, 3]), axis=axis, outputs=2, sizes={c: 4}, since=13)
        for axis, c in ((1, "b"), (-2, "c"))
    ],
    case("Split", "abcd", axis=1, outputs=2, sizes={"b": 6}, until=17),
    case("Split", "abcd", axis=-3, outputs=2, num_outputs=2, sizes={"b": 5}, since=18),
    case("Split", "abcd", outputs=2, sizes={"a": 6}, until=17),
    *[
        case(op, "abcd", axis=axis, tol=SUMS)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for axis in (0, 1, 2, 3)
    ],
    *[case(op, "abcd", tol=SUMS) for op in ("Softmax", "LogSoftmax", "Hardmax")],
    *[case(op, "abcd", axis=-2, since=11, tol=SUMS) for op in ("Softmax", "LogSoftmax", "Hardmax")],
    *[case("LpNormalization", "abcd", axis=axis, p=p, tol=SUMS) for axis, p in ((-1, 2), (1, 1), (2, 2))],
    case("LpNormalization", "abcd", tol=SUMS),
    *[case("TopK", "abcd", axis=axis, k=2, outputs=2, until=9) for axis in (0, 1, -1)],
    *[case("TopK", "abcd", given([2]), axis=axis, outputs=2, since=10) for axis in (0, 1, -1)],
    case("TopK", "abcd", given([2]), outputs=2, since=10),
    case("TopK", "abcd", given([2], constant=False), axis=1, largest=0, outputs=2, since=11),
    *[case(op, "abcd", given(axis), tol=SUMS) for op in ("CumSum", "CumProd") for axis in (1, -2)],
    case("CumSum", "abcd", given(2, "int32"), exclusive=1, reverse=1, tol=SUMS),
    case("CumSum", "abcd", given([1]), tol=SUMS, note="axis of rank 1"),
    case("CumSum", "abcd", given(1, constant=False), fixed=True, tol=SUMS),
    case("Compress", "abcd", fed("b", "bool"), axis=1),
    case("Compress", "abcd", given([True, True], "bool"), axis=-2),
    case("Compress", "abcd", given([True, False, True], "bool"), fixed=True),
    *[
        case(op, "abcd", axis=axis, keepdims=keepdims)
        for op in ("ArgMax", "ArgMin")
        for axis in (0, 1, 3)
        for keepdims in (0, 1)
    ],
    *[case(op, "abcd", axis=-3, keepdims=0, since=11) for op in ("ArgMax", "ArgMin")],
    *[case(op, "abcd") for op in ("ArgMax", "ArgMin")],
    *[test for op in REDUCTIONS for test in _reductions(op)],
    case("MeanVarianceNormalization", "abcd", tol=SUMS),
    case("Unique", "abcd", axis=1, outputs=4),
    case("Unique", fed("abcd", "int64", 0, 1), axis=2, outputs=4, note="ties"),
    case("Unique", "abcd", axis=-1, sorted=0, outputs=4),
    case("Unique", "abcd", outputs=2, fixed=True),
    case("DFT", "abc2", axis=1, until=19, tol=SUMS),
    case("DFT", "abc1", axis=2, onesided=1, until=19, tol=SUMS),
    case("DFT", "abc2", inverse=1, since=20, tol=SUMS),
    case("DFT", "abc1", given(8), given(-3), since=20, tol=SUMS),
    case("MeanVarianceNormalization", "abcd", axes=[1, -1], tol=SUMS),
    *[case("GatherElements", "abcd", fed("aXcd", "int64", 0, 1), axis=axis) for axis in (1, -3)],
    case("GatherElements", "abcd", fed("ab2d", "int64", -2, 1), axis=2, note="smaller indices"),
    case("GatherElements", "abcd", fed("1bc1", "int64", 0, 1), axis=2, note="fewer rows"),
    *[
        case(
            op,
            "abcd",
            given(lambda s: distinct([s["a"], 2, s["c"], s["d"]], 1)),
            fed("a2cd"),
            axis=1,
        )
        for op in ("ScatterElements",)
    ],
    case(
        "Scatter",
        "abcd",
        given(lambda s: distinct([s["a"], 2, s["c"], s["d"]], 1)),
        fed("a2cd"),
        axis=1,
        until=10,
    ),
    case(
        "ScatterElements",
        "abcd",
        given(lambda s: distinct([s["a"], s["b"], 2, s["d"]], 2)),
        fed("ab2d"),
        axis=-2,
        note="negative axis",
    ),
    case(
        "ScatterElements",
        "abcd",
        given(lambda s: distinct([1, s["b"], 2, 2], 2)),
        weight("1b22"),
        axis=2,
        note="fewer rows",
    ),
    case(
        "ScatterElements",
        "abcd",
        fed("ab2d", "int64", 0, 2),
        fed("ab2d"),
        axis=2,
        reduction="add",
        since=16,
        tol=SUMS,
    ),
]
