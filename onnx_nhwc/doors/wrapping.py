"""``wrap``: a finished model that takes and returns the other layout, and is otherwise untouched."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from onnx_nhwc.doors.names import Layout, inverse, permutation, rank
from onnx_nhwc.passes.errors import ConversionError, UsageError
from onnx_nhwc.passes.plausible import warn_if_odd

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["wrap"]

METADATA = "onnx_nhwc.layouts"


def wrap(model: Any, source: Layout, target: Layout, *, names: Collection[str] | None = None) -> Any:
    """Return a model that takes and returns ``target`` where ``model`` takes and returns ``source``.

    One Transpose (Keras: Permute) is put at each input and output; nothing else changes, no weight
    moves, names stay. To convert the model itself instead, see :func:`onnx_nhwc.to_channels_last`.

    Args:
        model: An ``onnx.ModelProto``, an ``onnx_ir.Model``, the path of an ``.onnx`` file, or a
            ``keras.Model`` with known inputs. It is left as it is.
        source: The layout that the model has, as in :func:`onnx_nhwc.to_layout`.
        target: The layout that the result is to have.
        names: The inputs and outputs meant. By default all that have as many axes as ``source``.

    Returns:
        An ``onnx.ModelProto``, whose ``metadata_props["onnx_nhwc.layouts"]`` states the layout of
        each input and output, or a ``keras.Model`` that shares its weights with ``model``.

    Raises:
        UsageError: The layouts or the names do not fit the model.
        ConversionError: The model cannot be wrapped.

    Warns:
        LayoutWarning: The declared shape of an input speaks against ``source``.
    """
    perm = permutation(source, target)
    if any(base.__module__.partition(".")[0] == "keras" for base in type(model).__mro__):
        from onnx_nhwc.doors.wrapping_keras import wrap_keras

        return wrap_keras(model, source, perm, names)
    import onnx
    import onnx_ir as ir

    from onnx_nhwc import files
    from onnx_nhwc.files.weights import to_proto

    if isinstance(model, onnx.ModelProto):
        work = files.from_proto(model)
    elif isinstance(model, ir.Model):
        work = files.from_proto(to_proto(model))
    else:
        work = files.read(model)
    _wrap_onnx(work, source, perm, names)
    return to_proto(work)


def _wrap_onnx(model: ir.Model, source: Layout, perm: tuple[int, ...], names: Collection[str] | None) -> None:
    graph = model.graph
    weights = set(graph.initializers)
    inputs = [value for value in graph.inputs if value.name not in weights]
    chosen = _chosen([*inputs, *graph.outputs], rank(source), names)
    for value in inputs:
        if value.name in chosen and value.shape is not None:
            shape = [dim if isinstance(dim, int) else None for dim in value.shape]
            warn_if_odd(f"input '{value.name}'", shape, source)
    layouts = _layouts(model)
    for group, values in (("inputs", inputs), ("outputs", list(graph.outputs))):
        for value in values:
            if value.name in chosen:
                before = layouts[group][value.name] or list(range(len(perm)))
                layouts[group][value.name] = [before[axis] for axis in perm]
    if perm != tuple(range(len(perm))):
        _move(graph, chosen, perm)
    model.metadata_props[METADATA] = json.dumps(layouts)


def _chosen(values: list[ir.Value], axes: int, names: Collection[str] | None) -> set[str]:
    known = {str(value.name): value for value in values}
    if names is None:
        found = {n for n, v in known.items() if v.shape is not None and len(v.shape) == axes}
        if not found:
            raise UsageError(f"no input or output is known to have {axes} axes", "Name them: names=.")
        return found
    for name in names:
        if name not in known:
            listed = ", ".join(f"'{other}'" for other in known)
            raise UsageError(f"the model has no input or output '{name}', only {listed}")
        shape = known[name].shape
        if shape is not None and len(shape) != axes:
            raise UsageError(f"'{name}' has {len(shape)} axes, the layout stated has {axes}")
    return set(names)


def _layouts(model: ir.Model) -> dict[str, dict[str, list[int]]]:
    """What the metadata say so far; where they say nothing, the identity (empty: unknown rank)."""
    said = json.loads(model.metadata_props.get(METADATA, "{}"))

    def of(group: str, values: Collection[ir.Value]) -> dict[str, list[int]]:
        old = said.get(group, {})
        return {
            str(v.name): old.get(v.name) or list(range(len(v.shape) if v.shape is not None else 0))
            for v in values
        }

    weights = set(model.graph.initializers)
    inputs = [value for value in model.graph.inputs if value.name not in weights]
    return {"inputs": of("inputs", inputs), "outputs": of("outputs", list(model.graph.outputs))}


def _move(graph: ir.Graph, chosen: set[str], perm: tuple[int, ...]) -> None:
    """Put a Transpose behind each chosen input and before each chosen output."""
    import onnx_ir as ir

    taken = {value.name for value in graph.inputs} | set(graph.initializers)
    taken |= {output.name for node in graph.all_nodes() for output in node.outputs}
    both = {id(value) for value in graph.inputs} & {id(value) for value in graph.outputs}

    def inner(name: str) -> str:
        fresh = f"{name}_model"
        while fresh in taken:
            fresh += "_"
        taken.add(fresh)
        return fresh

    def permuted(shape: ir.Shape | None) -> ir.Shape | None:
        return None if shape is None else ir.Shape([shape[axis] for axis in perm])

    def transpose(value: ir.Value, order: tuple[int, ...], name: str) -> ir.Node:
        node = ir.node("Transpose", [value], {"perm": list(order)}, name=f"{name}_transpose")
        node.outputs[0].type = value.type
        return node

    for value in graph.inputs:
        if value.name not in chosen:
            continue
        name, shape = str(value.name), value.shape
        value.shape = permuted(shape)
        uses = tuple(value.uses())
        if not uses:
            continue  # at most it is an output itself, which has the same layout then
        node = transpose(value, inverse(perm), name)
        node.outputs[0].name, node.outputs[0].shape = inner(name), shape
        for use in uses:
            use.node.replace_input_with(use.idx, node.outputs[0])
        graph.insert_before(graph[0], node)
    for i, value in enumerate(graph.outputs):
        if value.name not in chosen or id(value) in both:
            continue
        name = str(value.name)
        if value.producer() is None:
            raise ConversionError(f"the output '{name}' is a constant", "Leave it out: names=.")
        value.name = inner(name)
        node = transpose(value, perm, name)
        node.outputs[0].name, node.outputs[0].shape = name, permuted(value.shape)
        graph.append(node)
        graph.outputs[i] = node.outputs[0]
