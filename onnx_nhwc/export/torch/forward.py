"""The body of a ``forward``: what variables are called, and which expressions stand in one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onnx_nhwc.export.torch.program import Program, Step
from onnx_nhwc.export.torch.scopes import Scope
from onnx_nhwc.export.torch.tensor import MARK, Parameter, Tensor

__all__ = ["Forward", "Value", "forward_of"]

_NAMES = ("x", "y", "z", "u", "v", "w", "a", "b", "c", "d", "e", "f", "g", "h")
_WIDTH = 90
"""Longer expressions are not put into one line with what uses them."""

Value = Tensor | Parameter


@dataclass
class Forward:
    """What a module computes.

    Attributes:
        inputs: What it is given; parameters of other modules among them.
        outputs: What it returns.
        names: What the inputs are called.
        lines: Its statements.
        chain: Is each of its items alone made of the one before?
    """

    inputs: list[Value]
    outputs: list[Tensor]
    names: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    chain: bool = False


@dataclass
class _Line:
    """A statement before its variables have names."""

    outputs: list[Tensor | None]
    text: str

    @property
    def operands(self) -> list[str]:
        return [m[0] for m in MARK.finditer(self.text)]


def forward_of(
    program: Program,
    scope: Scope,
    wanted: set[Tensor],
    inner: dict[str, Forward],
    access: Callable[[str], str],
) -> Forward:
    """Return the body of a scope.

    Args:
        program: The program.
        scope: The scope.
        wanted: The tensors that are used outside of it.
        inner: The bodies of the scopes in it.
        access: Gives how a module or parameter in it is reached, by its path; empty if it is not in it.
    """
    lines = [_line(program, item, inner, access) for item in scope.items]
    own = {x for line in lines for x in line.outputs if x is not None}
    if scope.path:
        outputs = [x for line in lines for x in line.outputs if x is not None and x in wanted]
        found = Forward(_outside(program, lines, own), outputs)
        returned = ", ".join(map(str, outputs))
    else:
        found = Forward([tensor for _, tensor in program.inputs], [])
        returned = ", ".join(_reached(program, text, access) for _, text in program.outputs)
    found.chain = _is_chain(lines, found.inputs, returned)
    _name(found, _nested([*lines, _Line([], returned)]))
    return found


def _line(
    program: Program, item: Step | Scope, inner: dict[str, Forward], access: Callable[[str], str]
) -> _Line:
    if isinstance(item, Scope):
        called = inner[item.path]
        arguments = ", ".join(
            access(x.path) if isinstance(x, Parameter) and access(x.path) else str(x) for x in called.inputs
        )
        return _Line(list(called.outputs), f"{access(item.path)}({arguments})")
    return _Line(item.outputs, _reached(program, str(item.text), access))


def _reached(program: Program, text: str, access: Callable[[str], str]) -> str:
    """An expression with the ways to its modules and parameters in it."""

    def reach(match: re.Match[str]) -> str:
        if match[1] == "t":
            return match[0]
        number = int(match[2])
        found = program.modules[number] if match[1] == "m" else program.parameters[number]
        return access(found.path) or match[0]

    return MARK.sub(reach, text)


def _outside(program: Program, lines: Sequence[_Line], own: set[Tensor]) -> list[Value]:
    """What a scope is given, in the order in which it uses it."""
    found: dict[Value, None] = {}
    for line in lines:
        for mark in MARK.finditer(line.text):
            value: Value = (
                program.tensors[int(mark[2])] if mark[1] == "t" else program.parameters[int(mark[2])]
            )
            if value not in own:
                found[value] = None
    return list(found)


def _is_chain(lines: Sequence[_Line], inputs: Sequence[Value], returned: str) -> bool:
    if len(inputs) != 1:
        return False
    before = str(inputs[0])
    for line in lines:
        if line.operands != [before] or len(line.outputs) != 1:
            return False
        before = str(line.outputs[0])
    return before == returned


def _nested(lines: list[_Line]) -> list[_Line]:
    """Put an expression into the next, if that alone uses it, once, and it stays readable."""
    uses = Counter(mark for line in lines for mark in line.operands)
    found: list[_Line] = []
    for line in lines:
        before = found[-1] if found else None
        if before is not None and _is_call(before) and len(before.text) + len(line.text) <= _WIDTH:
            mark = str(before.outputs[0])
            if uses[mark] == line.operands.count(mark) == 1:
                found[-1] = _Line(line.outputs, line.text.replace(mark, before.text))
                continue
        found.append(line)
    return found


def _is_call(line: _Line) -> bool:
    """Is it one value that can stand in a longer expression without brackets?"""
    signs = (" + ", " - ", " * ", " / ", " @ ", " if ", " & ", " | ", " ^ ", " < ", " > ", " == ", " % ")
    return len(line.outputs) == 1 and line.outputs[0] is not None and not any(s in line.text for s in signs)


def _name(forward: Forward, lines: Sequence[_Line]) -> None:
    """Give variables names; one that is no longer needed is used again. The last line is returned."""
    last = {mark: i for i, line in enumerate(lines) for mark in line.operands}
    names: dict[str, str] = {}
    free = _Names()
    for value in forward.inputs:
        names[str(value)] = free.take(None)
    forward.names = [names[str(value)] for value in forward.inputs]
    for i, line in enumerate(lines):
        text = MARK.sub(lambda m: names[m[0]], line.text)
        dying = [mark for mark in dict.fromkeys(line.operands) if last[mark] == i]
        for mark in dying:
            free.give_back(names[mark])
        targets = []
        for x in line.outputs:
            if x is not None and str(x) in last:
                names[str(x)] = free.take(names[dying[0]] if dying else None)
            targets.append(names.get(str(x), "_"))
        forward.lines.append(f"{', '.join(targets)} = {text}" if targets else f"return {text}")


class _Names:
    """Names of variables, the simplest first."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def take(self, wanted: str | None) -> str:
        """Take the wanted name if it is free, else the first that is."""
        names = [wanted] if wanted is not None else []
        names += [*_NAMES, *(f"x{i}" for i in range(1, len(self._used) + 2))]
        name = next(name for name in names if name not in self._used)
        self._used.add(name)
        return name

    def give_back(self, name: str) -> None:
        self._used.discard(name)
