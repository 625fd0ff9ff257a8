"""Write the hand-made graphs of ``handmade/`` to ``pitfalls/*.onnx`` and try each.

::

    python tests/models/make_pitfalls.py              # everything
    python tests/models/make_pitfalls.py yolo_head    # some

Files are ``<graph>.<sizes>.o<opset>[.<dynamic axes>].onnx``; sizes are those of
``handmade.builder.SIZES``: all distinct, all equal, or such that every factor is equal.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from handmade import axes, spatial, views  # noqa: E402
from handmade.builder import EXAMPLES, SIZES, Builder  # noqa: E402

CASES = views.CASES | spatial.CASES | axes.CASES

# GroupNormalization of opset 18 is deprecated, which the checker takes for an error
UNCHECKED = {"group_norm"}


def complete(model: onnx.ModelProto) -> None:
    """Run the model, and declare the ranks of the outputs that inference cannot tell."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = {
        name: np.ones(shapes[0], onnx.helper.tensor_dtype_to_np_dtype(kind))
        for name, (shapes, kind) in examples(model).items()
    }
    for value, result in zip(model.graph.output, session.run(None, feeds), strict=True):
        if not value.type.tensor_type.HasField("shape"):
            shape = [f"{value.name}_{axis}" for axis in range(result.ndim)]
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, shape))


def examples(model: onnx.ModelProto) -> dict[str, tuple[list[list[int]], int]]:
    """Each input's example shapes and its element type."""
    shapes = json.loads({x.key: x.value for x in model.metadata_props}[EXAMPLES])
    return {x.name: (shapes[x.name], x.type.tensor_type.elem_type) for x in model.graph.input}


def main() -> int:
    out = HERE / "pitfalls"
    out.mkdir(exist_ok=True)
    failed = 0
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        for opset in case.opsets:
            for sizes in case.sizes:
                for dynamic in case.dynamic:
                    suffix = f".{dynamic}" if dynamic else ""
                    path = out / f"{name}.{sizes}.o{opset}{suffix}.onnx"
                    builder = Builder(name, SIZES[sizes], opset, dynamic)
                    try:
                        case.build(builder)
                        model = builder.model()
                        complete(model)
                        if name not in UNCHECKED:
                            onnx.checker.check_model(model, full_check=True)
                        onnx.save(model, path)
                    except Exception as error:
                        failed += 1
                        print(f"{path.name}: {str(error).strip()[:300]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
