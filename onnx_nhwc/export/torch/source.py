"""The source of a program: classes, formatted as one would write them by hand."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from onnx_nhwc.export.torch.classes import Blueprint, Built, Classes, Declared, Instance, Part
from onnx_nhwc.export.torch.forward import Forward, forward_of
from onnx_nhwc.export.torch.kinds import DEFAULTS
from onnx_nhwc.export.torch.program import Program, Step
from onnx_nhwc.export.torch.scopes import Scope, tree_of
from onnx_nhwc.export.torch.tensor import MARK, Formed, Tensor

__all__ = ["source_of"]

_WIDTH = 100
_INDENT = "    "


def source_of(program: Program) -> str:
    """Return a Python module whose last class is the model."""
    return _Source(program).text()


class _Source:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.root = tree_of(program)
        self.scopes = {scope.path: scope for scope in _all(self.root)}
        self.modules = {m.path: m for m in program.used_modules}
        self.declared = {p.path: p for p in program.used_parameters}
        self.children = _children([*self.modules, *self.declared, *self.scopes])
        self.children.update({path: [] for path in self.scopes.keys() - self.children.keys()})
        self.forwards: dict[str, Forward] = {}
        self.built: dict[str, Built] = {}
        self.classes = Classes()

    def text(self) -> str:
        program, wanted = self.program, self._wanted()
        for scope in sorted(self.scopes.values(), key=lambda s: -_depth(s.path)):
            access = partial(self._access, scope.path)
            self.forwards[scope.path] = forward_of(program, scope, wanted[scope.path], self.forwards, access)
        heights: dict[int, list[str]] = {}
        for path in self.children:
            if self._wants_class(path):
                heights.setdefault(self._height(path), []).append(path)
        for height in sorted(heights):
            paths = heights[height]
            made = self.classes.of([self._instance(path) for path in paths])
            self.built.update(zip(paths, made, strict=True))
        return _module(self.classes.blueprints)

    def _wanted(self) -> dict[str, set[Tensor]]:
        """For each scope, the tensors that are made in it and used outside of it."""
        program, found = self.program, {}
        given = {int(m[2]) for _, text in program.outputs for m in MARK.finditer(text) if m[1] == "t"}
        for path, scope in self.scopes.items():
            inside = set(scope.steps())
            outer = [step for step in program.steps if step not in inside]
            used = {number for step in outer for kind, number in step.marks if kind == "t"}
            found[path] = {program.tensors[n] for n in used | given}
        return found

    # --- where things are --------------------------------------------------------------------

    def _access(self, scope: str, path: str) -> str:
        """How something is reached in a scope."""
        if scope and not path.startswith(f"{scope}."):
            return ""
        text, at = "self", scope
        for part in path.removeprefix(f"{scope}.").split("."):
            if part.isdigit():
                text += f"[{part}]" if self._is_list(at) else f'["{part}"]'
            else:
                text += f".{part}"
            at = f"{at}.{part}" if at else part
        return text

    def _is_list(self, path: str) -> bool:
        """Are all that a module holds modules that are numbered?"""
        inner = self.children.get(path, ())
        held = [f"{path}.{name}" if path else name for name in inner]
        return bool(inner) and all(n.isdigit() for n in inner) and not any(p in self.declared for p in held)

    def _height(self, path: str) -> int:
        inner = [self._height(f"{path}.{n}" if path else n) for n in self.children.get(path, ())]
        return 1 + max(inner, default=0)

    # --- what is made ------------------------------------------------------------------------

    def _wants_class(self, path: str) -> bool:
        if path in self.modules or path in self.declared:
            return False
        if path in self.scopes:
            return path == "" or self._sequence(path) is None
        inner = [f"{path}.{name}" for name in self.children[path]]
        return any(p in self.declared for p in inner)

    def _sequence(self, path: str) -> dict[int, str | Formed] | None:
        """What a scope that is an ``nn.Sequential`` holds, by number: paths, and modules without one."""
        forward, scope = self.forwards[path], self.scopes[path]
        if not forward.chain or not self._is_list(path):
            return None
        numbered = set(self._numbers(path))
        places: dict[int, str | Formed] = {}
        last = -1
        for item in scope.items:
            called = self._called(item)
            if called is not None:
                number = int(called.rpartition(".")[2])
                if number <= last:
                    return None
                places[number] = called
            elif isinstance(item, Step) and isinstance(item.text, Formed) and last + 1 not in numbered:
                number = last + 1
                places[number] = item.text
            else:
                return None
            last = number
        return None if numbered - places.keys() else places

    def _sequential(self, path: str) -> list[tuple[str, Built]]:
        """The modules of a scope that is an ``nn.Sequential``."""
        places = self._sequence(path)
        assert places is not None
        made = {
            str(i): self._part(found)
            if isinstance(found, str)
            else Built(found.kind, list(found.arguments), found.positional)
            for i, found in places.items()
        }
        return _filled_up(made)

    def _numbers(self, path: str) -> list[int]:
        return [int(name) for name in self.children[path]]

    def _called(self, item: Step | Scope) -> str | None:
        """The path of the module that an item is nothing but a call of."""
        if isinstance(item, Scope):
            return item.path
        match = re.fullmatch(r"§m(\d+)§\(§t\d+§\)", str(item.text))
        return self.program.modules[int(match[1])].path if match else None

    def _part(self, path: str) -> Any:
        """What makes the module, or declares the parameter, at a path."""
        if path in self.modules:
            module = self.modules[path]
            return Built(module.kind, list(module.arguments), module.positional)
        if path in self.declared:
            found = self.declared[path]
            return Declared(found.shape, found.dtype, found.trainable)
        if path in self.built:
            return self.built[path]
        if path in self.scopes:
            return Built("nn.Sequential", children=self._sequential(path))
        inner = {name: self._part(f"{path}.{name}") for name in self.children[path]}
        if self._is_list(path):
            return Built("nn.ModuleList", children=_filled_up(inner))
        return Built("nn.ModuleDict", children=list(inner.items()))

    def _instance(self, path: str) -> Instance:
        inner = [(n, self._part(f"{path}.{n}" if path else n)) for n in self.children.get(path, ())]
        forward = self.forwards.get(path)
        name = _class_name(path or self.program.name)
        if path == "" and self._sequence(path) is not None:
            return Instance(name, "nn.Sequential", list(self._sequential(path)), [], 1, [])
        base = "nn.Module"
        if self._is_list(path):
            base = "nn.ModuleList"
            inner = _filled_up(dict(inner))
        elif any(n.isdigit() for n, _ in inner):
            base = "nn.ModuleDict"
        if forward is None:
            return Instance(name, base, inner, [], 0, [])
        count = len(forward.outputs) if path else len(self.program.outputs)
        return Instance(name, base, inner, forward.names, count, forward.lines)


def _filled_up(modules: dict[str, Any]) -> list[tuple[str, Any]]:
    """Numbered modules, with something in each gap, so that each has its number."""
    return [(str(i), modules.get(str(i), Built("nn.Identity"))) for i in range(max(map(int, modules)) + 1)]


def _all(scope: Scope) -> list[Scope]:
    return [scope, *(s for item in scope.items if isinstance(item, Scope) for s in _all(item))]


def _depth(path: str) -> int:
    return path.count(".") + 1 if path else 0


def _children(paths: Sequence[str]) -> dict[str, list[str]]:
    """What is directly in each path, in order."""
    found: dict[str, dict[str, None]] = {"": {}}
    for path in paths:
        at = ""
        for part in path.split(".") if path else []:
            found.setdefault(at, {})[part] = None
            at = f"{at}.{part}" if at else part
    ordered = {}
    for path, inner in found.items():
        numbers = sorted((name for name in inner if name.isdigit()), key=int)
        ordered[path] = [*numbers, *(name for name in inner if not name.isdigit())]
    return ordered


def _class_name(path: str) -> str:
    """A name for the class of a module at a path: ``layer1.0`` is a LayerBlock."""
    parts = [part for part in re.split(r"[._\W]+", path) if part]
    words = [part for part in parts if not part.isdigit()] or ["Block"]
    word = words[-1] if "." in path or "_" not in path else "".join(w.capitalize() for w in words)
    name = re.sub(r"\d+$", "", word) or word
    name = name[:1].upper() + name[1:]
    if parts and parts[-1].isdigit() and name != "Block":
        name = name.removesuffix("s") + ("Block" if len(name) < 12 else "")
    taken = {"Tensor", "Module", "Identity"}
    return f"{name}Module" if name in taken or keyword.iskeyword(name) or name[0].isdigit() else name


# --- text -------------------------------------------------------------------------------------


def _module(blueprints: Sequence[Blueprint]) -> str:
    body = "\n\n\n".join(_class(blueprint) for blueprint in blueprints)
    lines = ["import torch"] if re.search(r"\btorch\.", body) else []
    if re.search(r"\bF\.", body):
        lines.append("import torch.nn.functional as F")
    lines.append("from torch import Tensor, nn" if re.search(r"\bTensor\b", body) else "from torch import nn")
    return "\n".join(lines) + "\n\n\n" + body + "\n"


def _class(blueprint: Blueprint) -> str:
    lines = [f"class {blueprint.name}({blueprint.base}):"]
    arguments = "".join(f", {name}" for name in blueprint.parameters)
    lines.append(f"{_INDENT}def __init__(self{arguments}) -> None:")
    inner = [f"self.{name} = {name}" for name in blueprint.kept]
    if blueprint.base in ("nn.Sequential", "nn.ModuleList"):
        listed = [_call(part) for _, part in blueprint.parts if isinstance(part, Built)]
        inner = ["super().__init__(", *_items(listed, 1), ")", *inner]
        if blueprint.base == "nn.ModuleList":
            inner[0], inner[inner.index(")")] = "super().__init__([", "])"
    else:
        inner = ["super().__init__()", *inner]
        for name, part in blueprint.parts:
            inner += _declaration(name, part)
    lines += [f"{_INDENT * 2}{line}" for line in inner]
    if blueprint.lines:
        result = "Tensor" if blueprint.outputs == 1 else f"tuple[{', '.join(['Tensor'] * blueprint.outputs)}]"
        given = "".join(f", {name}: Tensor" for name in blueprint.inputs)
        lines += ["", f"{_INDENT}def forward(self{given}) -> {result}:"]
        lines += [f"{_INDENT * 2}{line}" for line in blueprint.lines]
    return "\n".join(lines)


def _declaration(name: str, part: Part) -> list[str]:
    if isinstance(part, Declared):
        shape = f"({', '.join(map(repr, part.shape))}{',' if len(part.shape) == 1 else ''})"
        dtype = "" if part.dtype == "float32" else f", dtype=torch.{part.dtype}"
        empty = f"torch.zeros({shape}{dtype})"
        if part.trainable:
            return [f"self.{name} = nn.Parameter({empty})"]
        return [f'self.register_buffer("{name}", {empty})']
    if name.isdigit():
        return [f'self["{name}"] = {_call(part)}']
    text = f"self.{name} = {_call(part)}"
    if len(text) + 8 <= _WIDTH or not part.children:
        return [text]
    opening, closing = ("([", "])") if part.kind == "nn.ModuleList" else ("(", ")")
    if part.kind == "nn.ModuleDict":
        return [text]
    return [f"self.{name} = {part.kind}{opening}", *_items([_call(c) for _, c in part.children], 1), closing]


def _items(listed: Sequence[str], indent: int) -> list[str]:
    """Items of a list, a line each; equal ones that follow each other are one."""
    lines = []
    i = 0
    while i < len(listed):
        count = 1
        while i + count < len(listed) and listed[i + count] == listed[i]:
            count += 1
        text = listed[i] if count == 1 else f"*[{listed[i]} for _ in range({count})]"
        lines.append(f"{_INDENT * indent}{text},")
        i += count
    return lines


def _call(built: Built) -> str:
    """The call of a constructor; arguments that are the default are left out."""
    if built.children:
        inner = [_call(child) for _, child in built.children]
        if built.kind == "nn.ModuleDict":
            pairs = (f'"{name}": {_call(child)}' for name, child in built.children)
            return f"nn.ModuleDict({{{', '.join(pairs)}}})"
        joined = ", ".join(line.strip().rstrip(",") for line in _items(inner, 0))
        return f"{built.kind}([{joined}])" if built.kind == "nn.ModuleList" else f"{built.kind}({joined})"
    defaults = DEFAULTS.get(built.kind, {})
    texts = []
    for i, (name, value) in enumerate(built.arguments):
        if i < built.positional:
            texts.append(repr(value))
        elif name not in defaults or defaults[name] != value:
            texts.append(f"{name}={value!r}")
    return f"{built.kind}({', '.join(texts)})"
