"""The README's Python runs, and the rows that it quotes are the table's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
KERAS = re.search(r"## You hold a Keras model\n.*?(?=\n## )", README, flags=re.DOTALL)
assert KERAS is not None
BLOCKS = re.findall(r"```python\n(.*?)```", README.replace(KERAS.group(), ""), flags=re.DOTALL)
PROGRAMS = [block for block in BLOCKS if "import" in block]
QUOTES = [block for block in BLOCKS if "import" not in block]


def test_the_readme_has_programs_and_quotes() -> None:
    assert len(PROGRAMS) >= 2
    assert len(QUOTES) >= 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own calls of NumPy
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "keras" in program:
        pytest.importorskip("keras")
    if re.search(r"^import .*\btorch\b", program, flags=re.MULTILINE):
        pytest.importorskip("torch")
    shutil.copy(ROOT / "tests/models/torch/convnext.dynamo.static.onnx", tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), scope)
    assert "model" in scope


@pytest.mark.filterwarnings("ignore")  # Keras's, TensorFlow's and tf2onnx's own
def test_the_section_of_whoever_holds_a_keras_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tf2onnx")
    from onnx_nhwc import optimize
    from onnx_nhwc.legacy import __main__ as legacy
    from tests.load.test_legacy_models import Network
    from tests.support import old_keras

    assert KERAS is not None
    monkeypatch.chdir(tmp_path)
    old_keras.write(tmp_path / "old.h5", Network().layers())
    scope: dict[str, object] = {}
    for program in re.findall(r"```python\n(.*?)```", KERAS.group(), flags=re.DOTALL):
        exec(compile(program, "README.md", "exec"), scope)
    said = ""
    for line in re.findall(r"^python -m (.*)$", KERAS.group(), flags=re.MULTILINE):
        module, *arguments = line.split()
        main = {"onnx_nhwc.optimize": optimize.main, "onnx_nhwc.legacy": legacy.main}[module]
        assert main(arguments) == 0, line
        assert (tmp_path / arguments[1]).exists()
        said = said or capsys.readouterr().out  # of the first command
    quoted = re.findall(r"```\n(input .*?)```", KERAS.group(), flags=re.DOTALL)[0]
    for line in quoted.splitlines():
        assert re.sub(r"differing.*", "", line) in said


@pytest.mark.parametrize("line", [line for block in QUOTES for line in block.splitlines()])
def test_quotes_are_from_the_sources(line: str) -> None:
    sources = (ROOT / "passes/rules/__init__.py").read_text() + (ROOT / "tests/cases/axes.py").read_text()
    assert line.strip() in sources


def test_the_page_of_operators_is_the_code() -> None:
    pytest.importorskip("keras")
    from onnx_nhwc.export.keras.operators import markdown

    assert markdown() == (ROOT / "docs/operators.md").read_text()
