"""Looks for the bottleneck of each line again and again, in a process of its own.

The thread of the lines makes columns of what it has in memory; a process with a lower priority
answers. The pipeline waits for neither; an answer that does not come in time is left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.alarms import cycle_alarm_id
from edge_agent.errors import NotFoundError
from edge_agent.insight import NS_PER_S, LineData, LineQuestion, encode_question
from edge_agent.messages import Contributor, Detail, Observation
from edge_agent.models import child_command, child_environment
from edge_agent.trends import means

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.config.lines import Line, LineBottleneck
    from edge_agent.config.schema import Config
    from edge_agent.insight import LineBook, Signals
    from edge_agent.ops.metrics import Metrics
    from edge_agent.trends import Trends

EVERY_S: Final = 5.0
TIMEOUT_S: Final = 60.0
_CHILD: Final = "edge_agent.insight.analysis_child"
_NS_PER_US: Final = 1000
_LONGEST_NS: Final = 24 * 3600 * NS_PER_S  # of a shift that is looked at
_MOST_SIGNALS: Final = 24  # of a machine, that may explain its drift
_POINTS: Final = 480

log = logging.getLogger("edge_agent.daemon")


class LineAnalyses:
    """The newest answer of each line whose config has a section `bottleneck`.

    ask: runs a function on the thread of the lines; book: the lines there. publish: the name of a
    line and its answer. observe: for the alarm table.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (its neighbours)
        self,
        config: Callable[[], Config],
        ask: Callable[..., Awaitable[Any]],
        book: Callable[[], LineBook],
        publish: Callable[[str, Mapping[str, Any]], Awaitable[None]],
        observe: Callable[[Observation], Awaitable[None]],
        metrics: Metrics,
        clock: Clock,
        trends: Callable[[], Trends | None] = lambda: None,
    ) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self._config, self._ask, self._book = config, ask, book
        self._publish, self._observe, self._trends = publish, observe, trends
        self._metrics, self._clock = metrics, clock
        self._due_s: dict[str, float] = {}

    @property
    def _lines(self) -> dict[str, LineBottleneck]:
        """The lines that are looked at, by name."""
        lines = self._config().lines.items()
        return {str(name): one.bottleneck for name, one in lines if one.bottleneck is not None}

    def rows(self) -> list[dict[str, Any]]:
        """The answers of all lines."""
        return [self.answers[name] for name in self._lines if name in self.answers]

    def row(self, line: str) -> dict[str, Any]:
        """The answer of a line; NotFoundError if there is none."""
        if line not in self._lines:
            text = "the bottleneck of this line is not looked for"
            raise NotFoundError(text, where=repr(line), hint=f"lines.{line}.bottleneck: {{}}")
        if line not in self.answers:
            raise NotFoundError("not looked at yet", where=repr(line), hint="try again in a minute")
        return self.answers[line]

    async def look(self) -> None:
        """Look at the lines that are due, one after the other."""
        now_s = self._clock.monotonic_s()
        for name, config in self._lines.items():
            if self._due_s.get(name, 0.0) <= now_s:
                self._due_s[name] = now_s + config.every
                await self._look_at(name, config)

    async def _look_at(self, name: str, config: LineBottleneck) -> None:
        now_us = self._clock.now_us()
        raw = await self._ask(self._question, name, config, now_us)
        answer = None if raw is None else await answer_of(raw, name)
        if answer is None:
            return
        self.answers[name] = answer
        self._export(name, answer)
        await self._publish(name, answer)
        if config.drift_alarm:
            for drift in answer["drifts"]:
                await self._observe(observation_of(drift, now_us))

    def _export(self, line: str, answer: Mapping[str, Any]) -> None:
        metrics, shift = self._metrics, answer["shift"]
        metrics.line_bottleneck_confidence.labels(line).set(shift["confidence"])
        for one in shift["stations"]:
            is_named = shift["verdict"] == "named" and one["machine"] in shift["named"]
            metrics.line_bottleneck.labels(line, one["machine"]).set(is_named)
            metrics.line_gain.labels(line, one["machine"]).set(one["faster"]["share"])

    # -- on the thread of the lines -----------------------------------------------------------

    def _question(self, name: str, config: LineBottleneck, now_us: int) -> bytes | None:
        """What the process is asked; None if the line is not there yet."""
        book = self._book()
        if name not in book.lines:
            return None
        now_ns, names = now_us * _NS_PER_US, [*book.lines[name].machines]
        window_ns = round(config.window * NS_PER_S)
        from_ns = max(now_ns - _LONGEST_NS, min(_shift_ns(book, name, now_ns), now_ns - window_ns))
        log, counts = book.log(name), book.counts(name)
        from_ns = max(from_ns, int(log.start_ns.min(initial=now_ns)))
        buffers = tuple(config.buffers.get(one, -1) for one in names[:-1])
        log = log.within(from_ns, now_ns)
        data = LineData(tuple(names), log, counts, from_ns, now_ns, buffers)
        signals = {one: self._signals(one, from_ns, now_ns) for one in names}
        product = products(data, book.lines[name], signals)
        now_from_ns = max(from_ns, now_ns - window_ns)
        asked = LineQuestion(name, data, now_from_ns, config.drift, product, signals)
        return encode_question(asked)

    def _signals(self, asset: str, from_ns: int, to_ns: int) -> Signals:
        """The means of the inputs of an asset, if this gateway keeps trends."""
        trends = self._trends()
        if trends is None:
            return {}
        wanted = [one for one in trends.series_of(asset) if one.kind == "input"][:_MOST_SIGNALS]
        found = trends.read(asset, wanted, from_ns // NS_PER_S, to_ns // NS_PER_S, _POINTS)
        return {
            one.name: (rows["bucket"].astype(np.float64), means(rows))
            for one, rows in found.series.items()
        }


def _shift_ns(book: LineBook, line: str, now_ns: int) -> int:
    """When the running shift of a line began; now if there is none."""
    current = book.current(line)["current"]
    return now_ns if current is None else int(current["start_ms"]) * 1_000_000


def products(data: LineData, line: Line, signals: Mapping[str, Signals]) -> NDArray[np.int32]:
    """The number of the product of each count, by the trend of the machine's signal; 0: unknown."""
    found = np.zeros(len(data.counts.machine), np.int32)
    for place, name in enumerate(data.machines):
        series = signals.get(name, {}).get(line.machines[name].product)
        if series is None or not len(series[0]):
            continue
        mine = data.counts.machine == place
        row = np.searchsorted(series[0], data.counts.at_ns[mine] / NS_PER_S, side="right") - 1
        number = np.nan_to_num(series[1][np.clip(row, 0, None)])
        found[mine] = np.clip(np.round(number), -(1 << 30), 1 << 30)
    return found


async def answer_of(raw: bytes, line: str) -> dict[str, Any] | None:
    """The answer of the process; None, and a line in the log, if there is none in time."""
    child = await asyncio.create_subprocess_exec(
        *child_command(_CHILD),
        env=child_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            stdout, stderr = await child.communicate(raw)
    except TimeoutError:
        log.warning("line not analysed", extra={"line": line, "reason": f"more than {TIMEOUT_S} s"})
        return None
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode:
        reason = stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1][:400]
        log.warning("line not analysed", extra={"line": line, "reason": reason})
        return None
    answer: dict[str, Any] = json.loads(stdout)
    return answer


def observation_of(drift: Mapping[str, Any], at_us: int) -> Observation:
    """What the alarm table is told of a cycle: at its limit or over it if it surely drifts."""
    level = max(1.0, drift["change"] / drift["limit"]) if drift["drifts"] else 0.0
    follows = [one for one in drift["explained"] if one["kind"] == "follows"]
    args: dict[str, Any] = {
        "change": round(100 * drift["change"], 1),
        "before_s": drift["before_s"],
        "now_s": drift["now_s"],
    }
    if follows:
        args["signals"] = ", ".join(one["signal"] for one in follows)
    contributors = tuple(
        Contributor(one["signal"], abs(one["rank"]), one["after"], "") for one in follows
    )
    return Observation(
        cycle_alarm_id(drift["machine"]),
        level,
        at_us,
        Detail("cycle_drift", args, contributors=contributors),
    )
