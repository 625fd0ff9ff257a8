"""Runs in a process of its own: loads models that it knows nothing of, and runs them."""

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import keras  # noqa: E402
import numpy as np  # noqa: E402


def difference(folder: Path, index: str, note: dict) -> str:
    model = keras.saving.load_model(folder / f"{index}.keras")
    if [op.name for op in model.operations] != note["layers"]:
        return "the layers have other names"
    arrays = np.load(folder / f"{index}.npz")
    values = [arrays[f"in {tensor.name}"] for tensor in model.inputs]
    results = model(values[0] if len(values) == 1 else values, training=False)
    if not isinstance(results, dict):
        results = {model.output_names[0]: results}
    for name in arrays.files:
        if name.startswith("out "):
            wanted = arrays[name]
            found = np.asarray(keras.ops.convert_to_numpy(results[name[4:]]))
            if found.shape != wanted.shape:
                return f"{name}: shape {found.shape}, not {wanted.shape}"
            error = np.abs(wanted.astype(float) - found).max(initial=0)
            if not error <= 1e-5 + 1e-4 * np.abs(wanted.astype(float)).max(initial=0):
                return f"{name}: differs by {error}"
    return ""


def main() -> None:
    assert "onnx_nhwc" not in sys.modules
    folder = Path(sys.argv[1])
    notes = json.loads((folder / "notes.json").read_text())
    report = {}
    for index, note in notes.items():
        try:
            report[note["name"]] = difference(folder, index, note)
        except Exception as error:
            report[note["name"]] = f"{type(error).__name__}: {error}"[:300]
    assert "onnx_nhwc" not in sys.modules
    print(json.dumps(report))


main()
