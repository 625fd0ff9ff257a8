"""The command line: ``python -m onnx_nhwc.optimize IN OUT``, also installed as ``onnx-nhwc``."""

from __future__ import annotations

import argparse
import atexit
import gc
import logging
import math
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import Field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError, in_one_line
from onnx_nhwc.passes.options import Checks, Options, flags
from onnx_nhwc.report.terminal import hushed

if TYPE_CHECKING:
    from onnx_nhwc.report.report import Report

__all__ = ["main"]

_T = TypeVar("_T")

_EPILOG = """\
exit status:
  0  OUT is written, and verified
  1  the model cannot be converted, or the result differs; OUT is as it was
  2  the command is wrong: an unknown option, a file or a name that does not exist

examples:
  onnx-nhwc model.onnx model_nhwc.onnx
  onnx-nhwc model.onnx out.onnx --shape x=1,3,224,224 --explain
  onnx-nhwc model.onnx model.keras
  onnx-nhwc model.keras model_first.keras --to channels-first
  onnx-nhwc model.onnx out.onnx --io keep --layout image=NHWC
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, and not the usage as well."""
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="onnx-nhwc",
        description="Convert a network between channels first and channels last. "
        "The result is compared with the source before it is written.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("src", metavar="IN", type=Path, help="the model to read: .onnx, .keras, .h5, or a folder "
        "(a SavedModel)")  # fmt: skip
    add("dst", metavar="OUT", type=Path,
        help="what to write: .onnx (may be IN itself), .keras, .tflite (channels last "
        "only), or a folder (a SavedModel)")  # fmt: skip
    for entry in (*flags(Options), *flags(Checks)):
        _add(parser, entry)
    add("--explain", action="store_true", help="say of each Transpose that remains why it does")
    add("--report", metavar="FILE.json", type=Path, help="write the report as data")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    loudness.add_argument("-v", "--verbose", action="store_true", help="print more; tracebacks too")
    return parser


def _add(parser: argparse.ArgumentParser, entry: Field[Any]) -> None:
    """Add the flag of an option."""
    said = entry.metadata
    flag, text = said["flag"] or f"--{entry.name}", said["help"]
    if said["choices"]:
        parser.add_argument(
            flag, choices=said["choices"], default=entry.default, help=f"{text} (default: %(default)s)"
        )
    elif said["form"]:
        parser.add_argument(
            flag, dest=entry.name, metavar=said["form"], action="append", default=[],
            type=_READERS[entry.name], help=text,
        )  # fmt: skip
    elif entry.default is True:
        parser.add_argument(flag, dest=entry.name, action="store_false", help=text)
    else:
        parser.add_argument(flag, type=_READERS[entry.name], default=entry.default, help=text)


def _named(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form {example}")
    return name, value


def _layout(text: str) -> tuple[str, str | tuple[int, ...]]:
    name, value = _named(text, "NAME=NHWC or NAME=0,2,3,1")
    if not any(character.isdigit() for character in value):
        return name, value.upper()
    try:
        perm = tuple(int(part) for part in value.split(","))
    except ValueError:
        perm = ()
    if not perm or sorted(perm) != list(range(len(perm))):
        raise argparse.ArgumentTypeError(f"'{value}' is not a permutation such as 0,2,3,1")
    return name, perm


def _shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    name, value = _named(text, "NAME=1,3,224,224")
    try:
        shape = tuple(None if part == "?" else int(part) for part in value.split(","))
    except ValueError:
        shape = (0,)
    if any(size is not None and size < 1 for size in shape):
        raise argparse.ArgumentTypeError(f"'{value}' is not a list of sizes such as 1,3,224,224")
    return name, shape


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a tolerance such as 1e-4")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 on")
    return int(text)


_READERS: dict[str, Callable[[str], Any]] = {
    "layouts": _layout,
    "shapes": _shape,
    "rtol": _tolerance,
    "atol": _tolerance,
    "seed": _seed,
}
"""What reads the value of an option that is no choice."""


class _Progress:
    """Shows the running phase, on a terminal, if the work takes more than a second."""

    def __init__(self, enabled: bool, terminal: TextIO) -> None:
        self._status = None
        self._timer: threading.Timer | None = None
        if enabled and terminal.isatty():
            from rich.console import Console

            self._status = Console(file=terminal).status("")
            self._timer = threading.Timer(1.0, self._status.start)
            self._timer.daemon = True

    def __enter__(self) -> _Progress:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None and self._status is not None:
            self._timer.cancel()
            self._timer.join()
            self._status.stop()

    def __call__(self, phase: str) -> None:
        if self._status is not None:
            self._status.update(f"{phase} ...")


class _Warnings(warnings.catch_warnings):
    """Prints this package's warnings as one line each; all others stay as they are."""

    def __init__(self, terminal: TextIO) -> None:
        super().__init__(record=False)
        self._terminal = terminal

    def __enter__(self) -> None:
        from onnx_nhwc.legacy.models import LegacyWarning
        from onnx_nhwc.passes.plausible import LayoutWarning

        super().__enter__()
        own = (LayoutWarning, LegacyWarning)
        for category in own:
            warnings.simplefilter("always", category)
        others, terminal = warnings.showwarning, self._terminal

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, own):
                print(f"onnx-nhwc: warning: {message}", file=terminal)
            else:
                others(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Args:
        argv: The arguments, by default those of the process.
    """
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as error:  # argparse ends the process; callers of main want to go on
        return error.code if isinstance(error.code, int) else 2
    atexit.register(gc.freeze)  # else the process, done, sorts what TensorFlow leaves: a second
    try:
        return _run(arguments)
    except ConversionError as error:
        if arguments.verbose:
            traceback.print_exc()
        print(f"onnx-nhwc: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("onnx-nhwc: interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # a fault of ours: one line all the same
        if arguments.verbose:
            traceback.print_exc()
        text = in_one_line(f"{type(error).__name__}: {error}")
        hint = "Please report it, with what -v prints."
        print(f"onnx-nhwc: error: internal error, {text}. {hint}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    _check_report(arguments.report)
    wanted = {entry.name: getattr(arguments, entry.name) for entry in (*flags(Options), *flags(Checks))}
    for entry in flags(Options):
        if entry.metadata["form"]:
            wanted[entry.name] = _unique(wanted[entry.name], entry.metadata["flag"])
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # what is wrong, we say ourselves
    from onnx_nhwc.api import convert_file  # after the arguments are checked: it takes a while

    with ExitStack() as stack:
        terminal = stack.enter_context(hushed(not arguments.verbose))
        stack.enter_context(_Warnings(terminal))
        progress = stack.enter_context(_Progress(not arguments.quiet, terminal))
        report = convert_file(arguments.src, arguments.dst, **wanted, progress=progress)
    _show(report, arguments)
    return 0


def _check_report(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix.lower() != ".json":
        raise UsageError(f"'{path}': reports are written as .json only, for now")
    if not path.parent.is_dir():
        raise UsageError(f"the folder '{path.parent}' does not exist", "Create it first.")


def _unique(pairs: Sequence[tuple[str, _T]], flag: str) -> dict[str, _T]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{flag} is given twice for '{twice}'")
    return result


def _show(report: Report, arguments: argparse.Namespace) -> None:
    from onnx_nhwc.report.report import print_report, write_json

    if arguments.report is not None:
        try:
            write_json(report, arguments.report)
        except OSError as error:
            reason = error.strerror or str(error)
            raise FileError(f"the report '{arguments.report}' cannot be written: {reason}") from error
    if not arguments.quiet:
        from rich.console import Console

        print_report(report, Console(), explain=arguments.explain, verbose=arguments.verbose)


if __name__ == "__main__":
    sys.exit(main())
