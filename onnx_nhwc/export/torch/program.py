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
    used: set[tuple[str, int]] = field(default_factory=set)
    """What the steps that are needed use, by kind and number."""

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

    def drop_unused(self) -> None:
        """Leave out steps whose results nobody needs, and what only they use."""
        needed = {(m[1], int(m[2])) for _, text in self.outputs for m in MARK.finditer(text)}
        kept = []
        for step in reversed(self.steps):
            if any(x is not None and ("t", x.number) in needed for x in step.outputs):
                needed.update(step.marks)
                kept.append(step)
        self.steps = kept[::-1]
        self.used = needed

    def weights(self) -> dict[str, Callable[[], Array]]:
        """The state dict: what loads each entry."""
        found = {f"{m.path}.{name}": load for m in self.used_modules for name, load in m.weights.items()}
        return found | {p.path: p.load for p in self.used_parameters}

    @property
    def used_modules(self) -> list[Module]:
        return [m for m in self.modules if ("m", m.number) in self.used]

    @property
    def used_parameters(self) -> list[Parameter]:
        return [p for p in self.parameters if ("p", p.number) in self.used]
