"""The whole conversion: normalise, infer sizes, choose layouts, rewrite, lower."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import onnx_ir as ir

from . import graph as g
from . import quantized
from .assign import joined
from .assign.choice import Assignment, Target, assign, weight
from .assign.explain import Explainer
from .assign.flow import Flow, analyse
from .errors import UsageError
from .forms.normalize import normalize, tidy
from .lower import lower
from .options import DEFAULTS, Options
from .plausible import warn_if_odd
from .recognize import complete_axes, recognize
from .rewrite import Rewritten, rewrite
from .rules import rule_of
from .rules.spatial import SpatialRule
from .shapes.declarations import warn_of_corrections
from .shapes.infer import infer
from .summary import Barrier, Remaining, Summary

METADATA = "onnx_nhwc.layouts"
Progress = Callable[[str], None]


def convert(model: ir.Model, options: Options = DEFAULTS, progress: Progress | None = None) -> Summary:
    """Convert a model in place.

    Raises :class:`ConversionError` if it cannot be converted, :class:`UsageError` if an option does not
    fit the model.
    """
    clock = _Clock(progress)
    with clock.phase("normalize"):
        before, added = _normalized(model, options)
    target = _target(options)
    with clock.phase("shapes"):
        flow, products, bytes_before = _analysed(model, options, target, before)
    with clock.phase("assign"):
        assignment = assign(flow, target)
    with clock.phase("rewrite"):
        barriers = tuple(_barriers(flow))
        explainer = Explainer(flow)
        rewritten = rewrite(flow, assignment)
        joined.join(model, products)
        quantized.join(model, added)
        if not options.whole:
            quantized.wrap(model, [moved.node for moved in rewritten.transposes])
            quantized.complete(model)
            quantized.absorb(model)
    with clock.phase("lower"):
        lower(model)
        layouts = _record(model, assignment)
    for value in model.graph.inputs:
        if isinstance(pin := options.layouts.get(value.name or ""), str) and value.shape is not None:
            warn_if_odd(f"input '{value.name}'", tuple(value.shape), pin)
    remaining = tuple(_remaining(rewritten, explainer))
    values = {
        name: (value.name or "", perm)
        for name, (value, perm) in rewritten.values.items()
        if value.graph is not None
    }
    return Summary(
        *layouts, rewritten.operators, rewritten.weights, rewritten.weight_bytes,
        len(before), len(remaining), bytes_before, sum(r.bytes or 0 for r in remaining), remaining, barriers,
        assignment.solution.cost, assignment.solution.lower_bound, clock.seconds, values,
    )  # fmt: skip


def keep(model: ir.Model, options: Options = DEFAULTS, progress: Progress | None = None) -> Summary:
    """Do all that :func:`convert` does but for layouts: every value keeps the source's order.

    Operators in pieces are put together, so that who walks over the graph finds them whole.
    """
    clock = _Clock(progress)
    with clock.phase("normalize"):
        before, _ = _normalized(model, options)
    with clock.phase("shapes"):
        flow, products, moved = _analysed(model, replace(options, whole=True), _target(options), before)
        joined.join(model, products)
    inputs, outputs = (
        {v.name or "": tuple(range(len(v.shape))) for v in values if v.shape is not None}
        for values in (model.graph.inputs, model.graph.outputs)
    )
    count = len(before)
    return Summary(
        inputs,
        outputs,
        {},
        0,
        0,
        count,
        count,
        moved,
        moved,
        (),
        tuple(_barriers(flow)),
        0,
        0,
        clock.seconds,
        {},
    )


def _normalized(model: ir.Model, options: Options) -> tuple[set[ir.Node], list[ir.Node]]:
    """Bring a model into the form that the rules know; its Transposes, and what quantised units gained."""
    tidy(model)
    _fix_shapes(model, options.shapes)
    _check_pins(model, options.layouts)
    before = {node for node in model.graph.all_nodes() if node.op_type == "Transpose"}
    normalize(model)
    return before, quantized.separate(model)


def _analysed(
    model: ir.Model, options: Options, target: Target, before: set[ir.Node]
) -> tuple[Flow, list[joined.Product], int]:
    """How axes flow through a model, once operators in pieces are whole; and the bytes transposed before."""
    shapes = infer(model)
    warn_of_corrections(model)
    flow = analyse(model, shapes)
    bytes_before = sum(_bytes(flow, node) for node in before)
    products = joined.separate(flow)
    changed = [products, complete_axes(flow), (target.native or options.whole) and recognize(flow)]
    if any(changed):
        g.remove_dead(model)
        flow = analyse(model, infer(model))
    return flow, products, bytes_before


class _Clock:
    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if self.progress is not None:
            self.progress(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def _target(options: Options) -> Target:
    return Target(
        channels_last=options.to == "channels-last",
        functions=options.dialect == "functions",
        keep_io=options.io == "keep",
        batch_first=options.batch_first,
        pins=options.layouts,
    )


def _fix_shapes(model: ir.Model, shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    """Fix sizes of inputs; what was inferred from other sizes is forgotten."""
    inputs = {value.name: value for value in model.graph.inputs}
    for name, sizes in shapes.items():
        if name not in inputs:
            raise UsageError(f"--shape {name}: the model has no input '{name}', only {_names(inputs)}")
        value = inputs[name]
        old = value.shape
        if old is not None and len(old) != len(sizes):
            raise UsageError(f"--shape {name}: '{name}' has rank {len(old)}, not {len(sizes)}")
        for axis, size in enumerate(sizes):
            stated = old[axis] if old is not None else None
            if isinstance(stated, int) and size is not None and stated != size:
                raise UsageError(f"--shape {name}: axis {axis} has the fixed size {stated}, not {size}")
        value.shape = ir.Shape(
            [
                size if size is not None else old[axis] if old is not None else None
                for axis, size in enumerate(sizes)
            ]
        )
    if shapes:
        for node in model.graph.all_nodes():
            for output in node.outputs:
                if node.domain in g.STANDARD:
                    output.shape = None


def _check_pins(model: ir.Model, pins: Mapping[str, object]) -> None:
    names = [v.name for v in (*model.graph.inputs, *model.graph.outputs)]
    for name in pins:
        if name not in names:
            raise UsageError(
                f"--layout {name}: the model has no input or output '{name}', only {_names(names)}"
            )


def _names(names: object) -> str:
    return ", ".join(f"'{name}'" for name in names)  # type: ignore[attr-defined]


def _record(
    model: ir.Model, assignment: Assignment
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    inputs = {v.name or "": perm for v, perm in assignment.inputs.items()}
    outputs = {v.name or "": perm for v, perm in zip(model.graph.outputs, assignment.outputs, strict=True)}
    model.metadata_props[METADATA] = json.dumps({"inputs": inputs, "outputs": outputs})
    return inputs, outputs


def _bytes(flow: Flow, node: ir.Node) -> int:
    return weight(flow, node.outputs[0])


def _barriers(flow: Flow) -> Iterator[Barrier]:
    for node in flow.nodes:
        row = rule_of(node)
        reason = flow.relation(node).barrier
        foreign = node.domain not in g.STANDARD
        if reason and (row is None or isinstance(row, SpatialRule) or "rank" in reason or foreign):
            yield Barrier(g.describe(node), node.op_type, node.domain, reason)


def _remaining(rewritten: Rewritten, explainer: Explainer) -> Iterator[Remaining]:
    for moved in rewritten.transposes:
        source = moved.node.inputs[0]
        assert source is not None
        forces = [explainer.producer(moved.root), *map(explainer.reader, moved.readers)]
        forces = list(dict.fromkeys(forces))
        stored = source.shape
        yield Remaining(
            g.describe(moved.node),
            moved.root.name or "",
            tuple(moved.node.attributes["perm"].as_ints()),
            tuple(d if isinstance(d, int) else d.value for d in stored) if stored is not None else (),
            moved.bytes,
            tuple(force.name for force in forces),
            "; ".join(map(str, forces)),
        )
