"""Reading and writing the HDF5 files of Keras, with h5py alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onnx_nhwc.legacy.upgrade import is_keras1
from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError

if TYPE_CHECKING:
    import h5py

__all__ = ["Group", "LegacyFile", "opened", "write_keras3", "write_legacy"]

Array = npt.NDArray[Any]

_LIMIT = 64512  # bytes that fit into the header of an HDF5 object; Keras splits longer attributes
_WEIGHTS = "model_weights"


@dataclass(frozen=True)
class Group:
    """The weights of one layer (or of a model within the model), by their names in the file."""

    name: str
    weights: Mapping[str, Array]


@dataclass(frozen=True)
class LegacyFile:
    """An opened file of Keras 1 or 2.

    Attributes:
        path: Where it lies.
        backend: The backend that it was written with; None if it does not say.
        keras_version: The version that it was written with; None if it does not say.
        config: The architecture, if it holds the whole model.
        names: The layers, in the model's order, those without weights too.
    """

    path: Path
    backend: str | None
    keras_version: str | None
    config: Mapping[str, Any] | None
    names: Sequence[str]
    root: h5py.Group

    @property
    def version(self) -> str:
        """The version that wrote it, as far as it can be told; files of Keras 1 often do not say."""
        spoken = self.config is None or is_keras1(self.config)
        return self.keras_version or ("1" if spoken else "2")

    def groups(self) -> Iterator[Group]:
        """Read layer by layer, so that only one is in memory."""
        for name in self.names:
            group = self.root[name]
            names = _strings(group.attrs, "weight_names")
            yield Group(name, {weight: np.asarray(group[weight]) for weight in names})


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ConversionError(
            "reading HDF5 files takes h5py, which is not installed", "pip install h5py"
        ) from error
    return h5py


@contextmanager
def opened(path: Path) -> Iterator[LegacyFile]:
    """Open a file of Keras 1 or 2 for reading.

    Raises:
        UsageError: There is no such file.
        FileError: It is no HDF5 file, or not one of Keras 1 or 2.
    """
    if not path.is_file():
        raise UsageError(f"the file '{path}' does not exist")
    h5py = _h5py()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileError(f"'{path}' is not an HDF5 file, or it is damaged") from error
    with file:
        root = file.get(_WEIGHTS, file)
        _check_form(file, root, path)
        config = _text(file.attrs, "model_config")
        yield LegacyFile(
            path,
            _text(root.attrs, "backend") or _text(file.attrs, "backend"),
            _text(root.attrs, "keras_version") or _text(file.attrs, "keras_version"),
            None if config is None else json.loads(config),
            _strings(root.attrs, "layer_names"),
            root,
        )


def _check_form(file: h5py.File, root: h5py.Group, path: Path) -> None:
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        return
    if "layers" in file or "_layer_checkpoint_dependencies" in file:
        raise FileError(
            f"'{path}' was written by Keras 3, which knows neither Theano nor its kernels",
            "It needs no conversion of kernels; convert the model instead.",
        )
    if "nb_layers" in root.attrs:
        raise FileError(
            f"'{path}' was written by a Keras before 1.0, whose files name no layers",
            "Load it with Keras 1 and save it again.",
        )
    raise FileError(f"'{path}' holds no weights of a Keras model: it lists no layers")


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)


def _strings(attributes: Mapping[str, Any], name: str) -> list[str]:
    """Read a list of names; a long one is split into ``name0``, ``name1``, ..."""
    found: list[Any] = list(attributes.get(name, ()))
    part = 0
    while name not in attributes and f"{name}{part}" in attributes:
        found += list(attributes[f"{name}{part}"])
        part += 1
    return [value.decode() if isinstance(value, bytes) else str(value) for value in found]


def _put_strings(attributes: Any, name: str, values: Sequence[str]) -> None:
    data = np.asarray([value.encode() for value in values])
    parts = 1
    while any(part.nbytes > _LIMIT for part in np.array_split(data, parts)):
        parts += 1
    if parts == 1:
        attributes[name] = data if len(values) else np.zeros(0, "S1")
        return
    for i, part in enumerate(np.array_split(data, parts)):
        attributes[f"{name}{i}"] = part


def write_legacy(
    path: Path,
    source: LegacyFile,
    groups: Iterator[Group],
    attributes: Mapping[str, str],
    config: Mapping[str, Any] | None,
) -> None:
    """Write a file as Keras 2 does, which Keras 3 reads too; with ``config`` a whole model."""
    with _h5py().File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            root = file.create_group(_WEIGHTS)
        _put_strings(root.attrs, "layer_names", source.names)
        for target in {file.id: file, root.id: root}.values():
            for name, text in attributes.items():
                target.attrs[name] = text.encode()
        for group in groups:
            where = root.create_group(group.name)
            _put_strings(where.attrs, "weight_names", list(group.weights))
            for name, value in group.weights.items():
                where.create_dataset(name, data=np.ascontiguousarray(value))


def write_keras3(path: Path, groups: Iterator[tuple[str, str, Sequence[Array]]]) -> None:
    """Write a ``.weights.h5`` file as Keras 3 does: (where, name, weights) of each layer."""
    with _h5py().File(path, "w") as file:
        file.create_group("vars")
        for where, name, weights in groups:
            layer = file.require_group(where)
            layer.attrs["name"] = name
            store = layer.require_group("vars")
            for i, value in enumerate(weights):
                store.create_dataset(str(i), data=np.ascontiguousarray(value))
