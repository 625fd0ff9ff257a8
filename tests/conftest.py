"""Settings that all tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.models.catalogue import Case

# Channels-first Keras models run on TensorFlow with oneDNN, which older CPUs have only if it is asked
# for, and before it starts. With =0 the tests take the ways that are left there.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("default", max_examples=100, derandomize=True, **_UNTIMED)
settings.register_profile("fuzz", max_examples=20_000, **_UNTIMED)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one case of the catalogue stand together, so that they share what it is converted to."""
    first: dict[object, int] = {}

    def place(entry: tuple[int, pytest.Item]) -> int:
        position, item = entry
        parameters = getattr(item, "callspec", None)
        case = parameters.params.get("case") if parameters is not None else None
        return first.setdefault((item.path, case.name) if isinstance(case, Case) else item, position)

    items[:] = [item for _, item in sorted(enumerate(items), key=place)]
