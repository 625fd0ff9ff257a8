"""PyTorch as a target of the walk: what the mappings say becomes a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnx_nhwc.export import call as shared
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.target import Mapping
from onnx_nhwc.export.torch.call import Call, Parts, dtype_name, literal, torch_dtype
from onnx_nhwc.export.torch.program import Program, Step
from onnx_nhwc.export.torch.table import mapping_of
from onnx_nhwc.export.torch.tensor import Formed, Literal, Parameter, Several, Tensor
from onnx_nhwc.export.values import Constant, UnsupportedError, Values
from onnx_nhwc.export.walk import Walk

__all__ = ["Torch", "program_of"]


def program_of(model: ir.Model) -> Program:
    """Return the program that computes what a channels-first graph of standard operators does.

    Raises:
        UnsupportedNodesError: Some nodes cannot be expressed.
    """
    program: Program = Walk(model, Torch()).run()
    return program


class Torch:
    """Writes a program. See :class:`onnx_nhwc.export.target.Target` for what the methods do."""

    name = "PyTorch"
    channels_first = True

    def begin(self, walk: Values) -> None:
        self._walk = walk
        self._parts = Parts(walk)
        self._program = self._parts.program

    # --- inputs, outputs, the program --------------------------------------------------------

    def input(self, name: str, shape: Sequence[int | None], dtype: str) -> Tensor:
        tensor = self._program.tensor(shape, dtype, name)
        self._program.inputs.append((name, tensor))
        return tensor

    def output(self, name: str, tensor: Any) -> str:
        return str(tensor)

    def model(self, outputs: Sequence[tuple[str, Any]], name: str) -> Program:
        self._program.name = name
        self._program.outputs = list(outputs)
        self._program.drop_unused()
        return self._program

    # --- nodes -------------------------------------------------------------------------------

    def call(
        self, node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], images: Images | None
    ) -> Call:
        return Call(self._walk, self._parts, node, op_type, inputs, images)

    def mapping(self, call: shared.Call) -> Mapping:
        mapping = mapping_of(call.node.domain, call.op_type)
        if mapping is None:
            raise UnsupportedError("there is no mapping for this operator")
        return mapping

    def finished(self, call: shared.Call, results: list[Any]) -> list[Any]:
        assert isinstance(call, Call)
        first = results[0]
        if isinstance(first, Several):
            made = [self._made(call, i) if call.wants(i) else None for i in range(len(call.node.outputs))]
            self._program.steps.append(Step(list(made), first, call.scope))
            return list(made)
        for i, result in enumerate(results):
            if isinstance(result, (str, Formed)) and call.wants(i):
                results[i] = self._made(call, i)
                self._program.steps.append(Step([results[i]], result, call.scope))
        return results

    def _made(self, call: Call, index: int) -> Tensor:
        """The tensor that an output of a node is."""
        value = call.node.outputs[index]
        dims = self._walk.shapes.shape(value)
        if dims is None:
            raise UnsupportedError(f"the rank of its output '{value.name}' is unknown")
        shape = [dim.number if dim.static else None for dim in dims]
        return self._program.tensor(shape, dtype_name(value.dtype), value.name or "")

    # --- values ------------------------------------------------------------------------------

    def dtype(self, dtype: ir.DataType | None) -> str:
        return dtype_name(dtype)

    def constant(self, value: ir.Value, constant: Constant) -> Any:
        if not constant.shape and not constant.trainable:
            return Literal(literal(constant.array.item()), constant.dtype)
        return self._parts.parameter(value, constant)

    def tensor(self, operand: Any, dtype: str) -> Any:
        if isinstance(operand, Literal):
            return Literal(f"torch.tensor({operand}, dtype={torch_dtype(dtype)})", dtype)
        return operand

    def stand_in(self, shape: Sequence[int | None], dtype: str) -> Tensor:
        return self._program.tensor(shape, dtype)

    # --- control flow ------------------------------------------------------------------------

    def _step(self, text: str, shape: Sequence[int | None], dtype: str) -> Tensor:
        made = self._program.tensor(shape, dtype)
        self._program.steps.append(Step([made], text, None))
        return made

    def scalar(self, x: Any) -> Any:
        return x if not x.shape else self._step(f"{x}.reshape(())", (), x.dtype)

    def choose(self, condition: Any, new: Any, old: Any) -> Any:
        new, old = (self._argument(x) for x in (new, old))
        return self._step(f"torch.where({condition}, {new}, {old})", new.shape, new.dtype)

    def both(self, a: Any, b: Any) -> Any:
        return self._step(f"{a} & {b}", (), "bool")

    def above(self, number: Any, limit: int) -> Any:
        return self._step(f"{number} > {limit}", (), "bool")

    def stack(self, tensors: Sequence[Any], axis: int) -> Any:
        parts = [self._argument(x) for x in tensors]
        shape = list(parts[0].shape)
        shape.insert(axis, len(parts))
        text = f"torch.stack([{', '.join(map(str, parts))}], dim={axis})"
        return self._step(text, shape, parts[0].dtype)

    def part(self, x: Any, axis: int, index: int) -> Any:
        shape = [size for i, size in enumerate(x.shape) if i != axis]
        return self._step(f"{x}.select({axis}, {index})", shape, x.dtype)

    def places(self, flags: Sequence[Any]) -> Any:
        parts = ", ".join(f"{self._argument(flag)}.reshape(())" for flag in flags)
        return self._step(f"torch.stack([{parts}]).nonzero().flatten()", (None,), "int64")

    def entries(self, x: Any, places: Any) -> Any:
        return self._step(f"{x}[{places}]", (None, *x.shape[1:]), x.dtype)

    def _argument(self, fact: Any) -> Tensor | Parameter | Literal:
        """A state of a Loop, which may be an array by now."""
        if isinstance(fact, (Tensor, Parameter, Literal)):
            return fact
        array = fact.array if isinstance(fact, Constant) else fact
        constant = Constant.of(array)
        path = self._parts.paths.parameter("", "constant")
        return self._program.parameter(path, constant.shape, constant.dtype, constant.load, False)
