"""Stays for a drawing: where there are more than it can show, the state that lasts longest wins."""

from __future__ import annotations

import numpy as np

from edge_agent.insight.states import CODES, STATES, MachineState

Stay = tuple[str, int, int]


def thinned(stays: list[Stay], start_ns: int, end_ns: int, most: int) -> list[Stay]:
    """Stays (state, start_ns, end_ns), in order; at most `most`, if it is not 0.

    The span is divided into as many parts; of each the state with the longest time is shown.
    """
    if not most or len(stays) <= most or end_ns - start_ns < most:
        return stays
    code = np.array([CODES[MachineState(one[0])] for one in stays])
    start = np.array([one[1] for one in stays], np.int64)
    end = np.array([one[2] for one in stays], np.int64)
    edges = np.linspace(start_ns, end_ns, most + 1).astype(np.int64)
    times = np.array([np.diff(_passed(edges, start, end, code == n)) for n in range(len(STATES))])
    longest = np.where(times.any(axis=0), times.argmax(axis=0), -1)  # -1: nothing is there
    first = np.flatnonzero(np.append(True, longest[1:] != longest[:-1]))
    last = np.append(first[1:], most)
    return [
        (str(STATES[longest[a]]), int(edges[a]), int(edges[b]))
        for a, b in zip(first, last, strict=True)
        if longest[a] >= 0
    ]


def _passed(edges: np.ndarray, start: np.ndarray, end: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """How much time in these stays has passed at each edge."""
    start, end = start[mine], end[mine]
    if not len(start):
        return np.zeros(len(edges))
    total = np.concatenate([[0], np.cumsum(end - start)])
    at = np.searchsorted(start, edges, side="right")
    over = np.where(at > 0, np.clip(edges - end[np.maximum(at - 1, 0)], None, 0), 0)
    return np.asarray(total[at] + over)
