"""A call with the means to write PyTorch expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from onnx_nhwc.export import call, values
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.torch.paths import Paths, scope_of
from onnx_nhwc.export.torch.program import Program, Step, Text
from onnx_nhwc.export.torch.sizes import Sizes
from onnx_nhwc.export.torch.tensor import Argument, Module, Parameter, Tensor
from onnx_nhwc.export.values import Array, Constant, UnsupportedError, Values
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["Call", "Parts", "dtype_name", "is_float", "literal", "torch_dtype"]


def dtype_name(dtype: ir.DataType | None) -> str:
    """Return the name that a type of ONNX has, if torch computes with it.

    >>> dtype_name(ir.DataType.DOUBLE)
    'float64'
    """
    return values.dtype_name(dtype, "PyTorch")


def torch_dtype(dtype: str) -> str:
    """The type in source code.

    >>> torch_dtype("float32"), torch_dtype("bool")
    ('torch.float32', 'torch.bool')
    """
    return f"torch.{dtype}"


def is_float(dtype: str) -> bool:
    return "float" in dtype


def literal(number: Any) -> str:
    """A number as source code.

    >>> literal(2.0), literal(3), literal(float("-inf")), literal(True)
    ('2.0', '3', "float('-inf')", 'True')
    """
    if isinstance(number, float) and (number != number or number in (float("inf"), float("-inf"))):
        return f"float('{number}')"
    return repr(number)


class Parts:
    """What a program is made of while it is written.

    Attributes:
        program: The program.
        paths: The paths that are taken.
        sizes: Sizes that are known at run time only.
    """

    def __init__(self, walk: Values) -> None:
        self.program = Program()
        self.paths = Paths()
        self.sizes = Sizes(walk)
        self.modules: dict[Any, Module] = {}
        self._parameters: dict[ir.Value, Parameter] = {}

    def parameter(self, value: ir.Value, constant: Constant) -> Parameter:
        """A parameter or buffer that no module holds."""
        if value not in self._parameters:
            path = self.paths.parameter(constant.name, "constant")
            self._parameters[value] = self.program.parameter(
                path, constant.shape, constant.dtype, constant.load, constant.trainable
            )
        return self._parameters[value]


class Call(call.Call):
    """A node to map to PyTorch.

    Attributes:
        parts: What the program is made of so far.
    """

    def __init__(
        self,
        walk: Values,
        parts: Parts,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        images: Images | None = None,
    ) -> None:
        super().__init__(walk, node, op_type, inputs, images)
        self.parts = parts

    def out_dtype(self, index: int = 0) -> str:
        return dtype_name(self.node.outputs[index].dtype)

    @property
    def scope(self) -> str | None:
        """The module in whose scope the node is, if its name tells."""
        return scope_of(self.node.name or "")

    def step(self, text: Text, dtype: str, shape: Sequence[int | None], hint: str = "") -> Tensor:
        """A statement of its own, whose result other expressions of this node use."""
        made = self.parts.program.tensor(shape, dtype, hint)
        self.parts.program.steps.append(Step([made], text, self.scope))
        return made

    def size(self, dim: Dim) -> str:
        """A size as source code: a number, or a formula of the sizes of tensors."""
        near = [self.value(i) for i in range(self.count) if self.has(i)]
        return self.parts.sizes.text(dim, near)

    def module(
        self,
        kind: str,
        arguments: Sequence[Argument],
        positional: int = 0,
        weights: dict[str, Callable[[], Array]] | None = None,
        weight: int | None = None,
        label: str = "",
    ) -> Module:
        """A module with parameters; that of another node with the same parameters, if there is one.

        Args:
            kind: Its class.
            arguments: What it is made with, by name and value.
            positional: How many of the arguments are given by position.
            weights: What its parameters and buffers are filled with.
            weight: The input that holds its main weight, for its path.
            label: The name of its main weight, if that is no input of this node.
        """
        made_with = (kind, tuple(arguments))
        keys = [key for key in (self.node, self.tied()) if key is not None]
        for key in keys:
            found = self.parts.modules.get(key)
            if found is not None and (found.kind, found.arguments) == made_with:
                return found
        constant = self.constant(weight) if weight is not None else None
        label = label or (constant.name if constant is not None else "")
        path = self.parts.paths.module(self.node.name or "", label, kind.rpartition(".")[2].lower())
        made = self.parts.program.module(path, kind, arguments, positional, weights or {})
        self.parts.modules.update(dict.fromkeys(keys, made))
        return made

    def cast(self, text: Any, before: str, dtype: str) -> str:
        """An expression in another type."""
        return str(text) if before == dtype else f"{text}.to({torch_dtype(dtype)})"

    def known(self, index: int) -> Constant:
        """An input that has to be a constant."""
        found = self.constant(index)
        if found is None:
            raise UnsupportedError(f"its input {index} is computed at run time")
        return found
