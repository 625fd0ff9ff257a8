"""LSTM, GRU, RNN: time first, and batch first as functions."""

from __future__ import annotations

import numpy as np

from tests.support.case import Case, Port, Sizes, case, fed, given

HIDDEN = 3
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def _weights(op: str, directions: int) -> tuple[Port, Port, Port]:
    rows = GATES[op] * HIDDEN
    rng = np.random.default_rng(3)

    def kernel(sizes: Sizes) -> np.ndarray:
        return rng.uniform(-1, 1, (directions, rows, sizes["i"]))

    recurrent = rng.uniform(-1, 1, (directions, rows, HIDDEN))
    bias = rng.uniform(-1, 1, (directions, 2 * rows))
    return given(kernel, "float32"), given(recurrent, "float32"), given(bias, "float32")


def _lengths(sizes: Sizes) -> np.ndarray:
    """From the whole sequence down."""
    return np.maximum(sizes["s"] - np.arange(sizes["n"]), 1)


def recurrent(
    op: str, direction: str, *, lengths: bool = False, states: bool = False, outputs: int = 1
) -> Case:
    """A node with or without lengths and initial states; its first or all outputs."""
    directions = 2 if direction == "bidirectional" else 1
    ports: list[Port | None] = [fed("sni"), *_weights(op, directions)]
    if lengths or states:
        ports.append(given(_lengths, "int32") if lengths else None)
    if states:
        ports += [fed(f"{directions}nh")] * (2 if op == "LSTM" else 1)
    return case(
        op,
        *ports,
        outputs=outputs,
        sizes={"h": HIDDEN},
        hidden_size=HIDDEN,
        direction=direction,
        note=direction,
        tol=1e-5,
    )


CASES = [
    recurrent("RNN", "forward"),
    recurrent("RNN", "reverse", lengths=True, outputs=2),
    recurrent("GRU", "forward", states=True, outputs=2),
    recurrent("GRU", "bidirectional"),
    recurrent("LSTM", "forward"),
    recurrent("LSTM", "bidirectional", lengths=True, states=True, outputs=3),
    case(
        "RNN",
        "nsi",
        *_weights("RNN", 1)[:2],
        since=14,
        hidden_size=HIDDEN,
        layout=1,
        fixed=True,
        tol=1e-5,
        evaluated_since=(1, 23),
    ),
]
