"""A program as a tree of scopes: which module's ``forward`` each step is in.

Names tell, of nodes or of parameters. A step that nothing is known of is where what it computes with
comes from. A scope whose steps cannot run one after the other, because something outside needs one of
them and another needs that, has no ``forward``: its steps are the outer scope's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from onnx_nhwc.export.torch.program import Program, Step
from onnx_nhwc.export.torch.tensor import Formed, Tensor

__all__ = ["Scope", "tree_of"]


@dataclass(eq=False)
class Scope:
    """A module that computes.

    Attributes:
        path: Where it is; empty for the model.
        items: Its steps and the scopes in it, in the order in which they run.
    """

    path: str
    items: list[Step | Scope] = field(default_factory=list)

    def steps(self) -> list[Step]:
        """All steps in it, those of inner scopes included."""
        return [s for item in self.items for s in ([item] if isinstance(item, Step) else item.steps())]


def parent_of(path: str) -> str:
    return path.rpartition(".")[0]


def within(path: str, scope: str) -> bool:
    """Is a path in a scope, or the scope itself?"""
    return not scope or path == scope or path.startswith(f"{scope}.")


def tree_of(program: Program) -> Scope:
    """Return the tree of a program; activations alone in their scope become modules."""
    _form_modules(program)
    return _grown(program, _places(program))


def _form_modules(program: Program) -> None:
    """A step that is alone in its scope, and that a module can say, becomes that module."""
    counts = Counter(step.scope for step in program.steps)
    taken = [m.path for m in program.used_modules] + [p.path for p in program.used_parameters]
    for step in program.steps:
        scope, text = step.scope, step.text
        if not scope or counts[scope] > 1 or not isinstance(text, Formed):
            continue
        if any(within(path, scope) for path in taken):
            continue
        marks = [mark for mark in step.marks if mark[0] == "t"]
        if len(step.marks) == len(marks) == 1:
            made = program.module(scope, text.kind, text.arguments, text.positional, {})
            program.used.add(("m", made.number))
            step.text = f"{made}({program.tensors[marks[0][1]]})"


def _places(program: Program) -> dict[Step, str]:
    """The scope of each step."""
    places: dict[Step, str] = {}
    modules = {m.path for m in program.used_modules}
    readers: dict[Tensor, list[str]] = {}
    made_in: dict[Tensor, str] = {}
    for step in program.steps:
        operands = [program.tensors[number] for kind, number in step.marks if kind == "t"]
        owners = [program.modules[n].path for kind, n in step.marks if kind == "m"]
        owners += [program.parameters[n].path for kind, n in step.marks if kind == "p" and step.scope is None]
        if owners:
            place = parent_of(owners[0])
        elif step.scope is not None:
            place = step.scope
        else:
            place = made_in.get(operands[-1], "") if operands else ""
            latest = [made_in[x] for x in operands if x in made_in]
            place = max(latest, key=len, default=place)
            while place and not all(_available(x, place, made_in, readers) for x in operands):
                place = parent_of(place)
        while any(within(place, path) for path in modules):  # a module has no other steps
            place = parent_of(place)
        places[step] = place
        for x in operands:
            readers.setdefault(x, []).append(place)
        made_in.update({x: place for x in step.outputs if x is not None})
    return places


def _available(x: Tensor, place: str, made_in: dict[Tensor, str], readers: dict[Tensor, list[str]]) -> bool:
    """Does a scope have a tensor: is it made in it, or read in it?"""
    own = [made_in[x]] if x in made_in else []
    return any(within(path, place) for path in (*own, *readers.get(x, ())))


def _grown(program: Program, places: dict[Step, str]) -> Scope:
    """The tree, without the scopes that cannot run as one."""
    gone: set[str] = set()
    while True:
        root = Scope("")
        scopes = {"": root}
        for step in program.steps:
            around = root
            for path in _ancestors(places[step]):
                if path in gone:
                    continue
                if path not in scopes:
                    scopes[path] = Scope(path)
                    around.items.append(scopes[path])
                around = scopes[path]
            around.items.append(step)
        stuck = next(filter(None, (_ordered(program, scope) for scope in scopes.values())), None)
        if stuck is None:
            return root
        gone.add(stuck.path)


def _ordered(program: Program, scope: Scope) -> Scope | None:
    """Bring the items of a scope into an order in which they can run; else, one that is in the way."""
    made_by = {x: item for item in scope.items for step in _steps(item) for x in step.outputs}
    needs = {
        item: {
            made_by[x]
            for step in _steps(item)
            for x in _operands(program, step)
            if x in made_by and made_by[x] is not item
        }
        for item in scope.items
    }
    done: list[Step | Scope] = []
    waiting = list(scope.items)
    while waiting:
        ready = next((item for item in waiting if needs[item] <= set(done)), None)
        if ready is None:
            inner = [item for item in waiting if isinstance(item, Scope)]
            return min(inner, key=lambda item: len(item.steps()))
        waiting.remove(ready)
        done.append(ready)
    scope.items = done
    return None


def _steps(item: Step | Scope) -> list[Step]:
    return [item] if isinstance(item, Step) else item.steps()


def _operands(program: Program, step: Step) -> list[Tensor]:
    return [program.tensors[number] for kind, number in step.marks if kind == "t"]


def _ancestors(path: str) -> list[str]:
    """A path and all around it, but for the model itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]
