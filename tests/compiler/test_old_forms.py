"""Operators' oldest forms, opset 1 to 6, and those that were experiments until opset 9, become today's.

Each runs behind a pool, so that it is computed channels last. The reference is onnxruntime on the source, or
NumPy where that has no kernel for a form so old.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnx_nhwc
from onnx_nhwc import ConversionError
from onnx_nhwc.passes.forms.modernize import FORMS
from onnx_nhwc.passes.forms.old import OLDEST
from onnx_nhwc.passes.plausible import SourceWarning
from onnx_nhwc.passes.rules import RULES
from tests.support.running import Session, accepted, converted, differences, layouts, stored

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
SHAPE = (2, 3, 4, 5)
X = RNG.uniform(0.5, 2.0, SHAPE).astype(np.float32)
PER_CHANNEL = RNG.uniform(0.5, 2.0, 3).astype(np.float32)
PER_LINE = RNG.uniform(0.5, 2.0, (3, 4)).astype(np.float32)
PER_POSITION = [RNG.uniform(0.5, 2.0, SHAPE[1:]).astype(np.float32) for _ in range(4)]
SAME = {
    *("consumed_inputs", "storage_order", "count_include_pad", "linear_before_reset"),
    "direction",  # LSTM's had a default in writing only
    *("min", "max"),  # Clip's were infinite, and are the largest floats
    "kernel_shape",  # LpPool's has to be there
}
"""Attributes whose coming or going changes nothing."""


@dataclass(frozen=True)
class Old:
    """A node that reads the pool's result, of one of its old opsets."""

    op: str
    opset: int
    operands: tuple[Array, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    computes: Callable[[Array], Any] | None = None
    """What it computes, where onnxruntime has no kernel for it."""
    runtime: bool = False
    """The operands are inputs, not constants."""
    outputs: int = 1

    def __str__(self) -> str:
        stated = [f"{k}={v}".replace("[", "(").replace("]", ")") for k, v in self.attributes.items()]
        return " ".join([self.op, str(self.opset), *stated, *["fed"] * self.runtime])

    def model(self, sizes: tuple[int | str, ...] = SHAPE) -> onnx.ModelProto:
        names = [f"w{i}" for i in range(len(self.operands))]
        infos = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, self.operands, strict=True)
        ]
        inputs = [helper.make_tensor_value_info("x", 1, sizes), *infos]
        weights = [numpy_helper.from_array(a, n) for n, a in zip(names, self.operands, strict=True)]
        results = [f"y{i}" for i in range(self.outputs)]
        nodes = [
            helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1], name="pool"),
            helper.make_node(self.op, ["p", *names], results, name="old", **self.attributes),
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in results]
        for info in outputs:
            info.type.tensor_type.elem_type = self.element
        graph = helper.make_graph(nodes, "old", inputs, outputs, [] if self.runtime else weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=3)

    @property
    def element(self) -> int:
        if self.op in ("Equal", "Less", "Greater"):
            return onnx.TensorProto.BOOL
        return onnx.TensorProto.INT32 if self.op == "Cast" else onnx.TensorProto.FLOAT

    def feeds(self) -> dict[str, Array]:
        more = {f"w{i}": a for i, a in enumerate(self.operands)} if self.runtime else {}
        return {"x": X, **more}

    def expected(self) -> list[Any]:
        if self.computes is None:
            return Session(self.model()).run(self.feeds())
        found = self.computes(X)
        return found if isinstance(found, list) else [found]


def old(op: str, opsets: int | tuple[int, ...], *operands: Array, **options: Any) -> list[Old]:
    """A case in each of these opsets; options that are no field are attributes."""
    own = {k: options.pop(k) for k in ("computes", "runtime", "outputs") if k in options}
    versions = (opsets,) if isinstance(opsets, int) else opsets
    return [Old(op, opset, operands, options, **own) for opset in versions]


def along(array: Array, axis: int) -> Array:
    """An operand aligned at an axis of the first."""
    return array.reshape((*array.shape, *[1] * (len(SHAPE) - axis - array.ndim)))


BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Less": np.less,
    "Greater": np.greater,
}


def legacy(op: str, compute: Callable[[Array, Array], Array]) -> list[Old]:
    """Broadcasting as it was: at an axis, at the last one, of a single number, none."""
    found = []
    opsets = (1, 6) if op in ("Add", "Sub", "Mul", "Div") else (1,)
    for b, axis in ((PER_CHANNEL, 1), (PER_CHANNEL, -3), (PER_LINE, 1), (PER_CHANNEL[:1], 0)):
        places = range(axis % 4, axis % 4 + b.ndim)
        wide = b.reshape([b.shape[i - places[0]] if i in places else 1 for i in range(4)])
        for runtime in (False, True):
            options = {"broadcast": 1, "axis": axis, "runtime": runtime}
            found += old(op, opsets, b, computes=lambda x, w=wide: compute(x, w), **options)
    last = PER_POSITION[0][0, 0]
    found += old(op, opsets, last, broadcast=1, computes=lambda x: compute(x, last))
    found += old(op, opsets, X[::-1].copy(), computes=lambda x: compute(x, X[::-1]))
    return found


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(x))


def normalized(x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Array:
    return np.asarray((x - mean) / np.sqrt(var + np.float32(1e-5)) * scale + bias)


COLUMNS = [a[:, 0, 0].copy() for a in PER_POSITION]
WIDE = [c[:, None, None] for c in COLUMNS]
CASES: list[Old] = [
    *[case for op, compute in BINARY.items() for case in legacy(op, compute)],
    *old("PRelu", (1, 6), PER_CHANNEL, computes=lambda x: np.where(x < 0, x * along(PER_CHANNEL, 1), x)),
    *old("PRelu", (1, 6), PER_CHANNEL[:1], computes=lambda x: np.where(x < 0, x * PER_CHANNEL[0], x)),
    *old("BatchNormalization", (1, 6), *COLUMNS, is_test=1, computes=lambda x: normalized(x, *WIDE)),
    *old(
        *("BatchNormalization", (1, 6), *PER_POSITION),
        is_test=1,
        spatial=0,
        computes=lambda x: normalized(x, *PER_POSITION),
    ),
    *old("BatchNormalization", (7, 8), *PER_POSITION, spatial=0),
    *old("BatchNormalization", (7, 8), *PER_POSITION, spatial=0, runtime=True),
    *old("Cast", 5, to="INT32", computes=lambda x: x.astype(np.int32)),
    *old("Cast", 6, to=6),
    *old("Clip", 1, min=0.7, max=1.5, consumed_inputs=[0], computes=lambda x: np.clip(x, 0.7, 1.5)),
    *old("Clip", 6, min=0.7, max=1.5),
    *old("Concat", 1, X, computes=lambda x: np.concatenate([x, X], 1)),
    *old("Concat", 1, X, axis=2, computes=lambda x: np.concatenate([x, X], 2)),
    *old("Concat", (4, 5), X, axis=1),
    *old("Dropout", (1, 6), is_test=1, ratio=0.3, computes=lambda x: x),
    *old("Elu", 1, alpha=0.5, consumed_inputs=[0], computes=lambda x: x),
    *old("Elu", 6, alpha=0.5),
    *old("Flatten", (1, 5)),
    *old("GlobalLpPool", 1, p=3.0, computes=lambda x: np.sum(x**3, (2, 3), keepdims=True) ** (1 / 3)),
    *old("GlobalLpPool", (2, 6), p=3),
    *old("HardSigmoid", (1, 6), computes=lambda x: np.clip(x * np.float32(0.2) + np.float32(0.5), 0, 1)),
    *old("InstanceNormalization", 6, COLUMNS[0], COLUMNS[1]),
    *old(
        *("LpPool", 1),
        kernel_shape=[4, 5],
        p=3.0,
        computes=lambda x: np.sum(x**3, (2, 3), keepdims=True) ** (1 / 3),
    ),
    *old("LpPool", (2, 6), kernel_shape=[2, 3], p=3),
    *old("Max", 1, X[::-1].copy(), computes=lambda x: np.maximum(x, X[::-1])),
    *old("Max", 6, X[::-1].copy()),
    *old("MaxPool", (1, 6), kernel_shape=[2, 2], strides=[1, 2]),
    *old("Mean", 6, X[::-1].copy()),
    *old("Pad", 1, paddings=[0, 0, 1, 2, 0, 1, 0, 2], computes=lambda x: padded(x)),
    *old("Pad", (2, 6), pads=[0, 0, 1, 2, 0, 1, 0, 2]),
    *old("Pad", 2, pads=[0, 0, 1, 2, 0, 0, 0, 2], mode="reflect"),
    *old("ReduceMean", (1, 6), axes=[1]),
    *old("ReduceMean", (1, 6), axes=[-2, 1], keepdims=0),
    *old("Relu", 1, consumed_inputs=[0], computes=lambda x: x),
    *old("Reshape", (1, 4), shape=[2, -1]),
    *old("Reshape", (1, 4), shape=[0, 0, 20]),
    *old("Reshape", (1, 4), shape=[0, 3, 2, 2, 5]),
    *old("Reshape", 1, shape=[2, 60], consumed_inputs=[0]),
    *old("Reshape", (5, 6), np.array([0, -1])),
    *old("Selu", 1, computes=lambda x: np.float32(1.0507) * x),
    *old("Selu", 6),
    *old("Slice", (1, 6), starts=[1, 0], ends=[3, -1], axes=[-1, 1]),
    *old("Softmax", (1, 6)),
    *old("Softmax", (1, 6), axis=2),
    *old("Split", 1, split=[1, 2], axis=1, outputs=2, computes=lambda x: [x[:, :1], x[:, 1:]]),
    *old(
        "Split", 1, np.array([1, 2], np.float32), axis=1, outputs=2, computes=lambda x: [x[:, :1], x[:, 1:]]
    ),
    *old("Split", (2, 6), split=[1, 2], axis=1, outputs=2),
    *old("Sum", 6, X[::-1].copy()),
    *old(
        "Tile",
        1,
        np.array(2.0, np.float32),
        np.array(1.0, np.float32),
        computes=lambda x: np.tile(x, (1, 2, 1, 1)),
    ),
    *old("Tile", 6, np.array([1, 2, 1, 3])),
    *old("Transpose", (1, 6), perm=[0, 2, 1, 3]),
    *old("Unsqueeze", (1, 6), axes=[1, 4]),
    *old("Unsqueeze", (1, 6, 10), axes=[-1, -3]),
    *old(
        *("Upsample", 1),
        height_scale=2.0,
        width_scale=3.0,
        mode="nearest",
        computes=lambda x: x.repeat(2, 2).repeat(3, 3),
    ),
    # Experiments until opset 9.
    *old("Affine", (1, 7, 9), alpha=2.0, beta=0.5),
    *old("Affine", 1),
    *old("Crop", (1, 9), border=[1, 0, 2, 1]),
    *old("Crop", (1, 9), border=[1, 0, 2, 1], scale=[3, 2]),
    *old("DynamicSlice", (1, 9), np.array([1, 0]), np.array([3, -1]), np.array([3, 1])),
    *old("DynamicSlice", (1, 9), np.array([0, 1]), np.array([2, 2])),
    *old("ImageScaler", (1, 7, 9), scale=0.5, bias=[1.0, -2.0, 3.0]),
    *old("MeanVarianceNormalization", (1, 8)),
    *old("MeanVarianceNormalization", (1, 8), across_channels=1),
    *old("MeanVarianceNormalization", (1, 8), normalize_variance=0),
    *old("ParametricSoftplus", (1, 9), alpha=2.0, beta=0.5),
    *old("Scale", (1, 9), scale=2.0),
    *old("ScaledTanh", (1, 9), alpha=2.0, beta=0.5),
    *old("ThresholdedRelu", (1, 9), alpha=1.0),
    *old("LayerNormalization", (1, 9, 16), np.ones(5, np.float32), np.zeros(5, np.float32)),
]


def padded(x: Array) -> Array:
    return np.pad(x, [(0, 0), (0, 1), (1, 0), (2, 2)])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
def test_an_old_form_computes_what_it_did(case: Old) -> None:
    expected = case.expected()
    names = [f"y{i}" for i in range(case.outputs)]
    for sizes in (SHAPE, ("n", 3, "h", "w")):
        for to in ("channels-last", "channels-first"):
            for dialect in ("functions", "standard"):
                result, _ = converted(case.model(sizes), to=to, dialect=dialect)
                perms = layouts(result)
                actual = Session(result).run(stored(case.feeds(), perms))
                assert not differences(names, expected, actual, perms), (sizes, to, dialect)
                assert result.opset_import[0].version == max(case.opset, OLDEST)


def test_boolean_operands_are_aligned_too() -> None:
    a, b = X > 1, PER_CHANNEL > 1
    for op, compute in (("And", np.logical_and), ("Or", np.logical_or), ("Xor", np.logical_xor)):
        node = helper.make_node(op, ["a", "b"], ["y"], broadcast=1, axis=1)
        infos = [
            helper.make_tensor_value_info(n, onnx.TensorProto.BOOL, v.shape) for n, v in (("a", a), ("b", b))
        ]
        output = helper.make_tensor_value_info("y", onnx.TensorProto.BOOL, SHAPE)
        graph = helper.make_graph([node], "g", infos, [output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
        with pytest.warns(SourceWarning, match="raised from opset 6 to opset 7"):
            result, _ = converted(model)
        assert not accepted(result)
        (actual,) = Session(result).run({"a": a, "b": b})
        assert np.array_equal(actual, compute(a, along(b, 1)))


@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
def test_an_old_form_in_a_branch() -> None:
    text = """<ir_version: 3, opset_import: ["": 1]>
    g (float[2,3,4,5] x, bool c) => (float[N,M] y) {
        p = MaxPool<kernel_shape = [1, 1]>(x)
        y = If(c) <
            then_branch = a () => (float[N,M] t) { t = Reshape<shape = [2, -1]>(p) },
            else_branch = b () => (float[N,M] e) { n = Softplus(p)  e = Reshape<shape = [0, -1]>(n) }
        >
    }"""
    model = onnx.parser.parse_model(text)
    for dialect in ("functions", "standard"):
        result, _ = converted(model, dialect=dialect)
        perms = layouts(result)
        for condition in (True, False):
            feeds = {"x": X, "c": np.array(condition)}
            expected = Session(model).run(feeds)
            assert not differences(["y"], expected, Session(result).run(stored(feeds, perms)), perms)


@pytest.mark.parametrize("opset", [1, 7, 10, 11, 12])
@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
def test_squeeze_counts_from_behind(opset: int) -> None:
    text = f"""<ir_version: 3, opset_import: ["": {opset}]>
    g (float[2,3,4,5] x) => (float[2,3,5] y) {{
        p = MaxPool<kernel_shape = [4, 1]>(x)
        y = Squeeze<axes = [-2]>(p)
    }}"""
    model = onnx.parser.parse_model(text)
    for dialect in ("functions", "standard"):
        result, _ = converted(model, dialect=dialect)
        perms, feeds = layouts(result), {"x": X}
        actual = Session(result).run(stored(feeds, perms))
        assert not differences(["y"], Session(model).run(feeds), actual, perms)


REFUSED = {
    "it is in training mode": Old("BatchNormalization", 6, tuple(COLUMNS)),
    "no type": Old("Cast", 1, (), {"to": "COMPLEX"}),
    "computed, which no newer opset can say": Old(
        "Tile", 1, (np.array(2, np.float32), np.array(1, np.float32)), runtime=True
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
def test_what_no_newer_form_says_is_refused(reason: str) -> None:
    with pytest.raises(ConversionError, match=f"'old': .*{reason}"):
        onnx_nhwc.to_channels_last(REFUSED[reason].model())


@pytest.mark.filterwarnings("ignore::onnx_nhwc.LayoutWarning")
def test_dropout_in_training_mode_is_said_to_be_written_for_inference() -> None:
    with pytest.warns(SourceWarning, match="Dropout 'old': it is in training mode"):
        converted(Old("Dropout", 6).model())


def test_every_change_of_form_has_a_row() -> None:
    """What onnx's schemas changed up to opset 7 is changed here, and nothing that they did not."""
    schemas: dict[str, dict[int, Any]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= OLDEST:
            schemas.setdefault(schema.name, {})[schema.since_version] = schema
    changes: set[tuple[str, int]] = set()
    for op in set(schemas) & set(RULES):
        versions = sorted(schemas[op])
        for before, after in itertools.pairwise(versions):
            old_form, new_form = schemas[op][before], schemas[op][after]
            stated = [
                {
                    k: (a.required, a.type, a.default_value.SerializeToString())
                    for k, a in form.attributes.items()
                }
                for form in (old_form, new_form)
            ]
            keys = {k for k in {*stated[0], *stated[1]} if stated[0].get(k) != stated[1].get(k)} - SAME
            if keys or len(old_form.inputs) != len(new_form.inputs) or (op == "PRelu" and after == 7):
                changes.add((op, after))
    standard = {
        (op, until) for op, rows in FORMS.items() for until, _ in rows if op in RULES and until <= OLDEST
    }
    assert changes == standard
    tested = {case.op for case in CASES} | {"And", "Or", "Xor"}
    untested = set(FORMS) - tested - {"RNN", "LSTM", "GRU", "Gemm", "Equal", "Squeeze"}
    assert not untested
