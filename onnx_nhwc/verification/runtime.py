"""Running models on onnxruntime."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
import onnx_ir as ir

from onnx_nhwc.files.models import Staged
from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.verification.feeds import Input

__all__ = ["Edit", "Model", "Session", "exposing", "operators", "products_saturate", "structure"]

Array = npt.NDArray[Any]
Model = onnx.ModelProto | ir.Model | str | os.PathLike[str]
Edit = Callable[[onnx.ModelProto], onnx.ModelProto]
"""Makes of a model, whose external data may not be loaded, the one that is run in its place."""

LAYOUTS = "onnx_nhwc.layouts"


class Session:
    """A model loaded by onnxruntime.

    Products of uint8 and int8 are computed exactly, as ``session.x64quantprecision`` asks for: x86
    CPUs without VNNI add pairs of them in 16 bits, which saturate. onnxruntime heeds it where it
    optimizes only, as an optimizer of its own makes uint8 of the constant int8 operands.

    Args:
        model: The model; it is left as it is.
        role: What messages call it.
        optimizations: Run it at onnxruntime's defaults; otherwise with all optimizations off.
        edit: Changes what is run.

    Raises:
        VerificationError: onnxruntime cannot load it.
    """

    def __init__(self, model: Model, role: str, optimizations: bool, edit: Edit | None = None) -> None:
        import onnxruntime as rt  # takes a while, and only this needs it

        self.role = role
        self._setting = " at its default optimizations" if optimizations else ""
        options = rt.SessionOptions()
        options.log_severity_level = 4  # errors are raised; they need not be printed as well
        options.add_session_config_entry("session.x64quantprecision", "1")
        if not optimizations:
            options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_DISABLE_ALL
        with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
            data = _loadable(model, Path(folder))
            if edit is not None:
                data = _edited(data, edit, options)
            if optimizations and (node := _ends_the_process(data)):
                raise VerificationError(
                    f"onnxruntime's optimiser would end the process on the {role} model: it moves the "
                    f"DequantizeLinear before '{node}', which a body of an If, Loop or Scan reads",
                    "Use --no-verify to convert it unverified.",
                )
            try:
                self._session = rt.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime's exceptions have no common base
                raise VerificationError(
                    f"onnxruntime cannot load the {role} model{self._setting}: {_message(error)}",
                    "Use --no-verify to convert it unverified.",
                ) from error
        self.inputs = [
            Input(entry.name, entry.type, tuple(entry.shape)) for entry in self._session.get_inputs()
        ]
        self.outputs = [entry.name for entry in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> list[Any]:
        try:
            results: list[Any] = self._session.run(names, dict(feeds))
        except Exception as error:
            raise VerificationError(
                f"onnxruntime cannot run the {self.role} model{self._setting}: {_message(error)}",
                "Use --no-verify to convert it unverified.",
            ) from error
        return results

    def layouts(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The permutations of inputs and outputs; a value of unknown rank has none, it is left as it is."""
        text = self._session.get_modelmeta().custom_metadata_map.get(LAYOUTS)
        if text is None:
            raise VerificationError(
                f"the {self.role} model does not state its layouts (metadata '{LAYOUTS}')",
                "Is it a model that onnx-nhwc wrote?",
            )
        try:
            stated = json.loads(text)
            return {
                side: {str(name): tuple(map(int, perm)) for name, perm in stated[side].items() if perm}
                for side in ("inputs", "outputs")
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VerificationError(f"the metadata '{LAYOUTS}' are damaged: {text:.80}") from error


def _message(error: Exception) -> str:
    """Return onnxruntime's message without its preamble, on one line."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= 400 else text[:400] + " ..."


def _loadable(model: Model, folder: Path) -> str | bytes:
    """Return what onnxruntime loads: a path, or the bytes of a model."""
    if isinstance(model, ir.Model):
        path = folder / "model.onnx"
        Staged(path, path).write(model)
        return str(path)
    if isinstance(model, onnx.ModelProto):
        try:
            data: bytes = model.SerializeToString()
        except Exception as error:  # which one depends on protobuf's implementation
            raise VerificationError(
                "a model of more than 2 GB can only be verified as a file",
                "Save it with external data, and give its path.",
            ) from error
        return data
    return os.fspath(model)


def _edited(data: str | bytes, edit: Edit, options: Any) -> bytes:
    if isinstance(data, str):
        folder = str(Path(data).resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    serialized: bytes = edit(_proto(data)).SerializeToString()
    return serialized


def exposing(names: Sequence[str]) -> Edit:
    """Return what puts these intermediate values among a model's outputs."""

    def edit(proto: onnx.ModelProto) -> onnx.ModelProto:
        present = {value.name for value in proto.graph.output}
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in present
        )
        return proto

    return edit


def structure(model: Model) -> onnx.ModelProto:
    """Return a model for reading: external data are not loaded."""
    if isinstance(model, onnx.ModelProto):
        return model
    with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
        return _proto(_loadable(model, Path(folder)))


def _proto(data: str | bytes) -> onnx.ModelProto:
    if isinstance(data, bytes):
        return onnx.load_from_string(data)
    return onnx.load(data, load_external_data=False)


def operators(model: Model) -> list[onnx.NodeProto]:
    """Return the nodes of the model's main graph, in topological order."""
    return list(structure(model).graph.node)


_MOVED = frozenset({"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""What onnxruntime's optimiser (QDQPropagation) moves a DequantizeLinear over."""


def _ends_the_process(data: str | bytes) -> str:
    """Name a node whose dequantised result a body reads, as no onnxruntime up to 1.32 survives it.

    Its optimiser looks up which input of an If, Loop or Scan that value is, and it is none. It leaves
    values with several scales alone.
    """
    text = data if isinstance(data, bytes) else Path(data).read_bytes()
    if b"DequantizeLinear" not in text:
        return ""
    model = _proto(data)
    if not any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        return ""
    waiting = [onnx.inliner.inline_local_functions(model).graph]
    several: set[str] = set()
    while waiting:
        graph = waiting.pop()
        several.update(tensor.name for tensor in graph.initializer if np.prod(tensor.dims) > 1)
        names: dict[str, str] = {}
        read: set[str] = set()
        for node in graph.node:
            through = node.op_type in _MOVED and node.input[0] in names
            if node.op_type == "DequantizeLinear" and node.input[1] not in several:
                names[node.output[0]] = ""
            elif through or (node.op_type == "Identity" and node.input[0] in names):
                names[node.output[0]] = names[node.input[0]] or (node.name or node.output[0]) * through
            bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            waiting += bodies
            read.update(name for body in bodies for name in _read(body))
        found = [node for name, node in names.items() if node and name in read]
        if found:
            return found[0]
    return ""


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    """The names that a graph's nodes, and those of bodies in it, read."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            yield from _read(attribute.g)


@cache
def products_saturate() -> bool:
    """Does onnxruntime, with optimizations off, add products of uint8 and int8 in 16 bits on this CPU?"""
    tensors = [onnx.numpy_helper.from_array(np.full((4, 1), 127, np.int8), "b")]
    a, y = (
        onnx.helper.make_tensor_value_info(*entry)
        for entry in (("a", onnx.TensorProto.UINT8, [1, 4]), ("y", onnx.TensorProto.INT32, [1, 1]))
    )
    product = onnx.helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    graph = onnx.helper.make_graph([product], "probe", [a], [y], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    (result,) = Session(model, "probing", False).run({"a": np.full((1, 4), 255, np.uint8)})
    return int(result[0, 0]) != 4 * 255 * 127
