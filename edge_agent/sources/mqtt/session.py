"""One connection to a broker as a source: when to read, and what is confirmed."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from edge_agent.clock import APART
from edge_agent.transport.mqtt import BrokerSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.sources.mqtt.paho_client import Client, Messages

# A broker stops sending QoS 1 and 2 after its in-flight window (mosquitto: 20) until we confirm:
# after so many confirmations in one read it may be waiting for us, so we do not pause.
WINDOW_HINT: Final = 10
# Seconds of pause for each second of work: frequent reads use at most a sixth of a core. Above that
# load the pause grows to its limit.
RESTS_PER_WORK: Final = 5.0
SHORTEST_S: Final = 0.005  # scores need not leave earlier, and each read wakes the whole path
_MEMORY: Final = 32  # number of reads in the mean of the work: a burst does not change it
_log = logging.getLogger("edge_agent.sources")


class ReaderPace:
    """The pauses between two reads, only as long as they are useful.

    A read has a fixed cost, for one value or thousands; the longer the pause before it, the more
    values share that cost, and the later each of them leaves. All processor time of this process
    (cpu_s, in seconds) counts but for that of other programs: the values of a source cause work in
    pipeline, models and sinks.
    """

    def __init__(self, cpu_s: Callable[[], float] = time.process_time) -> None:
        self._cpu_s = cpu_s
        self._since_s = cpu_s() - APART.s
        self._work_s = 0.0

    def wake_up(self) -> None:
        """Data arrived after a time without work: earlier processor time does not count."""
        self._since_s = self._cpu_s() - APART.s

    def pause_s(self, longest_s: float) -> float:
        """Return the pause now, from the mean work of a read until now."""
        before_s, self._since_s = self._since_s, self._cpu_s() - APART.s
        self._work_s += (self._since_s - before_s - self._work_s) / _MEMORY
        return min(longest_s, max(SHORTEST_S, RESTS_PER_WORK * self._work_s))


class Session(BrokerSession):
    """`on_messages` gets the messages of each read; only then are they confirmed.

    While `backpressured` is True nothing is read, so that the broker waits and nothing is lost.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        client: Client,
        on_messages: Callable[[Messages], None],
        clock: Clock,
        backpressured: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(config, client, clock, self._watch)
        self._reader = client
        self._coalesce_s = config.coalesce
        self._clock = clock
        self._on_messages = on_messages
        self._backpressured = backpressured
        self._loop = asyncio.get_running_loop()
        self._pace = ReaderPace()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message without confirmation (QoS 0)."""
        self._reader.publish(topic, payload)

    def _watch(self, fd: int) -> None:
        self._loop.add_reader(fd, self._on_readable, fd)

    def _on_readable(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._pace.wake_up()
        self._read_once(fd)

    def _read_once(self, fd: int) -> None:
        """Read once, then pause; the loop watches the socket only while it is empty."""
        if self.ended.done():
            return
        if self._backpressured():
            # The silence is ours, not the broker's.
            self._wire.received_s = self._clock.monotonic_s()
            self._loop.call_later(self._coalesce_s, self._read_once, fd)
            return
        try:
            messages = self._reader.receive()
            if messages is not None:
                self._accept(messages)
        except Exception as error:  # noqa: BLE001 (no defect, ours or paho's, may end the source)
            _log.exception("connection dropped", extra={"where": self._broker.url})
            self._reader.drop(f"internal error: {error!r}")
            return
        if self.ended.done():
            return
        if messages is None:
            self._loop.add_reader(fd, self._on_readable, fd)
        elif len(messages.acks) >= WINDOW_HINT or self._reader.more:
            self._loop.call_soon(self._read_once, fd)
        else:
            self._loop.call_later(self._pace.pause_s(self._coalesce_s), self._read_once, fd)

    def _accept(self, messages: Messages) -> None:
        self._wire.received_s = self._clock.monotonic_s()
        if messages.topics or messages.too_large:
            self._on_messages(messages)
        if messages.acks and not messages.malformed:
            self._reader.acknowledge(messages.acks)
