"""What a conversion did: for the terminal, and as data."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_nhwc.verification.comparison import Comparison
from onnx_nhwc.verification.verdict import Verification

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from onnx_nhwc.passes.summary import Summary

__all__ = ["Report", "describe", "human_bytes", "print_report", "write_json"]


@dataclass(frozen=True)
class Report:
    """What :func:`onnx_nhwc.convert_file` did.

    Attributes:
        source: The file that was read.
        destination: The file that was written.
        to: The layout asked for, ``channels-last`` or ``channels-first``.
        dialect: How its operators are written, ``functions`` or ``standard``.
        summary: What the compiler rewrote and what remains.
        verification: How source and result compare; None if that was not asked for.
        bytes_written: The size of the destination, with external data.
        seconds: How long each phase took.
        batch: What became of a batch that the source fixes at 1; empty if there is none.
        runs_on: What runs a channels-first Keras model; empty for what runs everywhere.
    """

    source: str
    destination: str
    to: str
    dialect: str
    summary: Summary
    verification: Verification | None
    bytes_written: int
    seconds: dict[str, float]
    batch: str = ""
    runs_on: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as data that JSON can hold."""
        data = dataclasses.asdict(self)
        del data["summary"]["values"]  # a line for each value of the model: of use to verify alone
        return data | {"verified": None if self.verification is None else self.verification.ok}


def write_json(report: Report, path: str | os.PathLike[str]) -> None:
    """Write ``report`` to a JSON file.

    Raises:
        OSError: The file cannot be written.
    """
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report.to_dict(), file, indent=2, ensure_ascii=False)
        file.write("\n")


def human_bytes(count: int) -> str:
    """Return a number of bytes as people write it.

    >>> human_bytes(0), human_bytes(999), human_bytes(102_400_000)
    ('0 B', '999 B', '102 MB')
    """
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    digits = 0 if unit == "B" or size >= 99.95 else 1
    return f"{size:.{digits}f} {unit}"


def describe(perm: tuple[int, ...]) -> str:
    """Return what a permutation means for somebody who knows the source model.

    >>> describe((0, 1, 2, 3)), describe((0, 2, 3, 1)), describe((0, 3, 1, 2))
    ('as in the source', 'channels last (0,2,3,1)', 'channels first (0,3,1,2)')
    """
    rank = len(perm)
    digits = ",".join(map(str, perm))
    if perm == tuple(range(rank)):
        return "as in the source"
    if perm == (0, *range(2, rank), 1):
        return f"channels last ({digits})"
    if perm == (0, rank - 1, *range(1, rank - 1)):
        return f"channels first ({digits})"
    return f"permuted ({digits})"


def print_report(report: Report, console: Console, *, explain: bool = False, verbose: bool = False) -> None:
    """Print a report.

    Args:
        report: What to print.
        console: Where to print it.
        explain: List each Transpose that remains, and why.
        verbose: List all operators, outputs and times.
    """
    from rich.markup import escape

    grid = _table()
    for label, text in _lines(report, verbose):
        grid.add_row(label, escape(text))
    console.print(f"[bold]{escape(report.source)}[/] → [bold]{escape(report.destination)}[/]")
    console.print(grid)
    if explain:
        _explain(report.summary, console)
    elif report.summary.remaining:
        console.print("--explain says why each remaining Transpose is there.", style="dim")


def _table() -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _lines(report: Report, verbose: bool) -> Iterable[tuple[str, str]]:
    summary = report.summary
    for side, layouts in (("input", summary.inputs), ("output", summary.outputs)):
        for name, perm in layouts.items():
            yield side, f"{name}: {describe(perm)}"
    yield "rewritten", _counts(summary.rewritten, None if verbose else 6)
    if summary.weights_permuted:
        size = human_bytes(summary.weight_bytes)
        yield "weights", f"{summary.weights_permuted:,} put into the new order ({size})"
    yield (
        "Transposes",
        f"{summary.transposes_before:,} → {summary.transposes_after:,}, moving "
        f"{human_bytes(summary.bytes_before)} → {human_bytes(summary.bytes_after)}",
    )
    yield "optimality", _gap(summary)
    for barrier in summary.barriers[: None if verbose else 5]:
        yield "left as it is", f"{barrier.node}: {barrier.reason}"
    if not verbose and len(summary.barriers) > 5:
        yield "", f"and {len(summary.barriers) - 5:,} more (-v lists them)"
    if report.batch:
        yield "batch", report.batch
    if report.runs_on:
        yield "runs on", report.runs_on
    yield from _verified(report.verification, verbose)
    yield "written", human_bytes(report.bytes_written)
    yield "time", _times(report.seconds, verbose)


def _counts(counts: Mapping[str, int], limit: int | None) -> str:
    if not counts:
        return "nothing"
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{count:,} {name}" for name, count in ordered[:limit])
    rest = sum(count for _, count in ordered[limit:]) if limit else 0
    return f"{text}, {rest:,} others" if rest else text


def _gap(summary: Summary) -> str:
    if summary.cost <= summary.lower_bound:
        return "no choice of layouts moves fewer bytes"
    gap = human_bytes(summary.cost - summary.lower_bound)
    return f"at most {gap} more are moved than the best choice of layouts would"


def _verified(verification: Verification | None, verbose: bool) -> Iterable[tuple[str, str]]:
    if verification is None:
        yield "verified", "no, as asked"
        return
    compared = [entry for entry in (*verification.outputs, *verification.defaults) if entry.by_value]
    random = [entry for entry in verification.outputs if not entry.by_value]
    if compared:
        yield "verified", _agreement(len(verification.outputs) - len(random), compared)
        for basis in dict.fromkeys(entry.basis for entry in compared if entry.basis):
            yield "", f"tolerated: {basis}"
    for entry in random:
        text = f"'{entry.name}' in shape, type and finiteness only, as it depends on {entry.basis}"
        yield "" if compared else "verified", text
    if verification.how:
        yield "", verification.how
    for note in verification.notes:
        yield "", note
    if verbose:
        for output in verification.outputs:
            yield "", f"{output.name} {list(output.shape)} {output.dtype}: {output.error:.3g}"


def _agreement(count: int, compared: Sequence[Comparison]) -> str:
    text = f"{count:,} output{'' if count == 1 else 's'} agree{'s' if count == 1 else ''}"
    worst = max(compared, key=lambda entry: entry.error / (entry.tolerance or 1.0))
    if not worst.error:
        return text if any(entry.basis for entry in compared) else f"{text} to the last bit"
    text += f", differing by {worst.error:.2g} at most (tolerated: {worst.tolerance:.2g})"
    if worst.step:
        steps = max(1, round(worst.error / worst.step))
        text += f", within {steps:,} step{'' if steps == 1 else 's'} of its quantiser"
    if worst.tolerance > worst.scale > 0:
        text += f"; values reach {worst.scale:.2g} only, so this tells little"
    return text


def _times(seconds: Mapping[str, float], verbose: bool) -> str:
    total = f"{sum(seconds.values()):.2f} s"
    if not verbose:
        return total
    return total + ": " + ", ".join(f"{name} {value:.3f}" for name, value in seconds.items())


def _explain(summary: Summary, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not summary.remaining:
        console.print("No Transpose remains.")
        return
    table = Table(title="Transposes that remain", title_justify="left", title_style="bold")
    for heading in ("Transpose", "of", "order", "moves", "forced by", "because"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "moves" else "left")
    for entry in summary.remaining:
        shape = " x ".join("?" if size is None else str(size) for size in entry.shape)
        moved = "unknown" if entry.bytes is None else human_bytes(entry.bytes)
        table.add_row(
            escape(entry.node),
            escape(f"{entry.value} [{shape}]"),
            ",".join(map(str, entry.perm)),
            moved,
            escape(", ".join(entry.forced_by)),
            escape(entry.reason),
        )
    console.print(table)
