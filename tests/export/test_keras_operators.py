"""onnx's own operator cases as Keras models.

Those that onnxruntime passes, and whose inputs and outputs are tensors, are exported one by one and
compared. What does not work is listed with its reason in ``keras_operators.txt``, a generated file
that may not grow: ``python -m tests.export.test_keras_operators`` writes it anew.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from onnx_nhwc.passes.errors import ConversionError
from onnx_nhwc.verification.comparison import compare
from tests.support.keras_models import exported, run
from tests.support.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

LIST = Path(__file__).with_name("keras_operators.txt")
SHARE = 0.96
"""Of the cases that count, at least this many work."""


@cache
def cases() -> dict[str, Any]:
    """The cases that onnxruntime passes, by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return {case.name: case for case in found if _counts(case)}


def _counts(case: Any) -> bool:
    graph = case.model.graph
    if not all(v.type.HasField("tensor_type") for v in (*graph.input, *graph.output)):
        return False
    if not _defined(case):
        return False
    try:
        results = Session(case.model).run(_feeds(case))
    except Exception:  # onnxruntime's exceptions have no common base
        return False
    return all(_agrees(case, a, np.asarray(b)) for a, b in zip(results, _outputs(case), strict=True))


def _defined(case: Any) -> bool:
    """Is the result defined? Shifts by less than none, or by the width and more, differ from CPU to CPU."""
    if [node.op_type for node in case.model.graph.node] != ["BitShift"]:
        return True
    amounts = [*_feeds(case).values()][1]
    return bool((amounts.astype(np.int64) >= 0).all() and (amounts < 8 * amounts.itemsize).all())


def _feeds(case: Any) -> dict[str, Any]:
    values, _ = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def _outputs(case: Any) -> list[Any]:
    return list(case.data_sets[0][1])


def _agrees(case: Any, a: Any, b: Any) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool((a == b).all())
    x, y = a.astype(np.float64), b.astype(np.float64)
    return bool(np.allclose(x, y, case.rtol or 1e-3, case.atol or 1e-7, equal_nan=True))


def failure(case: Any) -> str:
    """Why a case does not work; empty if it does."""
    model: onnx.ModelProto = case.model
    names = [value.name for value in model.graph.output]
    try:
        result = exported(model, io="keep", free=False)
    except ConversionError as error:
        return " ".join(str(error).split("cannot be expressed in Keras: ")[-1].split())
    expected = Session(model).run(_feeds(case))
    try:
        actual = run(result, _feeds(case), names)
    except Exception as error:
        return f"it cannot be run: {type(error).__name__}"
    for name, a, b in zip(names, expected, actual, strict=True):
        compared = compare(name, a, b, None)
        if not compared.ok:
            return f"it differs: {compared.reason}"
    return ""


def listed() -> dict[str, str]:
    lines = LIST.read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def test_what_works_keeps_working() -> None:
    """No case fails that is not on the list, and none on the list works."""
    failures = {name: reason for name, case in cases().items() if (reason := failure(case))}
    known = listed()
    assert {n: r for n, r in failures.items() if n not in known} == {}
    works = sorted(set(known) & set(cases()) - set(failures))
    assert works == [], "these work now: write the list anew"


def test_enough_of_them_work() -> None:
    failing = set(listed()) & set(cases())
    assert 1 - len(failing) / len(cases()) >= SHARE


SETTLED = {
    "test_reduce_max_empty_set": "it cannot be run",
    "test_reduce_min_empty_set": "it cannot be run",
}
"""Listed cases that do not work either if all inputs but the first are constants, as models have them."""


def _settled(case: Any) -> Any:
    """The case with all inputs but the first as constants; None if it has one input, or none."""
    feeds = _feeds(case)
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    first, *settings = [value.name for value in model.graph.input]
    if not settings or any(array.dtype.kind not in "fiub" for array in feeds.values()):
        return None
    del model.graph.input[1:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(feeds[name], name) for name in settings)
    return SimpleNamespace(model=model, data_sets=[([feeds[first]], _outputs(case))])


def test_settings_that_are_constants_work() -> None:
    """Most cases are on the list for a setting, such as axes, that no model computes."""
    failures = {}
    for name in set(listed()) & set(cases()):
        case = cases()[name]
        standard = all(node.domain == "" for node in case.model.graph.node)
        settled = _settled(case) if standard and case.model.graph.input else None
        reason = failure(settled) if settled is not None else ""
        if reason:
            failures[name] = reason
    assert failures.keys() <= SETTLED.keys()
    assert all(SETTLED[name] in reason for name, reason in failures.items())


def main() -> None:
    failures = {name: reason for name, case in cases().items() if (reason := failure(case))}
    total = len(cases())
    head = [
        "# Generated by: python -m tests.export.test_keras_operators",
        f"# onnx {onnx.__version__}: {total - len(failures)} of {total} operator cases work as Keras",
        "# models. These do not:",
    ]
    LIST.write_text("\n".join([*head, *(f"{n}: {r}" for n, r in sorted(failures.items()))]) + "\n")


if __name__ == "__main__":
    main()
