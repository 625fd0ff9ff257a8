"""What is installed: everything under onnx_nhwc, nothing beside it."""

from __future__ import annotations

import configparser
from pathlib import Path

import onnx_nhwc

ROOT = Path(__file__).parents[2]


def test_every_package_is_listed_and_passes_is_no_top_level_module() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packages = set(config["options"]["packages"].split())
    folders = dict(line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines())
    assert all(name == "onnx_nhwc" or name.startswith("onnx_nhwc.") for name in packages)
    assert packages == set(folders)
    sources = {file.parent for top in ("onnx_nhwc", "passes") for file in (ROOT / top).rglob("*.py")}
    sources = {folder for folder in sources if "onnx_nhwc/passes" not in folder.as_posix()}
    assert {ROOT / folder for folder in folders.values()} == sources
    assert all((folder / "__init__.py").exists() for folder in sources)


def test_a_checkout_sees_the_same_modules() -> None:
    assert (ROOT / "onnx_nhwc" / "passes").resolve() == ROOT / "passes"


def test_everything_public_is_documented() -> None:
    for name in onnx_nhwc.__all__:
        assert getattr(onnx_nhwc, name).__doc__, name


def test_the_readme_names_the_versions_that_are_tested() -> None:
    lines = [
        line.split("|")[1:-1]
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("|")
    ]
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}
    (names,) = (
        [cell.strip() for cell in cells[1:]] for cells in lines if "onnxruntime" in map(str.strip, cells)
    )
    for row, file in (("oldest tested", "constraints-oldest.txt"), ("newest tested", "constraints.txt")):
        pinned = (line.split("==") for line in (ROOT / file).read_text().splitlines() if "==" in line)
        versions = dict(pinned)
        assert rows[row] == [versions[name] for name in names]
