"""Running a Keras model on what this machine has for it.

TensorFlow runs channels-first operators on a CPU only with oneDNN, which it switches on by itself on
newer CPUs, or where XLA compiles the model. Whether it has oneDNN is settled when it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from onnx_nhwc.export.values import Array
from onnx_nhwc.extra import ONEDNN
from onnx_nhwc.passes.errors import VerificationError

__all__ = ["WITH_ONEDNN", "Executor", "has_channels_first", "runs_channels_first", "runs_compiled_only"]

_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
WITH_ONEDNN = f"TensorFlow with oneDNN ({ONEDNN}=1)"
_COMPILED = f"TensorFlow compiled with XLA (jit_compile=True), otherwise only with oneDNN ({ONEDNN}=1)"
_REMEDY = (
    f"Let TensorFlow have oneDNN ({ONEDNN}=1), or install another backend of Keras (pip install jax), "
    "or do not compare (--no-verify)."
)

_PROGRAM = """
import sys
import keras
import numpy as np

folder = sys.argv[1]
with np.load(folder + "/inputs.npz") as stored:
    inputs = [stored[name] for name in stored.files]
model = keras.saving.load_model(folder + "/model.keras", compile=False)
results = model(inputs if len(inputs) > 1 else inputs[0], training=False)
results = [keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(results)]
np.savez(folder + "/outputs.npz", **{str(index): value for index, value in enumerate(results)})
"""

Way = tuple[str, Callable[[Any], Any]]


class Executor:
    """A Keras model that is called like the model, and runs where the model can run.

    Args:
        model: The model.

    Attributes:
        place: What the last call ran on, if the model has channels-first operators; else empty.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.place = ""
        self._compiled: Any = None

    @property
    def inputs(self) -> list[Any]:
        """The model's inputs."""
        return list(self.model.inputs)

    def __call__(self, inputs: Any, *, training: bool = False) -> Any:
        """Return the model's outputs for ``inputs``, nested as the model nests both.

        Raises:
            VerificationError: It cannot be run here.
        """
        failures: list[str] = []
        for place, run in self._ways(training):
            try:
                results = run(inputs)
            except Exception as error:  # each backend raises what it likes
                failures.append(_reason(error))
                continue
            self.place = place
            return results
        backend = _NAMES[keras.backend.backend()]
        if has_channels_first(self.model) and keras.backend.backend() == "tensorflow":
            where = (
                f"{_channels_first(self.model)[0]}: it is channels first, which {backend} does not run here"
            )
            raise VerificationError(f"{where} ({failures[-1]})", _REMEDY)
        remedy = "Run it on another backend of Keras (KERAS_BACKEND), or do not compare (--no-verify)."
        raise VerificationError(f"the Keras model cannot be run on {backend}: {failures[-1]}", remedy)

    def _ways(self, training: bool) -> Iterator[Way]:
        def here(inputs: Any) -> Any:
            return self.model(inputs, training=training)

        if not has_channels_first(self.model):
            yield "", here
            return
        if keras.backend.backend() != "tensorflow":
            yield f"{_NAMES[keras.backend.backend()]}; on {WITH_ONEDNN}", here
            return
        if runs_channels_first():
            yield _device(), here
        elif os.environ.get(ONEDNN, "1").lower() not in ("0", "false") and not training:
            yield WITH_ONEDNN, partial(self._apart, {ONEDNN: "1"})
        yield _COMPILED, partial(self._by_xla, training)
        for backend in ("jax", "torch"):
            if find_spec(backend) is not None and not training:
                environment = {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
                place = f"{_NAMES[backend]} (KERAS_BACKEND={backend}); on {WITH_ONEDNN}"
                yield place, partial(self._apart, environment)

    def _by_xla(self, training: bool, inputs: Any) -> Any:
        import tensorflow as tf

        if self._compiled is None:
            self._compiled = tf.function(self.model, jit_compile=True, autograph=False)
        given = keras.tree.map_structure(tf.convert_to_tensor, inputs)
        return self._compiled(given, training=training)

    def _apart(self, environment: dict[str, str], inputs: Any) -> Any:
        """What the model computes in a process of its own: this one's TensorFlow is running already."""
        with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
            self.model.save(Path(folder, "model.keras"))
            _store(Path(folder, "inputs.npz"), inputs)
            path = os.pathsep.join(entry for entry in sys.path if entry)
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, folder],
                env={**os.environ, "PYTHONPATH": path, **environment},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError([*done.stderr.splitlines(), f"exit status {done.returncode}"][-2])
            with np.load(Path(folder, "outputs.npz")) as stored:
                results: list[Array] = [stored[str(index)] for index in range(len(stored))]
        return keras.tree.pack_sequence_as(self.model.output, results)


def _store(path: Path, inputs: Any) -> None:
    np.savez(path, *(np.asarray(value) for value in keras.tree.flatten(inputs)))


def runs_compiled_only(model: Any) -> bool:
    """Does TensorFlow, as it was started, run a model only where XLA compiles it?"""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    return on_tensorflow and has_channels_first(model) and not runs_channels_first()


def has_channels_first(model: Any) -> bool:
    """Has a model operators that are channels first?"""
    return bool(_channels_first(model))


def _channels_first(model: Any) -> list[str]:
    """The operators of a model, and of the models in it, that are channels first."""
    operations = [*model._flatten_layers(include_self=False), *getattr(model, "operations", [])]
    return [
        f"{type(operation).__name__} '{operation.name}'"
        for operation in operations
        if getattr(operation, "data_format", "") == "channels_first"
    ]


@cache
def runs_channels_first() -> bool:
    """Does TensorFlow, as it was started, run channels-first operators? The smallest one tells."""
    import tensorflow as tf

    one = tf.zeros((1, 1, 1, 1))
    try:
        tf.nn.conv2d(one, one, 1, "VALID", data_format="NCHW")
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        return False
    return True


def _device() -> str:
    import tensorflow as tf

    return "TensorFlow on a GPU" if tf.config.list_physical_devices("GPU") else WITH_ONEDNN


def _reason(error: Exception) -> str:
    """What a backend says, without where it says it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception encountered", "File ", "Detected at"))]
    return f"{type(error).__name__}: {(said or lines or ['no reason given'])[0][:300]}"
