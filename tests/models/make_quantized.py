"""Write small networks, quantised by onnxruntime's own quantiser, to ``quantized/*.onnx``.

::

    python tests/models/make_quantized.py

Blocks as ResNet and MobileNetV2 have them, at reduced width, and operators that a quantised network has
besides. Files are ``<network>.<activations>_<per tensor or channel>.onnx``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

OUT = Path(__file__).resolve().parent / "quantized"
IMAGE = (1, 3, 20, 16)
KINDS = {
    "s8_pt": (QuantType.QInt8, QuantType.QInt8, False),
    "s8_pc": (QuantType.QInt8, QuantType.QInt8, True),
    "u8_pc": (QuantType.QUInt8, QuantType.QInt8, True),
    "u16_pc": (QuantType.QUInt16, QuantType.QInt8, True),
}


class Network:
    """A graph that grows by one operator at a time, with seeded weights."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name, **attributes))
        return name

    def tensor(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        spread = 1.5 / np.sqrt(np.prod(shape[1:]))
        return self.tensor((self.rng.standard_normal(shape) * spread).astype(np.float32))

    def conv(
        self, x: str, shape: tuple[int, int, int], *, stride: int = 1, group: int = 1, bias: bool = True
    ) -> str:
        out, inner, size = shape
        inputs = [x, self.weight(out, inner // group, size, size)]
        inputs += [self.weight(out)] if bias else []
        pads = [size // 2] * 4
        return self.add("Conv", *inputs, strides=[stride] * 2, pads=pads, group=group)

    def model(self, output: str, shape: tuple[int, ...]) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, IMAGE)
        result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(self.nodes, "quantized", [image], [result], self.weights)
        assert output == self.nodes[-1].name
        opset = helper.make_opsetid("", 21)
        return helper.make_model(graph, opset_imports=[opset], ir_version=10)


def resnet() -> onnx.ModelProto:
    """A stem with MaxPool, a block with a convolution in its shortcut, and one without."""
    net = Network()
    x = net.add("Relu", net.conv("image", (8, 3, 7), stride=2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for inner, outer in ((8, 12), (12, 12)):
        branch = net.add("Relu", net.conv(x, (4, inner, 1)))
        branch = net.add("Relu", net.conv(branch, (4, 4, 3)))
        branch = net.conv(branch, (outer, 4, 1))
        x = net.add("Relu", net.add("Add", branch, net.conv(x, (outer, inner, 1)) if inner != outer else x))
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.model(net.add("Gemm", x, net.weight(5, 12), net.weight(5), transB=1), (1, 5))


def mobilenet() -> onnx.ModelProto:
    """Inverted residuals: Clip to 6, and convolutions channel by channel, without a bias."""
    net = Network()
    low, high = (net.tensor(np.array(value, np.float32)) for value in (0, 6))
    x = net.add("Clip", net.conv("image", (8, 3, 3), stride=2), low, high)
    for _ in range(2):
        branch = net.add("Clip", net.conv(x, (16, 8, 1)), low, high)
        branch = net.add("Clip", net.conv(branch, (16, 16, 3), group=16, bias=False), low, high)
        x = net.add("Add", x, net.conv(branch, (8, 16, 1), bias=False))
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.model(net.add("Gemm", x, net.weight(5, 8), net.weight(5), transB=1), (1, 5))


def mixed() -> onnx.ModelProto:
    """A U of Resize, ConvTranspose, Concat, pixel shuffle and Softmax between convolutions."""
    net = Network()
    wide = net.add("LeakyRelu", net.conv("image", (8, 3, 3)), alpha=0.1)
    deep = net.add("AveragePool", wide, kernel_shape=[2, 2], strides=[2, 2])
    deep = net.add("Sigmoid", net.conv(deep, (16, 8, 3)))
    up = net.add("ConvTranspose", deep, net.weight(16, 6, 2, 2), net.weight(6), strides=[2, 2])
    scales = net.tensor(np.array([1, 1, 2, 2], np.float32))
    near = net.add("Resize", deep, "", scales, mode="nearest")
    shuffled = net.add("DepthToSpace", deep, blocksize=2, mode="CRD")
    x = net.conv(net.add("Concat", wide, up, near, shuffled, axis=1), (4, 34, 1))
    return net.model(net.add("Softmax", x, axis=1), (1, 4, 20, 16))


NETWORKS = {"resnet": resnet, "mobilenet": mobilenet, "mixed": mixed}


class Images(CalibrationDataReader):  # type: ignore[misc]
    """Four images of noise."""

    def __init__(self) -> None:
        self.images: Iterator[int] = iter(range(4))

    def get_next(self) -> dict[str, np.ndarray] | None:
        seed = next(self.images, None)
        if seed is None:
            return None
        return {"image": np.random.default_rng(seed).standard_normal(IMAGE).astype(np.float32)}


def main() -> None:
    logging.disable(logging.WARNING)
    OUT.mkdir(exist_ok=True)
    for name, build in NETWORKS.items():
        for kind, (activations, weights, per_channel) in KINDS.items():
            with TemporaryDirectory() as folder:
                plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
                onnx.save(build(), plain)
                quant_pre_process(plain, prepared)
                path = OUT / f"{name}.{kind}.onnx"
                quantize_static(
                    prepared,
                    path,
                    Images(),
                    quant_format=QuantFormat.QDQ,
                    per_channel=per_channel,
                    activation_type=activations,
                    weight_type=weights,
                )
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
