"""What the outputs of a model are computed from: which types, which roundings, which random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper, numpy_helper

__all__ = ["SIZES", "Ancestry", "Flow", "is_quantiser"]

_RANDOM = frozenset(
    {
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
        *("RandomUniform", "RandomUniformLike", "BiasDropout", "BitmaskDropout"),
    }
)
_QUANTISERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QGemm", "Round"})
_PRODUCTS = frozenset(
    {
        *("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "QGemm", "QAttention"),
        *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"),
    }
)
_MOVES = frozenset(
    {
        *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "GlobalMaxPool"),
        *("Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    }
)
SIZES = frozenset({"Shape", "Size"})
"""Operators whose results depend on the sizes of what they read, not on its values."""

_WIDTHS = (TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_EIGHT_BITS = frozenset(
    {
        *(TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ),
        *(TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ),
    }
)


@dataclass(frozen=True)
class Ancestry:
    """What one output is computed from.

    Attributes:
        narrowest: The narrowest float type in which something is computed on the way from the inputs,
            as NumPy names it; empty if none is. Types of 8 bits are counted as quantisers.
        random: The first operator that draws random numbers; empty if none does.
        quantised: Is a value rounded to the steps of a quantiser on the way?
        step: The step of the quantiser whose results, only moved, are the output; 0 if there is none.
    """

    narrowest: str = ""
    random: str = ""
    quantised: bool = False
    step: float = 0.0


class Flow:
    """How values are computed from each other, in the graph and in the bodies in it.

    Args:
        model: Its external data need not be loaded. Functions of its own are inlined in ``self.model``.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        self.model = model
        self.types = _types(model)
        self.makers: dict[str, onnx.NodeProto] = {}
        self._reads: dict[str, tuple[str, ...]] = {}
        self._constants = {
            tensor.name: tensor for graph in _graphs(model.graph) for tensor in graph.initializer
        }
        opsets = {entry.domain: entry.version for entry in model.opset_import}
        self._opset = opsets.get("", opsets.get("ai.onnx", 1))
        for node in model.graph.node:
            self._enter(node)
        for name in self.makers:  # onnx does not tell the types of other domains' operators
            self._guess_type(name)
        self.live = self._live({value.name for value in model.graph.input} - self._constants.keys())

    @property
    def has_products(self) -> bool:
        """Does it multiply 8-bit integers in operators of their own?"""
        return any(node.op_type in _PRODUCTS for node in self.makers.values())

    def ancestry(self, output: str) -> Ancestry:
        """Tell what an output is computed from."""
        names = self._before(output)
        nodes = {id(node): node for name in names if (node := self.makers.get(name)) is not None}
        computed = {self.types.get(name, 0) for name in names if name in self.makers and name in self.live}
        narrow = [kind for kind in _WIDTHS if kind in computed]
        random = next((node for node in nodes.values() if self._is_random(node)), None)
        return Ancestry(
            str(helper.tensor_dtype_to_np_dtype(narrow[-1])) if narrow else "",
            "" if random is None else f"{random.op_type} '{random.name or random.output[0]}'",
            any(is_quantiser(node) for node in nodes.values() if node.output[0] in self.live),
            self._step(output),
        )

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant whose data are in the model."""
        tensor = self._constants.get(name)
        maker = self.makers.get(name)
        if tensor is None and maker is not None and maker.op_type == "Constant":
            tensor = next((entry.t for entry in maker.attribute if entry.name == "value"), None)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return np.asarray(numpy_helper.to_array(tensor))

    def _enter(self, node: onnx.NodeProto) -> None:
        reads = [name for name in node.input if name]
        for body in _bodies(node):
            for value in body.input:
                self._reads[value.name] = tuple(reads)
            for inner in body.node:
                self._enter(inner)
        reads += [value.name for body in _bodies(node) for value in body.output]
        for name in filter(None, node.output):
            self.makers[name] = node
            self._reads[name] = tuple(reads)

    def _guess_type(self, name: str) -> None:
        node = self.makers[name]
        if name not in self.types and node.domain not in ("", "ai.onnx") and not is_quantiser(node):
            known = (self.types.get(operand, 0) for operand in node.input)
            self.types[name] = next((kind for kind in known if kind in _WIDTHS), 0)

    def _live(self, inputs: set[str]) -> set[str]:
        """What depends on the values of inputs, not on their sizes alone."""
        live = set(inputs)
        for name in self._ordered():
            maker = self.makers.get(name)
            moves = maker is None or maker.op_type not in SIZES
            if (moves and not live.isdisjoint(self._reads[name])) or (
                maker is not None and self._is_random(maker)
            ):
                live.add(name)
        return live

    def _ordered(self) -> list[str]:
        """The computed values, each after those that it is computed from."""
        done: dict[str, None] = {}
        for root in self._reads:
            stack = [root]
            while stack:
                waiting = [n for n in self._reads[stack[-1]] if n in self._reads and n not in done]
                if waiting:
                    stack += waiting
                else:
                    done[stack.pop()] = None
        return list(done)

    def _before(self, output: str) -> set[str]:
        found, stack = {output}, [output]
        while stack:
            name = stack.pop()
            maker = self.makers.get(name)
            if maker is not None and maker.op_type in SIZES:
                continue
            fresh = set(self._reads.get(name, ())) - found
            found |= fresh
            stack += fresh
        return found

    def _is_random(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Dropout":
            return node.op_type in _RANDOM
        if self._opset < 7:
            return not any(entry.name == "is_test" and entry.i for entry in node.attribute)
        if len(node.input) < 3 or not node.input[2]:
            return False
        training = self.constant(node.input[2])
        return training is None or bool(training.any())

    def _step(self, name: str) -> float:
        node = self.makers.get(name)
        while node is not None and node.op_type in _MOVES and node.input:
            if node.op_type == "Concat":
                return max((self._step(operand) for operand in node.input), default=0.0)
            name = node.input[0]
            node = self.makers.get(name)
        if node is None or name not in self.live:
            return 0.0
        if is_quantiser(node):
            return 1.0 if node.op_type != "DynamicQuantizeLinear" or name == node.output[0] else 0.0
        if node.op_type == "DequantizeLinear" and self._step(node.input[0]):
            scale = self.constant(node.input[1])
            return 0.0 if scale is None or not scale.size else float(np.max(np.abs(scale)))
        return 0.0


def is_quantiser(node: onnx.NodeProto) -> bool:
    """Does its first result consist of numbers that were rounded to steps?"""
    if node.op_type == "Cast":
        return any(entry.name == "to" and entry.i in _EIGHT_BITS for entry in node.attribute)
    return node.op_type in _QUANTISERS or node.op_type.startswith("QLinear")


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for entry in node.attribute:
        if entry.HasField("g"):
            yield entry.g
        yield from entry.graphs


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for body in _bodies(node):
            yield from _graphs(body)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """The element types of values, as far as onnx can tell."""
    with suppress(RuntimeError, ValueError):  # what is declared remains
        model = onnx.shape_inference.infer_shapes(model)
    found: dict[str, int] = {}
    for graph in _graphs(model.graph):
        values: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
        found |= {value.name: value.type.tensor_type.elem_type for value in values}
        found |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: kind for name, kind in found.items() if kind}
