"""Run the benchmarks: ``python -m benchmarks [what ...]``; ``--help`` tells more."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

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
        seconds = options.seconds if "times" in parts else 0.0
        results["networks"] = []
        for network in all_networks():
            if re.search(options.only, network.name):
                _say(network.name)
                share = 1.0 if network.name in PROMISED else 0.4
                results["networks"].append(measure(network, seconds * share))
    if "conversion" in parts:
        _say("conversion")
        results["conversion"] = [
            against_floor(network, options.seconds)
            for network in exported()
            if network.name in PROMISED and re.search(options.only, network.name)
        ]
    if "scaling" in parts:
        _say("scaling")
        results["scaling"] = scaling()
    if "memory" in parts:
        _say("memory")
        results["memory"] = memory()
    if "quantised" in parts:
        results["quantised"] = []
        for network in exported():
            if network.name in NAMES and re.search(options.only, network.name):
                _say(f"quantised {network.name}")
                results["quantised"] += quantised(network, options.seconds)
    if "keras" in parts and find_spec("keras") is not None:
        _say("keras")
        from benchmarks.keras_latency import latency

        results["keras"] = [
            latency(network, options.seconds)
            for network in exported()
            if network.name in PROMISED and re.search(options.only, network.name)
        ]
    if "applications" in parts and find_spec("tf2onnx") is not None:
        _say("applications")
        from benchmarks.keras_applications import applications

        results["applications"] = applications(re.compile(options.only).search, _say)
    if "mutations" in parts:
        _say("mutations")
        from benchmarks.mutations import mutations

        results["mutations"] = mutations(re.compile(options.only).search, _say)
    path.write_text(json.dumps(results, indent=1) + "\n")
    text = markdown(results)
    path.with_suffix(".md").write_text(text)
    print(text)
    return 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
