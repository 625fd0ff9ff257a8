"""Products that sum over axes."""

from __future__ import annotations

from tests.support.case import case, fed, given, weight

SUMS = 1e-5

CASES = [
    case("MatMul", "abcd", "abde", tol=SUMS),
    case("MatMul", "abcd", weight("de"), tol=SUMS),
    case("MatMul", "abcd", "de", tol=SUMS),
    case("MatMul", weight("cd"), "abde", tol=SUMS),
    case("MatMul", "cd", "abde", tol=SUMS),
    case("MatMul", "abcd", "bde", tol=SUMS),
    case("MatMul", "abcd", "1bde", tol=SUMS),
    case("MatMul", "bcd", "abde", tol=SUMS),
    case("MatMul", "a1cd", "1bde", tol=SUMS),
    case("MatMul", "abcd", weight("d"), tol=SUMS),
    case("MatMul", "abcd", "d", tol=SUMS),
    case("MatMul", "d", "abde", tol=SUMS),
    case("MatMul", weight("d"), "abde", tol=SUMS),
    case("MatMul", "d", "d", tol=SUMS),
    case("MatMul", "cd", "de", tol=SUMS),
    case("MatMulInteger", fed("abcd", "uint8", 0, 9), weight("de", "int8", -9, 9)),
    case(
        "MatMulInteger",
        fed("abcd", "uint8", 0, 9),
        fed("abde", "uint8", 0, 9),
        given(3, "uint8"),
        given(4, "uint8"),
    ),
    case(
        "MatMulInteger",
        fed("abcd", "uint8", 0, 9),
        weight("de", "int8", -9, 9),
        given(3, "uint8"),
        weight("e", "int8", -3, 3),
    ),
    case(
        "QLinearMatMul",
        fed("abcd", "uint8", 0, 9),
        given(0.1, "float32"),
        given(3, "uint8"),
        weight("de", "uint8", 0, 9),
        given(0.2, "float32"),
        given(4, "uint8"),
        given(0.1, "float32"),
        given(3, "uint8"),
    ),
    case("Gemm", "ab", weight("bc"), weight("c"), tol=SUMS),
    case("Gemm", "ab", weight("bc"), weight("c"), alpha=0.5, beta=2.0, tol=SUMS),
    case("Gemm", "ab", "cb", "ac", transB=1, tol=SUMS),
    case("Gemm", "ab", weight("cb"), weight("1c"), transB=1, tol=SUMS),
    case("Gemm", "ab", weight("cb"), weight("a1"), transB=1, tol=SUMS),
    case("Gemm", "ab", weight("bc"), given(0.5, "float32"), tol=SUMS),
    case("Gemm", "ab", weight("bc"), weight("1"), tol=SUMS),
    case("Gemm", "ab", "bc", since=11, tol=SUMS),
    case("Gemm", "ba", "bc", "c", transA=1, tol=SUMS),
    case("Gemm", "ba", "cb", "c", transA=1, transB=1, fixed=True, tol=SUMS),
    case("Einsum", "abcd", weight("de"), equation="abcd,de->abce", tol=SUMS),
    case("Einsum", "abcd", "abed", equation="bhid,bhjd->bhij", tol=SUMS),
    case("Einsum", "abcd", equation="n c h w -> n c", tol=SUMS),
    case("Einsum", "abcd", weight("bcd"), equation="abcd,bcd", tol=SUMS),
    case("Einsum", "abc", "abd", equation="abc,abd->dcb", fixed=True, tol=SUMS),
    case("Einsum", "aabc", equation="iibc->bc", fixed=True, tol=SUMS),
    case("Einsum", "abcd", "bcd", equation="...cd,...cd->...c", fixed=True, tol=SUMS),
]
