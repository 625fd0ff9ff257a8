"""One statement of the options: every door names those of the records, with their defaults."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import onnx
import pytest

import onnx_nhwc
from onnx_nhwc import optimize
from onnx_nhwc.passes import ChannelsFirst, ChannelsLast
from onnx_nhwc.passes.errors import UsageError
from onnx_nhwc.passes.options import Checks, Options, flags

DOORS: dict[str, Callable[..., Any]] = {
    "to_channels_last": onnx_nhwc.to_channels_last,
    "to_channels_first": onnx_nhwc.to_channels_first,
    "to_keras": onnx_nhwc.to_keras,
    "to_torch": onnx_nhwc.to_torch,
    "convert_file": onnx_nhwc.convert_file,
    "ChannelsLast": ChannelsLast,
    "ChannelsFirst": ChannelsFirst,
}
OF_A_DOOR = {"model", "src", "dst", "progress"}
"""Parameters that are no options."""
CHOICES = [(entry.name, entry.metadata["choices"]) for entry in flags(Options) if entry.metadata["choices"]]
MODEL = onnx.parser.parse_model(
    '<ir_version: 10, opset_import: ["" : 18]> g (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu(x) }'
)


@pytest.mark.parametrize("name", DOORS)
def test_a_door_has_the_options_of_the_records(name: str) -> None:
    known = {entry.name: entry for entry in (*flags(Options), *flags(Checks))}
    given = inspect.signature(DOORS[name]).parameters.values()
    found = {parameter.name: parameter.default for parameter in given if parameter.name not in OF_A_DOOR}
    assert found.keys() <= known.keys()
    assert found.keys() >= {"io", "layouts", "shapes"}
    for option, default in found.items():
        expected = known[option].default
        assert default == expected or (default is None and option in ("layouts", "shapes"))


def test_a_file_has_all_options() -> None:
    given = set(inspect.signature(onnx_nhwc.convert_file).parameters) - OF_A_DOOR
    assert given == {entry.name for entry in (*flags(Options), *flags(Checks))}


def test_help_says_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize.main(["--help"]) == 0
    said = "".join(capsys.readouterr().out.split()).replace("-", "")
    for entry in (*flags(Options), *flags(Checks)):
        assert "".join(entry.metadata["help"].split()).replace("-", "") in said
        for choice in entry.metadata["choices"]:
            assert choice.replace("-", "") in said


@pytest.mark.parametrize(("option", "choices"), CHOICES)
def test_a_wrong_choice_is_refused_alike(option: str, choices: tuple[str, ...]) -> None:
    expected = f"{option}='middle': choose {' or '.join(choices)}"
    for name, door in DOORS.items():
        if option not in inspect.signature(door).parameters:
            continue
        arguments = [] if name.startswith("Channels") else [MODEL]
        arguments = ["in.onnx", "out.onnx"] if name == "convert_file" else arguments
        with pytest.raises(UsageError) as caught:
            door(*arguments, **{option: "middle"})
        assert str(caught.value).startswith(expected)


def test_help_is_light() -> None:
    code = (
        "import sys\nfrom onnx_nhwc import optimize\noptimize.main(['--help'])\n"
        "print('heavy', *{'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'keras'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy"
