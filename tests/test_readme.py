"""The README's Python runs, and the rows that it quotes are the table's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
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
    shutil.copy(ROOT / "tests/models/torch/convnext.dynamo.static.onnx", tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), scope)
    assert "model" in scope


@pytest.mark.parametrize("line", [line for block in QUOTES for line in block.splitlines()])
def test_quotes_are_from_the_sources(line: str) -> None:
    sources = (ROOT / "passes/rules/__init__.py").read_text() + (ROOT / "tests/cases/axes.py").read_text()
    assert line.strip() in sources


def test_the_table_of_operators_is_the_code() -> None:
    pytest.importorskip("keras")
    from onnx_nhwc.keras.operators import markdown

    assert markdown() in (ROOT / "README.md").read_text()
