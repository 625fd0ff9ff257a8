"""Operators that only rename factors, between an input and a Relu.

``fixed`` cases have to stay nodes of their own: their order cannot be told in their input's factors.
"""

from __future__ import annotations

from tests.support.case import Case

X = "float[$a,$b,$c,$d] x"


def view(op: str, body: str, constants: str = "", inputs: str = X, **options: object) -> Case:
    """A graph that makes ``v`` of ``x``."""
    text = f"g ({inputs}) => (float[] y) <{constants}> {{ {body}\n y = Relu(v) }}"
    return Case(op, text=text, view=True, note=_note(body, constants), **options)  # type: ignore[arg-type]


def _note(body: str, constants: str) -> str:
    return " ".join(f"{body} {constants}".replace("int64", "").split())[-60:]


SHAPES = {
    "rows": """s = Shape(x)
        n = Gather<axis = 0>(s, i0)
        t = Concat<axis = 0>(n, minus)
        v = Reshape(x, t)""",
    "merged image": """s = Shape(x)
        n = Gather<axis = 0>(s, i0)
        k = Gather<axis = 0>(s, i1)
        t = Concat<axis = 0>(n, k, minus)
        v = Reshape(x, t)""",
    "product": """s = Shape(x)
        n = Gather<axis = 0>(s, i0)
        k = Gather<axis = 0>(s, i1)
        h = Gather<axis = 0>(s, i2)
        w = Gather<axis = 0>(s, i3)
        hw = Mul(h, w)
        t = Concat<axis = 0>(n, k, hw)
        v = Reshape(x, t)""",
    "to itself": """s = Shape(x)
        v = Reshape(x, s)""",
    "tokens": """s = Shape(x)
        n = Gather<axis = 0>(s, i0)
        k = Gather<axis = 0>(s, i1)
        t = Concat<axis = 0>(n, k, minus)
        f = Reshape(x, t)
        v = Transpose<perm = [0, 2, 1]>(f)""",
    "there and back": """s = Shape(x)
        n = Gather<axis = 0>(s, i0)
        t = Concat<axis = 0>(n, minus)
        f = Reshape(x, t)
        v = Reshape(f, s)""",
}
INDICES = "int64[1] i0 = {0}, int64[1] i1 = {1}, int64[1] i2 = {2}, int64[1] i3 = {-1}, int64[1] minus = {-1}"

CASES = [
    view("Identity", "v = Identity(x)"),
    *[
        view("Transpose", f"v = Transpose<perm = {perm}>(x)")
        for perm in ([0, 2, 3, 1], [0, 3, 1, 2], [3, 0, 2, 1], [0, 1, 2, 3])
    ],
    view("Transpose", "v = Transpose(x)"),
    view("Transpose", "t = Transpose<perm = [0, 2, 3, 1]>(x)\n v = Transpose<perm = [0, 3, 1, 2]>(t)"),
    *[view("Flatten", f"v = Flatten<axis = {axis}>(x)") for axis in (0, 1, 2, 4)],
    *[view("Flatten", f"v = Flatten<axis = {axis}>(x)", since=11) for axis in (-1, -3)],
    view("Flatten", "v = Flatten(x)", inputs="float[$a,$b,1,1] x"),
    *[
        view("Reshape", "v = Reshape(x, s)", f"int64[{len(target)}] s = {{{', '.join(map(str, target))}}}")
        for target in (
            [0, -1],
            [-1],
            [0, 0, -1],
            [-1, 1, 0, 0],
            [0, 0, 0, 0],
            [1, 0, -1, 1, "$d"],
            ["$a", "$bcd"],
            ["$a", "$b", "$cd"],
            ["$ab", "$c", "$d"],
            ["$a", -1, "$d"],
            ["$a", "$b", 1, "$c", "$d"],
            ["$abcd"],
            ["$b", "$a", "$c", "$d"],
        )
    ],
    *[
        view(
            "Gather",
            f"v = Gather<axis = {axis}>(x, i)",
            f"int64[{shape}] i = {{{indices}}}",
            inputs=x,
            since=since,
        )
        for axis, shape, indices, x, since in (
            (1, "2,3", "0, 1, 2, 3, 4, 5", "float[$a,6,$b,$c] x", 7),
            (0, "1,4,1", "0, 1, 2, 3", "float[4,$a,$b] x", 7),
            (-1, "3,1,2", "0, 1, -4, 3, 4, -1", "float[$a,$b,6] x", 11),
            (2, "1", "0", "float[$a,$b,1] x", 7),
        )
    ],
    view("Gather", "v = Gather<axis = 1>(x, i)", "int64 i = {0}", inputs="float[$a,1,$b] x"),
    view("Reshape", "v = Reshape<allowzero = 1>(x, s)", "int64[2] s = {$a, -1}", since=14),
    view(
        "Reshape",
        "v = Reshape<allowzero = 1>(x, s)",
        "int64[3] s = {3, 0, 2}",
        since=14,
        inputs="float[0,$b,1] x",
        fixed=True,
    ),
    view(
        "Reshape",
        """g = Reshape(x, s)
        t = Transpose<perm = [0, 2, 1, 3, 4]>(g)
        v = Reshape(t, r)""",
        "int64[5] s = {0, 2, 3, -1, $w}, int64[4] r = {0, 6, -1, $w}",
        inputs="float[$n,6,$h,$w] x",
    ),
    view(
        "Reshape",
        """g = Reshape(x, s)
        v = Transpose<perm = [0, 1, 3, 4, 2]>(g)""",
        "int64[5] s = {0, 2, 3, $h, $w}",
        inputs="float[$n,6,$h,$w] x",
    ),
    view(
        "Reshape",
        """g = Reshape(x, s)
        t = Transpose<perm = [0, 1, 4, 2, 5, 3]>(g)
        v = Reshape(t, r)""",
        "int64[6] s = {0, 2, 2, 2, 3, -1}, int64[4] r = {0, 2, 6, -1}",
        inputs="float[$n,8,3,$w] x",
    ),
    *[view("Reshape", body, INDICES) for body in SHAPES.values()],
    view(
        "Reshape",
        """s = Shape<start = 2>(x)
        t = Concat<axis = 0>(i0, minus, s)
        v = Reshape(x, t)""",
        INDICES,
        since=19,
    ),
    view(
        "Reshape",
        """s = Shape(x)
        z = Slice(s, i0, two)
        t = Concat<axis = 0>(z, minus)
        v = Reshape(x, t)""",
        INDICES + ", int64[1] two = {2}",
        since=13,
    ),
    view(
        "Reshape",
        """s = Shape(x)
        n = Gather<axis = 0>(s, zero)
        u = Unsqueeze(n, i0)
        t = Concat<axis = 0>(u, minus)
        v = Reshape(x, t)""",
        INDICES + ", int64 zero = {0}",
        since=13,
    ),
    view("Reshape", "v = Reshape(x, t)", inputs=X + ", int64[2] t", feeds={"t": [-1, 1]}, fixed=True),
    view(
        "Transpose",
        "g = Reshape(x, s)\n v = Transpose<perm = [1, 0, 2, 3]>(g)",
        "int64[4] s = {3, 2, 5, 7}",
        inputs="float[2,3,5,7] x",
    ),
    view(
        "Transpose",
        """t = Transpose<perm = [1, 0, 2, 3]>(x)
        g = Reshape(t, s)
        v = Transpose<perm = [1, 0, 2, 3]>(g)""",
        "int64[4] s = {2, 3, 5, 7}",
        inputs="float[2,3,5,7] x",
        fixed=True,
    ),
    *[
        view("Squeeze", f"v = Squeeze<axes = {axes}>(x)", inputs="float[$a,1,$c,1] x", until=12)
        for axes in ([1], [1, 3])
    ],
    view("Squeeze", "v = Squeeze<axes = [-1]>(x)", inputs="float[$a,$b,1,1] x", since=11, until=12),
    *[
        view(
            "Squeeze",
            "v = Squeeze(x, a)",
            f"int64[{axes.count(',') + 1}] a = {{{axes}}}",
            inputs="float[$a,1,$c,1] x",
            since=13,
        )
        for axes in ("1", "-1, 1", "-3")
    ],
    view("Squeeze", "v = Squeeze(x)", inputs="float[$a,1,$c,1] x", unclear=True),
    view(
        "Squeeze",
        "v = Squeeze(x, a)",
        inputs="float[$a,1,$c,1] x, int64[1] a",
        feeds={"a": [1]},
        since=13,
        fixed=True,
    ),
    *[
        view("Unsqueeze", f"v = Unsqueeze<axes = {axes}>(x)", inputs="float[$a,$b,$c] x", until=12)
        for axes in ([1], [0, 4])
    ],
    view("Unsqueeze", "v = Unsqueeze<axes = [-1]>(x)", inputs="float[$a,$b,$c] x", since=11, until=12),
    *[
        view(
            "Unsqueeze",
            "v = Unsqueeze(x, a)",
            f"int64[{axes.count(',') + 1}] a = {{{axes}}}",
            inputs="float[$a,$b,$c] x",
            since=13,
        )
        for axes in ("1", "-1, 1", "0, 4")
    ],
    view(
        "Unsqueeze",
        "v = Unsqueeze(x, a)",
        inputs="float[$a,$b,$c] x, int64[1] a",
        feeds={"a": [1]},
        since=13,
        fixed=True,
    ),
    view("Einsum", 'v = Einsum<equation = "abcd->acdb">(x)'),
]
