"""Models around operators that Keras has no counterpart of."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray

Feeds = dict[str, NDArray[Any]]


def floats(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def model(graph: str, opset: int = 19) -> onnx.ModelProto:
    head = f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
    return onnx.parser.parse_model(f"{head}agraph {graph}")


REGIONS = np.array(
    [[1.5, 2, 8.3, 9], [0, 0, 16, 12], [-3, -4, 30, 25], [5, 5, 5.2, 5.1], [3, 8, 1, 2], [9, 9, 99, 90]],
    np.float32,
)
IMAGES = np.array([0, 1, 1, 0, 1, 0])


def regions(attributes: str, sizes: str = "2,3,13,17", opset: int = 19) -> tuple[onnx.ModelProto, Feeds]:
    text = f"""(float[{sizes}] x, float[m,4] r, int64[m] b) => (float[m,3,3,4] y) {{
        y = RoiAlign <output_height = 3, output_width = 4, {attributes}> (x, r, b)
    }}"""
    return model(text, opset), {"x": floats(2, 3, 13, 17), "r": REGIONS, "b": IMAGES}


def max_regions() -> tuple[onnx.ModelProto, Feeds]:
    text = """(float[2,3,13,17] x, float[m,5] r) => (float[m,3,3,4] y) {
        y = MaxRoiPool <pooled_shape = [3, 4], spatial_scale = 0.7> (x, r)
    }"""
    return model(text), {
        "x": floats(2, 3, 13, 17),
        "r": np.concatenate([IMAGES[:, None], REGIONS], 1).astype("f"),
    }


def deformed(group: int, offsets: int) -> tuple[onnx.ModelProto, Feeds]:
    text = f"""(float[2,6,9,11] x, float[2,{offsets * 12},4,6] o, float[2,{offsets * 6},4,6] m,
                float[12,{6 // group},3,2] w, float[12] b) => (float[2,12,4,6] y) {{
        y = DeformConv <group = {group}, offset_group = {offsets}, strides = [2, 2], pads = [0, 1, 0, 1]>
            (x, w, o, b, m)
    }}"""
    feeds = {
        "x": floats(2, 6, 9, 11),
        "o": 2 * floats(2, offsets * 12, 4, 6),
        "m": floats(2, offsets * 6, 4, 6),
    }
    return weights(model(text), w=floats(12, 6 // group, 3, 2), b=floats(12)), feeds


def weights(proto: onnx.ModelProto, **arrays: NDArray[Any]) -> onnx.ModelProto:
    """Turn inputs into initializers."""
    kept = [value for value in proto.graph.input if value.name not in arrays]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in arrays.items())
    return proto


def unpooled() -> tuple[onnx.ModelProto, Feeds]:
    text = """(float[2,3,9,7] x) => (float[2,3,9,7] y) <int64[4] s = {2, 3, 9, 7}> {
        p, i = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)
        q = Neg(p)
        y = MaxUnpool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (q, i, s)
    }"""
    return model(text, 11), {"x": floats(2, 3, 9, 7)}


def suppressed(
    attributes: str, shape: tuple[int, int, int] = (1, 1, 40), *rest: str
) -> tuple[onnx.ModelProto, Feeds]:
    batch, classes, count = shape
    numbers = {"k": "int64[1] k = {9}", "i": "float[1] i = {0.4}", "t": "float[1] t = {0.3}"}
    given = ", ".join(numbers[name] for name in rest)
    text = f"""(float[{batch},{count},4] b, float[{batch},{classes},{count}] s) => (int64[n,3] y) <{given}> {{
        y = NonMaxSuppression <{attributes}> (b, s, {", ".join(rest)})
    }}"""
    random = np.random.default_rng(3)
    boxes, scores = random.random((batch, count, 4)), np.round(random.random(shape), 1)
    return model(text), {"b": boxes.astype(np.float32), "s": scores.astype(np.float32)}


def integers(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(5).integers(0, 3, shape).astype(np.float32)


def unique(attributes: str, *shape: int) -> tuple[onnx.ModelProto, Feeds]:
    text = f"""(float[{",".join(map(str, shape))}] x) => (float y, int64[k] i, int64[m] v, int64[k] c) {{
        y, i, v, c = Unique <{attributes}> (x)
    }}"""
    proto = model(text)
    if "axis" not in attributes:
        proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["k"]))
    else:
        proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["h", "w"]))
    return proto, {"x": integers(*shape)}


def picked() -> tuple[onnx.ModelProto, Feeds]:
    """What is not 0, by its places and by a condition."""
    text = """(float[4,5] x) => (float[k] y, float[j] z) <float zero = {0.0}, int64[1] flat = {-1}> {
        places = NonZero(x)
        rows = Transpose(places)
        y = GatherND(x, rows)
        above = Greater(x, zero)
        condition = Reshape(above, flat)
        z = Compress(x, condition)
    }"""
    return model(text), {"x": integers(4, 5) - 1}


def looped(condition: str) -> tuple[onnx.ModelProto, Feeds]:
    text = f"""(float[2,3] x) => (float[2,3] y, float[n,2,3] z)
        <int64 most = {{9}}, bool true = {{1}}, int64 last = {{3}}, float limit = {{6.0}}> {{
        y, z = Loop (most, true, x) <body = turn (int64 i, bool go, float[2,3] h)
            => (bool again, float[2,3] next, float[2,3] given) <float two = {{2.0}}> {{
            number = Cast <to = 1> (i)
            double = Mul(h, two)
            next = Add(double, number)
            given = Neg(next)
            total = ReduceSum <keepdims = 0> (h)
            again = {condition}
        }}>
    }}"""
    return model(text), {"x": floats(2, 3)}


def bounded(count: str, condition: str) -> tuple[onnx.ModelProto, Feeds]:
    """A Loop whose trip count and end only run time tells, and its bound a constant that they are cut by."""
    text = f"""(float[2,3] x, int64 most) => (float[2,3] y, float[n,3] z)
        <int64 five = {{5}}, int64 three = {{3}}, bool true = {{1}}> {{
        few = Min(most, five)
        y, z = Loop ({count}, true, x) <body = turn (int64 i, bool go, float[2,3] h)
            => (bool again, float[2,3] next, float[3] given) <float two = {{2.0}}, float limit = {{90.0}}> {{
            next = Mul(h, two)
            given = ReduceSum <keepdims = 0> (next, zero)
            total = ReduceSum <keepdims = 0> (next)
            small = Less(total, limit)
            early = Less(i, three)
            both = And(early, small)
            again = {condition}
        }}>
    }}"""
    source = model(text)
    body = next(node for node in source.graph.node if node.op_type == "Loop").attribute[0].g
    body.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "zero"))
    return source, {"x": floats(2, 3) + 1, "most": np.array(4)}


def growing() -> tuple[onnx.ModelProto, Feeds]:
    """A matrix of weights at every turn, and a state that gets longer."""
    text = """(float[n,5] x, float[5,5] w) => (float[n,5] y, float[n,15] z)
        <int64 most = {2}, bool true = {1}> {
        y, z = Loop (most, true, x, x) <body = turn (int64 i, bool go, float[n,5] h, float[n,k] g)
            => (bool again, float[n,5] next, float[n,m] more) {
            again = Identity(go)
            product = MatMul(h, w)
            next = Tanh(product)
            more = Concat <axis = 1> (g, next)
        }>
    }"""
    return weights(model(text), w=floats(5, 5)), {"x": floats(4, 5)}


def scanned() -> tuple[onnx.ModelProto, Feeds]:
    text = """(float[2,3] s, float[4,2,3] x) => (float[2,3] t, float[2,4,3] y) {
        t, y = Scan <num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1],
            scan_output_directions = [1], body = turn (float[2,3] a, float[2,3] e)
            => (float[2,3] sum, float[2,3] product) {
            sum = Add(a, e)
            product = Mul(sum, e)
        }> (s, x)
    }"""
    return model(text), {"s": floats(2, 3), "x": floats(4, 2, 3)}


def sequences() -> tuple[onnx.ModelProto, Feeds]:
    text = """(float[6,5] x) => (float[2,5] y, float[4,5] z, int64 n, float[3,6,1] w, float[6,5] v)
        <int64 one = {1}, int64 two = {2}, int64 last = {-1}> {
        parts = SplitToSequence <axis = 0> (x, two)
        y = SequenceAt(parts, one)
        fewer = SequenceErase(parts, one)
        more = SequenceInsert(fewer, y)
        again = SequenceErase(more)
        z = ConcatFromSequence <axis = 0> (again)
        n = SequenceLength(more)
        columns = SplitToSequence <axis = 1> (x)
        a = SequenceAt(columns, last)
        b = SequenceAt(columns, one)
        three = SequenceConstruct(a, b, a)
        w = ConcatFromSequence <axis = 0, new_axis = 1> (three)
        maybe = Optional(x)
        v = OptionalGetElement(maybe)
    }"""
    return model(text), {"x": floats(6, 5)}


def collected() -> tuple[onnx.ModelProto, Feeds]:
    """A sequence that grows in a Loop, and a body for each element of one."""
    text = """(float[4,5] x) => (float[4,5] y, float[4,5] z) <int64 most = {4}, bool true = {1}> {
        none = SequenceEmpty <dtype = 1> ()
        all = Loop (most, true, none) <body = turn (int64 i, bool go, seq(float[5]) s)
            => (bool again, seq(float[5]) longer) {
            again = Identity(go)
            row = Gather <axis = 0> (x, i)
            bent = Tanh(row)
            longer = SequenceInsert(s, bent)
        }>
        y = ConcatFromSequence <axis = 0, new_axis = 1> (all)
        rows = SplitToSequence <axis = 0, keepdims = 0> (x)
        mapped = SequenceMap (rows) <body = each (float[5] q) => (float[5] r) { r = Neg(q) }>
        z = ConcatFromSequence <axis = 0, new_axis = 1> (mapped)
    }"""
    return model(text), {"x": floats(4, 5)}


def transformed(parts: int, attributes: str, length: int, opset: int = 17) -> tuple[onnx.ModelProto, Feeds]:
    axis = ", axis" if opset >= 20 else ""
    text = f"""(float[2,12,3,{parts}] x) => (float[2,k,3,2] y) <int64 n = {{{length}}}, int64 axis = {{1}}> {{
        y = DFT <{attributes}> (x, n{axis})
    }}"""
    return model(text, opset), {"x": floats(2, 12, 3, parts)}


def spectrogram() -> tuple[onnx.ModelProto, Feeds]:
    """Spectra of a real signal of any length, on the mel scale, and of a complex one."""
    text = """(float[n,l,1] x, float[2,300,2] z) => (float[n,f,33,2] y, float[n,f,8] mel, float[2,g,64,2] w)
        <int64 step = {16}, int64 size = {64}, int64 bands = {8}, int64 rate = {8192}, float low = {10.0},
         float high = {4000.0}, int64[1] last = {-1}> {
        hann = HannWindow(size)
        y = STFT(x, step, hann)
        length = ReduceL2 <keepdims = 0> (y, last)
        matrix = MelWeightMatrix(bands, size, rate, low, high)
        mel = MatMul(length, matrix)
        w = STFT <onesided = 0> (z, step, , size)
    }"""
    return model(text, 18), {"x": floats(3, 500, 1), "z": floats(2, 300, 2)}


def antialiased(mode: str, wanted: str, inside: int = 0) -> tuple[onnx.ModelProto, Feeds]:
    text = f"""(float[2,3,9,10] x) => (float[2,3,h,w] y)
        <float[4] scales = {{1.0, 1.0, 0.6, 0.37}}, int64[4] sizes = {{2, 3, 7, 4}}> {{
        y = Resize <mode = "{mode}", antialias = 1, exclude_outside = {inside}> (x, {wanted})
    }}"""
    return model(text), {"x": floats(2, 3, 9, 10)}


def declared(graph: str, **feeds: NDArray[Any]) -> tuple[onnx.ModelProto, Feeds]:
    """A setting that is an input, where the declared sizes leave no choice."""
    return model(graph), feeds


def centred() -> tuple[onnx.ModelProto, Feeds]:
    """The pieces of a LayerNormalization, one of which is a result too."""
    text = """(float[2,3,4] x) => (float[2,3,4] y, float[2,3,4] centred) <float small = {0.001}> {
        mean = ReduceMean <axes = [2]> (x)
        centred = Sub(x, mean)
        square = Mul(centred, centred)
        variance = ReduceMean <axes = [2]> (square)
        more = Add(variance, small)
        deviation = Sqrt(more)
        y = Div(centred, deviation)
    }"""
    return model(text, 17), {"x": floats(2, 3, 4)}


def windows() -> tuple[onnx.ModelProto, Feeds]:
    """A window of known size from a place that is computed, and one put down in zeros."""
    text = """(float[7,9] x, int64[2] at, int64[4] pads) => (float[3,4] y, float[9,12] z)
        <int64[2] steps = {1, 2}, int64[2] axes = {0, -1}, int64[2] far = {3, 8}> {
        end = Add(at, far)
        y = Slice(x, at, end, axes, steps)
        z = Pad(x, pads)
    }"""
    feeds = {"x": floats(7, 9), "at": np.array([2, 1]), "pads": np.array([1, 0, 1, 3])}
    return model(text), feeds
