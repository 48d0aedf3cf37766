"""One look at a line: its bottleneck over the shift and now, and the machines whose cycle drifts.

The daemon asks it in a process of its own (`analysis_child`): an answer takes some tenths of a
second of processor, which the path of values must not feel.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from edge_agent.insight.bottleneck import find_bottleneck
from edge_agent.insight.cycle_drift import find_cycle_drift
from edge_agent.insight.line_answer import answer_row, rounded
from edge_agent.insight.line_model import NS_PER_S, SETUP, LineData, PartCounts, work_samples
from edge_agent.insight.states import StateLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.insight.cycle_drift import CycleDrift

    Floats = NDArray[np.float64]

# The times (s) and values of signals by name.
Signals: TypeAlias = "Mapping[str, tuple[Floats, Floats]]"
_ABOUT: Final = "about"
_LOG: Final = ("machine", "state", "start_ns", "end_ns")
_COUNTS: Final = ("machine", "at_ns", "parts", "product")


@dataclass(frozen=True, slots=True)
class LineQuestion:
    """A line over its shift. now_from_ns: where the last window begins; drift: what is too much.

    product: of each count in `data` [K]; signals: by machine, the times (s) and values of each
    signal that may explain a drift.
    """

    line: str
    data: LineData
    now_from_ns: int
    drift: float
    product: NDArray[np.int32]
    signals: Mapping[str, Signals] = field(default_factory=dict)


def analyse(asked: LineQuestion) -> dict[str, Any]:
    """The answer as JSON: `shift` and `now` as in `answer_row`, and `drifts`, a row a machine."""
    data = asked.data
    late = replace(
        data, log=data.log.within(asked.now_from_ns, data.to_ns), from_ns=asked.now_from_ns
    )
    rows = {
        name: answer_row(find_bottleneck(one), asked.line, one.from_ns, one.to_ns)
        for name, one in (("shift", data), ("now", late))
    }
    return {"line": asked.line, **rows, "drifts": drift_rows(asked)}


def drift_rows(asked: LineQuestion) -> list[dict[str, Any]]:
    """The trend of the work per part of each machine that counts its parts one by one."""
    found = []
    for place, machine in enumerate(asked.data.machines):
        drift = _drift_of(asked, place)
        if drift is not None:
            over = drift.is_sure and drift.low >= 0 and drift.change >= asked.drift
            row = rounded(asdict(drift))
            found.append({"machine": machine, "drifts": bool(over), "limit": asked.drift, **row})
    return found


def _drift_of(asked: LineQuestion, place: int) -> CycleDrift | None:
    data, counts = asked.data, asked.data.counts
    mine = (counts.machine == place) & (counts.parts == 1)
    work = work_samples(data, place)
    at_ns = counts.at_ns[mine][1:]
    if len(at_ns) != len(work) or not len(work):
        return None
    set_ups = np.sort(data.log.start_ns[(data.log.machine == place) & (data.log.state == SETUP)])
    product = asked.product[mine][1:]
    group = product if len(set(product.tolist())) > 1 else np.searchsorted(set_ups, at_ns)
    signals = asked.signals.get(data.machines[place], {})
    return find_cycle_drift(at_ns / NS_PER_S, work, group.astype(np.intp), signals)


def encode_question(asked: LineQuestion) -> bytes:
    """A question for the process that answers it."""
    data = asked.data
    arrays = {f"log_{name}": getattr(data.log, name) for name in _LOG}
    arrays |= {f"count_{name}": getattr(data.counts, name) for name in _COUNTS[:3]}
    arrays["count_product"] = asked.product
    named = [(machine, name) for machine, own in asked.signals.items() for name in own]
    for number, (machine, name) in enumerate(named):
        at_s, value = asked.signals[machine][name]
        arrays[f"signal_{number}"] = np.stack([at_s, value])
    about = {
        "line": asked.line,
        "machines": data.machines,
        "span": [data.from_ns, data.to_ns, asked.now_from_ns],
        "buffers": data.buffers,
        "drift": asked.drift,
        "signals": named,
    }
    file = io.BytesIO()
    np.savez(file, **arrays, **{_ABOUT: np.array(json.dumps(about))})  # type: ignore[arg-type]
    return file.getvalue()


def decode_question(raw: bytes) -> LineQuestion:
    """The same in that process; ValueError or KeyError if it is damaged."""
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        about = json.loads(str(file[_ABOUT]))
        log = StateLog(*(file[f"log_{name}"] for name in _LOG))
        *counts, product = (file[f"count_{name}"] for name in _COUNTS)
        signals: dict[str, dict[str, tuple[Floats, Floats]]] = {}
        for number, (machine, name) in enumerate(about["signals"]):
            at_s, value = file[f"signal_{number}"]
            signals.setdefault(machine, {})[name] = (at_s, value)
    from_ns, to_ns, now_from_ns = about["span"]
    data = LineData(
        tuple(about["machines"]), log, PartCounts(*counts), from_ns, to_ns, tuple(about["buffers"])
    )
    return LineQuestion(about["line"], data, now_from_ns, about["drift"], product, signals)
