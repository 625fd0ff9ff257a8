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
    try:
        return _monomial(_parsed(name))
    except (sympy.SympifyError, TypeError, SyntaxError, AttributeError, ValueError):
        return Dim(1, (name,))


FUNCTIONS = {"FloorDiv": lambda a, b: sympy.floor(a / b), "floor": sympy.floor, "Mod": sympy.Mod}


def _parsed(name: str) -> sympy.Expr:
    words = set(IDENTIFIER.findall(name)) - set(FUNCTIONS)
    symbols = {word: sympy.Symbol(word, integer=True, positive=True) for word in words}
    return sympy.sympify(name, locals={**FUNCTIONS, **symbols})


def _monomial(expression: sympy.Expr) -> Dim:
    number, symbols = 1, []
    expression = expression.replace(sympy.floor, _floor)
    for factor in sympy.Mul.make_args(sympy.factor_terms(expression)):
        base, power = factor.as_base_exp()
        if factor.is_Integer and factor > 0:
            number *= int(factor)
        elif power.is_Integer and power > 0:
            symbols += [str(base)] * int(power)
        else:
            return Dim(1, (str(expression),))
    return Dim(number, tuple(sorted(symbols)))


def _floor(argument: sympy.Expr) -> sympy.Expr:
    """The floor of a quotient, rounded once: floor((floor(x) + k) / d) is floor((x + k) / d).

    >>> read("((h - 1)//2)//2") == read("(h - 1)//4")
    True
    """
    numerator, denominator = sympy.expand(argument).as_numer_denom()
    if denominator.is_Integer and denominator > 0:
        for term in sympy.Add.make_args(sympy.expand(numerator)):
            if isinstance(term, sympy.floor) and (numerator - term).is_integer:
                return sympy.floor(sympy.expand((numerator - term + term.args[0]) / denominator))
    return sympy.floor(argument)


@cache
def expression(dim: Dim) -> sympy.Expr:
    """A size as a sympy expression."""
    result = sympy.Integer(dim.number)
    for symbol in dim.symbols:
        known = IDENTIFIER.fullmatch(symbol) is not None or re.search(r"[-+*/(]", symbol) is not None
        try:
            read_back = _parsed(symbol) if known else None
        except (sympy.SympifyError, TypeError, SyntaxError, AttributeError, ValueError):
            read_back = None
        result *= sympy.Symbol(symbol, integer=True, positive=True) if read_back is None else read_back
    return result


def written(dim: Dim) -> str | None:
    """A symbolic size's name for a model, if it can be read back.

    >>> written(Dim(2, ("h + 1",))), written(Dim(2, ("a.0",)))
    ('2*h + 2', None)
    """
    if dim.number == len(dim.symbols) == 1:
        return dim.symbols[0]
    name = str(expression(dim))
    return name if read(name) == dim else None


def named(result: sympy.Expr) -> Dim:
    """A computed number."""
    return Dim(int(result)) if result.is_Integer else _monomial(result)


def total(*sizes: Dim) -> Dim:
    if all(size.static for size in sizes):
        return Dim(sum(size.number for size in sizes))
    return named(sympy.Add(*map(expression, sizes)))


def difference(a: Dim, b: Dim) -> Dim:
    if a.static and b.static:
        return Dim(a.number - b.number)
    return named(expression(a) - expression(b))


def window_count(size: Dim, margin: int, stride: int) -> Dim:
    """How many windows fit: floor((size + margin) / stride) + 1."""
    if size.static:
        return Dim(max((size.number + margin) // stride + 1, 0))
    if stride == 1:
        return size if margin == -1 else _monomial(expression(size) + margin + 1)
    return _monomial(sympy.floor((expression(size) + margin) / stride) + 1)


def nonnegative(number: sympy.Expr, size: sympy.Expr | None = None) -> bool:
    """Is a number certainly not negative, given that symbols, and ``size`` if given, are at least 1?

    >>> h = sympy.Symbol("h", integer=True, positive=True)
    >>> nonnegative(h - 2 * sympy.floor(h / 2)), nonnegative(h - 2), nonnegative(h * h - h)
    (True, False, True)
    """
    bounds = [least(number)] if size is None else [least(number), least(number - size + 1)]
    return any(bound is not None and bound >= 0 for bound in bounds)


@cache
def least(number: sympy.Expr) -> sympy.Integer | None:
    """A lower bound of a whole number, None where none shows."""
    number = sympy.expand(number)
    for inner in sorted(number.atoms(sympy.floor), key=sympy.count_ops, reverse=True):
        if not number.has(inner):
            continue
        factor, (argument,) = number.coeff(inner), inner.args
        if factor.is_number and not (number - factor * inner).expand().has(inner):
            _, denominator = argument.as_numer_denom()
            rounded = (denominator - 1) / denominator if denominator.is_Integer else 1
            instead = argument - (rounded if factor > 0 else 0)
        elif (bound := least(inner)) is not None:
            instead = bound - 1 + sympy.Dummy(integer=True, positive=True)
        else:
            return None
        number = sympy.expand(number.xreplace({inner: instead}))
    above = sympy.expand(number.xreplace({symbol: symbol + 1 for symbol in number.free_symbols}))
    parts = [term.as_coeff_Mul() for term in sympy.Add.make_args(above)]
    if any(rest != 1 and (factor < 0 or not rest.is_polynomial()) for factor, rest in parts):
        return None
    return sympy.ceiling(sum(factor for factor, rest in parts if rest == 1))
