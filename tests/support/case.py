"""Cases of the law test: small models around one operator, made concrete in several sizes.

A case is a node with inputs of lettered shapes, or a graph in ONNX's text syntax. It is built with distinct
prime sizes, with all sizes equal, with sizes known at run time only, and with sizes that have factors.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OLDEST, NEWEST = 7, 26
"""The opsets that onnxruntime 1.31.1 runs and this package promises to convert."""
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)
COMPOSITES = (4, 6, 9, 10, 8, 12, 15, 14)

Sizes = Mapping[str, int]
Values = Callable[[Sizes], Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Port:
    """An input: a letter for each axis (a digit is a size), or values that follow from the sizes."""

    axes: str = ""
    dtype: str = "float32"
    low: float = -2.0
    high: float = 2.0
    constant: bool = False
    values: Values | None = None
    name: str = ""

    def __str__(self) -> str:
        named = self.name if self.values else self.axes or "scalar"
        return f"={named}" if self.constant else named


def fed(axes: str, dtype: str = "float32", low: float = -2.0, high: float = 2.0) -> Port:
    """An input given at run time."""
    return Port(axes, dtype, low, high)


def weight(axes: str, dtype: str = "float32", low: float = -2.0, high: float = 2.0) -> Port:
    """An initializer."""
    return Port(axes, dtype, low, high, constant=True)


def given(values: Any, dtype: str = "int64", constant: bool = True) -> Port:
    """An initializer (or an input) with these values; a function gets the sizes."""
    name = "computed" if callable(values) else str(values).replace(" ", "")
    return Port(
        "",
        dtype,
        constant=constant,
        values=values if callable(values) else lambda s: values,
        name=name,
    )


@dataclass(frozen=True)
class Case:
    """One operator under test, as a node or as a graph in ONNX's text syntax."""

    op: str
    inputs: tuple[Port | None, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    since: int = OLDEST
    until: int = NEWEST
    tol: float = 0.0
    """Tolerance relative to the largest magnitude of the source's output; 0 is bit-equal."""
    sizes: Sizes = field(default_factory=dict)
    """Letters whose size has to be this one (channels of groups, say)."""
    text: str = ""
    """A graph in ONNX's text syntax; ``$ab`` is the product of the sizes of a and b."""
    feeds: Mapping[str, Any] = field(default_factory=dict)
    """What the inputs of a text are fed, where random numbers do not serve."""
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Initializers of a text."""
    dynamic: bool = True
    fixed: bool = False
    """The row is expected to admit the source's order only."""
    view: bool = False
    """The operator only renames factors, and is expected to be no node of its own."""
    unclear: bool = False
    """A view may be opaque where sizes are known at run time only."""
    whole: bool = False
    """The graph is converted as a whole."""
    note: str = ""
    evaluated_since: tuple[int, int] = (0, 0)
    """The first release of onnx whose evaluator runs it, where onnxruntime has no kernel."""

    def __str__(self) -> str:
        ports = " ".join("-" if p is None else str(p) for p in self.inputs)
        described = [f"{k}={v}" for k, v in self.attributes.items() if not callable(v)]
        return (
            " ".join([self.op, *filter(None, [self.note]), ports, *described])[:80]
            .replace("[", "(")
            .replace("]", ")")
        )

    @property
    def opsets(self) -> list[int]:
        """The opsets in which the operator took a new form."""
        return [v for v in versions(self.op) if self.since <= v <= self.until]

    @property
    def runs(self) -> bool:
        """Whether anything that is installed computes the source."""
        major, minor = onnx.__version__.split(".")[:2]
        return (int(major), int(minor)) >= self.evaluated_since


def case(op: str, *inputs: str | Port | None, **options: Any) -> Case:
    """A case of one node; options that are no field of a case are attributes."""
    ports = tuple(fed(p) if isinstance(p, str) else p for p in inputs)
    own = {k: options.pop(k) for k in list(options) if k in Case.__dataclass_fields__}
    return Case(op, ports, options, **own)


@cache
def _history() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found.setdefault(schema.name, []).append(schema.since_version)
    return found


@cache
def versions(op: str) -> list[int]:
    """The opsets from the oldest to the newest supported at which an operator's form changed."""
    found = sorted(_history().get(op, []))
    first = [OLDEST] if found and found[0] <= OLDEST else []
    return first + [v for v in found if OLDEST < v <= NEWEST]


@dataclass(frozen=True)
class Variant:
    """How the letters of a case get their sizes."""

    name: str
    sizes: Sequence[int]
    dynamic: bool = False
    split: bool = False


VARIANTS = (
    Variant("distinct", PRIMES),
    Variant("equal", (4,) * len(PRIMES)),
    Variant("dynamic", PRIMES, dynamic=True),
    Variant("split", COMPOSITES, split=True),
)


@dataclass
class Model:
    """A case made concrete: the model, and what to feed it."""

    proto: onnx.ModelProto
    feeds: dict[str, Array]
    complete: bool
    """Whether onnx's checker accepts the source: it wants the rank of every output."""


def sizes_of(test: Case, variant: Variant) -> dict[str, int]:
    letters = [c for port in test.inputs if port is not None for c in port.axes if c.isalpha()]
    letters += list(test.sizes)
    letters += [c for m in string.Template.pattern.findall(test.text) for c in m[1] or m[2]]
    free = iter(variant.sizes)
    result: dict[str, int] = {}
    for letter in dict.fromkeys(letters):
        size = next(free)
        result[letter] = test.sizes.get(letter, size)
    return result


def build(test: Case, opset: int, variant: Variant) -> Model:
    """The model of a case."""
    sizes = sizes_of(test, variant)
    graph = _text_graph(test, sizes, variant) if test.text else _node_graph(test, sizes, variant)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    first = {v.name: v.type for v in graph.input}
    for declared, found in zip(model.graph.output, inferred.graph.output, strict=True):
        if found.type.WhichOneof("value") and not declared.type.tensor_type.HasField("shape"):
            declared.type.CopyFrom(found.type)
        if not declared.type.WhichOneof("value"):
            declared.type.tensor_type.elem_type = next(iter(first.values())).tensor_type.elem_type
    return Model(model, _feeds(model, test, sizes), _accepted(model))


def _accepted(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _array(port: Port, sizes: Sizes, rng: np.random.Generator) -> Array:
    dtype = np.dtype(port.dtype)
    if port.values is not None:
        return np.asarray(port.values(sizes), dtype=dtype)
    shape = [int(c) if c.isdigit() else sizes[c] for c in port.axes]
    return _random(rng, shape, dtype, port.low, port.high)


def _node_graph(test: Case, sizes: Sizes, variant: Variant) -> onnx.GraphProto:
    rng = np.random.default_rng(7)
    names = ["" if port is None else f"x{i}" for i, port in enumerate(test.inputs)]
    inputs, initializers = [], []
    for name, port in zip(names, test.inputs, strict=True):
        if port is None:
            continue
        array = _array(port, sizes, rng)
        if port.constant:
            initializers.append(numpy_helper.from_array(array, name))
            continue
        shape: list[int | str] = list(array.shape)
        if variant.dynamic and port.values is None:
            shape = [int(c) if c.isdigit() else sizes[c] if c in test.sizes else c for c in port.axes]
        inputs.append(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)
        )
    outputs = [f"y{i}" for i in range(test.outputs)]
    attributes = {k: v(sizes) if callable(v) else v for k, v in test.attributes.items()}
    node = helper.make_node(test.op, names, outputs, **attributes)
    infos = [onnx.ValueInfoProto(name=name) for name in outputs]
    return helper.make_graph([node], "case", inputs, infos, initializers)


def _text_graph(test: Case, sizes: Sizes, variant: Variant) -> onnx.GraphProto:
    names = {m[1] or m[2] for m in string.Template.pattern.findall(test.text)}
    values = {name: str(math.prod(sizes[c] for c in name)) for name in names}
    graph = onnx.parser.parse_graph(string.Template(test.text).substitute(values))
    rng = np.random.default_rng(7)
    for name, shape in test.weights.items():
        array = rng.uniform(-1, 1, shape).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(array, name))
    if variant.dynamic:
        text = string.Template(test.text).pattern.sub(
            lambda m: m["named"] or m["braced"], test.text.split("=>")[0]
        )
        symbolic = onnx.parser.parse_graph(f"{text} => () {{}}")
        del graph.input[:]
        graph.input.extend(symbolic.input)
    return graph


def _feeds(model: onnx.ModelProto, test: Case, sizes: Sizes) -> dict[str, Array]:
    rng = np.random.default_rng(11)
    result = {}
    ports = {f"x{i}": port for i, port in enumerate(test.inputs) if port is not None}
    for value in model.graph.input:
        if not test.text:
            result[value.name] = _array(ports[value.name], sizes, rng)
            continue
        kind = value.type.tensor_type
        shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if value.name in test.feeds:
            result[value.name] = np.asarray(test.feeds[value.name], dtype)
            continue
        if dtype.kind == "i":
            result[value.name] = rng.integers(0, 3, shape).astype(dtype)
            continue
        result[value.name] = _random(rng, shape, dtype)
    return result


def _random(
    rng: np.random.Generator,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    low: float = -2.0,
    high: float = 2.0,
) -> Array:
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind in "iu":
        least = max(int(low), 0) if dtype.kind == "u" else int(low)
        return rng.integers(least, int(high) + 1, shape).astype(dtype)
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype)
