"""What a target has to say: a table of mappings, and how it makes inputs, constants and the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import onnx_ir as ir

from onnx_nhwc.export.call import Call
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.values import Constant, Steps, Values

__all__ = ["Mapping", "Target"]

Mapping = Callable[[Any], Any]
"""From a call, of the target's own class, to a tensor, or to one for each output (None: nobody reads it)."""


class Target(Steps, Protocol):
    """A framework that models are exported to.

    Attributes:
        name: What messages call it.
        channels_first: Are images channels first in the graph that is exported?
    """

    name: str
    channels_first: bool

    def begin(self, walk: Values) -> None:
        """Is called once, before anything else."""

    def dtype(self, dtype: ir.DataType | None) -> str:
        """The name of a type; raises UnsupportedError where there are no tensors of it."""

    def input(self, name: str, shape: Sequence[int | None], dtype: str) -> Any:
        """An input of the model."""

    def call(
        self, node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], images: Images | None
    ) -> Call:
        """A node as its mapping sees it."""

    def mapping(self, call: Call) -> Mapping:
        """The mapping of a node; raises UnsupportedError if there is none."""

    def finished(self, call: Call, results: list[Any]) -> list[Any]:
        """What a mapping returned, in the types that the node declares, and named."""

    def constant(self, value: ir.Value, constant: Constant) -> Any:
        """A constant as an argument of an operation."""

    def tensor(self, operand: Any, dtype: str) -> Any:
        """An argument as a tensor."""

    def stand_in(self, shape: Sequence[int | None], dtype: str) -> Any:
        """A tensor of unknown origin, so that the nodes behind one that is refused can be looked at."""

    def output(self, name: str, tensor: Any) -> Any:
        """An output of the model under its name."""

    def model(self, outputs: Sequence[tuple[str, Any]], name: str) -> Any:
        """The finished model, with its weights."""
