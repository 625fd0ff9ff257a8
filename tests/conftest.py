"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("default", max_examples=100, derandomize=True, **_UNTIMED)
settings.register_profile("fuzz", max_examples=3000, **_UNTIMED)
settings.load_profile("default")
