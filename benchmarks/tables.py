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
    if "quantised" in results:
        parts += ["## Quantised networks on onnxruntime", QUANTISED, _quantised(results["quantised"])]
    if "keras" in results:
        parts += ["## As a Keras model", KERAS, _keras(results["keras"])]
    if "applications" in results:
        table = _applications(results["applications"])
        parts += ["## The networks of keras.applications", APPLICATIONS, table]
    if "mutations" in results:
        parts += ["## Faults that the comparison sees", MUTATIONS, _mutations(results["mutations"])]
    return "\n\n".join(parts) + "\n"


MUTATIONS = """Faults of a layout compiler, put one at a time into the converted networks of the catalogue, at
most three of a kind each: a kernel with two axes swapped, a weight whose channels took each other's places,
an axis or a permutation that is off by one, an input read with two axes swapped. Each is judged twice, with
the tolerance for ONNX and with the wider one for Keras; it is caught if both refuse the result. What
changes no output by a bit is no fault."""


def _mutations(rows: list[Results]) -> str:
    body = [
        [
            row["kind"],
            row["networks"],
            row["faults"],
            row["caught"],
            row["without_effect"],
            len(row["only_roundings"]),
        ]
        for row in rows
    ]
    head = [
        "fault",
        "networks",
        "put in",
        "caught",
        "without effect, not counted",
        "but for roundings, not counted",
    ]
    return _table(head, [[str(cell) for cell in line] for line in body])


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


QUANTISED = """Quantised by onnxruntime's own quantiser (QDQ, weights int8, random calibration). One thread,
all optimisations, medians of alternating runs in one process; the ratio is the median of the rounds'
ratios to the source. "QLinearConv": in the graphs as onnxruntime has optimised them. "Steps": the largest
difference of the output, in steps of its quantiser."""


KERAS = """One thread, one image, medians of alternating runs; the ratio is to onnxruntime on the
source. Keras runs on TensorFlow as a compiled function, LiteRT through XNNPACK. The export is verified;
TensorFlow is loaded by then."""


APPLICATIONS = """Keras to Keras, at the smallest size that the network allows, with random weights: from
channels last to first, back again, and the same from a network that was built channels first. A cell has
the largest difference of any output from the original's, relative to its largest value (1e-4 is
tolerated), and how many Permutes and Transposes there are that the original does not have. "Parameters",
"trainable" and "BatchNormalization" are the original's, and each result's unless others are listed.
"Kept": layers with weights that each result has under the same name and of the same class.
"Not made for it": Keras refuses to build the network channels first. ConvNeXt's LayerNormalization and
Dense read the last axis, so that channels first it is transposed around them; its grouped convolutions
are DepthwiseConv2D of the same name afterwards, and its LayerScale is a product."""


def _applications(rows: list[Results]) -> str:
    body = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = {row["from"]: row for row in rows if row["network"] == name}
        done = [row for row in own.values() if "parameters" in row]
        cells = [name]
        for order in ("channels_last", "channels_first"):
            cells += [_application(own.get(order)), _application(own.get(f"{order}, there and back"))]
        for key in ("parameters", "trainable", "batch_normalizations"):
            others = sorted({row[key][1] for row in done} - {done[0][key][0]}) if done else []
            cells.append(" ".join(f"{count:,}" for count in [*(done[0][key][:1] if done else []), *others]))
        cells.append(", ".join(f"{k} of {n}" for k, n in {(r["layers_kept"], r["layers"]) for r in done}))
        cells.append(f"{max((row['seconds'] for row in done), default=0):.0f} s")
        body.append(cells)
    head = ["network", "last to first", "and back", "first to last", "and back", "parameters", "trainable"]
    return _table([*head, "BatchNormalization", "kept", "slowest conversion"], body)


def _application(row: Results | None) -> str:
    if row is None:
        return ""
    if "refused" in row:
        return "not made for it"
    if "error" in row:
        return "not converted"
    moved = row["transposes"][1] - row["transposes"][0]
    return f"{row['difference']:.0e}{'' if row['ok'] else ' (wrong)'} / {moved}"


def _quantised(rows: list[Results]) -> str:
    body = []
    for row in rows:
        found = [str(row[form]["qlinear_conv"]) for form in ("source", "functions", "standard")]
        cells = [row["network"], row["kind"], f"{row['milliseconds']['source']:.1f} ms"]
        cells += [f"{row['ratio'][dialect]:.3f}" for dialect in ("functions", "standard")]
        body.append([*cells, " / ".join(found), f"{row['steps']:.2f}", str(row["rounds"])])
    head = ["network", "activations and kernels", "source", "functions", "standard"]
    return _table([*head, "QLinearConv: source / functions / standard", "steps", "rounds"], body)


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
