"""Operators that treat every element alike, with every kind of broadcasting."""

from __future__ import annotations

from tests.support.case import Case, case, fed, given, weight

ROUNDS = 2e-6
"""Vectorised kernels compute the odd elements at the end of a row by other instructions."""

UNARY = {
    **dict.fromkeys(("Abs", "Ceil", "Floor", "Neg", "Relu", "Sign", "Round"), (-2.0, 2.0)),
    **dict.fromkeys(("Asin", "Acos", "Atanh"), (-0.9, 0.9)),
    **dict.fromkeys(("Log", "Sqrt", "Reciprocal"), (0.1, 2.0)),
    **dict.fromkeys(("Asinh", "Atan", "Cos", "Cosh", "Sin", "Sinh", "Tan", "Tanh", "Exp"), (-1.2, 1.2)),
    **dict.fromkeys(("Celu", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu"), (-3.0, 3.0)),
    **dict.fromkeys(("Mish", "Selu", "Shrink", "Sigmoid", "Softplus", "Softsign", "Swish"), (-3.0, 3.0)),
    "ThresholdedRelu": (-3.0, 3.0),
    "Acosh": (1.1, 3.0),
    "IsNaN": (-1.0, 1.0),
    "IsInf": (-1.0, 1.0),
}
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Sum", "Mean", "Max", "Min", "PRelu")
LOGIC = {
    **dict.fromkeys(("And", "Or", "Xor"), "bool"),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), "int32"),
    **dict.fromkeys(("Equal", "Mod"), "int64"),
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual"), "float32"),
    "BitShift": "uint32",
}
MANNERS = (
    ("abcd", "abcd"),
    ("abcd", "b11"),
    ("abcd", "d"),
    ("abcd", "cd"),
    ("abcd", ""),
    ("abcd", "1"),
    ("cd", "abcd"),
    ("1bcd", "a111"),
    ("a1cd", "1b1d"),
    ("abcd", "1b11"),
    ("bcd", "a1cd"),
    ("11d", "abc1"),
    ("abcde", "b1d1"),
)
"""Shapes of two operands that broadcast in NumPy's way."""


def _logic(op: str, dtype: str) -> list[Case]:
    low, high = (1.0, 3.0) if dtype in ("int64", "uint32") else (-2.0, 2.0)
    options = {"direction": "LEFT"} if op == "BitShift" else {}
    return [
        case(op, fed("abc", dtype, low, high), fed(axes, dtype, low, high), **options)
        for axes in ("abc", "b1", "c")
    ]


CASES = [
    *[case(op, fed("abc", low=low, high=high), tol=ROUNDS) for op, (low, high) in UNARY.items()],
    case("BitCast", fed("abc"), to=6),
    case("Not", fed("abc", "bool")),
    case("BitwiseNot", fed("abc", "int32")),
    case("Cast", fed("abc"), to=7),
    case("CastLike", fed("abc"), given([0], "int64")),
    case("Clip", "abc", min=-1.0, max=0.5, until=10),
    case("Clip", "abc", given(-1.0, "float32"), given(0.5, "float32"), since=11),
    case("Clip", "abc", None, given(0.5, "float32"), since=11),
    case("Dropout", "abc", until=10),
    case("Dropout", "abc", outputs=2, since=10),
    case("Dropout", "abc", given(0.5, "float32"), given([True], "bool"), seed=3, since=12, fixed=True),
    case("Dropout", "abc", given(0.5, "float32"), given(False, "bool"), outputs=2, since=12),
    case("Dropout", "abc", given(0.5, "float32"), outputs=2, since=12),
    *[case(op, fed("abc", low=0.5), fed(axes, low=0.5)) for op in BINARY for axes in ("abc", "b1", "c")],
    *[case(op, fed("abc", low=0.5), weight("b1", low=0.5)) for op in BINARY],
    *[test for op, dtype in LOGIC.items() for test in _logic(op, dtype)],
    case("Mod", fed("abc", low=0.5), fed("b1", low=0.5), fmod=1),
    *[case("Add", a, b) for a, b in MANNERS],
    *[case("Mul", a, weight(b), since=14) for a, b in MANNERS],
    *[case("Sub", weight(a), b, since=14) for a, b in MANNERS],
    *[case("PRelu", a, weight(b)) for a, b in MANNERS if len(a) >= len(b) and "1" not in a],
    case("Sum", "abcd", "b11", "cd"),
    case("Max", "abcd", "b11", weight("1b1d"), since=8),
    case("Mean", "abcd", "a111", "d"),
    case("Where", fed("abcd", "bool"), "b11", weight("cd")),
    case("Where", fed("b1d", "bool"), "abcd", "abcd"),
    case("Where", fed("", "bool"), "abcd", "1b11"),
]
