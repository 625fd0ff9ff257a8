"""What the command line writes to standard error: its own lines, and nothing of the libraries'."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from onnx_nhwc import optimize
from onnx_nhwc.passes.errors import ConversionError
from onnx_nhwc.report.terminal import hushed
from tests.models.catalogue import by_name

SOURCE = by_name("torch/resnet_basic.ts.static").path

NOISE = """
import os, sys, logging, warnings
from onnx_nhwc.report.terminal import hushed
with hushed() as terminal:
    os.write(2, b"from C\\n")
    os.system("echo from a child >&2")
    print("from Python", file=sys.stderr)
    logging.getLogger("library").error("from a logger")
    warnings.warn("from a library")
    print("for the user", file=terminal)
    {more}
print("afterwards", file=sys.stderr)
os.write(2, b"by descriptor\\n")
"""


def noise(more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", NOISE.format(more=more)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_libraries_are_not_heard() -> None:
    done = noise("pass")
    assert done.returncode == 0
    assert done.stderr.splitlines() == ["for the user", "afterwards", "by descriptor"]


def test_a_crash_is() -> None:
    done = noise("os.abort()")
    assert done.returncode < 0
    first, said, *_ = done.stderr.splitlines()
    assert (first, said) == ("for the user", "Fatal Python error: Aborted")


def test_an_exception_leaves_all_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    with suppress(ZeroDivisionError), hushed() as terminal:
        os.write(2, b"from C\n")
        print("for the user", file=terminal)
        raise ZeroDivisionError
    assert sys.stderr is before
    os.write(2, b"afterwards\n")
    assert sorted(capfd.readouterr().err.split("\n")) == ["", "afterwards", "for the user"]


def test_verbose_hides_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with hushed(False) as terminal:
        assert terminal is sys.stderr
        os.write(2, b"from C\n")
    assert capfd.readouterr().err == "from C\n"


def test_warnings_of_ours_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    with hushed() as terminal, optimize._Warnings(terminal):
        import warnings

        from onnx_nhwc.passes.plausible import LayoutWarning

        warnings.warn("the images are odd", LayoutWarning, stacklevel=1)
    assert capsys.readouterr().err == "onnx-nhwc: warning: the images are odd\n"


def test_messages_have_no_colours() -> None:
    error = ConversionError("\x1b[1m{{node a}}\x1b[0m\n fails", "Do\x1b[31m this", "Conv 'c'")
    assert str(error) == "Conv 'c': {{node a}} fails. Do this"


def test_keras_and_tensorflow_are_not_heard(tmp_path: Path) -> None:
    """To .keras, and from there to LiteRT and to a SavedModel that is channels first."""
    pytest.importorskip("tf2onnx")
    kept = {k: v for k, v in os.environ.items() if k not in ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")}
    for arguments in (
        [str(SOURCE), "m.keras"],
        ["m.keras", "m.tflite"],
        ["m.keras", "folder", "--to", "channels-first"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "onnx_nhwc", *arguments],
            cwd=tmp_path, env={**kept, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert "verified" in done.stdout
    assert re.search(r"runs on +TensorFlow with oneDNN", done.stdout)
