"""Every layer of Keras that speaks of channels or of axes, from either layout to the other.

A model has each twice, on an input whose sizes are all different and on one whose sizes are all the
same, and is compared with the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import pytest

from onnx_nhwc.passes.errors import VerificationError
from tests.support.keras_layer_cases import CASES, CHANNELS, Case, Images
from tests.support.keras_models import keras, runs_channels_first
from tests.support.keras_pairs import ORDERS, agree, converted, randomised, transposes

pytestmark = pytest.mark.filterwarnings("ignore")


UNCOMPILED = {("UpSampling2D bicubic", "channels_first")}


def built(case: Case, order: str) -> Any:
    inputs, outputs = [], []
    for equal in (False, True):
        i = Images(order, case.spatial, equal, case.lead)
        x = keras.Input((*case.lead, *i.join(CHANNELS, i.sizes)), name=f"x_{i.suffix}")
        inputs.append(x)
        outputs.append(case.build(i, x))
    return keras.Model(inputs, outputs, name="model")


def configuration(layer: Any, rank: int) -> dict[str, Any]:
    """What a layer states of what it computes."""
    config = {k: v for k, v in layer.get_config().items() if "initializer" not in k and k != "activation"}
    if "axis" in config:
        axis = config["axis"]
        config["axis"] = sorted(a % rank for a in (axis if isinstance(axis, (list, tuple)) else [axis]))
    return config


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        if found[key] != value:
            yield f"{key} is {found[key]}, not {value}"


def refused(name: str, order: str) -> Any:
    """Without oneDNN, TensorFlow runs channels first what XLA compiles; another backend runs all."""
    alone = find_spec("jax") is None and find_spec("torch") is None
    if (name, order) not in UNCOMPILED or runs_channels_first() or not alone:
        return nullcontext()
    said = "it is channels first, which TensorFlow does not run here"
    return pytest.raises(VerificationError, match=rf"^\w+2D '.*': {said} \([^\n]*\)\. [^\n]*=1[^\n]*$")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CASES)
def test_layer(name: str, order: str) -> None:
    case = CASES[name]
    to = next(other for other in ORDERS if other != order)
    original = randomised(built(case, order))
    result = converted(original, to)
    twin = built(case, to)
    allowed = max(transposes(original), transposes(twin))
    with refused(name, order):
        agree(original, result, to, case.spatial, image=case.image, allowed=allowed)
    if case.kept:
        for layer in twin.layers:
            if not layer.name.startswith("layer"):
                continue
            found = next((one for one in result.layers if one.name == layer.name), None)
            assert found is not None, f"{layer.name} is gone"
            assert type(found) is type(layer)
            rank = len(layer.input[0].shape if isinstance(layer.input, list) else layer.input.shape)
            assert [*differences(configuration(layer, rank), configuration(found, rank))] == []
