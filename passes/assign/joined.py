"""A product whose rows are joined from branches is a sum of products while layouts are chosen.

An axis that a Concat joins from flattened branches has no order of its own: each branch may be stored in
another. So each branch is multiplied by its own rows of the weights, and they become one product again
once every row stands where its branch has it:

    before:  Gemm(Concat(Flatten(a), Flatten(b)), W, c)
    between: Add(Gemm(Flatten(a), W[:k], c), Gemm(Flatten(b), W[k:]))
    after:   Gemm(Concat(a', b'), [W[:k]', W[k:]'], c)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import onnx_ir as ir

from .. import graph as g
from .flow import Flow

PRODUCTS = ("Gemm", "MatMul")


@dataclass(frozen=True)
class Product:
    """A product in parts."""

    name: str
    weight: ir.Value
    """All rows, in the source's order."""
    slices: tuple[ir.Value, ...]
    parts: tuple[ir.Node, ...]
    sums: tuple[ir.Node, ...]
    """What adds the second part to the first, the third to that, and so on."""


def separate(flow: Flow) -> list[Product]:
    """Write products of joined branches as sums; return them."""
    edits = g.Edits(flow.model)
    nodes = [node for node in flow.nodes if isinstance(node, ir.Node)]
    return [product for node in nodes if (product := _separate(flow, node, edits)) is not None]


def _separate(flow: Flow, node: ir.Node, edits: g.Edits) -> Product | None:
    branches = _branches(flow, node)
    weight = g.input_at(node, 1)
    tensor = g.constant(weight)
    if not branches or weight is None or tensor is None or len(tensor.shape) != 2:
        return None
    axis = 1 if g.attribute(node, "transB", 0) else 0
    sizes = [size for _, size in branches]
    rows = tensor.numpy()
    if sum(sizes) != rows.shape[axis]:
        return None
    slices: list[ir.Value] = []
    parts: list[ir.Node] = []
    for (branch, _), (start, end) in zip(branches, pairwise([0, *accumulate(sizes)]), strict=True):
        own = ir.tensor(rows[start:end] if axis == 0 else rows[:, start:end])
        slices.append(edits.initializer(own, weight.name or "weight", weight))
        inputs = [branch, slices[-1], *(node.inputs[2:] if not parts else [])]
        parts.append(_node(edits, node, node.op_type, inputs))
        parts[-1].attributes.update(node.attributes)
    output = node.outputs[0]
    total, sums = parts[0].outputs[0], []
    for part in parts[1:]:
        sums.append(_node(edits, node, "Add", [total, part.outputs[0]]))
        total = sums[-1].outputs[0]
    _replace(edits, output, total)
    name = node.name or node.op_type
    if (graph := node.graph) is not None:
        graph.remove(node, safe=True)
    return Product(name, weight, tuple(slices), tuple(parts), tuple(sums))


def _branches(flow: Flow, node: ir.Node) -> list[tuple[ir.Value, int]]:
    """What a product's operand is joined from, with the sizes: nothing, if no branch has an order."""
    data = node.inputs[0] if node.op_type in PRODUCTS and node.domain in g.STANDARD else None
    made = data.producer() if data is not None else None
    dims = flow.shape(data) if data is not None else None
    if data is None or made is None or made.op_type != "Concat" or made.domain not in g.STANDARD:
        return []
    if (
        dims is None
        or len(dims) != 2
        or g.attribute(made, "axis", 0) % 2 != 1
        or g.attribute(node, "transA", 0)
    ):
        return []
    if len(data.uses()) != 1 or data.is_graph_output() or made.graph is not node.graph:
        return []
    found: list[tuple[ir.Value, int]] = []
    for branch in made.inputs:
        shape = flow.shape(branch) if branch is not None else None
        if branch is None or shape is None or not shape[1].static:
            return []
        found.append((branch, shape[1].number))
    return found if len(found) > 1 and any(flow.view(branch).steps for branch, _ in found) else []


def join(model: ir.Model, products: list[Product]) -> None:
    """Make of each sum one product again, where its parts still are what they were made as."""
    edits = g.Edits(model)
    for product in products:
        if _is_whole(product):
            _join(product, edits)
    g.remove_dead(model)


def _is_whole(product: Product) -> bool:
    first, *others = product.parts
    values = [first.outputs[0], *(node.outputs[0] for node in product.sums)]
    return (
        all(part.op_type == first.op_type and part.graph is first.graph for part in product.parts)
        and all(part.attributes == first.attributes for part in others)
        and all(g.constant(part.inputs[1]) is not None for part in product.parts)
        and all(len(part.outputs[0].uses()) == 1 for part in product.parts)
        and all(
            node.op_type == "Add" and set(node.inputs) == {total, part.outputs[0]}
            for node, total, part in zip(product.sums, values[:-1], others, strict=True)
        )
    )


def _join(product: Product, edits: g.Edits) -> None:
    first, last = product.parts[0], product.sums[-1]
    weights = [part.inputs[1] for part in product.parts]
    axis = 1 if g.attribute(first, "transB", 0) else 0
    if weights == list(product.slices):
        weight = product.weight
        edits.model.graph.register_initializer(weight)
    else:
        rows = [tensor.numpy() for value in weights if (tensor := g.constant(value)) is not None]
        name = product.weight.name or "weight"
        weight = edits.initializer(ir.tensor(np.concatenate(rows, axis)), name, product.weight)
    data = edits.node(
        "Concat", [part.inputs[0] for part in product.parts], {"axis": 1},
        name=f"{product.name}_Concat", insert=last.prepend, dtype=weight.dtype,
    )  # fmt: skip
    total = edits.node(
        first.op_type, [data, weight, *first.inputs[2:]],
        name=product.name, insert=last.prepend, dtype=last.outputs[0].dtype,
    )  # fmt: skip
    made = total.producer()
    assert made is not None
    made.attributes.update(first.attributes)
    _replace(edits, last.outputs[0], total)


def _node(edits: g.Edits, near: ir.Node, op_type: str, inputs: list[ir.Value | None]) -> ir.Node:
    """A new node before another, with an output like its."""
    output = near.outputs[0]
    new = edits.node(op_type, inputs, name=f"{near.name}_part", insert=near.prepend, dtype=output.dtype)
    new.shape = output.shape
    node = new.producer()
    assert node is not None
    return node


def _replace(edits: g.Edits, old: ir.Value, new: ir.Value) -> None:
    """Let a value have another's place and name."""
    new.shape, new.type = old.shape, old.type
    if old.is_graph_output():
        edits.take_place(new, old)
        old.replace_all_uses_with(new)
    else:
        old.replace_all_uses_with(new)
        new.name, old.name = old.name, edits.name(f"{old.name}_parts")
