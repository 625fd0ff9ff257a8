"""A contract for import-linter: no circle of modules, a package and what is in it included.

The linter's own ``acyclic_siblings`` looks at rooms side by side. A package whose ``__init__`` imports a
module that imports the package is no pair of siblings, and is as hard to read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from importlinter import Contract, ContractCheck, output
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


class NoCircles(Contract):
    """Each module's imports, followed, never lead back to it; imports for types count."""

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        modules = sorted(graph.modules)
        place = {module: i for i, module in enumerate(modules)}
        pairs = [
            (place[module], place[imported])
            for module in modules
            for imported in graph.find_modules_directly_imported_by(module)
        ]
        rows, columns = np.array(pairs, dtype=int).reshape(-1, 2).T
        imports = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(modules),) * 2)
        _, labels = connected_components(imports, connection="strong")
        circles = [
            [modules[i] for i in np.flatnonzero(labels == label)]
            for label, size in enumerate(np.bincount(labels))
            if size > 1
        ]
        return ContractCheck(kept=not circles, metadata={"circles": circles})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for circle in check.metadata["circles"]:
            output.print_error("These need each other: " + ", ".join(circle))
