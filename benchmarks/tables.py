"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Results = dict[str, Any]


def markdown(results: Results) -> str:
    """The whole page."""
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    parts = ["# Benchmarks", f"`python -m benchmarks`, {results['date']}. {machine}."]
    if "networks" in results:
        parts += ["## What is left in the graph", COUNTS, _counts(results["networks"])]
        timed = [row for row in results["networks"] if "ratio" in row]
        if timed:
            parts += ["## Time on onnxruntime", TIMES, _times(timed)]
    if "conversion" in results:
        parts += ["## Time of a conversion", CONVERSION, _conversion(results["conversion"])]
    if "scaling" in results:
        parts += ["## Time by size of the graph", SCALING, _scaling(results["scaling"])]
    if "memory" in results:
        parts += ["## Memory", _memory(results["memory"])]
    if "keras" in results:
        parts += ["## As a Keras model", KERAS, _keras(results["keras"])]
    return "\n\n".join(parts) + "\n"


COUNTS = """Deterministic: Transposes in the file, the megabytes that they move in one run, and nodes.
The standard dialect transposes the input, which is fed channels last, and around what runs only
channels last (LayerNormalization in ConvNeXt). ShuffleNet's 16 are its shuffles."""
TIMES = """One thread, all optimisations, medians of alternating runs in one process. The ratio is the
median of the rounds' ratios to the source that is fed its own layout. "Through a copy": the source, fed
channels-last data through `np.transpose`. "Optimised": nodes, and Transposes among them, after
onnxruntime's own optimisations. "Difference": of any output, relative to the source's largest value."""
CONVERSION = """Without verification, against `onnx.load` + `onnx.save` of the same file, alternating.
`to_channels_last` is the library call, `convert_file` writes the result as well."""
SCALING = """Processor time of one thread. Generated networks: residual blocks with BatchNormalization,
Concat, gates, shuffles. The exponent is that of the growth since the row before: 1 is linear."""


KERAS = """One thread, one image, medians of alternating runs; the ratio is to onnxruntime on the
source. Keras runs on TensorFlow as a compiled function, LiteRT through XNNPACK. The export is verified,
and includes the start of Keras in the first row."""


def _keras(rows: list[Results]) -> str:
    body = []
    for row in rows:
        cells = [row["network"], f"{row['onnxruntime']:.1f} ms"]
        cells += [f"{row[n]:.1f} ms ({row[f'{n}_ratio']:.2f})" for n in ("keras", "litert")]
        cells += [f"{row['export_seconds']:.1f} s", f"{row['export_peak_mb']:.0f} MB"]
        body.append(cells)
    head = ["network", "onnxruntime", "Keras", "LiteRT", "export to .keras", "peak memory so far"]
    return _table(head, body)


def _counts(rows: list[Results]) -> str:
    body = []
    for row in rows:
        cells = [row["network"]]
        for form in ("source", "functions", "standard"):
            found = row[form]
            moved = found["bytes_moved"] / 1e6
            cells.append(f"{found['transposes']} / {moved:.1f} MB / {found['nodes']}")
        cells.append(str(row["functions"]["channels_first"]))
        body.append(cells)
    head = ["network", "source", "functions", "standard", "channels-first operators in functions"]
    return _table(head, body)


def _times(rows: list[Results]) -> str:
    body = []
    for row in rows:
        ratio, optimized = row["ratio"], []
        for form in ("source", "functions", "standard"):
            found = row[form]["optimized"]
            optimized.append(f"{found['nodes']} ({found['transposes']})")
        body.append(
            [
                row["network"],
                f"{row['milliseconds']['source']:.2f} ms",
                f"{ratio['source_through_copy']:.3f}",
                f"{ratio['functions']:.3f}",
                f"{ratio['standard']:.3f}",
                " / ".join(optimized),
                f"{row['differs_by']:.0e}",
                str(row["rounds"]),
            ]
        )
    head = ["network", "source", "through a copy", "functions", "standard"]
    head += ["optimised: source / functions / standard", "difference", "rounds"]
    return _table(head, body)


def _conversion(rows: list[Results]) -> str:
    body = [
        [
            row["network"],
            f"{row['megabytes']:.0f} MB",
            f"{row['milliseconds']['floor']:.0f} ms",
            f"{row['milliseconds']['to_channels_last']:.0f} ms",
            f"{row['ratio']['to_channels_last']:.2f}",
            f"{row['ratio']['convert_file']:.2f}",
            str(row["rounds"]),
        ]
        for row in rows
    ]
    head = ["network", "file", "load + save", "to_channels_last", "ratio"]
    return _table([*head, "ratio of convert_file", "rounds"], body)


def _scaling(rows: list[Results]) -> str:
    body = [
        [
            f"{row['nodes']:,}",
            row["dialect"],
            f"{row['seconds']:.2f} s",
            f"{row['microseconds_per_node']:.0f} µs",
            f"{row['exponent']:.2f}" if "exponent" in row else "",
        ]
        for row in rows
    ]
    return _table(["nodes", "dialect", "time", "per node", "exponent"], body)


def _memory(row: Results) -> str:
    return (
        f"A model with {row['gigabytes']:.1f} GB of external data converts in {row['seconds']:.0f} s "
        f"with a peak of {row['peak_mb']:.0f} MB resident, {row['above_interpreter_mb']:.0f} MB above "
        f"the bare interpreter ({row['imports_mb']:.0f} MB are there once the package is imported)."
    )


def _table(head: list[str], body: Iterable[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
