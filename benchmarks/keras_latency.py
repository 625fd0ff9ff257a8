"""Times a network as a Keras model and as a LiteRT file against its source on onnxruntime."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as rt

import onnx_nhwc
from benchmarks.measure import alternate, median, ratio
from benchmarks.networks import Network

Row = dict[str, Any]


def latency(network: Network, seconds: float) -> Row:
    """Milliseconds on one thread, and the ratio to onnxruntime, all optimisations on.

    Keras: TensorFlow backend, the model as a compiled function of one sample.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    inputs = network.inputs()
    ((name, image),) = inputs.items()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.onnx"
        onnx.save(network.load(), source)
        start = time.perf_counter()
        report = onnx_nhwc.convert_file(source, Path(folder) / "out.keras")
        row: Row = {"network": network.name, "export_seconds": time.perf_counter() - start}
        row["export_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        onnx_nhwc.convert_file(source, Path(folder) / "out.tflite")
        stored = np.ascontiguousarray(np.transpose(image, report.summary.inputs[name]))
        contenders = {
            "onnxruntime": _onnxruntime(source, inputs),
            "keras": _keras(Path(folder) / "out.keras", stored),
            "litert": _litert(Path(folder) / "out.tflite", stored),
        }
        times = alternate(contenders, seconds)
    for contender in contenders:
        row[contender] = median(times, contender)
        row[f"{contender}_ratio"] = ratio(times, contender, "onnxruntime")
    return row


def _onnxruntime(path: Path, inputs: dict[str, Any]) -> Any:
    options = rt.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = rt.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def _keras(path: Path, image: Any) -> Any:
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(path)
    fixed = tf.TensorSpec(image.shape, tf.float32)
    function = tf.function(lambda x: model(x, training=False), input_signature=[fixed])
    tensor = tf.constant(image)
    return lambda: function(tensor)


def _litert(path: Path, image: Any) -> Any:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]

    def run() -> None:
        interpreter.set_tensor(index, image)
        interpreter.invoke()

    return run
