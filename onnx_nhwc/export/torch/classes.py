"""Modules as constructors, and those of equal structure as one class with arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx_nhwc.export.torch.tensor import Argument

__all__ = ["Blueprint", "Built", "Classes", "Declared"]

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")


@dataclass
class Declared:
    """A parameter or buffer of a module.

    Attributes:
        shape: Its sizes.
        dtype: Its type, as NumPy names it.
        trainable: Is it an ``nn.Parameter``, rather than a buffer?
    """

    shape: tuple[int, ...]
    dtype: str
    trainable: bool


@dataclass
class Built:
    """What a module is made by.

    Attributes:
        kind: A class, of torch's or of the source's.
        arguments: By name and value.
        positional: How many of them are given by position.
        children: Modules in a container, by their names.
    """

    kind: str
    arguments: list[Argument] = field(default_factory=list)
    positional: int = 0
    children: list[tuple[str, Built]] = field(default_factory=list)


Part = Built | Declared


@dataclass(eq=False)
class Blueprint:
    """A class of the source, of which there may be several modules.

    Attributes:
        name: Its name.
        base: The class it is derived from.
        parts: What its modules hold, by name. Values are a :class:`Slot` where modules differ.
        parameters: The names of its arguments.
        kept: Those that ``forward`` needs, too.
        inputs: The names of what ``forward`` is given.
        outputs: How many tensors it returns.
        lines: The statements of ``forward``; none if it has none.
    """

    name: str
    base: str
    parts: list[tuple[str, Part]]
    parameters: list[str]
    kept: list[str]
    inputs: list[str]
    outputs: int
    lines: list[str]


@dataclass(frozen=True)
class Slot:
    """The value of an argument of the class."""

    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(eq=False)
class Instance:
    """A module that wants a class.

    Attributes:
        name: What the class may be called.
        base: The class it is derived from.
        parts: What it holds.
        inputs: The names of what ``forward`` is given.
        outputs: How many tensors it returns.
        lines: The statements of ``forward``.
    """

    name: str
    base: str
    parts: list[tuple[str, Part]]
    inputs: list[str]
    outputs: int
    lines: list[str]

    def structure(self) -> Any:
        """What it is but for its numbers."""
        lines = tuple(_NUMBER.sub("#", line) for line in self.lines)
        return self.base, tuple((n, _structure(p)) for n, p in self.parts), tuple(self.inputs), lines

    def numbers(self) -> list[tuple[str, Any]]:
        """Its numbers, in an order that is the same for all of one structure, with names for them."""
        found = [number for name, part in self.parts for number in _numbers(name, part)]
        return found + [("size", text) for line in self.lines for text in _NUMBER.findall(line)]


def _structure(part: Part) -> Any:
    if isinstance(part, Declared):
        return len(part.shape), part.dtype, part.trainable
    names = tuple(name for name, _ in part.arguments)
    return part.kind, part.positional, names, tuple((n, _structure(c)) for n, c in part.children)


def _numbers(name: str, part: Part) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Declared):
        yield from ((name, size) for size in part.shape)
        return
    yield from part.arguments
    for inner, child in part.children:
        yield from _numbers(inner, child)


class Classes:
    """The classes of a source, each after those that it uses."""

    def __init__(self) -> None:
        self.blueprints: list[Blueprint] = []
        self._names: set[str] = set()

    def of(self, instances: Sequence[Instance]) -> list[Built]:
        """Return what makes each of these modules; those of equal structure share a class."""
        groups: dict[Any, list[Instance]] = {}
        for instance in instances:
            groups.setdefault(instance.structure(), []).append(instance)
        made: dict[int, Built] = {}
        for group in groups.values():
            made.update(zip(map(id, group), self._class(group), strict=True))
        return [made[id(instance)] for instance in instances]

    def _class(self, group: Sequence[Instance]) -> list[Built]:
        first = group[0]
        named = first.numbers()
        columns = list(zip(*([value for _, value in one.numbers()] for one in group), strict=True))
        slots: dict[tuple[Any, ...], Slot] = {}
        values: list[Any] = []
        for (name, value), column in zip(named, columns, strict=True):
            if all(_same(other, value) for other in column):
                values.append(value)
                continue
            key = tuple(map(repr, column))
            if key not in slots:
                slots[key] = Slot(_free(name, {slot.name for slot in slots.values()} | set(first.inputs)))
            values.append(slots[key])
        given = iter(values)
        parts = [(name, _filled(part, given)) for name, part in first.parts]
        kept: list[str] = []
        lines = [_NUMBER.sub(lambda _: _kept(next(given), kept), line) for line in first.lines]
        blueprint = Blueprint(
            self._name(first.name), first.base, parts, [slot.name for slot in slots.values()],
            kept, first.inputs, first.outputs, lines,
        )  # fmt: skip
        self.blueprints.append(blueprint)
        places = [
            columns.index(column) for column in dict.fromkeys(columns) if tuple(map(repr, column)) in slots
        ]
        unique = {tuple(map(repr, columns[i])): columns[i] for i in places}
        return [
            Built(
                blueprint.name,
                [(slot.name, _parsed(unique[key][row])) for key, slot in slots.items()],
                min(2, len(slots)),
            )
            for row in range(len(group))
        ]

    def _name(self, wanted: str) -> str:
        name = _free(wanted, self._names)
        self._names.add(name)
        return name


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}{number}" if name[:1].isupper() else f"{name}_{number}"
    return found


def _kept(value: Any, kept: list[str]) -> str:
    """A number in a ``forward``."""
    if not isinstance(value, Slot):
        return str(value)
    if value.name not in kept:
        kept.append(value.name)
    return f"self.{value.name}"


def _parsed(value: Any) -> Any:
    """A number of a ``forward`` is text until it becomes an argument."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return value
    return int(value) if value.isdigit() else float(value)


def _filled(part: Part, values: Iterator[Any]) -> Part:
    if isinstance(part, Declared):
        return Declared(tuple(next(values) for _ in part.shape), part.dtype, part.trainable)
    arguments = [(name, next(values)) for name, _ in part.arguments]
    children = [(name, _filled(child, values)) for name, child in part.children]
    return Built(part.kind, arguments, part.positional, [(n, c) for n, c in children if isinstance(c, Built)])
