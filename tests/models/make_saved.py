"""Makes the files ``40*`` of ``foreign``: a small network as onnxruntime's own tools save it.

    python -m tests.models.make_saved

Its optimiser fuses (ORT_ENABLE_EXTENDED), and its quantiser writes QLinear operators, which the optimiser at
its highest level turns channels last.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as rt
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

FOLDER = Path(__file__).resolve().parent / "foreign"
SHAPE = (1, 3, 13, 11)
WEIGHTS = {
    "w1": (8, 3, 3, 3),
    "b1": (8,),
    "w2": (8, 1, 3, 3),
    "b2": (8,),
    "w3": (8, 8, 1, 1),
    "b3": (8,),
    "w4": (6, 16, 3, 3),
    "b4": (6,),
    "w5": (5, 6),
    "b5": (5,),
    "m": (5, 7),
    "g": (7,),
    "h": (7,),
}
NETWORK = """<ir_version: 8, opset_import: ["": 17]> network (float[1,3,13,11] x) => (float[1,7] y) {
    c1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)  r1 = Relu(c1)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r1)
    c2 = Conv<group = 8, pads = [1, 1, 1, 1]>(p, w2, b2)  r2 = LeakyRelu<alpha = 0.2>(c2)
    c3 = Conv(r2, w3, b3)  a = Add(c3, p)  r3 = Relu(a)
    j = Concat<axis = 1>(r3, p)
    c4 = Conv<strides = [2, 2]>(j, w4, b4)  s = Sigmoid(c4)
    v = GlobalAveragePool(s)  f = Flatten(v)
    d = Gemm<transB = 1>(f, w5, b5)  r5 = Relu(d)
    k = MatMul(r5, m)  y = LayerNormalization(k, g, h)
}"""


class Noise(CalibrationDataReader):
    """A few random images."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        self.left = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(8)]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(NETWORK)
    rng = np.random.default_rng(3)
    for name, shape in WEIGHTS.items():
        array = rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    return model


def save(source: Path, name: str, level: Any) -> None:
    options = rt.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(FOLDER / f"{name}.onnx")
    rt.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def main() -> None:
    levels = rt.GraphOptimizationLevel
    with tempfile.TemporaryDirectory() as folder:
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "quantised.onnx"
        onnx.save(network(), plain)
        save(plain, "40_saved_float", levels.ORT_ENABLE_EXTENDED)
        kind = QuantType.QUInt8  # products of uint8 and int8 saturate on some CPUs
        operators = QuantFormat.QOperator
        quantize_static(
            plain, quantised, Noise(), quant_format=operators, activation_type=kind, weight_type=kind
        )
        save(quantised, "40b_saved_qoperator", levels.ORT_ENABLE_EXTENDED)
        save(quantised, "40c_saved_channels_last", levels.ORT_ENABLE_ALL)


if __name__ == "__main__":
    main()
