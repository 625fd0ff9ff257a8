"""A small graph builder: sizes by letter, seeded weights, and example inputs in the metadata."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EXAMPLES = "tests.examples"  # metadata: {"x": [[5, 6, 7, 11], ...]}, concrete shapes to try


@dataclass(frozen=True)
class Sizes:
    """One choice of sizes: batch, channels = groups * per_group, height, width."""

    n: int
    g: int
    k: int
    h: int
    w: int

    @property
    def c(self) -> int:
        return self.g * self.k


SIZES = {
    "distinct": Sizes(n=5, g=3, k=2, h=7, w=11),
    "equal": Sizes(n=8, g=2, k=4, h=8, w=8),
    "factors": Sizes(n=2, g=2, k=2, h=2, w=2),
    "one": Sizes(n=1, g=2, k=3, h=6, w=6),
}


@dataclass(frozen=True)
class Case:
    """A graph to build in every combination of opset, sizes and dynamic axes.

    ``dynamic`` lists strings of letters, each a set of axes of unknown size: "", "n", "nhw".
    """

    build: Callable[[Builder], None]
    opsets: tuple[int, ...] = (17,)
    sizes: tuple[str, ...] = ("distinct", "equal")
    dynamic: tuple[str, ...] = ("",)


class Builder:
    """Collects nodes and initializers; methods return value names."""

    def __init__(self, name: str, sizes: Sizes, opset: int, dynamic: str = "") -> None:
        self.name, self.sizes, self.opset, self.dynamic = name, sizes, opset, dynamic
        self.n, self.c, self.h, self.w = sizes.n, sizes.c, sizes.h, sizes.w
        self.g, self.k = sizes.g, sizes.k
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.domains: dict[str, int] = {}
        self.examples: dict[str, list[list[int]]] = {}
        self.count = 0

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}_{self.count}"

    def child(self) -> Builder:
        """A builder for a subgraph, which shares the counter of names."""
        child = Builder(self.name, self.sizes, self.opset, self.dynamic)
        child.rng, child.count = self.rng, self.count + 100
        self.count += 200
        return child

    def x(self, axes: str = "nchw", name: str = "x", dtype: int = TensorProto.FLOAT) -> str:
        """A graph input with an axis per letter; those in ``dynamic`` get a symbol."""
        sizes = [getattr(self.sizes, letter) for letter in axes]
        return self.input(name, sizes, axes, dtype)

    def input(self, name: str, sizes: Sequence[int], axes: str = "", dtype: int = TensorProto.FLOAT) -> str:
        axes = axes or "." * len(sizes)
        names = {"n": "batch", "h": "height", "w": "width", "d": "depth", "t": "time"}
        shape = [names[a] if a in self.dynamic else s for a, s in zip(axes, sizes, strict=True)]
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        grown = [
            s if a not in self.dynamic else s + 1 if a == "n" else s * 2
            for a, s in zip(axes, sizes, strict=True)
        ]
        self.examples[name] = [list(sizes)] + ([grown] if grown != list(sizes) else [])
        return name

    def const(self, value: Any, dtype: Any = np.int64, name: str = "") -> str:
        """An initializer; integers unless told."""
        name = name or self.fresh("const")
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def floats(self, value: Any) -> str:
        return self.const(value, np.float32)

    def weight(self, *shape: int) -> str:
        """Normal, scaled by fan-in: rank 2 is (in, out), higher is (out, in, kernel...)."""
        fan = shape[0] if len(shape) == 2 else max(1, math.prod(shape[1:]))
        return self.floats(self.rng.standard_normal(shape) * 1.3 * fan**-0.5)

    def vector(self, *shape: int, low: float = 0.5, high: float = 1.5) -> str:
        return self.floats(self.rng.uniform(low, high, shape))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """A node with several outputs."""
        names = [self.fresh(kind.lower()) for _ in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, inputs, names, f"{kind}/{names[0]}", domain=domain, **attributes)
        )
        return names

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int = 3, rank: int = 2, **attributes: Any
    ) -> str:
        """A convolution that keeps the spatial sizes, with a bias."""
        group = attributes.get("group", 1)
        weight = self.weight(outputs, inputs // group, *[kernel] * rank)
        attributes.setdefault("pads", [kernel // 2] * 2 * rank)
        return self.op("Conv", x, weight, self.vector(outputs, low=-0.5, high=0.5), **attributes)

    def same(self, x: str, **attributes: Any) -> str:
        """A convolution from c to c channels."""
        return self.conv(x, self.c, self.c, **attributes)

    def reduce(self, kind: str, x: str, axes: Sequence[int], keepdims: int = 1) -> str:
        """A reduction; its axes are an attribute or an input, as the opset demands."""
        since = 13 if kind == "ReduceSum" else 18
        if self.opset < since:
            return self.op(kind, x, axes=list(axes), keepdims=keepdims)
        return self.op(kind, x, self.const(list(axes)), keepdims=keepdims)

    def squeeze(self, kind: str, x: str, axes: Sequence[int]) -> str:
        """Squeeze or Unsqueeze."""
        if self.opset < 13:
            return self.op(kind, x, axes=list(axes))
        return self.op(kind, x, self.const(list(axes)))

    def reshape(self, x: str, *target: int) -> str:
        return self.op("Reshape", x, self.const(list(target)))

    def transpose(self, x: str, *perm: int) -> str:
        return self.op("Transpose", x, perm=list(perm))

    def size(self, x: str, axis: int) -> str:
        """One size of ``x`` at run time, as a tensor of one element."""
        return self.op("Gather", self.op("Shape", x), self.const([axis]), axis=0)

    def output(self, *names: str, dtype: int = TensorProto.FLOAT) -> None:
        """Declare outputs; a value gets the public name y, y2, ... through an Identity."""
        for name in names:
            public = f"y{len(self.outputs) + 1}" if self.outputs else "y"
            self.nodes.append(helper.make_node("Identity", [name], [public], f"out/{public}"))
            self.outputs.append(helper.make_tensor_value_info(public, dtype, None))

    def graph(self) -> onnx.GraphProto:
        return helper.make_graph(
            self.nodes,
            self.name,
            self.inputs,
            self.outputs,
            self.initializers,
            value_info=self.infos,
        )

    def body(self, *outputs: str, types: Sequence[int] = ()) -> onnx.GraphProto:
        """This builder as the body of an If, Loop or Scan."""
        types = types or [TensorProto.FLOAT] * len(outputs)
        self.outputs = [
            helper.make_tensor_value_info(o, t, None) for o, t in zip(outputs, types, strict=True)
        ]
        return self.graph()

    def model(self) -> onnx.ModelProto:
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(d, v) for d, v in self.domains.items()]
        model = helper.make_model(
            self.graph(),
            opset_imports=opsets,
            functions=self.functions,
            ir_version=8 if self.opset < 20 else 10,
        )
        helper.set_model_props(model, {EXAMPLES: json.dumps(self.examples)})
        # the outputs' shapes come from inference; the values between stay unannotated
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
        del model.graph.output[:]
        model.graph.output.extend(inferred.graph.output)
        return model
