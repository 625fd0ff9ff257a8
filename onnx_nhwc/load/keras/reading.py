"""Reading Keras models, through tf2onnx: ``.keras``, ``.h5``, a SavedModel folder, a model in memory."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import onnx
import onnx_ir as ir

from onnx_nhwc import files
from onnx_nhwc.legacy.models import readable
from onnx_nhwc.legacy.upgrade import HARD_SIGMOID
from onnx_nhwc.load.keras.image_formats import ImageFormats
from onnx_nhwc.load.keras.layer_names import name_nodes
from onnx_nhwc.load.keras.marking import DOMAIN, marked, restore
from onnx_nhwc.load.keras.surroundings import untouched
from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError
from onnx_nhwc.passes.plausible import warn_if_odd

__all__ = [
    "END",
    "from_keras",
    "from_saved_model",
    "inputs_of",
    "quiet",
    "read",
    "traced",
    "warn_of_odd_inputs",
]

_OPSET = 17
END = "onnx_nhwc_output_"
_IN, _OUT = "onnx_nhwc_input_{}", END + "{}"


def read(path: Path) -> ir.Model:
    """Read a ``.keras`` or ``.h5`` file or a SavedModel folder as an ONNX model.

    Raises:
        UsageError: There is no file of that name, or Keras does not run on TensorFlow.
        FileError: It cannot be read.
        ConversionError: ONNX cannot express it.
    """
    if not path.exists():
        raise UsageError(f"'{path}' does not exist")
    if path.is_dir() and path.suffix.lower() not in (".keras", ".h5"):
        return from_saved_model(path)
    if path.is_dir():
        raise UsageError(f"'{path}' is not a file")
    if path.stat().st_size == 0:
        raise FileError(f"'{path}' is empty")
    _backend()
    with readable(path) if path.suffix.lower() == ".h5" else nullcontext(path) as source, quiet():
        try:
            model = keras.saving.load_model(source, _OBJECTS, compile=False)
        except Exception as error:  # Keras raises what it likes
            raise FileError(f"'{path}' cannot be read: {_line(error)}") from error
    return from_keras(model)


def _hard_sigmoid(x: Any) -> Any:
    return keras.ops.clip(x / 5 + 0.5, 0, 1)


_OBJECTS = {HARD_SIGMOID: _hard_sigmoid}


def from_keras(model: Any) -> ir.Model:
    """Return what a Keras model computes as an ONNX model; inputs and outputs keep their names.

    Every BatchNormalization stays one, and nodes are called like the layers that they come from.

    Raises:
        UsageError: Keras does not run on TensorFlow.
        ConversionError: The model's inputs are not known, or ONNX cannot express some operation.
    """
    result, ends = traced(model)
    warn_of_odd_inputs(model)
    names = _output_names(model, ends)
    _rename(result, [(v.name or "").removesuffix(":0") for v in result.graph.inputs], names)
    return result


def traced(model: Any) -> tuple[ir.Model, Any]:
    """What :func:`from_keras` returns, but with numbered outputs, and how its outputs are nested."""
    _backend()
    if not isinstance(model, keras.Model):
        raise UsageError(f"a Keras model is wanted, not a {type(model).__name__}")
    inputs, structure = inputs_of(model)
    if not getattr(model, "inputs", None):  # a layer of it may not have its weights yet
        with quiet():
            model(keras.Input(batch_shape=inputs[0][1], dtype=inputs[0][2]))
    layers = list(model._flatten_layers(include_self=False))
    ends: list[Any] = []

    def call(*tensors: Any) -> dict[str, Any]:
        results = model(keras.tree.pack_sequence_as(structure, tensors), training=False)
        ends.append(keras.tree.map_structure(lambda _: 0, results))
        return _numbered(keras.tree.flatten(results))

    with quiet(), marked(layers) as marks:
        result = _convert(call, [(shape, dtype) for _, shape, dtype in inputs], model.name)
    restore(result, marks)
    _refuse_unknown(result)
    name_nodes(result, layers)
    _rename(
        result, [name for name, _, _ in inputs], [_OUT.format(i) for i in range(len(result.graph.outputs))]
    )
    result.graph.name = model.name
    return result, ends[-1]


def from_saved_model(path: Path) -> ir.Model:
    """Return the serving signature of a SavedModel folder as an ONNX model.

    Raises:
        FileError: It is no SavedModel, or has no signature.
        ConversionError: ONNX cannot express some operation.
    """
    if not (path / "saved_model.pb").is_file():
        raise FileError(f"'{path}' is not a SavedModel: it holds no saved_model.pb")
    with quiet():
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(os.fspath(path))
        except Exception as error:  # TensorFlow raises what it likes
            raise FileError(f"'{path}' cannot be read: {_line(error)}") from error
        signatures = dict(loaded.signatures)
        signature = signatures.get("serving_default") or next(iter(signatures.values()), None)
        if signature is None:
            raise FileError(f"'{path}' has no signature", "Save it with one: model.export(folder).")
        inputs = signature.structured_input_signature[1]
        names, ends = list(inputs), list(signature.structured_outputs)

        def call(*tensors: Any) -> dict[str, Any]:
            results = signature(**dict(zip(names, tensors, strict=True)))
            return _numbered([results[name] for name in ends])

        sizes = [(inputs[name].shape, inputs[name].dtype) for name in names]
        result = _convert(call, sizes, path.name)
    _refuse_unknown(result)
    _rename(result, names, ends)
    return result


# ------------------------------------------------------------------------------------ the model


def warn_of_odd_inputs(model: Any) -> None:
    """Warn of inputs whose shapes contradict what the layers that read them state."""
    formats = ImageFormats(model)
    given = getattr(model, "inputs", None)
    for i, (name, shape, _) in enumerate(inputs_of(model)[0]):
        stated = formats.of(given[i] if given else keras.KerasTensor(shape, name=name))
        if len(stated) == 1:
            data_format, spatial = stated.pop()
            axes = "DHW"[-spatial:]
            letters = f"C{axes}" if data_format == "channels_first" else f"{axes}C"
            whole = f"N{letters}"[-len(shape) :]
            warn_if_odd(f"input '{name}'", shape[-len(whole) :], whole)


def inputs_of(model: Any) -> tuple[list[tuple[str, Any, str]], Any]:
    """Name, shape and type of each input, and how they are nested."""
    found = getattr(model, "inputs", None)
    if found:
        structure = found[0] if isinstance(model, keras.Sequential) else model.input
        return [(_input_name(tensor), tensor.shape, tensor.dtype) for tensor in found], structure
    shapes = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if len(shapes) == 1 and all(size is None or isinstance(size, int) for size in shapes[0] or (None,)):
        return [("input", tuple(shapes[0]), model.compute_dtype)], 0
    raise ConversionError(
        "the inputs of the model are not known",
        "Make it functional first: x = keras.Input(...); keras.Model(x, model(x)).",
        f"{type(model).__name__} '{model.name}'",
    )


def _input_name(tensor: Any) -> str:
    operation = tensor._keras_history.operation
    return str(operation.name if isinstance(operation, keras.layers.InputLayer) else tensor.name)


def _output_names(model: Any, results: Any) -> list[str]:
    """The names of the outputs; several of one layer have its name all of them."""
    if isinstance(results, dict) and all(not isinstance(v, (dict, list, tuple)) for v in results.values()):
        return sorted(results)
    count = len(keras.tree.flatten(results))
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != count:
        last = model.layers[-1].name if isinstance(model, keras.Sequential) else "output"
        names = [last] * count
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]


def _numbered(results: Sequence[Any]) -> dict[str, Any]:
    import tensorflow as tf

    # outputs of their own, also where one tensor is returned twice, or is an input
    return {_OUT.format(i): tf.identity(x, name=_OUT.format(i)) for i, x in enumerate(results)}


def _convert(call: Any, inputs: Sequence[tuple[Any, Any]], name: str) -> ir.Model:
    """Trace a function and convert it."""
    import tensorflow as tf
    import tf2onnx

    from onnx_nhwc.load.keras.marking import handlers

    specs = [tf.TensorSpec(shape, dtype, name=_IN.format(i)) for i, (shape, dtype) in enumerate(inputs)]
    try:
        proto, _ = tf2onnx.convert.from_function(
            tf.function(call, autograph=False),
            input_signature=specs,
            opset=_OPSET,
            custom_op_handlers=handlers(),
            extra_opset=[onnx.helper.make_opsetid(DOMAIN, 1)],
        )
    except ConversionError:
        raise
    except Exception as error:  # so do TensorFlow and tf2onnx
        raise ConversionError(f"'{name}' cannot be converted to ONNX: {_line(error)}") from error
    wanted = {spec.name for spec in specs}
    for value in list(proto.graph.input):  # tf2onnx leaves constants that it has folded
        if value.name.removesuffix(":0") not in wanted:
            proto.graph.input.remove(value)
    for value in proto.graph.value_info:  # it names every unknown size anew
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
    return files.from_proto(proto)


def _refuse_unknown(model: ir.Model) -> None:
    """Raise a ConversionError that names the operations that tf2onnx has left as they were."""
    unknown: dict[str, str] = {}
    for node in model.graph.all_nodes():
        try:
            onnx.defs.get_schema(node.op_type, _OPSET, "" if node.domain == "ai.onnx" else node.domain)
        except onnx.defs.SchemaError:
            unknown.setdefault(node.op_type, node.name or "")
    if unknown:
        listed = ", ".join(f"{op_type} ('{name}')" for op_type, name in unknown.items())
        raise ConversionError(f"ONNX has no form for these operations of TensorFlow: {listed}")


def _rename(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    graph = model.graph
    found = {(value.name or "").removesuffix(":0"): value for value in graph.inputs}
    chosen = [
        (found[key], name) for i, name in enumerate(inputs) for key in (_IN.format(i), name) if key in found
    ]
    taken = {name for _, name in chosen}
    for value, name in zip(graph.outputs, outputs, strict=True):
        chosen.append((value, f"{name}_output" if name in taken else name))
        taken.add(chosen[-1][1])
    own = {value for value, _ in chosen}
    everything = [*graph.initializers.values(), *(v for node in graph.all_nodes() for v in node.outputs)]
    for value in everything:
        if value.name in taken and value not in own:
            value.name = f"{value.name}_inner"
    for value, name in chosen:
        value.name = name


# ------------------------------------------------------------------------------------- the world


def _backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"Keras models are read through TensorFlow, and Keras runs on {keras.backend.backend()}",
            "Set KERAS_BACKEND=tensorflow.",
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Let TensorFlow and tf2onnx say nothing, and leave no trace in the process."""
    logger, level = logging.getLogger("tf2onnx"), "TF_CPP_MIN_LOG_LEVEL"
    before, said = os.environ.get(level), logger.level
    os.environ.setdefault(level, "3")
    with warnings.catch_warnings(), untouched():
        warnings.simplefilter("ignore")
        try:
            import tf2onnx  # noqa: F401  which sets the variable above and a level of its own

            logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            logger.setLevel(said)
            if before is None:
                os.environ.pop(level, None)
            else:
                os.environ[level] = before


def _line(error: Exception) -> str:
    """The first line of what an exception says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
