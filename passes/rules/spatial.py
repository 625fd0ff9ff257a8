"""Operators that the ONNX standard defines as channels first: convolutions, pools, and their kin.

They run in the source's order, or in the native channels-last order as a function of the domain
``onnx_nhwc``: ``Conv2D`` is ``Conv`` on N,H,W,C data with a kernel stored H,W,I,O. A row is an equation
that names the axes of every port, and what the function computes follows from it (pass ``lower``):

    n, m       batch, regions          s, s'      the image's axes (1, 2 or 3); of another size
    c, d, e, f channels                k          the kernel's axes
    a, b       the kernel's first two  -          a port whose axes stay
    *, **      a vector with an entry (two halves of entries) per axis of the image
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .. import graph as g
from .relation import Arrangement, Letters, Move, Relation, Rule, Site, barrier
from .shaping import permute_entries
from .sizes import Sizes

DOMAIN = "onnx_nhwc"
SOURCE_ORDER = "nmcdefab"
NATIVE_ORDER = ("nm", "s", "k", "bacdef")
RANKS = (3, 4, 5)


@dataclass(frozen=True)
class Equation:
    """The axes of a spatial operator's ports, for every number of spatial axes.

    >>> conv = Equation("n c s, a b k, - -> n d s'")
    >>> conv.relation(4).inputs[0], conv.relation(4).native
    ((0, 2, 8, 9), (0, 8, 9, 16, 17, 7, 6, 2, 3))
    """

    text: str

    @property
    def inputs(self) -> list[str]:
        return [port.strip() for port in self.text.split("->")[0].split(",")]

    @property
    def outputs(self) -> list[str]:
        return [port.strip() for port in self.text.split("->")[1].split(",")]

    def relation(self, rank: int) -> Relation:
        """For an image of this rank; without regard to which inputs a node leaves out."""
        inputs = tuple(_letters(port, rank - 2) for port in self.inputs)
        outputs = tuple(_letters(port, rank - 2) for port in self.outputs)
        used = {letter for port in (*inputs, *outputs) if port for letter in port}
        native = [x for name in NATIVE_ORDER for c in name for x in _letter(c, rank - 2) if x in used]
        resized = frozenset(_letter("s", rank - 2) if "s'" in self.text else ())
        image, kernel = (tuple(x for x in _letter(c, rank - 2) if x in used) for c in "sk")
        relation = Relation(inputs, outputs, frozenset(used), resized, native=tuple(native))
        return replace(relation, image=image, kernel=kernel)


def _letter(name: str, spatial: int) -> Letters:
    if name == "s":
        return tuple(range(8, 8 + spatial))
    if name == "k":
        return tuple(range(16, 16 + spatial))
    return (SOURCE_ORDER.index(name),)


def _letters(port: str, spatial: int) -> Letters | None:
    if not port[0].isalpha():
        return None
    return tuple(letter for name in port.split() for letter in _letter(name[0], spatial))


@dataclass(frozen=True)
class SpatialRule(Rule):
    """A row for a spatial operator."""

    equation: Equation = Equation("n c s -> n c s")
    older: tuple[int, Equation] | None = None
    """An opset, and the equation before it."""

    def at(self, opset: int) -> Equation:
        """The equation in an opset."""
        return self.older[1] if self.older is not None and opset < self.older[0] else self.equation

    def usual_inputs(self, op_type: str) -> str:
        """All inputs but those rarely given."""
        every = "".join(str(i) for i in range(len(self.equation.inputs)))
        return {"Resize": "02", "ConvInteger": "01"}.get(op_type, every)


def spatial(
    text: str,
    rewrite: Callable[[Move], None] | None = None,
    *,
    alike: bool = True,
    unless: Callable[[Site], str] = lambda site: "",
    sizes: Sizes | None = None,
    flat: Callable[[Site], Relation] | None = None,
    older: tuple[int, str] | None = None,
) -> SpatialRule:
    """A row.

    ``alike``: the image's axes may change places, if the lists of numbers per axis do so too.
    ``flat`` relates the ports of a node without image axes.
    ``older`` is an opset, and the equation before it.
    ``unless`` gives a reason for which a node has to stay in the source's order, or ``""``.
    """
    before = None if older is None else (older[0], Equation(older[1]))

    def relate(site: Site) -> Relation:
        equation = row.at(site.opset)
        reason = "" if site.rank in RANKS else f"rank {site.rank} is not an image's"
        if flat is not None and site.rank == 2:
            return flat(site)
        reason = reason or unless(site)
        if reason and site.rank in RANKS:
            relation = _given(equation.relation(site.rank), site)
            return replace(relation, resized=relation.whole, native=None, allows=never, barrier=reason)
        if reason:
            return barrier(site.node, reason)
        relation = _given(equation.relation(site.rank), site)
        return replace(relation, image=relation.image if alike and len(site.node.outputs) == 1 else ())

    row = SpatialRule(relate, rewrite or to_function, None, sizes, Equation(text), before)
    return row


def never(order: Arrangement) -> bool:
    """The condition of a node that stays in the source's order."""
    return False


def _given(relation: Relation, site: Site) -> Relation:
    """The ports that a node has; inputs that it leaves out have no axes."""
    count = len(site.node.inputs)
    inputs = (*relation.inputs, *[None] * count)[:count]
    return replace(
        relation,
        inputs=tuple(port if site.has(i) else None for i, port in enumerate(inputs)),
        outputs=(*relation.outputs, *[None] * 9)[: len(site.node.outputs)],
    )


def to_function(move: Move) -> None:
    """Channels last, the operator becomes a function; vectors with an entry per axis follow."""
    exchange_axes(move)
    if is_cubic(move.site) and not move.native:
        shield(move)
    for index, port in enumerate(_row(move).inputs):
        if port in ("*", "**") and move.site.has(index):
            permute_entries(move, index, move.x, halves=len(port))
    if move.native:
        call_function(move, f"{len(move.x.dims) - 2}D")


def is_cubic(site: Site) -> bool:
    """Whether a Resize is cubic: onnxruntime runs that over the last two axes only.

    Its optimiser does not know, pushes a Transpose in front of it behind it, and then refuses the model. It
    pushes none through a Flatten, so the image is made flat between and takes its shape again. (A Reshape
    does not serve: where the sizes are known, onnxruntime removes one that changes nothing.)
    """
    return bool(site.node.op_type == "Resize" and site.attribute("mode") in ("cubic", b"cubic"))


def shield(move: Move) -> None:
    """Put what changes nothing between a Transpose and the node that must not lose it.

    before:  Transpose - Resize
    after:   Transpose - Flatten - Reshape(Shape of the Transpose) - Resize
    """
    image = move.node.inputs[0]
    before = None if image is None else image.producer()
    if before is not None and before.op_type == "Transpose":
        flat, shape = move.emit("Flatten", [image]), move.emit("Shape", [image])
        g.set_input(move.node, 0, move.emit("Reshape", [flat, shape]))


def call_function(move: Move, form: str) -> None:
    """Let the node call the function of its operator that has this form."""
    move.node.op_type = function_name(move, form)
    move.node.domain = DOMAIN
    given = [value for index, value in enumerate(move.node.inputs) if move.site.has(index)]
    move.node.resize_inputs(len(given))
    for index, value in enumerate(given):
        move.node.replace_input_with(index, value)


PER_IMAGE_AXIS = ("kernel_shape", "strides", "dilations", "output_padding", "output_shape")


def exchange_axes(move: Move) -> None:
    """Attributes with a number per image axis follow the axes."""
    image = move.relation.image
    picks = [image.index(letter) for letter in move.relation.image_order(move.order)]
    if picks == sorted(picks):
        return
    for name in PER_IMAGE_AXIS:
        numbers = move.site.attribute(name)
        if numbers is not None:
            g.set_attribute(move.node, name, [numbers[i] for i in picks])
    pads = move.site.attribute("pads")
    if pads is not None:
        g.set_attribute(move.node, "pads", [pads[half + i] for half in (0, len(image)) for i in picks])


def _row(move: Move) -> Equation:
    assert isinstance(move.rule, SpatialRule)
    return move.rule.at(move.site.opset)


def function_name(move: Move, form: str) -> str:
    """``Conv2D``; a node with other inputs or outputs than usual calls a function of its own."""
    given = "".join(str(i) for i in range(len(move.node.inputs)) if move.site.has(i))
    variant = "" if given == move.rule.usual_inputs(move.node.op_type) else f"_{given}"
    outputs = "" if len(move.node.outputs) == 1 else f"to{len(move.node.outputs)}"
    groups = move.site.attribute("num_groups") if move.site.opset < 21 else None
    by = f"_by{groups}" if groups else ""  # before 21 the body spells the number of groups out
    cubic = "_cubic" if is_cubic(move.site) else ""  # whose body shields it
    return f"{move.node.op_type}{form}{variant}{outputs}{by}{cubic}"


def with_bias(move: Move) -> None:
    """A convolution states its bias: onnxruntime only recognises one that does for its kernels of floats.

    Not so those of integers: next to a quantised kernel, a bias of floats would hide it from them.
    """
    node, kernel = move.node, move.inputs[1]
    assert kernel is not None
    maker = node.inputs[1].producer() if node.inputs[1] is not None else None
    quantized = maker is not None and maker.op_type == "DequantizeLinear"
    if move.native and not move.site.has(2) and not quantized:
        group = move.site.attribute("group", 1)
        first = node.op_type == "Conv"
        channels = kernel.dims[0].number if first else kernel.dims[1].number * group
        dtype = node.inputs[1].dtype if node.inputs[1] is not None else None
        if kernel.dims[0 if first else 1].static and dtype is not None:
            zeros = np.zeros(channels, dtype=dtype.numpy())
            g.set_input(node, 2, move.edits.constant(zeros, f"zeros_{channels}", zeros.dtype))
    to_function(move)


def features(site: Site) -> Relation:
    """BatchNormalization of N,C data: its parameters follow the features, in whatever order these are."""
    reason = trains(site)
    if reason:
        return barrier(site.node, reason)
    return Relation(
        site.ports((0, 1), *[(1,)] * 4),
        ((0, 1),),
        whole=frozenset({0}),
        allows=lambda order: order[0].letter == 0,
    )


def trains(site: Site) -> str:
    training = site.attribute("training_mode", 0) or (site.opset < 7 and not site.attribute("is_test", 0))
    if len(site.shape(1)) != 1:  # until opset 9, spatial=0
        return "its statistics are of every position"
    return "it is in training mode" if training or len(site.node.outputs) > 1 else ""


def resizes_other_axes(site: Site) -> str:
    """Resize speaks of an image only if it leaves batch and channels as they are."""
    if site.attribute("axes") is not None:
        return "it names some of its axes only"
    if site.opset >= 11 and site.has(2) and site.has(3):
        return "whether its scales or its sizes count is told at run time"
    index = 1 if site.opset < 11 else 2
    scales = g.constant(g.input_at(site.node, index))
    factors = site.attribute("scales")
    if scales is not None and scales.size:
        factors = [float(v) for v in scales.numpy().reshape(-1)]
    if factors is not None:
        return "" if list(factors[:2]) == [1.0, 1.0] else "it resizes the batch or the channel axis"
    sizes = site.values(g.input_at(site.node, 3))
    if sizes is not None and len(sizes) == site.rank and sizes[:2] != site.shape(0)[:2]:
        return "it resizes the batch or the channel axis"
    return ""


def scales_per_group(site: Site) -> str:
    """GroupNormalization runs channels last with a scale per channel, as it has it since opset 21."""
    scale, channels = site.shape(1), site.shape(0)[1]
    if site.opset >= 21 or scale[0] == channels:
        return ""
    return "its scale is computed, and has an entry per group"


def indices_in_columns(site: Site) -> str:
    return "its indices count elements in column-major order" if site.attribute("storage_order", 0) else ""
