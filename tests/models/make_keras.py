"""Export networks of ``keras.applications`` through tf2onnx into ``keras/*.onnx``, hollow.

The tests read the committed files; run this only to change them::

    pip install keras==3.15.1 tensorflow==2.21.0 tf2onnx==1.17.0
    python tests/models/make_keras.py

Files are ``<network>.<last|first>.<static|batch>.onnx``: built channels last or channels first,
with batch 1 or a dynamic batch. They have their full width and no weights: every float
initializer above 64 elements is a ``ConstantOfShape``, filled by :func:`weights.fill`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from weights import fill, hollow  # noqa: E402

NETWORKS = {
    "resnet50": lambda shape: keras.applications.ResNet50(weights=None, input_shape=shape),
    "mobilenetv2": lambda shape: keras.applications.MobileNetV2(weights=None, input_shape=shape, alpha=0.35),
    "efficientnetb0": lambda shape: keras.applications.EfficientNetB0(weights=None, input_shape=shape),
}
SIZE = (64, 96)  # the smallest that leaves 2 x 3 pixels in front of the global average
OPSETS = {"static": 17, "batch": 13}


def randomise(model: keras.Model) -> None:
    """Move normalisations away from 0 and 1, or their biases are folded into nothing."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        kind = weight.path.rsplit("/", 1)[-1]
        if kind in {"gamma", "moving_variance"}:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif kind in {"beta", "moving_mean", "bias"}:
            weight.assign(rng.normal(0, 0.2, weight.shape))


def export(name: str, order: str, shapes: str) -> onnx.ModelProto:
    """Build a network with seeded weights, convert it, take the weights out."""
    keras.utils.set_random_seed(1)
    shape = (*SIZE, 3) if order == "last" else (3, *SIZE)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(f"channels_{order}")
    try:
        model = NETWORKS[name](shape)
    finally:
        keras.config.set_image_data_format(before)
    randomise(model)
    spec = tf.TensorSpec((1 if shapes == "static" else None, *shape), tf.float32, name="image")
    graph, _ = tf2onnx.convert.from_function(
        tf.function(lambda image: model(image, training=False)),
        input_signature=(spec,),
        opset=OPSETS[shapes],
    )
    used = {name for node in graph.graph.node for name in node.input}
    for value in list(graph.graph.input):  # tf2onnx leaves constants that it has folded
        if value.name not in used:
            graph.graph.input.remove(value)
    return hollow(graph)


def main() -> None:
    out = HERE / "keras"
    out.mkdir(exist_ok=True)
    for name in NETWORKS:
        for order in ("last", "first"):
            for shapes in ("static", "batch"):
                path = out / f"{name}.{order}.{shapes}.onnx"
                onnx.save(export(name, order, shapes), path)
                model = fill(onnx.load(path))
                onnx.checker.check_model(model, full_check=True)
                session = onnxruntime.InferenceSession(model.SerializeToString())
                size = (1, *SIZE, 3) if order == "last" else (1, 3, *SIZE)
                image = (
                    np.random.default_rng(1)
                    .normal(0, 60 if "efficient" in name else 1, size)
                    .astype(np.float32)
                )
                (y,) = session.run(None, {session.get_inputs()[0].name: image})
                print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, max {y.max():.3g}")


if __name__ == "__main__":
    main()
