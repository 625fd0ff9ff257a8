"""Shapes that a model states of the results of its nodes: wrong ones occur, as onnxruntime does not mind.

What follows from the inputs is right. A declaration is believed where nothing else tells, and of sizes only
as long as nothing in the model is declared wrongly; the others are put right, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx_ir as ir

from ..algebra.layout import UNKNOWN, Dim, Shape, is_empty
from ..algebra.symbols import expression, written
from ..plausible import SourceWarning, warn

CORRECTED = "onnx_nhwc.corrected"
"""Under this name a model remembers what was wrong, until somebody tells the user."""
LISTED = 3
"""So many are named."""
MADE_UP = re.compile(r"\.\d+\b|unk__")
"""Names that sizes have for want of better ones."""


class Declarations:
    """What a model states of its values, beside its inputs."""

    def __init__(
        self,
        model: ir.Model | None = None,
        stated: dict[ir.Value, ir.Shape] | None = None,
        sizes: Iterable[Dim] = (),
    ) -> None:
        """``sizes`` are those of the inputs: what is made of them is certain."""
        self.model = model
        self.stated = stated or {}
        self.believed = False
        self.certain = {symbol for dim in sizes for symbol in expression(dim).free_symbols}

    @property
    def inputs(self) -> list[ir.Value]:
        """The model's inputs."""
        return [] if self.model is None else list(self.model.graph.inputs)

    def believe(self, sizes: dict[ir.Value, Shape | None]) -> None:
        """Believe all that nothing contradicts, unless something is wrong already: onnx tells these sizes."""
        self.believed = not any(
            dims is not None and self._contradict(self.stated[value], dims) for value, dims in sizes.items()
        )

    def size(self, value: ir.Value, axis: int, rank: int) -> int | str | None:
        """A size that is stated, and believed."""
        stated = self.stated.get(value)
        if not self.believed or stated is None or len(stated) != rank:
            return None
        size = stated[axis]
        return size if isinstance(size, int) else size.value

    def common(self, size: Dim, *others: Dim) -> Dim:
        """The size that all branches of an If give, if it is a certain one."""
        return size if all(other == size for other in others) and self._is_certain(size) else UNKNOWN

    def rank(self, value: ir.Value) -> int | None:
        """The rank that a value is stated to have, if it is."""
        stated = self.stated.get(value)
        return None if stated is None else len(stated)

    def correct(self, value: ir.Value, dims: Shape | None) -> None:
        """Let a value state these sizes; if it stated others, the model remembers."""
        stated = self.stated.get(value)
        if dims is None or value.producer() is None:
            return
        if stated is not None and self._contradict(stated, dims) and self.model is not None:
            kind = "output " if value.is_graph_output() and value.graph is self.model.graph else ""
            shape = ", ".join(map(_size, dims))
            text = f"{kind}'{value.name}' is declared as {_listed(stated)}, but is ({shape})"
            self.model.meta.setdefault(CORRECTED, {})[value.name] = text
        names = stated if stated is not None and len(stated) == len(dims) else [None] * len(dims)
        value.shape = ir.Shape([self._named(value, d, name) for d, name in zip(dims, names, strict=True)])

    def _contradict(self, stated: ir.Shape, dims: Shape) -> bool:
        if len(stated) != len(dims):
            return True
        return any(
            isinstance(size, int) and (size != _number(dim) if self._is_certain(dim) else False)
            for size, dim in zip(stated, dims, strict=True)
        )

    def _is_certain(self, dim: Dim) -> bool:
        return dim.static or is_empty(dim) or self.certain >= expression(dim).free_symbols

    def _named(self, value: ir.Value, dim: Dim, stated: int | ir.SymbolicDim | None) -> int | str | None:
        """A size as it is stated: the number, or the name that the model has for it."""
        number = _number(dim)
        if number is not None:
            return number
        if isinstance(stated, int) and self.believed:
            return stated
        name = written(dim)
        if name is not None and not MADE_UP.search(name):
            return name
        if stated is not None and not isinstance(stated, int) and stated.value is not None:
            return None if dim.symbols and stated.value in map(str, self.certain) else stated.value
        return None if value.is_graph_output() else name


def warn_of_corrections(model: ir.Model) -> None:
    """Tell the user once which declarations of a model were wrong; the model's outputs first."""
    texts = sorted(model.meta.pop(CORRECTED, {}).values(), key=lambda text: not text.startswith("output"))
    if texts:
        more = f"; and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
        warn("; ".join(texts[:LISTED]) + f"{more}. The result states what is right", SourceWarning)


def _number(dim: Dim) -> int | None:
    return 0 if is_empty(dim) else dim.number if dim.static else None


def _size(dim: Dim) -> str:
    return "0" if is_empty(dim) else "?" if MADE_UP.search(str(dim)) else str(dim)


def _listed(shape: ir.Shape) -> str:
    sizes = ("?" if not isinstance(d, int) and d.value is None else str(d) for d in shape)
    return f"({', '.join(sizes)})"
