"""Names of the operations of a functional Keras model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from onnx_nhwc.export.names import Names

__all__ = ["OperationNames"]


class OperationNames:
    """Names the operations of a functional model: Keras numbers them by itself otherwise.

    Args:
        names: The names that are taken.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._named: dict[int, Any] = {}
        self._walked: set[tuple[int, int]] = set()

    def keep(self, operation: Any) -> Any:
        """Remember that an operation has its final name."""
        self._named[id(operation)] = operation
        return operation

    def give(self, results: Sequence[Any], base: Callable[[], str], *, own: bool = False) -> None:
        """Name all that is new in what these results come from.

        Args:
            results: Tensors, and other things, which are passed over.
            base: Gives the name of what they belong to, with which each name begins.
            own: Does the last operation take that name itself?
        """
        pending = [r for r in results if isinstance(r, keras.KerasTensor)]
        while pending:
            operation, index, _ = getattr(pending.pop(), "_keras_history", (None, 0, 0))
            if operation is None or (id(operation), index) in self._walked:
                continue
            self._walked.add((id(operation), index))
            pending += operation._inbound_nodes[index].input_tensors
            if id(operation) in self._named:
                continue
            kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(operation).__name__).lower()
            self.keep(operation).name = base() if own else self._names.unique(f"{base()}_{kind}")
            own = False
