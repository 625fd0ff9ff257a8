"""The law that every row of the rule table keeps, and the machinery that tests it.

    f(x) moved to the layout == rewritten f on x already there

A case is a small model around one operator. It is built with distinct prime sizes, with all sizes equal,
with sizes that are known at run time only, and with sizes that have factors; the operator is put into
every arrangement that its row admits; inputs and outputs are pinned to the arrangement. Source and result
run with graph optimisations disabled, and what the result writes is the source's output, transposed.
"""

from __future__ import annotations

import itertools
import math
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.assign import Assignment
from onnx_nhwc.passes.flow import Flow, analyse
from onnx_nhwc.passes.layout import ONE
from onnx_nhwc.passes.lower import lower
from onnx_nhwc.passes.normalize import normalize
from onnx_nhwc.passes.pipeline import Options, convert
from onnx_nhwc.passes.recognize import complete_axes
from onnx_nhwc.passes.rewrite import rewrite
from onnx_nhwc.passes.rules import RULES
from onnx_nhwc.passes.rules.relation import Arrangement, Part, Relation, arrangement, form
from onnx_nhwc.passes.shapes import infer
from onnx_nhwc.passes.solver import Solution

OLDEST, NEWEST = 7, 26
"""The opsets that onnxruntime 1.31.1 runs and this package promises to convert."""
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)
COMPOSITES = (4, 6, 9, 10, 8, 12, 15, 14)
SAMPLE = 24
"""How many arrangements are tried where a node has more than four axes."""
FEW = 5
"""How many are tried in each older opset; the newest gets all."""

Sizes = Mapping[str, int]
Values = Callable[[Sizes], Any]
Array = np.ndarray[Any, Any]
Perm = tuple[int, ...]


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
            shape = [
                int(c) if c.isdigit() else sizes[c] if c in test.sizes else c for c in port.axes
            ]
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


Run = Callable[[onnx.ModelProto, Mapping[str, Array]], list[Any]]


def onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Any]:
    """Run without graph optimisations: these would be tested as well."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def reference(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Any]:
    """onnx's own evaluator, for what onnxruntime has no kernel for."""
    with np.errstate(all="ignore"):
        return list(ReferenceEvaluator(model).run(None, dict(feeds)))


def oracle(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> tuple[list[Any], Run]:
    """The source's outputs, and the runtime that made them."""
    try:
        return onnxruntime(model, feeds), onnxruntime
    except Exception as error:  # onnxruntime's exceptions share no other base
        try:
            return reference(model, feeds), reference
        except Exception as second:
            raise AssertionError(f"the case itself does not run: {error}; {second}") from second


class Trial:
    """A model on its way through the compiler, with the layouts left to the test."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = ir.from_proto(model)
        normalize(self.model)
        self.shapes = infer(self.model)
        self.flow: Flow = analyse(self.model, self.shapes)
        if complete_axes(self.flow):
            g.remove_dead(self.model)
            self.shapes = infer(self.model)
            self.flow = analyse(self.model, self.shapes)

    def node(self, op: str) -> ir.Node | None:
        """The node under test, if it is left in the flow (and no view of what it reads)."""
        found = [node for node in self.flow.nodes if node.op_type == op]
        return found[0] if found else None

    def finish(
        self,
        orders: Mapping[ir.Node, Arrangement],
        inputs: Mapping[str, Perm],
        outputs: Sequence[Perm | None],
    ) -> onnx.ModelProto:
        """Rewrite; nodes, inputs and outputs that are not mentioned stay in the source's order."""
        relations = self.shapes.relations
        chosen = {n: orders.get(n, relations[n].identity) for n in self.flow.nodes}
        graph = self.model.graph
        ranks = {v: len(self.flow.shape(v) or ()) for v in (*graph.inputs, *graph.outputs)}
        assignment = Assignment(
            chosen,
            {v: inputs.get(v.name or "", tuple(range(ranks[v]))) for v in graph.inputs},
            [
                tuple(range(ranks[v])) if perm is None else perm
                for v, perm in zip(graph.outputs, outputs, strict=True)
            ],
            Solution((), 0, 0, 0, True),
        )
        rewrite(self.flow, assignment)
        lower(self.model)
        return ir.to_proto(self.model)


def check(test: Case, opset: int, variant: Variant) -> int:
    """Try a case in every arrangement; returns how many."""
    model = build(test, opset, variant)
    expected, run = oracle(model.proto, model.feeds)
    if test.view:
        return _check_view(test, opset, variant, model, expected, run)
    if test.whole:
        return _check_whole(test, model, expected, run)
    first = Trial(model.proto)
    node = first.node(test.op)
    assert node is not None, f"{test.op} is no node of its own"
    relation = first.shapes.relations[node]
    count = 0
    for order in _few(test, opset, list(arrangements(first, node, variant))):
        trial = Trial(model.proto)
        _try(test, model, trial, order, expected, run, variant)
        count += 1
    assert test.fixed == bool(relation.barrier), relation.barrier or "expected a barrier"
    return count


def _few(test: Case, opset: int, orders: list[Any]) -> list[Any]:
    """All in the newest opset; in older ones the first and some others."""
    if opset == test.opsets[-1] or len(orders) <= FEW:
        return orders
    return [orders[0], *random.Random(opset).sample(orders[1:], FEW - 1)]


def _check_view(
    test: Case, opset: int, variant: Variant, model: Model, expected: list[Any], run: Run
) -> int:
    """A view of ``x``, read by a Relu: ``x`` and the Relu in every order that can be told in factors."""
    first = Trial(model.proto)
    sized = variant.dynamic and (test.unclear or "$" in test.text.split("=>")[1])
    if not sized:
        assert (first.node(test.op) is not None) == test.fixed, "view or no view?"
    relu = first.node("Relu")
    assert relu is not None
    relation, rank = first.shapes.relations[relu], len(first.flow.shape(first.model.graph.inputs[0]) or ())
    orders = [o for o in arrangements(first, relu, variant) if _tellable(first, relu, o)]
    rng = random.Random(opset)
    empty = 0 in model.feeds["x"].shape
    stored = [tuple(range(rank))] if empty else list(itertools.permutations(range(rank)))
    pairs = [(perm, order) for perm in stored for order in rng.sample(orders, min(2, len(orders)))]
    pairs += [(stored[0], order) for order in orders]
    for perm, order in _few(test, opset, pairs):
        trial = Trial(model.proto)
        node = trial.node("Relu")
        assert node is not None
        dims = trial.flow.shape(node.outputs[0])
        outputs = [form(order, relation, relation.outputs[0], dims).perm if dims is not None else None]
        result = trial.finish({node: order}, {"x": perm}, outputs)
        moved = {**model.feeds, "x": np.ascontiguousarray(np.transpose(model.feeds["x"], perm))}
        if model.complete:
            onnx.checker.check_model(result, full_check=True)
        compare(expected, run(result, moved), outputs, test.tol, f"{test} {variant.name} {perm} {order}")
    return len(pairs)


def _tellable(trial: Trial, node: ir.Node, order: Arrangement) -> bool:
    value = node.inputs[0]
    assert value is not None
    relation, dims = trial.shapes.relations[node], trial.flow.shape(value)
    if dims is None:
        return order == relation.identity
    port = form(order, relation, relation.inputs[0], dims)
    return trial.flow.view(value).to_root(port.stored.order) is not None


def _check_whole(test: Case, model: Model, expected: list[Any], run: Run) -> int:
    """The whole conversion, both dialects and both ways."""
    node = Trial(model.proto).node(test.op)
    if node is not None:
        reason = Trial(model.proto).shapes.relations
        assert any(n.op_type == test.op and r.barrier for n, r in reason.items()), "expected a barrier"
    for to, dialect in itertools.product(
        ("channels-last", "channels-first"), ("functions", "standard")
    ):
        if run is reference and dialect == "functions":
            continue  # onnx's evaluator does not know that a call may leave out an attribute
        source = ir.from_proto(model.proto)
        summary = convert(source, Options(to=to, dialect=dialect))
        result = ir.to_proto(source)
        moved = {k: np.transpose(v, summary.inputs[k]) for k, v in model.feeds.items()}
        if model.complete:
            onnx.checker.check_model(result, full_check=True)
        actual = run(result, {k: np.ascontiguousarray(v) for k, v in moved.items()})
        outputs = [summary.outputs[v.name] or None for v in model.proto.graph.output]
        compare(expected, actual, outputs, test.tol, f"{test} {to} {dialect}")
    return 4


def _try(
    test: Case,
    model: Model,
    trial: Trial,
    order: Arrangement,
    expected: list[Any],
    run: Run,
    variant: Variant,
) -> None:
    where = f"{test} {variant.name} {[tuple(p) if p.size else p.letter for p in order]}"
    node = trial.node(test.op)
    assert node is not None
    relation, flow = trial.shapes.relations[node], trial.flow
    inputs: dict[str, Perm] = {}
    pinned = True
    for value, letters in zip(node.inputs, relation.inputs, strict=True):
        dims = flow.shape(value) if value is not None and value.name else None
        if value is None or dims is None or g.constant(value) is not None:
            continue
        perm = form(order, relation, letters, dims).perm
        if perm is not None and value.is_graph_input():
            inputs[value.name or ""] = perm
        pinned = pinned and perm is not None
    outputs: list[Perm | None] = []
    for value, letters in zip(node.outputs, relation.outputs, strict=True):
        dims = flow.shape(value)
        perm = None if dims is None else form(order, relation, letters, dims).perm
        pinned = pinned and perm is not None
        if value.is_graph_output():
            outputs.append(perm)
    if test.text:
        outputs = [None] * len(trial.model.graph.outputs)
        pinned = False
    result = trial.finish({node: order}, inputs, outputs)
    if pinned:
        left = [n.op_type for n in result.graph.node if n.op_type in ("Transpose", "Reshape")]
        assert not left, f"{where}: everything is where it should be, and yet there is {left}"
    feeds = {
        k: np.ascontiguousarray(np.transpose(v, inputs[k])) if k in inputs else v
        for k, v in model.feeds.items()
    }
    if model.complete:
        onnx.checker.check_model(result, full_check=True)
    actual = run(result, feeds)
    compare(expected, actual, outputs, test.tol, where)


def compare(
    expected: Sequence[Any],
    actual: Sequence[Any],
    perms: Sequence[Perm | None],
    tol: float,
    where: str,
) -> None:
    """What the result wrote is what the source wrote, transposed."""
    for index, (source, result, perm) in enumerate(zip(expected, actual, perms, strict=True)):
        if isinstance(source, list):
            compare(source, result, [perm] * len(source), tol, where)
            continue
        if source is None:
            assert result is None, where
            continue
        moved = np.asarray(source) if perm is None else np.transpose(source, perm)
        result = np.asarray(result)
        assert moved.shape == result.shape, f"{where} #{index}: {moved.shape} became {result.shape}"
        assert moved.dtype == result.dtype, f"{where} #{index}: {moved.dtype} became {result.dtype}"
        if moved.dtype.kind != "f":
            assert np.array_equal(moved, result), f"{where} #{index}: values differ"
            continue
        scale = float(np.nanmax(np.abs(moved), initial=0.0, where=np.isfinite(moved)))
        same = np.array_equal(moved, result, equal_nan=True)
        close = same or (
            tol and np.allclose(moved, result, rtol=0, atol=tol * max(scale, 1e-30), equal_nan=True)
        )
        assert close, f"{where} #{index}: values differ"


def arrangements(trial: Trial, node: ir.Node, variant: Variant) -> Iterator[Arrangement]:
    """Every arrangement that a row admits, or a seeded sample; in pieces if sizes have factors."""
    relation = trial.shapes.relations[node]
    letters = relation.letters
    if relation.native is not None:
        for last, image in itertools.product((False, True), itertools.permutations(relation.image)):
            yield relation.exchanged(last, image)
        return
    if relation.barrier:
        yield relation.identity
        return
    if variant.split:
        yield from _split(trial, node, relation)
        return
    if len(letters) <= 4:
        candidates = list(itertools.permutations(letters))
    else:
        candidates = _sample(letters, relation)
    for letters_in_order in candidates:
        order = arrangement(letters_in_order)
        if relation.admits(order):
            yield order


def _sample(letters: Sequence[int], relation: Relation) -> list[Perm]:
    """A seeded sample, the source's order first."""
    rng = random.Random(3)
    found = [tuple(letters)]
    for _ in range(3000):
        shuffled = tuple(rng.sample(letters, len(letters)))
        if shuffled not in found and relation.admits(arrangement(shuffled)):
            found.append(shuffled)
        if len(found) == SAMPLE:
            break
    return found


def _split(trial: Trial, node: ir.Node, relation: Relation) -> Iterator[Arrangement]:
    """Arrangements that store some letters in two pieces each."""
    sizes: dict[int, set[int]] = {}
    ports = [*zip(node.inputs, relation.inputs, strict=True)]
    ports += [*zip(node.outputs, relation.outputs, strict=True)]
    for value, letters in ports:
        dims = trial.flow.shape(value) if value is not None else None
        for letter, dim in zip(letters, dims, strict=True) if letters and dims else ():
            if dim != ONE:
                sizes.setdefault(letter, set()).add(dim.number)
    whole = relation.whole | relation.resized
    free = [a for a in relation.letters if a not in whole and len(sizes.get(a, ())) == 1]
    pieces = {}
    for letter in free:
        size = next(iter(sizes[letter]))
        outer = next((p for p in (2, 3, 5) if size % p == 0 and size > p), None)
        if outer is not None:
            inner = size // outer
            dim = type(ONE)
            pieces[letter] = (Part(letter, dim(outer), dim(inner)), Part(letter, dim(inner), ONE))
    rng = random.Random(5)
    seen = set()
    for trial_number in range(400 if pieces else 0):
        chosen = rng.sample(sorted(pieces), rng.randint(1, min(2, len(pieces))))
        parts = [q for a in relation.letters for q in (pieces[a] if a in chosen else (Part(a),))]
        if trial_number % 2:
            rng.shuffle(parts)
        else:
            parts = sorted(parts, key=lambda p: (p.letter, p.stride.number))
        order = tuple(parts)
        if order not in seen and relation.admits(order) and not _is_whole(order):
            seen.add(order)
            yield order
        if len(seen) == 12:
            break


def _is_whole(order: Arrangement) -> bool:
    """Whether the pieces of some letter lie side by side in order: this is the letter itself."""
    return any(
        a.letter == b.letter and a.size and b.size and a.stride == b.size * b.stride
        for a, b in itertools.pairwise(order)
    )


__all__ = ["RULES", "Case", "Port", "Trial", "Variant", "case", "check", "fed", "given", "weight"]
