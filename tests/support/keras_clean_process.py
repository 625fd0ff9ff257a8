"""Runs in a process of its own: loads models that it knows nothing of, and runs them.

Its arguments are the folder of the models and the folder of packages that it may import.
"""

import json
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

FOLDER, PACKAGES = map(Path, sys.argv[1:])
sys.path.append(str(PACKAGES))
warnings.simplefilter("ignore")
import keras  # noqa: E402
import numpy as np  # noqa: E402


def difference(index: str, note: dict) -> str:
    """What is wrong with a model; empty if nothing."""
    model = keras.saving.load_model(FOLDER / f"{index}.keras", safe_mode=True)
    if [op.name for op in model.operations] != note["layers"]:
        return "the layers have other names"
    arrays = np.load(FOLDER / f"{index}.npz")
    found = (wrong(model, arrays, trial) for trial in note["trials"])
    return "; ".join(filter(None, found))


def wrong(model: keras.Model, arrays: dict, trial: str) -> str:
    values = [arrays[f"{trial} in {tensor.name}"] for tensor in model.inputs]
    results = model(values[0] if len(values) == 1 else values, training=False)
    if not isinstance(results, dict):
        results = {model.output_names[0]: results}
    for name, result in results.items():
        wanted = arrays[f"{trial} out {name}"]
        found = np.asarray(keras.ops.convert_to_numpy(result))
        if found.shape != wanted.shape:
            return f"{trial}, {name}: shape {found.shape}, not {wanted.shape}"
        error = np.abs(wanted.astype(float) - found).max(initial=0)
        if not error <= 1e-5 + 1e-4 * np.abs(wanted.astype(float)).max(initial=0):
            return f"{trial}, {name}: differs by {error}"
    return ""


def main() -> None:
    assert find_spec("onnx_nhwc") is None
    assert find_spec("onnx") is None
    report = {}
    for index, note in json.loads((FOLDER / "notes.json").read_text()).items():
        start = time.perf_counter()
        try:
            report[note["name"]] = difference(index, note)
        except Exception as error:
            report[note["name"]] = f"{type(error).__name__}: {error}"[:300]
        seconds = time.perf_counter() - start
        print(f"{note['name']} {seconds:.1f} s {report[note['name']]}", file=sys.stderr, flush=True)
    print(json.dumps(report))


main()
