"""Writes the functions of domain ``onnx_nhwc`` that a channels-last graph calls.

A function is the standard operator between the Transposes that define its meaning:

    Conv2D(x, w, b):   x - Transpose[0,3,1,2] - Conv - Transpose[0,2,3,1]
                       w - Transpose[3,2,0,1] -'

The permutations follow from the operator's row in the rule table. onnxruntime inlines functions when it
loads a model and cancels the Transposes of one body against those of the next.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from . import graph as g
from .algebra.layout import invert
from .quantized import DEQUANTIZE, KERNEL, QUANTIZE, kernel_axis
from .rules import RULES, usual_inputs
from .rules.recurrent import RecurrentRule
from .rules.relation import Letters, Relation
from .rules.spatial import DOMAIN, SpatialRule

VERSION = 1
MIN_IR_VERSION = 8  # the first with model-local functions
MAX_RECURRENT_INPUTS = 8
NAME = re.compile(
    r"(?P<op>[A-Za-z]+?)((?P<spatial>[123])D|BatchFirst)(_(?P<given>\d+))?(to(?P<outputs>\d))?(_by(?P<groups>\d+))?(?P<cubic>_cubic)?(_q(?P<quantized>\d+))?"
)


ATTRIBUTE_TYPES = {
    getattr(onnx.defs.OpSchema.AttrType, kind.name): kind
    for kind in ir.AttributeType
    if hasattr(onnx.defs.OpSchema.AttrType, kind.name)
}


def lower(model: ir.Model) -> None:
    """Add a definition for every function of the domain that the model calls."""
    called = {node.op_type: node for node in model.graph.all_nodes() if node.domain == DOMAIN}
    if not called:
        return
    for node in called.values():
        if (DOMAIN, node.op_type, "") not in model.functions:
            function = define(node.op_type, model.opset_imports)
            model.functions[function.identifier()] = function
    model.opset_imports[DOMAIN] = VERSION
    model.graph.opset_imports[DOMAIN] = VERSION
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)


def define(name: str, opsets: dict[str, int]) -> ir.Function:
    """The function that a name such as ``Conv2D`` stands for, at the given opset.

    Raises ValueError if no operator has a function of this name.
    """
    match = NAME.fullmatch(name)
    row = RULES.get(match["op"]) if match is not None else None
    opset = next(opsets[domain] for domain in g.STANDARD if domain in opsets)
    vectors: dict[int, int] = {}
    if match is not None and isinstance(row, SpatialRule) and match["spatial"]:
        equation = row.at(opset)
        relation = equation.relation(int(match["spatial"]) + 2)
        vectors = {i: len(port) for i, port in enumerate(equation.inputs) if port.startswith("*")}
    elif match is not None and isinstance(row, RecurrentRule) and not match["spatial"]:
        relation = row.relation(MAX_RECURRENT_INPUTS, int(match["outputs"] or 1))
    else:
        raise ValueError(f"'{name}' is not a function of domain {DOMAIN}")
    given = [int(i) for i in match["given"] or usual_inputs(match["op"])]
    body = _Body(
        match["op"],
        relation,
        vectors,
        opset,
        shielded=bool(match["cubic"]),
        quantized=[int(i) for i in match["quantized"] or ""],
    )
    if match["groups"]:
        return body.group_normalization(name, int(match["groups"]))
    return body.function(name, given, int(match["outputs"] or 1))


class _Body:
    """The body of one function.

    ``vectors`` says how many entries per axis the inputs have that are such lists: 1, or 2 halves.
    ``shielded``: what changes nothing keeps the image's Transpose in front of the operator.
    ``quantized``: inputs that are given as integers, with scales and zero points after all else.
    """

    def __init__(
        self,
        op_type: str,
        relation: Relation,
        vectors: dict[int, int],
        opset: int,
        shielded: bool = False,
        quantized: Sequence[int] = (),
    ) -> None:
        self.op_type = op_type
        self.relation = relation
        self.vectors = vectors
        self.rank = len(relation.inputs[0] or ())
        self.opset = opset
        self.shielded = shielded
        self.quantized = quantized
        self.nodes: list[ir.Node] = []

    def group_normalization(self, name: str, groups: int) -> ir.Function:
        """For opsets whose GroupNormalization has no scale per channel: as PyTorch writes it.

        x - Reshape(0, groups, -1) - InstanceNormalization(ones, zeros) - Reshape(as x) - Mul - Add
        """
        x, scale, bias = (ir.Value(name=port) for port in ("x", "scale", "bias"))
        source = self._to_source(0, x)
        grouped = self._node("Reshape", [source, self._constant([0, groups, -1])], {}, "grouped")
        one, zero = (self._constant([value] * groups, np.float32) for value in (1, 0))
        if self.opset >= 15:
            one = self._node("CastLike", [one, x], {}, "ones")
            zero = self._node("CastLike", [zero, x], {}, "zeros")
        epsilon = ir.RefAttr("epsilon", "epsilon", ir.AttributeType.FLOAT)
        normal = ir.Node("", "InstanceNormalization", [grouped, one, zero], [epsilon])
        normal.outputs[0].name = "normal"
        self.nodes.append(normal)
        shape = self._node("Shape", [source], {}, "shape")
        back = self._node("Reshape", [normal.outputs[0], shape], {}, "back")
        channels = self._constant([-1, *[1] * (self.rank - 2)])
        column = [self._node("Reshape", [v, channels], {}, f"{v.name}_column") for v in (scale, bias)]
        scaled = self._node("Mul", [back, column[0]], {}, "scaled")
        result = self._node("Add", [scaled, column[1]], {}, "y0_source")
        graph = ir.Graph(
            [x, scale, bias],
            [self._to_native(0, result)],
            nodes=self.nodes,
            opset_imports={"": self.opset},
        )
        declared = [ir.Attr(a, ir.AttributeType.UNDEFINED, None) for a in ("epsilon", "num_groups")]
        return ir.Function(DOMAIN, name, graph=graph, attributes=declared)

    def _constant(self, values: list[int], dtype: type = np.int64) -> ir.Value:
        tensor = ir.tensor(np.asarray(values, dtype))
        return self._node("Constant", [], {"value": tensor}, f"constant_{len(self.nodes)}")

    def function(self, name: str, given: Sequence[int], outputs: int) -> ir.Function:
        schema = onnx.defs.get_schema(self.op_type, self.opset)
        ports = [p.name.lower() if p.name != "input" else "x" for p in schema.inputs]
        inputs = [ir.Value(name=ports[i]) for i in given]
        operands: list[ir.Value | None] = [None] * (max(given) + 1)
        parameters = {i: self._parameters(ports[i]) for i in self.quantized}
        for index, value in reversed(list(zip(given, inputs, strict=True))):  # what comes last runs first
            operands[index] = (
                self._dequantized(index, value, parameters[index])
                if index in parameters
                else self._to_source(index, value)
            )
        inputs += [value for pair in parameters.values() for value in pair]
        if self.shielded and operands[0] is not None:
            flat = self._node("Flatten", [operands[0]], {}, "x_flat")
            shape = self._node("Shape", [operands[0]], {}, "x_shape")
            operands[0] = self._node("Reshape", [flat, shape], {}, "x_shielded")
        for index, port in enumerate(schema.inputs[: len(operands)]):
            if operands[index] is None and port.option == onnx.defs.OpSchema.FormalParameterOption.Single:
                empty = ir.tensor([], dtype=ir.DataType.FLOAT)  # Resize could not leave roi out before 13
                operands[index] = self._node("Constant", [], {"value": empty}, f"no_{port.name}")
        declared = [ir.Attr(a, ir.AttributeType.UNDEFINED, None) for a in sorted(schema.attributes)]
        forwarded = [
            ir.RefAttr(a, a, ATTRIBUTE_TYPES[schema.attributes[a].type]) for a in sorted(schema.attributes)
        ]
        node = ir.Node("", self.op_type, operands, forwarded, num_outputs=outputs, version=self.opset)
        for index, value in enumerate(node.outputs):
            value.name = f"y{index}_source"
        self.nodes.append(node)
        results = [self._to_native(i, value) for i, value in enumerate(node.outputs)]
        graph = ir.Graph(inputs, results, nodes=self.nodes, opset_imports={"": self.opset})
        return ir.Function(DOMAIN, name, graph=graph, attributes=declared)

    def _parameters(self, port: str) -> list[ir.Value]:
        return [ir.Value(name=f"{port}_{part}") for part in ("scale", "zero_point")]

    def _dequantized(self, index: int, value: ir.Value, parameters: list[ir.Value]) -> ir.Value:
        """Floats in the standard's order, of integers.

        An image's Transpose is a unit, as in :mod:`passes.quantized`. A kernel is constant: its integers
        are transposed before they are dequantised.
        """
        axis: dict[str, object] = {}
        if index == KERNEL:
            value = self._to_source(index, value)
            axis = {"axis": kernel_axis(self.op_type)} if self.opset >= 13 else {}
        else:
            floats = self._node(DEQUANTIZE, [value, *parameters], {}, f"{value.name}_native")
            moved = self._to_source(index, floats)
            value = self._node(QUANTIZE, [moved, *parameters], {}, f"{value.name}_moved")
        return self._node(DEQUANTIZE, [value, *parameters], axis, f"{value.name}_float")

    def _perm(self, letters: Letters) -> tuple[int, ...]:
        native = self.relation.native
        assert native is not None
        return tuple(letters.index(letter) for letter in native if letter in letters)

    def _to_source(self, index: int, value: ir.Value) -> ir.Value:
        letters = self.relation.inputs[index]
        if letters is not None:
            return self._node(
                "Transpose",
                [value],
                {"perm": list(invert(self._perm(letters)))},
                f"{value.name}_source",
            )
        halves = self.vectors.get(index, 0)
        if not halves:
            return value
        image = self.relation.inputs[0]
        assert image is not None
        inverse = invert(self._perm(image))
        picks = [half * self.rank + axis for half in range(halves) for axis in inverse]
        tensor = ir.tensor(picks, dtype=ir.DataType.INT64)
        perm = self._node("Constant", [], {"value": tensor}, f"{value.name}_perm")
        return self._node("Gather", [value, perm], {"axis": 0}, f"{value.name}_source")

    def _to_native(self, index: int, value: ir.Value) -> ir.Value:
        letters = self.relation.outputs[index]
        if letters is None:
            value.name = f"y{index}"
            return value
        return self._node("Transpose", [value], {"perm": list(self._perm(letters))}, f"y{index}")

    def _node(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: dict[str, object], name: str
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes, num_outputs=1)  # type: ignore[arg-type]
        node.outputs[0].name = name
        self.nodes.append(node)
        return node.outputs[0]
