"""The law that every row of the rule table keeps, and the machinery that tests it.

    f(x) moved to the layout == rewritten f on x already there

The operator of a case (``tests/support/case.py``) is put into every arrangement that its row admits; inputs
and outputs are pinned to the arrangement. Source and result run with graph optimisations disabled, and what
the result writes is the source's output, transposed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.algebra.layout import ONE
from onnx_nhwc.passes.assign.choice import Assignment
from onnx_nhwc.passes.assign.flow import Flow, analyse
from onnx_nhwc.passes.forms.normalize import normalize
from onnx_nhwc.passes.lower import lower
from onnx_nhwc.passes.options import Options
from onnx_nhwc.passes.pipeline import convert
from onnx_nhwc.passes.recognize import complete_axes
from onnx_nhwc.passes.rewrite import rewrite
from onnx_nhwc.passes.rules.relation import Arrangement, Part, Relation, arrangement, form
from onnx_nhwc.passes.shapes.infer import infer
from onnx_nhwc.passes.solver.optimum import Solution
from tests.support.case import Array, Case, Model, Variant, build

Perm = tuple[int, ...]
SAMPLE = 24
"""How many arrangements are tried where a node has more than four axes."""
FEW = 3
"""How many are tried in each older opset."""

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
    for order in _few(test, opset, variant, list(arrangements(first, node, variant))):
        trial = Trial(model.proto)
        _try(test, model, trial, order, expected, run, variant)
        count += 1
    assert test.fixed == bool(relation.barrier), relation.barrier or "expected a barrier"
    return count


def _few(test: Case, opset: int, variant: Variant, orders: list[Any]) -> list[Any]:
    """All in the newest opset; the first and some others in older ones, and where sizes are hidden."""
    count = len(orders) if opset == test.opsets[-1] else FEW
    count = min(count, 2 * FEW) if variant.dynamic else count
    if len(orders) <= count:
        return orders
    return [orders[0], *random.Random(opset).sample(orders[1:], count - 1)]


def _check_view(test: Case, opset: int, variant: Variant, model: Model, expected: list[Any], run: Run) -> int:
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
    pairs = _few(test, opset, variant, pairs + [(stored[0], order) for order in orders])
    for perm, order in pairs:
        trial = Trial(model.proto)
        node = trial.node("Relu")
        assert node is not None
        dims = trial.flow.shape(node.outputs[0])
        outputs = [form(order, relation, relation.outputs[0], dims).perm if dims is not None else None]
        result = trial.finish({node: order}, {"x": perm}, outputs)
        moved = {**model.feeds, "x": np.array(np.transpose(model.feeds["x"], perm), order="C")}
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
    for to, dialect in itertools.product(("channels-last", "channels-first"), ("functions", "standard")):
        if run is reference and dialect == "functions":
            continue  # onnx's evaluator does not know that a call may leave out an attribute
        source = ir.from_proto(model.proto)
        summary = convert(source, Options(to=to, dialect=dialect))
        result = ir.to_proto(source)
        moved = {k: np.transpose(v, summary.inputs[k]) for k, v in model.feeds.items()}
        if model.complete:
            onnx.checker.check_model(result, full_check=True)
        actual = run(result, {k: np.array(v, order="C") for k, v in moved.items()})
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
        k: np.array(np.transpose(v, inputs[k]), order="C") if k in inputs else v
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
        tol = max(tol, 4e-3) if tol and moved.dtype == np.float16 else tol
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
    few = len(letters) <= 4
    for letters_in_order in itertools.permutations(letters) if few else _sample(letters, relation):
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
