"""Settings that all tests share."""

import os

from hypothesis import HealthCheck, settings

# Channels-first Keras models run on TensorFlow with oneDNN, which older CPUs have only if it is asked
# for, and before it starts. With =0 the tests take the ways that are left there.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("default", max_examples=100, derandomize=True, **_UNTIMED)
settings.register_profile("fuzz", max_examples=20_000, **_UNTIMED)
settings.load_profile("default")
