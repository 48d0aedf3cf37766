"""Source `opcua`: subscribes to the nodes of one OPC UA server and recovers from any failure."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path  # noqa: TC003 (the config loader reads the annotations)
from typing import TYPE_CHECKING

from edge_agent.config.schema import Gateway
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.messages import LinkState
from edge_agent.sources.base import ConnectedSource
from edge_agent.sources.opcua.event_times import EventTimes
from edge_agent.sources.opcua.feed import Feed
from edge_agent.sources.zone import Zone
from edge_agent.transport import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.findings import Finding
    from edge_agent.plant import PlantAsset, PlantSignal
    from edge_agent.sources.opcua.config import OpcUaSourceConfig
    from edge_agent.sources.opcua.found import Browsed
    from edge_agent.sources.opcua.node_report import NodeReport

log = logging.getLogger("edge_agent.sources")


class OpcUaSource(ConnectedSource["OpcUaSourceConfig"]):
    """Keeps one server's nodes subscribed and hands their values to the intake.

    Each connection is a new client. When it ends, every signal of the source gets one value of
    status BadNoCommunication, so that the last value is no longer valid; the server sends current
    values when the next connection subscribes.
    """

    # A server that is back is found within 15 s. Settings are not corrected within seconds, and a
    # server counts attempts.
    waits = Waits(longest_s=12.0, refused_s=60.0)

    def _prepare(self) -> None:
        config = self._config
        self.target = config.url
        source_clock = self._make_source_clock(config.time)
        times = EventTimes(source_clock, Zone(config.timezone), config.time, self._clock)
        self._feed = Feed(self.name, self._intake, self._metrics, self._clock, times)
        self._discovered = asyncio.Event()
        self._received_until: Mapping[str, int] = {}
        self._plant.on_asset(self._on_asset)

    async def _serve(self) -> None:
        # The library costs 40 MB and half a second; a plant without OPC UA need not load it.
        from edge_agent.sources.opcua.session import Session  # noqa: PLC0415

        self._add_signals()
        session = Session(
            self._config,
            self._gateway.id,
            self._feed,
            self._clock,
            source=self.name,
            discovered=self._discovered,
            add_signals=self._add_signals,
            on_up=self._on_up,
        )
        try:
            await session.run()
        except EdgeAgentError:
            self._feed.mark_lost()
            raise
        except Exception as error:  # a server's answer can make the library raise anything
            self._feed.mark_lost()
            log.debug("unexpected", extra={"source": self.name}, exc_info=True)
            raise ConnectError(f"{type(error).__name__}: {error}") from error

    def received_until(self) -> dict[str, int]:
        """The stamps of the newest values, if the history after them can be read."""
        if not self._config.reads_history:
            return {}
        stamps = zip(self._feed.signals, self._feed.stamp_us.tolist(), strict=True)
        return {_key(signal): stamp_us for signal, stamp_us in stamps if stamp_us > 0}

    def resume_after(self, received_until: Mapping[str, int]) -> None:
        """Read the history after these stamps, as after an outage of the link."""
        self._received_until = received_until if self._config.reads_history else {}

    def _add_signals(self) -> None:
        """Add new signals; the plant only appends signals, so the new ones are the last."""
        known = len(self._feed.signals)
        self._feed.add(self._plant.of_source(self.name)[known:])
        for handle, signal in enumerate(self._feed.signals[known:], known):
            self._feed.stamp_us[handle] = self._received_until.get(_key(signal), 0)

    def _on_asset(self, asset: PlantAsset) -> None:
        if any(signal.source == self.name for signal in asset.signals.values()):
            self._discovered.set()

    def _on_up(self, detail: str, nodes: NodeReport) -> None:
        self.link.has_kept = self._feed.history.has_kept
        state = LinkState.UP if nodes.is_complete else LinkState.DEGRADED
        self._reconnector.set_connected(state, detail)


def _key(signal: PlantSignal) -> str:
    return f"{signal.asset.id}.{signal.name}"


async def probe(config: OpcUaSourceConfig) -> None:
    """Connect, log in and disconnect; ConnectError contains what prevents it."""
    from edge_agent.sources.opcua.connector import connect  # noqa: PLC0415 (as in OpcUaSource)

    connection = await connect(config, Gateway().id)
    await connection.close()


async def inspect(
    name: str,
    config: OpcUaSourceConfig,
    whole: Config,
    clock: Clock,
    seconds: float,  # noqa: ARG001 (for sources that wait)
) -> list[Finding]:
    """Read every node of the source once; ConnectError contains what prevents it."""
    from edge_agent.sources.opcua.inspection import inspect_server  # noqa: PLC0415 (as above)

    return await inspect_server(name, config, whole, clock)


async def browse(  # noqa: PLR0913 (its limits, and a callback)
    config: OpcUaSourceConfig,
    name: str,
    pattern: str = "",
    *,
    seconds: float = 60,
    everything: bool = False,
    most: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Browsed:
    """The server's variables that match a glob of paths or addresses; ConnectError if it refuses.

    `name` is the session's. Reads only; bounded in nodes, depth and time. most: of variables.
    """
    from edge_agent.sources.opcua.browser import browse_server  # noqa: PLC0415 (as above)

    return await browse_server(
        config,
        name,
        pattern,
        seconds=seconds,
        everything=everything,
        most=most,
        progress=progress,
    )


async def pin(config: OpcUaSourceConfig, file: Path) -> str:
    """Write the server's certificate to `file`; returns its subject and thumbprint.

    A presented certificate proves nothing: a person must compare it with the server's own display.
    """
    from edge_agent.sources.opcua.pinning import shown_certificate  # noqa: PLC0415 (as above)

    return await shown_certificate(config, file)
