"""Timing contenders against each other, and the peak memory of a process of its own."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def alternate(
    contenders: Mapping[str, Callable[[], object]], seconds: float, rounds: int = 5
) -> dict[str, list[float]]:
    """Seconds per call; the contenders take turns, so that each sees the same disturbances.

    At least ``rounds`` rounds, then as many as fit into ``seconds``. The first call of each is
    not counted. Whoever goes first changes from round to round.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    order = list(contenders)
    end = time.perf_counter() + seconds
    gc.collect()
    while len(times[order[0]]) < rounds or time.perf_counter() < end:
        for name in order:
            start = time.perf_counter()
            result = contenders[name]()
            times[name].append(time.perf_counter() - start)
            del result
        order = [*order[1:], order[0]]
        if rounds and min(map(len, times.values())) >= 2000:
            break
    return times


def ratio(times: Mapping[str, list[float]], name: str, base: str) -> float:
    """The median of the rounds' ratios: a round that was disturbed disturbs both."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))


def median(times: Mapping[str, list[float]], name: str) -> float:
    """The median in milliseconds."""
    return 1000 * statistics.median(times[name])


def peak_memory(code: str) -> int:
    """Peak resident bytes of a Python process that runs ``code``."""
    report = (
        "\nwith open('/proc/self/status') as status:\n"
        "    print([line.split()[1] for line in status if line.startswith('VmHWM')][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return 1024 * int(done.stdout.split()[-1])


def machine() -> dict[str, object]:
    """What the figures depend on."""
    packages = ["onnx", "onnxruntime", "onnx_ir", "numpy", "scipy"]
    packages += [name for name in ("keras", "tensorflow", "tf2onnx") if find_spec(name) is not None]
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": 1,
        **{name: version(name) for name in packages},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
