"""QuantizeLinear and DequantizeLinear: per tensor, per axis, and per block of an axis."""

from __future__ import annotations

from tests.support.case import case, fed, given, weight

CASES = [
    case("QuantizeLinear", "abcd", given(0.1, "float32"), given(3, "uint8")),
    case("QuantizeLinear", "abcd", given(0.1, "float32")),
    case("QuantizeLinear", "abcd", weight("1", low=0.1), given(3, "uint8"), since=13),
    case("QuantizeLinear", "abcd", fed("1", low=0.1), fed("1", "int8"), axis=2, since=13),
    case("DequantizeLinear", fed("abcd", "int8", -9, 9), weight("1", low=0.1), weight("1", "int8"), since=13),
    case("QuantizeLinear", "abcd", weight("b", low=0.1), weight("b", "int8"), since=13),
    case("QuantizeLinear", "abcd", fed("d", low=0.1), fed("d", "int8"), axis=-1, since=13),
    case(
        "QuantizeLinear",
        "abcd",
        weight("a2cd", low=0.1),
        weight("a2cd", "int8"),
        axis=1,
        block_size=3,
        sizes={"b": 6},
        since=21,
    ),
    case(
        "QuantizeLinear",
        "abcd",
        weight("abc2", low=0.1),
        axis=-1,
        block_size=2,
        sizes={"d": 4},
        since=21,
    ),
    case("DequantizeLinear", fed("abcd", "uint8", 0, 9), given(0.1, "float32"), given(3, "uint8")),
    case("DequantizeLinear", fed("abcd", "int8", 0, 9), given(0.1, "float32")),
    case(
        "DequantizeLinear",
        fed("abcd", "int8", -9, 9),
        weight("b", low=0.1),
        weight("b", "int8"),
        since=13,
    ),
    case(
        "DequantizeLinear",
        fed("abcd", "int8", -9, 9),
        fed("c", low=0.1),
        fed("c", "int8"),
        axis=-2,
        since=13,
    ),
    case(
        "DequantizeLinear",
        fed("abcd", "int8", -9, 9),
        weight("a2cd", low=0.1),
        weight("a2cd", "int8"),
        axis=1,
        block_size=3,
        sizes={"b": 6},
        since=21,
    ),
    case("DynamicQuantizeLinear", "abcd", outputs=3),
]
