"""Sizes as symbols: one canonical name for one number, however a model spells it.

Sums and quotients become symbols of their own, named by their expression in sympy's canonical form.
Exporters that name sizes by expressions ("2*s0", "(h - 1)//2 + 1") are read in the same way.
"""

from __future__ import annotations

import re
from functools import cache

import sympy

from .layout import Dim

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@cache
def read(name: str) -> Dim:
    """A size by its name: a symbol, or an expression of symbols.

    >>> read("2*h"), read("(h - 1)//2 + 1") == read("1 + (h-1) // 2")
    (Dim(number=2, symbols=('h',)), True)
    """
    if IDENTIFIER.fullmatch(name) or not re.search(r"[-+*/]", name):
        return Dim(1, (name,))
    names = {word: sympy.Symbol(word, integer=True, positive=True) for word in IDENTIFIER.findall(name)}
    try:
        return _monomial(sympy.sympify(name, locals={**FUNCTIONS, **names}))
    except (sympy.SympifyError, TypeError, SyntaxError, AttributeError, ValueError):
        return Dim(1, (name,))


FUNCTIONS = {"FloorDiv": lambda a, b: sympy.floor(a / b), "floor": sympy.floor, "Mod": sympy.Mod}


def _monomial(expression: sympy.Expr) -> Dim:
    number, symbols = 1, []
    for factor in sympy.Mul.make_args(sympy.factor_terms(expression)):
        base, power = factor.as_base_exp()
        if factor.is_Integer and factor > 0:
            number *= int(factor)
        elif power.is_Integer and power > 0:
            symbols += [str(base)] * int(power)
        else:
            return Dim(1, (str(expression),))
    return Dim(number, tuple(sorted(symbols)))


def expression(dim: Dim) -> sympy.Expr:
    """A size as a sympy expression."""
    result = sympy.Integer(dim.number)
    for symbol in dim.symbols:
        words = {w: sympy.Symbol(w, integer=True, positive=True) for w in IDENTIFIER.findall(symbol)}
        known = IDENTIFIER.fullmatch(symbol) is not None or re.search(r"[-+*/(]", symbol) is not None
        try:
            read_back = sympy.sympify(symbol, locals={**FUNCTIONS, **words}) if known else None
        except (sympy.SympifyError, TypeError, SyntaxError, AttributeError, ValueError):
            read_back = None
        result *= sympy.Symbol(symbol, integer=True, positive=True) if read_back is None else read_back
    return result


def named(result: sympy.Expr) -> Dim | None:
    """A computed size; None where it is a constant 0, whose product would hide everything else."""
    return None if result == 0 else Dim(int(result)) if result.is_Integer else _monomial(result)


def window_count(size: Dim, margin: int, stride: int) -> Dim:
    """How many windows fit: floor((size + margin) / stride) + 1."""
    if size.static:
        return Dim(max((size.number + margin) // stride + 1, 0))
    if stride == 1:
        return size if margin == -1 else _monomial(expression(size) + margin + 1)
    return _monomial(sympy.floor((expression(size) + margin) / stride) + 1)
