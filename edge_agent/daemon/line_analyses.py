"""Looks for the bottleneck of each line again and again, in a process of its own.

On the event loop it only takes the rows that are in memory; a thread makes columns of them, and a
process with a lower priority answers. An answer that does not come in time is left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import cycle_alarm_id
from edge_agent.clock import US_PER_S
from edge_agent.errors import NotFoundError
from edge_agent.insight import encode_question, question_of, rows_since
from edge_agent.messages import Contributor, Detail, Observation
from edge_agent.models import child_command, child_environment
from edge_agent.trends import SeriesName, means

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.lines import Line, LineBottleneck
    from edge_agent.insight import MachineMemory, MachineRows
    from edge_agent.insight.line_analysis import Signals
    from edge_agent.ops.metrics import Metrics
    from edge_agent.trends import Trends

EVERY_S: Final = 5.0
TIMEOUT_S: Final = 60.0
_CHILD: Final = "edge_agent.insight.analysis_child"
_LONGEST_US: Final = 24 * 3600 * US_PER_S  # of a shift that is looked at
_MOST_SIGNALS: Final = 24  # of a machine, that may explain its drift
_POINTS: Final = 480

log = logging.getLogger("edge_agent.daemon")


class LineAnalyses:
    """The newest answer of each line whose config has a section `bottleneck`.

    machines: of a line; shift_us: since when its running shift is. publish: a topic's last part and
    its body. observe: for the alarm table.
    """

    def __init__(  # noqa: PLR0913 (its neighbours)
        self,
        lines: Callable[[], Mapping[str, Line]],
        machines: Callable[[str], Sequence[MachineMemory]],
        shift_us: Callable[[str, int], int],
        publish: Callable[[str, bytes], None],
        observe: Callable[[Observation], Awaitable[None]],
        metrics: Metrics,
        clock: Clock,
        trends: Callable[[], Trends | None] = lambda: None,
    ) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self._lines, self._machines, self._shift_us = lines, machines, shift_us
        self._publish, self._observe, self._trends = publish, observe, trends
        self._metrics, self._clock = metrics, clock
        self._due_s: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lines")

    def rows(self) -> list[dict[str, Any]]:
        """The answers of all lines."""
        wanted = {name for name, one in self._lines().items() if one.bottleneck is not None}
        return [row for name, row in self.answers.items() if name in wanted]

    def row(self, line: str) -> dict[str, Any]:
        """The answer of a line; NotFoundError if there is none."""
        found = self._lines().get(line)
        if found is None or found.bottleneck is None:
            hint = f"lines.{line}.bottleneck in the config"
            raise NotFoundError("the bottleneck of this line is not looked for", where=repr(line), hint=hint)
        if line not in self.answers:
            raise NotFoundError("not looked at yet", where=repr(line), hint="try again in a minute")
        return self.answers[line]

    async def look(self) -> None:
        """Look at the lines that are due, one after the other."""
        now_s = self._clock.monotonic_s()
        for name, line in self._lines().items():
            if line.bottleneck is not None and self._due_s.get(name, 0.0) <= now_s:
                self._due_s[name] = now_s + line.bottleneck.every
                await self._look_at(name, line.bottleneck)

    async def _look_at(self, name: str, config: LineBottleneck) -> None:
        to_us = self._clock.now_us()
        window_us = round(config.window * US_PER_S)
        from_us = max(min(self._shift_us(name, to_us), to_us - window_us), to_us - _LONGEST_US)
        rows = [rows_since(one, from_us) for one in self._machines(name)]
        loop = asyncio.get_running_loop()
        raw = await loop.run_in_executor(
            self._thread, self._encoded, name, config, rows, from_us, to_us
        )
        answer = await _answer_of(raw, name)
        if answer is None:
            return
        self.answers[name] = answer
        self._publish(f"{name}/bottleneck", json.dumps(answer, ensure_ascii=False).encode())
        self._export(name, answer)
        if config.drift_alarm:
            for drift in answer["drifts"]:
                await self._observe(observation_of(drift, to_us))

    def _encoded(
        self,
        name: str,
        config: LineBottleneck,
        rows: Sequence[MachineRows],
        from_us: int,
        to_us: int,
    ) -> bytes:
        signals = {one.asset: self._signals(one.asset, from_us, to_us) for one in rows}
        asked = question_of(name, config, rows, signals, from_us=from_us, to_us=to_us)
        return encode_question(asked)

    def _signals(self, asset: str, from_us: int, to_us: int) -> Signals:
        """The means of the inputs of an asset, if this gateway keeps trends."""
        trends = self._trends()
        if trends is None:
            return {}
        wanted = [one for one in trends.series_of(asset) if one.kind == "input"][:_MOST_SIGNALS]
        found = trends.read(asset, wanted, from_us // US_PER_S, to_us // US_PER_S, _POINTS)
        return {one.name: (rows["bucket"].astype(float), means(rows)) for one, rows in found.series.items()}

    def _export(self, line: str, answer: Mapping[str, Any]) -> None:
        metrics, shift = self._metrics, answer["shift"]
        metrics.line_bottleneck_confidence.labels(line).set(shift["confidence"])
        for one in shift["stations"]:
            is_named = shift["verdict"] == "named" and one["machine"] in shift["named"]
            metrics.line_bottleneck.labels(line, one["machine"]).set(is_named)
            metrics.line_gain.labels(line, one["machine"]).set(one["faster"]["share"])

    async def stop(self) -> None:
        """End the thread; a process that still runs is ended by its task."""
        self._thread.shutdown(wait=False, cancel_futures=True)


async def _answer_of(raw: bytes, line: str) -> dict[str, Any] | None:
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
        cycle_alarm_id(drift["machine"]), level, at_us, Detail("cycle_drift", args, contributors=contributors)
    )
