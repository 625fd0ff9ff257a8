"""A model as a list of steps: what is computed, from what, by which module, in which scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onnx_nhwc.export.torch.tensor import MARK, Argument, Formed, Module, Parameter, Several, Tensor
from onnx_nhwc.export.values import Array

__all__ = ["Program", "Step", "Text"]

Text = str | Formed | Several
"""An expression, with marks for what it is made of."""


@dataclass(eq=False)
class Step:
    """One statement.

    Attributes:
        outputs: What it computes; None for results that nobody reads.
        text: The expression; it gives a tuple if there are several outputs.
        scope: The path of the module in whose ``forward`` it is; None if nothing tells.
    """

    outputs: list[Tensor | None]
    text: Text
    scope: str | None

    @property
    def marks(self) -> list[tuple[str, int]]:
        """What the expression is made of, by kind and number."""
        return [(m[1], int(m[2])) for m in MARK.finditer(str(self.text))]


@dataclass
class Program:
    """The steps in the order of the graph, and all that they use.

    Attributes:
        name: What the model is called.
    """

    name: str = "model"
    tensors: list[Tensor] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    """The model's outputs by name, as expressions."""

    def tensor(self, shape: Sequence[int | None], dtype: str, hint: str = "") -> Tensor:
        self.tensors.append(Tensor(len(self.tensors), tuple(shape), dtype, hint))
        return self.tensors[-1]

    def module(
        self,
        path: str,
        kind: str,
        arguments: Sequence[Argument],
        positional: int,
        weights: dict[str, Callable[[], Array]],
    ) -> Module:
        self.modules.append(Module(len(self.modules), path, kind, tuple(arguments), positional, weights))
        return self.modules[-1]

    def parameter(
        self, path: str, shape: Sequence[int], dtype: str, load: Callable[[], Array], trainable: bool
    ) -> Parameter:
        self.parameters.append(Parameter(len(self.parameters), path, tuple(shape), dtype, load, trainable))
        return self.parameters[-1]

    def weights(self) -> dict[str, Callable[[], Array]]:
        """The state dict: what loads each entry."""
        found = {f"{m.path}.{name}": load for m in self.modules for name, load in m.weights.items()}
        return found | {p.path: p.load for p in self.parameters}
