"""Run the benchmarks: ``python -m benchmarks [what ...]``; ``--help`` tells more."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.conversion import against_floor, memory, scaling
from benchmarks.inference import measure
from benchmarks.measure import machine
from benchmarks.networks import PROMISED, all_networks, exported
from benchmarks.quantised import NAMES, quantised
from benchmarks.tables import Results, markdown

OUT = Path(__file__).resolve().parent / "results"
PARTS = (
    "counts",
    "times",
    "conversion",
    "scaling",
    "memory",
    "quantised",
    "keras",
    "applications",
    "mutations",
)


def main() -> int:
    """Measure, print, and write ``results/results.md`` and ``results/results.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="what", help=f"{', '.join(PARTS)}; all if none")
    parser.add_argument("--only", default="", metavar="REGEX", help="only networks of this name")
    parser.add_argument("--seconds", type=float, default=20, help="to time one network for")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Choose from {', '.join(PARTS)}")
    parts = options.parts or list(PARTS)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.json"
    results: Results = json.loads(path.read_text()) if options.parts and path.exists() else {}
    today = datetime.datetime.now(datetime.UTC).date()
    results |= {"date": str(today), "machine": machine()}
    if {"counts", "times"} & set(parts):
        results["networks"] = _networks(options, timed="times" in parts)
    for part in parts:
        if part in _MEASURES:
            _say(part)
            measured = _MEASURES[part](options)
            if measured is not None:
                results[part] = measured
    path.write_text(json.dumps(results, indent=1) + "\n")
    text = markdown(results)
    path.with_suffix(".md").write_text(text)
    print(text)
    return 0


def _networks(options: argparse.Namespace, timed: bool) -> list[Any]:
    measured = []
    for network in all_networks():
        if re.search(options.only, network.name):
            _say(network.name)
            share = 1.0 if network.name in PROMISED else 0.4
            measured.append(measure(network, options.seconds * share if timed else 0.0))
    return measured


def _promised(options: argparse.Namespace) -> list[Any]:
    return [n for n in exported() if n.name in PROMISED and re.search(options.only, n.name)]


def _conversion(options: argparse.Namespace) -> list[Any]:
    return [against_floor(network, options.seconds) for network in _promised(options)]


def _quantised(options: argparse.Namespace) -> list[Any]:
    measured = []
    for network in exported():
        if network.name in NAMES and re.search(options.only, network.name):
            _say(f"quantised {network.name}")
            measured += quantised(network, options.seconds)
    return measured


def _keras(options: argparse.Namespace) -> list[Any] | None:
    if find_spec("keras") is None:
        return None
    from benchmarks.keras_latency import latency

    return [latency(network, options.seconds) for network in _promised(options)]


def _applications(options: argparse.Namespace) -> Any:
    if find_spec("tf2onnx") is None:
        return None
    from benchmarks.keras_applications import applications

    return applications(re.compile(options.only).search, _say)


def _mutations(options: argparse.Namespace) -> Any:
    from benchmarks.mutations import mutations

    return mutations(re.compile(options.only).search, _say)


_MEASURES: dict[str, Callable[[argparse.Namespace], Any]] = {
    "conversion": _conversion,
    "scaling": lambda options: scaling(),
    "memory": lambda options: memory(),
    "quantised": _quantised,
    "keras": _keras,
    "applications": _applications,
    "mutations": _mutations,
}
"""What is measured besides counts and times of networks; None if something is not installed."""


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
