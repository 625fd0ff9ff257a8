"""Running models on onnxruntime."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnx_ir as ir

from onnx_nhwc.feeds import Input
from onnx_nhwc.files import Staged
from onnx_nhwc.passes.errors import VerificationError

__all__ = ["Model", "Session", "operators"]

Array = npt.NDArray[Any]
Model = onnx.ModelProto | ir.Model | str | os.PathLike[str]

LAYOUTS = "onnx_nhwc.layouts"


class Session:
    """A model loaded by onnxruntime."""

    def __init__(self, model: Model, role: str, optimizations: bool, exposed: Sequence[str] = ()) -> None:
        import onnxruntime as rt  # takes a while, and only this needs it

        self.role = role
        options = rt.SessionOptions()
        options.log_severity_level = 4  # errors are raised; they need not be printed as well
        if not optimizations:
            options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_DISABLE_ALL
        with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
            data = _loadable(model, Path(folder))
            if exposed:
                data = _exposing(data, exposed, options)
            try:
                self._session = rt.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime's exceptions have no common base
                raise VerificationError(
                    f"onnxruntime cannot load the {role} model: {_message(error)}",
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
                f"onnxruntime cannot run the {self.role} model: {_message(error)}",
                "Use --no-verify to convert it unverified.",
            ) from error
        return results

    def layouts(self) -> dict[str, dict[str, tuple[int, ...]]]:
        text = self._session.get_modelmeta().custom_metadata_map.get(LAYOUTS)
        if text is None:
            raise VerificationError(
                f"the {self.role} model does not state its layouts (metadata '{LAYOUTS}')",
                "Is it a model that onnx-nhwc wrote?",
            )
        try:
            stated = json.loads(text)
            return {
                side: {str(name): tuple(map(int, perm)) for name, perm in stated[side].items()}
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


def _exposing(data: str | bytes, names: Sequence[str], options: Any) -> bytes:
    """Return the model with these intermediate values among its outputs."""
    if isinstance(data, str):
        proto = onnx.load(data, load_external_data=False)
        folder = str(Path(data).resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    else:
        proto = onnx.load_from_string(data)
    present = {value.name for value in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in present
    )
    serialized: bytes = proto.SerializeToString()
    return serialized


def operators(model: Model) -> list[onnx.NodeProto]:
    """Return the nodes of the model's main graph, in topological order."""
    with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
        data = _loadable(model, Path(folder))
        if isinstance(data, bytes):
            return list(onnx.load_from_string(data).graph.node)
        return list(onnx.load(data, load_external_data=False).graph.node)
