"""Lines on the plant bus: `_kpi/current` of each machine and line, `_kpi/shift` at its end.

Both are CloudEvents whose data are described by insight/kpi.schema.json. The current ones are
retained. Closed shifts are sent in their order, again until the receiver has confirmed them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.alarms import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_agent.clock import Clock
    from edge_agent.daemon.line_recorder import LineRecorder
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Publisher
    from edge_agent.sinks import Sink

EVERY_S: Final = 10.0
_AT_A_TIME: Final = 100
_US_PER_MS: Final = 1000
_TYPE: Final = "io.edge-agent.kpi."
SCHEMA: Final = "urn:edge-agent:schema:kpi:1"


class LinePublisher:
    """Publishes what a recorder knows, to all sinks that take figures of lines."""

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        recorder: LineRecorder,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._recorder = recorder
        self._publisher = publisher
        self._clock = clock

    async def publish(self) -> None:
        """Publish the newest figures, and the shifts that are closed since the last call."""
        publisher = self._publisher
        if not (publisher.is_active and publisher.may_send()):
            return
        messages = list(self._currents())
        for name, sink in list(publisher.sinks.items()):
            if sink.takes_kpi:
                for topic, body in messages:
                    if not await sink.publish_kpi(topic, body, retain=True):
                        break
                await self._send_closed(name, sink)

    async def publish_bottleneck(self, line: str, answer: Mapping[str, Any]) -> None:
        """Publish what limits a line, retained; see docs/lines.md#bottleneck."""
        publisher, now_us = self._publisher, self._clock.now_us()
        if not (publisher.is_active and publisher.may_send()):
            return
        gateway = self._runtime().config.gateway
        place = f"{gateway.enterprise}/{gateway.site}/{gateway.area}/{line}"
        body = self._event("bottleneck", place, f"{line}:{now_us // _US_PER_MS}", now_us, answer)
        for sink in list(publisher.sinks.values()):
            if sink.takes_kpi:
                await sink.publish_kpi(f"{self._root}/{place}/_kpi/bottleneck", body, retain=True)

    async def _send_closed(self, name: str, sink: Sink) -> None:
        file = self._recorder.work.file
        done = None
        for number, result in await self._recorder.ask(file.unsent, name, _AT_A_TIME):
            place = self._place(result["machine"])
            if place is not None:
                at_us = result["end_ms"] * _US_PER_MS
                said = f"{result['machine']}:{result['start_ms']}"
                body = self._event("shift", place, said, at_us, result)
                topic = f"{self._root}/{place}/_kpi/shift"
                if not await sink.publish_kpi(topic, body, retain=False):
                    break
            done = number
        if done is not None:
            await self._recorder.ask(file.mark_sent, name, done)

    def _currents(self) -> Iterator[tuple[str, bytes]]:
        now_us = self._clock.now_us()
        for line in self._recorder.work.shown:
            gateway = self._runtime().config.gateway
            place = f"{gateway.enterprise}/{gateway.site}/{gateway.area}/{line['line']}"
            yield self._current(place, line["line"], now_us, _of_line(line))
            for row in line["machines"]:
                mine = self._place(row["machine"])
                if mine is not None:
                    data = {"line": line["line"], **row}
                    yield self._current(mine, row["machine"], now_us, data)

    def _current(
        self, place: str, name: str, now_us: int, data: Mapping[str, Any]
    ) -> tuple[str, bytes]:
        body = self._event("current", place, f"{name}:{now_us // _US_PER_MS}", now_us, data)
        return f"{self._root}/{place}/_kpi/current", body

    def _event(
        self, kind: str, place: str, said: str, at_us: int, data: Mapping[str, Any]
    ) -> bytes:
        gateway = self._runtime().config.gateway
        return orjson.dumps(
            {
                "specversion": "1.0",
                "id": f"{kind}:{said}",
                "source": f"/{gateway.enterprise}/{gateway.site}/edge-agent/{gateway.id}",
                "type": f"{_TYPE}{kind}",
                "subject": place,
                "time": rfc3339(at_us),
                "datacontenttype": "application/json",
                "dataschema": SCHEMA,
                "data": data,
            }
        )

    @property
    def _root(self) -> str:
        return self._runtime().config.topic_root

    def _place(self, machine: str) -> str | None:
        found = self._runtime().plant.assets.get(machine)
        return None if found is None else found.path


def _of_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line in short: its OEE, and the state of each machine."""
    states = {row["machine"]: row["state"] for row in line["machines"]}
    own = {key: line[key] for key in ("line", "oee_of", "current")}
    return {**own, "states": states}
