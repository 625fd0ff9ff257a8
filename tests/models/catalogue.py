"""Every test model: how to load it, what to feed it, what is promised about it.

>>> from tests.models.catalogue import CASES, by_name                     # doctest: +SKIP
>>> case = by_name("torch/yolov5.dynamo.hw")                              # doctest: +SKIP
>>> model = case.load()                                                   # doctest: +SKIP
>>> for sizes in range(case.sizes):       # 2 for a dynamic model, else 1   # doctest: +SKIP
...     session.run(None, case.inputs(seed=1, sizes=sizes))

Needs onnx and numpy only. How the files came about: ``make_torch.py``, ``make_keras.py``,
``make_pitfalls.py`` beside this module.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from .weights import fill, narrow

HERE = Path(__file__).resolve().parent
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

# Networks in which the functions dialect leaves no Transpose, and how many Transposes are the
# network's own work and count apart: a channel shuffle, keys of an attention, sources of a mask
NO_TRANSPOSE = {
    "resnet_basic": 0,
    "resnet_bottleneck": 0,
    "resnext": 0,
    "mobilenetv2": 0,
    "mobilenetv3": 0,
    "efficientnet": 0,
    "densenet": 0,
    "shufflenetv1": 2,
    "shufflenetv2": 4,
    "regnet": 0,
    "mobileone": 0,
    "repvgg": 0,
    "vgg": 0,
    "convnext": 0,
    "convnextv2": 0,
    "unet_transposed": 0,
    "unet_bilinear": 0,
    "deeplab": 0,
    "super_resolution": 0,
    "style_transfer": 0,
    "grouped_transposed": 0,
    "hrnet": 0,
    "vae_decoder": 1,
    "waveform": 0,
    "tcn": 0,
    "separation": 1,
    "video": 0,
    "segment3d": 0,
}
# fill()'s gain and last, where activations fade or class scores saturate without
TUNED = {
    "light/shufflenet": (1.0, 0.1),
    "keras/resnet50.last": (1.1, 0.5),
    "keras/resnet50.first": (1.1, 0.5),
    "keras/mobilenetv2.last": (1.35, 1.0),
    "keras/mobilenetv2.first": (1.35, 1.0),
    "keras/efficientnetb0.last": (1.6, 1.5),
    "keras/efficientnetb0.first": (1.6, 1.5),
}
HEAVY = {"bvlc_alexnet", "vgg19", "zfnet512"}  # more than 200 MB of weights


@dataclass(frozen=True)
class Case:
    """One model.

    ``zero_transposes``: the functions dialect must leave none, but for ``own_transposes``, which
    are the network's own work. ``degenerate``: its output hardly depends on its input (constant
    weights). ``heavy``: takes seconds to load. ``sizes``: how many choices of input sizes
    :meth:`inputs` knows, more than one if the model is dynamic.
    """

    name: str
    family: str
    path: Path
    filled: bool = False
    zero_transposes: bool = False
    own_transposes: int = 0
    degenerate: bool = False
    heavy: bool = False
    scale: float = 1.0

    def load(self, dense: int | None = None) -> onnx.ModelProto:
        """The model, its weights filled in; ``dense`` is how wide its dense layers are at most."""
        model = onnx.load(self.path)
        if dense is not None:
            narrow(model, dense)
        if not self.filled:
            return model
        gain, last = TUNED.get(".".join(self.name.split(".")[:2]), (1.0, 1.0))
        return fill(model, 1, gain, last)

    @property
    def dynamic(self) -> bool:
        return self.sizes > 1

    @property
    def sizes(self) -> int:
        return max(len(shapes) for _, shapes in _signature(self.path).values())

    def inputs(self, seed: int = 0, sizes: int = 0) -> dict[str, NDArray[Any]]:
        """Seeded inputs; ``sizes`` counts the choices of sizes for a dynamic model."""
        rng = np.random.default_rng(seed)
        return {
            name: _random(rng, shapes[min(sizes, len(shapes) - 1)], dtype, self.scale)
            for name, (dtype, shapes) in _signature(self.path).items()
        }

    def __str__(self) -> str:
        return self.name


Signature = dict[str, tuple[np.dtype[Any], list[list[int]]]]


@cache
def _signature(path: Path) -> Signature:
    """Each input's type and the shapes to try."""
    model = onnx.load(path)
    known = {x.name for x in model.graph.initializer}
    values = [x for x in model.graph.input if x.name not in known]
    notes = {x.key: x.value for x in model.metadata_props}
    out = {}
    for value in values:
        dims = value.type.tensor_type.shape.dim
        if "tests.examples" in notes:
            shapes = json.loads(notes["tests.examples"])[value.name]
        elif all(dim.HasField("dim_value") for dim in dims):
            shapes = [[dim.dim_value for dim in dims]]
        else:  # the static variant of the same network knows the sizes
            parts = path.name.split(".")
            base = _signature(path.with_name(".".join([*parts[:2], "static", "onnx"])))
            small = base[value.name][1][0]
            known_axis = [dim.HasField("dim_value") for dim in dims]
            grown = [
                size if fixed else 3 if axis == 0 else size + 8
                for axis, (size, fixed) in enumerate(zip(small, known_axis, strict=True))
            ]
            shapes = [small, grown]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        out[value.name] = (dtype, shapes)
    return out


def _random(rng: np.random.Generator, shape: list[int], dtype: np.dtype[Any], scale: float) -> NDArray[Any]:
    """Noise over slopes along every axis, so that means differ between seeds and places."""
    if dtype.kind in "iu":
        return rng.integers(0, 200, shape).astype(dtype)
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    x = rng.standard_normal(shape)
    for axis, size in enumerate(shape):
        walk = np.cumsum(rng.standard_normal(size)) / max(size, 1) ** 0.5
        x += walk.reshape([size if other == axis else 1 for other in range(len(shape))])
    return np.asarray(x * scale).astype(dtype)


def _light() -> list[Case]:
    """The nine networks of the onnx package: random weights, and as shipped."""
    cases = []
    for path in sorted(LIGHT.glob("light_*.onnx")):
        name = path.stem.removeprefix("light_")
        more: dict[str, Any] = {
            "family": "light",
            "path": path,
            "zero_transposes": True,
            "own_transposes": 16 if name == "shufflenet" else 0,
        }
        cases.append(Case(f"light/{name}", filled=True, heavy=name in HEAVY, **more))
        cases.append(Case(f"light/{name}.shipped", degenerate=True, heavy=name in HEAVY, **more))
    return cases


def _committed(family: str) -> list[Case]:
    """The files of one folder."""
    cases = []
    for path in sorted((HERE / family).glob("*.onnx")):
        network = path.name.split(".")[0]
        own = NO_TRANSPOSE.get(network)
        cases.append(
            Case(
                f"{family}/{path.stem}",
                family,
                path,
                filled=family == "keras",
                zero_transposes=family == "keras" or (family == "torch" and own is not None),
                own_transposes=(own or 0) if family == "torch" else 0,
                # EfficientNet of Keras divides its input by 255
                scale=60.0 if family == "keras" and network.startswith("efficientnet") else 1.0,
            )
        )
    return cases


CASES: list[Case] = [
    *_light(),
    *_committed("torch"),
    *_committed("keras"),
    *_committed("pitfalls"),
]


def by_name(name: str) -> Case:
    """The case of that name, such as ``torch/vit.ts.batch``."""
    return next(case for case in CASES if case.name == name)
