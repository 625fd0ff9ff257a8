"""Normalisation of the trailing axes."""

from __future__ import annotations

from tests.support.case import case, weight

SUMS = 1e-5

CASES = [
    case("LayerNormalization", "abcd", weight("d"), tol=SUMS),
    case("LayerNormalization", "abcd", weight("d"), weight("d"), axis=3, tol=SUMS),
    case("LayerNormalization", "abcd", weight("cd"), weight("cd"), axis=-2, tol=SUMS),
    case("LayerNormalization", "abcd", weight("bcd"), weight("bcd"), axis=1, tol=SUMS),
    case("LayerNormalization", "abcd", "cd", "cd", axis=2, outputs=3, tol=SUMS),
    case("LayerNormalization", "abcd", weight("111d"), weight("1d"), tol=SUMS),
    case("LayerNormalization", "abcd", "1bcd", weight("cd"), axis=1, tol=SUMS),
    case("LayerNormalization", "abd", "a1d", "a1d", since=17, fixed=True, tol=SUMS),
    case("RMSNormalization", "abcd", weight("d"), tol=SUMS),
    case("RMSNormalization", "abcd", weight("111d"), tol=SUMS),
    case("RMSNormalization", "abcd", weight("bcd"), axis=1, tol=SUMS),
    case("RMSNormalization", "abcd", "cd", axis=-2, tol=SUMS),
]
