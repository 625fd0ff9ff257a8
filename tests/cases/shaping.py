"""Operators with an entry per axis, or that read shapes; lookups."""

from __future__ import annotations

from tests.law import case, fed, given, weight

PADS = [0, 1, 0, 2, 0, 3, 1, 0]

CASES = [
    case("Expand", "1b1d", given(lambda s: [s["a"], 1, s["c"], 1]), sizes={"a": 3, "c": 5}),
    case("Expand", "b1", given(lambda s: [2, 3, s["b"], 5])),
    case("Expand", "1b1d", given(lambda s: [3, s["d"]])),
    case("Expand", "a1c", given(lambda s: [s["a"], 6, 1], constant=False), note="computed target"),
    case("Expand", "b1", given([2, 3, 1, 5], constant=False), note="longer computed target"),
    case("Expand", "", given([2, 3])),
    case("Tile", "abcd", given([2, 1, 3, 1])),
    case("Tile", "abcd", given([1, 2, 1, 3], constant=False), note="computed repeats"),
    *[case("Pad", "abcd", pads=PADS, mode=mode, until=10) for mode in ("constant", "edge")],
    case("Pad", "abcd", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect", value=3.0, until=10),
    case("Pad", "abcd", pads=[0, -1, 1, 0, 0, 0, -1, 1], value=3.0, until=10),
    *[
        case("Pad", "abcd", given(PADS), given(v, "float32"), mode=mode, since=11)
        for mode, v in (("constant", 3.0), ("edge", 0.0))
    ],
    case("Pad", "abcd", given([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect", since=11),
    case("Pad", "abcd", given([1, 0, 0, 2, 0, 1, 0, 0]), mode="wrap", since=19),
    case("Pad", "abcd", given(PADS, constant=False), given(3.0, "float32"), since=11),
    case("Pad", "abcd", given([1, 2, 3, 0]), None, given([-1, 1]), since=18),
    case(
        "Pad", "abcd", given([1, 2, 3, 0]), given(3.0, "float32"), given([2, 0], "int32"), since=18
    ),
    case("Pad", "abcd", given([1, 2], constant=False), None, given([2]), since=18, fixed=True),
    case("Slice", "abcd", starts=[1, 0], ends=[3, 2], axes=[1, 3], until=9, sizes={"b": 4}),
    case("Slice", "abcd", starts=[0, 1], ends=[2, -1], until=9, sizes={"b": 4}),
    case("Slice", "abcd", given([1, 0]), given([3, 2]), given([1, -1]), since=10),
    case("Slice", "abcd", given([0, 1]), given([2, -1]), since=10),
    case("Slice", "abcd", given([3, 0]), given([0, 2]), given([-1, 1]), given([-1, 1]), since=10),
    case("Slice", "abcd", given([-1]), given([-(2**40)]), given([-2]), given([-2]), since=10),
    case(
        "Slice",
        "abcd",
        given([1], constant=False),
        given([2**40], constant=False),
        given([3]),
        since=10,
    ),
    case(
        "Slice",
        "abcd",
        given([0, 1], constant=False),
        given([1, 2**40], constant=False),
        since=10,
        note="no axes",
    ),
    case("Slice", "abcd", given([1]), given([2]), given([2], constant=False), since=10, fixed=True),
    case("CenterCropPad", "abcd", given([1, 4, 4, 9])),
    case("CenterCropPad", "abcd", given([4, 9]), axes=[-3, 3]),
    case("CenterCropPad", "abcd", given([4, 1, 2, 9], constant=False)),
    *[case("Gather", "abcd", fed("X", "int64", 0, 1), axis=axis) for axis in (0, 1, 3)],
    *[case("Gather", "abcd", given(1), axis=axis) for axis in (0, 2)],
    case("Gather", "abc", fed("XY", "int64", 0, 1), axis=1),
    case("Gather", "abc", given([[1, 0], [0, 1]]), axis=1),
    case("Gather", "abcd", given([-1, 0]), axis=-2, since=11),
    case("Gather", "abcd", given(0), axis=-1, since=11),
    case("Gather", "abcd", fed("X", "int64", 0, 1)),
    case("OneHot", fed("abc", "int64", 0, 3), given([4]), given([0.0, 1.0], "float32")),
    case("OneHot", fed("abc", "int64", -4, 3), given(4), given([0.5, 2.0], "float32"), axis=1),
    case("OneHot", fed("abc", "int64", 0, 3), given([4]), given([0.0, 1.0], "float32"), axis=-2),
    case("Shape", "abcd"),
    case("Shape", "abcd", start=1, since=15),
    case("Shape", "abcd", start=-2, end=3, since=15),
    case("Shape", "abcd", start=-9, end=9, since=15),
    case("Size", "abcd"),
    case("ConstantOfShape", given(lambda s: [2, 3, 5])),
    case("ConstantOfShape", given([2, 3, 5], constant=False)),
    case("ReverseSequence", "abcd", given(lambda s: [1] * s["b"]), batch_axis=1, time_axis=0),
    case("ReverseSequence", "abcd", given(lambda s: [2] * s["a"]), batch_axis=0, time_axis=1),
    case("Trilu", "abcd"),
    case("Trilu", "abcd", given(1), upper=0),
    case("Det", "abcc", tol=1e-4),
    case("Det", "cc", tol=1e-4),
    case("GatherND", "abcd", given([[0, 1], [1, 0]])),
    case("GatherND", "abcd", given([[1], [-1]]), note="one leading axis"),
    case("GatherND", "abcd", fed("a21", "int64", 0, 1), batch_dims=1, since=12),
    case("GatherND", "abcd", given([[0, 1, 1, 0]]), note="every axis"),
    case("ScatterND", "abcd", given([[0, 1], [1, 0]]), "2cd"),
    case("ScatterND", "abcd", given([[1], [0]]), weight("2bcd")),
    case(
        "ScatterND", "abcd", fed("21", "int64", 0, 1), "2bcd", reduction="add", since=16, tol=1e-5
    ),
]
