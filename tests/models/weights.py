"""Weights that need no place in a repository: hollow models, and what fills them again.

A hollow model holds ``ConstantOfShape`` where a network has its weights, as the nine networks
under ``onnx/backend/test/data/light`` do. :func:`fill` puts seeded random weights there;
:func:`hollow` empties a model that is too large to commit.

>>> model = fill(onnx.load("light_resnet50.onnx"), seed=1)        # doctest: +SKIP
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

VIEWS = {"Reshape", "Unsqueeze", "Squeeze", "Transpose", "Identity"}
WEIGHTED = {
    "Add",
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "Div",
    "Gemm",
    "MatMul",
    "Mul",
    "PRelu",
    "Sub",
}
SUMS = {"Add", "Sum"}
ACTIVATIONS = {"Relu", "Clip", "Mul", "Sigmoid", "PRelu", "LeakyRelu"}
MOVES = VIEWS | {"Concat", "MaxPool", "AveragePool", "Dropout", "LRN", "Flatten", "Pad"}


def fill(model: onnx.ModelProto, seed: int = 0, gain: float = 1.0, last: float = 1.0) -> onnx.ModelProto:
    """Replace constant weights by random ones; edits ``model`` and returns it.

    Replaced are the results of ``ConstantOfShape`` over an initializer, and the float initializers
    of the operators in WEIGHTED, scalars excepted (the nine networks keep small ones, as they were
    trained, which do not fit random ones around them). What a weight is for decides its
    distribution, such that activations stay near 1 and every channel differs: kernels and
    matrices are scaled by fan-in, less in front of a residual sum; variances lie in [0.5, 1.5];
    scales around 1; biases and means are small. A weight depends on ``seed`` and its own name
    only. ``gain`` multiplies the kernels of convolutions, ``last`` the matrices: for networks
    whose activations fade or whose class scores saturate otherwise.
    """
    graph = model.graph
    uses = _Uses(graph)
    known = {x.name: x for x in graph.initializer}
    listed = {x.name for x in graph.input}
    filled: list[onnx.TensorProto] = []
    for node in list(graph.node):
        if node.op_type == "ConstantOfShape" and node.input[0] in known:
            shape = tuple(int(size) for size in numpy_helper.to_array(known[node.input[0]]))
            filled.append(_random(node.output[0], shape, uses, seed, gain, last))
            graph.node.remove(node)
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and math.prod(tensor.dims) > 1:
            reader, _ = next(uses.of(tensor.name), (None, 0))
            if reader is not None and reader.op_type in WEIGHTED:
                filled.append(_random(tensor.name, tuple(tensor.dims), uses, seed, gain, last))
    done = {x.name for x in filled}
    used = {name for node in graph.node for name in node.input} - done
    kept = [x for x in graph.initializer if x.name in used]
    dropped = set(known) - {x.name for x in kept}
    del graph.initializer[:]
    graph.initializer.extend(kept + filled)
    inputs = [x for x in graph.input if x.name not in dropped]
    if model.ir_version < 4:  # initializers must be among the inputs there
        inputs += [helper.make_tensor_value_info(x.name, x.data_type, x.dims) for x in filled]
    elif listed & dropped & done:
        inputs += [x for x in graph.input if x.name in dropped & done]
    del graph.input[:]
    graph.input.extend(inputs)
    return model


def hollow(model: onnx.ModelProto, limit: int = 64) -> onnx.ModelProto:
    """Put ``ConstantOfShape`` for float initializers above ``limit`` elements; edits ``model``."""
    graph = model.graph
    kept, nodes = [], []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or math.prod(tensor.dims) <= limit:
            kept.append(tensor)
            continue
        shape = f"{tensor.name}__SHAPE"
        kept.append(numpy_helper.from_array(np.array(tensor.dims, np.int64), shape))
        value = helper.make_tensor("value", onnx.TensorProto.FLOAT, [1], [0.02])
        nodes.append(helper.make_node("ConstantOfShape", [shape], [tensor.name], value=value))
    nodes += graph.node
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return model


def narrow(model: onnx.ModelProto, width: int) -> onnx.ModelProto:
    """Leave so many features at most between the Gemms that end a hollow model; edits ``model``.

    Nine tenths of a large network's weights are there, and no axis of an image is.
    """
    graph = model.graph
    sizes = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ConstantOfShape"}
    gemms = [node for node in graph.node if node.op_type == "Gemm" and node.input[1] in sizes]
    limits: dict[str, list[int | None]] = {}
    for number, node in enumerate(gemms):
        rows = width if node is not gemms[-1] else None
        limits[node.input[1]] = [rows, width if number else None]
        limits[node.input[2]] = [rows]
    for name, limit in limits.items():
        tensor = next(x for x in graph.initializer if x.name == sizes[name])
        shape = zip(numpy_helper.to_array(tensor), limit, strict=True)
        smaller = np.array([min(size, most or size) for size, most in shape], np.int64)
        tensor.CopyFrom(numpy_helper.from_array(smaller, tensor.name))
    return model


class _Uses:
    """What surrounds a weight: who reads it, and where data comes from and goes to."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        self.makers: dict[str, onnx.NodeProto] = {}
        self.constants = {x.name for x in graph.initializer}
        for node in graph.node:  # in topological order, as ONNX demands
            for port, name in enumerate(node.input):
                self.readers.setdefault(name, []).append((node, port))
            for name in node.output:
                self.makers[name] = node
            if all(name in self.constants for name in node.input):
                self.constants.update(node.output)

    def of(self, name: str) -> Iterator[tuple[onnx.NodeProto, int]]:
        """The nodes and ports that read a value, looking through views."""
        for node, port in self.readers.get(name, ()):
            if node.op_type in VIEWS and port == 0:
                yield from self.of(node.output[0])
            else:
                yield node, port

    def ends_in_sum(self, node: onnx.NodeProto) -> bool:
        """Whether a result reaches a residual sum with only per-channel constants between."""
        for reader, _ in self.readers.get(node.output[0], ()):
            affine = reader.op_type in {"Mul", "Add"} and not self.constants.isdisjoint(reader.input)
            if reader.op_type == "BatchNormalization" or affine:
                if self.ends_in_sum(reader):
                    return True
            elif reader.op_type in SUMS:
                return True
        return False

    def is_gate(self, node: onnx.NodeProto) -> bool:
        """Whether a result goes into a Sigmoid only: a gate, whose swings multiply."""
        readers = [reader for reader, _ in self.readers.get(node.output[0], ())]
        if len(readers) != 1:
            return False
        bias = readers[0].op_type == "Add" and not self.constants.isdisjoint(readers[0].input)
        return readers[0].op_type == "Sigmoid" or (bias and self.is_gate(readers[0]))

    def rectified(self, node: onnx.NodeProto) -> bool:
        """Whether a node's data comes from an activation that halves its power."""
        maker = self.makers.get(node.input[0])
        if maker is None:
            return False
        return maker.op_type in ACTIVATIONS or (maker.op_type in MOVES and self.rectified(maker))


def _random(
    name: str, shape: tuple[int, ...], uses: _Uses, seed: int, gain: float, last: float
) -> onnx.TensorProto:
    """The random weight ``name``, by what its first reader does with it."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    node, port = next(uses.of(name), (None, 0))
    kind = node.op_type if node is not None else ""
    value = rng.random(shape, np.float32)  # uniform: three times faster than normal
    value -= 0.5
    value *= 12**0.5  # variance 1
    if kind in {"Conv", "ConvTranspose"} and port == 1 and node is not None:
        gain *= 1.4 if uses.rectified(node) else 1.0
        gain *= 0.4 if uses.ends_in_sum(node) else 1.0
        gain *= 0.2 if uses.is_gate(node) else 1.0
        value *= gain * math.prod(shape[1:]) ** -0.5
    elif kind in {"Gemm", "MatMul"} and port == 1 and node is not None:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        value *= last * shape[-1 if transposed else -2] ** -0.5
    elif (kind, port) == ("BatchNormalization", 4):
        value = rng.random(shape, np.float32) + np.float32(0.5)
    elif (kind, port) == ("BatchNormalization", 1) or kind in {"Mul", "Div"}:
        value = rng.random(shape, np.float32) * np.float32(0.8) + np.float32(0.6)
    else:
        value *= 0.1
    return numpy_helper.from_array(value, name)
