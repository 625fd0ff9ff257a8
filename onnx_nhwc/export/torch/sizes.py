"""Sizes that are known at run time only, as source code: ``x.shape[2] // 2``."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import sympy

from onnx_nhwc.export.torch.tensor import Tensor
from onnx_nhwc.export.values import UnsupportedError, Values
from onnx_nhwc.passes.algebra.layout import Dim
from onnx_nhwc.passes.algebra.symbols import expression, named

__all__ = ["Sizes"]


class Sizes:
    """Writes symbolic sizes as formulas of tensors' shapes."""

    def __init__(self, walk: Values) -> None:
        self._walk = walk
        self._computed: dict[Dim, str] = {}

    def name(self, text: str) -> Dim:
        """Treat a number that is computed as a size."""
        dim = Dim(1, (f"_computed_{len(self._computed)}",))
        self._computed[dim] = text
        return dim

    def text(self, dim: Dim, near: Sequence[ir.Value] = ()) -> str:
        """A size as source code.

        Args:
            dim: The size.
            near: Values to look at first.
        """
        if dim.static:
            return str(dim.number)
        if dim in self._computed:
            return self._computed[dim]
        return self._axis(dim, near) or self._formula(dim, near)

    def _axis(self, dim: Dim, near: Sequence[ir.Value]) -> str | None:
        """The size of an axis that has exactly this one."""
        for value in (*near, *reversed(self._walk.shapes.dims)):
            dims = self._walk.shapes.dims.get(value) or ()
            if dim not in dims:
                continue
            tensor = self._walk.evaluated(value)
            if isinstance(tensor, Tensor) and len(tensor.shape) == len(dims):
                return f"{tensor}.shape[{dims.index(dim)}]"
        return None

    def _formula(self, dim: Dim, near: Sequence[ir.Value]) -> str:
        formula = expression(dim)
        if str(formula).removeprefix("-").isdecimal():  # a formula that came out as a number
            return str(formula)
        if isinstance(formula, sympy.floor):
            numerator, denominator = formula.args[0].as_numer_denom()
            return f"{self._part(numerator, near)} // {self._part(denominator, near)}"
        if isinstance(formula, sympy.Mod):
            return " % ".join(self._part(part, near) for part in formula.args)
        if formula.is_Pow and formula.exp.is_Integer and formula.exp > 0:
            return f"{self._part(formula.base, near)} ** {formula.exp}"
        if not (formula.is_Add or formula.is_Mul):
            raise UnsupportedError(f"the size '{dim}' cannot be read from any value")
        sign = " + " if formula.is_Add else " * "
        return (
            sign.join(self._part(part, near) for part in formula.as_ordered_terms())
            if formula.is_Add
            else (sign.join(self._part(part, near) for part in formula.args))
        )

    def _part(self, formula: sympy.Expr, near: Sequence[ir.Value]) -> str:
        text = self.text(named(formula), near)
        return text if text.isidentifier() or " " not in text else f"({text})"
