"""Source `opcua`: subscribes to the nodes of one OPC UA server, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path  # noqa: TC003 (the config loader reads the annotations)
from typing import TYPE_CHECKING, Final

from edge_agent.config.schema import Gateway
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.messages import Link, LinkState
from edge_agent.sources.opcua.errors import RefusedError
from edge_agent.sources.opcua.feed import Feed
from edge_agent.sources.source_clock import SourceClock
from edge_agent.sources.zone import Zone

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.findings import Finding
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant, PlantAsset
    from edge_agent.sources.opcua.config import OpcUaSourceConfig
    from edge_agent.sources.opcua.found import Browsed
    from edge_agent.sources.opcua.node_report import NodeReport
    from edge_agent.values import Intake

_RETRY_S: Final = (1.0, 30.0)  # first and longest wait between attempts
_REFUSED_RETRY_S: Final = 60.0  # nobody mends a setting in seconds, and a server counts attempts
_STEADY_S: Final = 30.0  # a connection that lasted so long starts the waits anew
_STOP_S: Final = 5.0
_WORRYING: Final = frozenset({LinkState.DOWN, LinkState.DEGRADED})

log = logging.getLogger("edge_agent.sources")


class OpcUaSource:
    """Keeps one server's nodes subscribed and hands their values to the intake.

    Each connection is a fresh client. When it ends, every signal of the source gets one value of
    status BadNoCommunication, so that what was held stops being data; the server sends what is
    current when the next connection subscribes.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the constructor that all sources share)
        self,
        name: str,
        config: OpcUaSourceConfig,
        plant: Plant,
        intake: Intake,
        metrics: Metrics,
        clock: Clock,
        gateway: Gateway,
    ) -> None:
        self.name = name
        self.link = Link()
        self._config = config
        self._plant = plant
        self._clock = clock
        self._gateway = gateway
        self._told: tuple[LinkState, str] = (LinkState.STOPPED, "")
        self._source_clock = SourceClock(
            name, config.time, plant, self.link, metrics, clock, self._show_link
        )
        self._feed = Feed(
            name, intake, metrics, clock, self._source_clock, Zone(config.timezone), config.time
        )
        self._is_up = metrics.source_up.labels(name)
        self._reconnects = metrics.source_reconnects.labels(name)
        self._discovered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._up_at_s: float | None = None
        self._failures = 0
        self._refused = False
        plant.on_asset(self._on_asset)

    async def start(self) -> None:
        """Begin to connect; returns at once, whether or not the server answers."""
        if self._task is None:
            self._set(LinkState.CONNECTING, self._config.url)
            self._task = asyncio.create_task(self._run(), name=f"source {self.name}")

    async def stop(self) -> None:
        """Close the session, waiting no longer than a few seconds."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=_STOP_S)
            self._up_at_s = None
            self._is_up.set(0)
            self._set(LinkState.STOPPED, "")

    async def _run(self) -> None:
        # The library costs 40 MB and half a second, which a plant without OPC UA need not pay.
        from edge_agent.sources.opcua.session import Session  # noqa: PLC0415

        self._add_signals()
        while True:
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
            except EdgeAgentError as error:
                self._on_down(error)
            except Exception as error:  # whatever a server makes the library raise
                log.debug("unexpected", extra={"source": self.name}, exc_info=True)
                self._on_down(ConnectError(f"{type(error).__name__}: {error}"))
            await asyncio.sleep(self._wait_s())

    def _add_signals(self) -> None:
        """The plant only ever adds signals, so the new ones are the last."""
        self._feed.add(self._plant.of_source(self.name)[len(self._feed.signals) :])

    def _on_asset(self, asset: PlantAsset) -> None:
        if any(signal.source == self.name for signal in asset.signals.values()):
            self._discovered.set()

    def _on_up(self, detail: str, nodes: NodeReport) -> None:
        if self._up_at_s is None:
            self._up_at_s = self._clock.monotonic_s()
        self._is_up.set(1)
        self._set(LinkState.UP if nodes.is_complete else LinkState.DEGRADED, detail)

    def _on_down(self, error: EdgeAgentError) -> None:
        was_up, self._up_at_s = self._up_at_s, None
        if was_up is not None:
            self._reconnects.inc()
            if self._clock.monotonic_s() - was_up > _STEADY_S:
                self._failures = 0
        self._feed.mark_lost()
        self._failures += 1
        newly_refused = isinstance(error, RefusedError) and not self._refused
        self._refused = isinstance(error, RefusedError)
        self._is_up.set(0)
        self._set(LinkState.DOWN, str(error), tell=newly_refused)

    def _wait_s(self) -> float:
        first_s, longest_s = _RETRY_S
        wait_s = min(longest_s, first_s * 2.0 ** min(self._failures - 1, 16))
        if self._refused:
            wait_s = _REFUSED_RETRY_S
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)

    def _set(self, state: LinkState, detail: str, *, tell: bool = False) -> None:
        """Note how the connection is."""
        self._told = (state, detail)
        self._show_link(tell=tell)

    def _show_link(self, *, tell: bool = False) -> None:
        """Show connection and clock as one; one log line where the state changes, or if `tell`."""
        link = self.link
        state, link.detail = self._source_clock.shown(*self._told)
        if link.state is state and not tell:
            return
        if link.state is not state:
            link.state, link.since_us = state, self._clock.now_us()
        level = logging.WARNING if state in _WORRYING else logging.INFO
        log.log(level, f"source {state}", extra={"source": self.name, "detail": link.detail})  # noqa: G004


async def probe(config: OpcUaSourceConfig) -> None:
    """Connect, log in and leave again; ConnectError says what stands in the way."""
    from edge_agent.sources.opcua.connector import connect  # noqa: PLC0415 (as in OpcUaSource)

    connection = await connect(config, Gateway().id)
    await connection.close()


async def inspect(
    name: str,
    config: OpcUaSourceConfig,
    whole: Config,
    clock: Clock,
    seconds: float,  # noqa: ARG001 (of sources that wait)
) -> list[Finding]:
    """Read every node of the source once; ConnectError says what stands in the way."""
    from edge_agent.sources.opcua.inspection import inspect_server  # noqa: PLC0415 (as above)

    return await inspect_server(name, config, whole, clock)


async def browse(  # noqa: PLR0913 (what bounds it, and who is told)
    config: OpcUaSourceConfig,
    name: str,
    pattern: str = "",
    *,
    seconds: float = 60,
    everything: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Browsed:
    """The server's variables that fit a glob of paths or addresses; ConnectError if it refuses.

    `name` is that of the session. Reads only; bounded in nodes, depth and time.
    """
    from edge_agent.sources.opcua.browser import browse_server  # noqa: PLC0415 (as above)

    return await browse_server(
        config, name, pattern, seconds=seconds, everything=everything, progress=progress
    )


async def pin(config: OpcUaSourceConfig, file: Path) -> str:
    """Write the certificate that the server shows to `file`; gives its subject and thumbprint.

    What a server shows proves nothing: somebody must compare it with the server's own display.
    """
    from edge_agent.sources.opcua.pinning import shown_certificate  # noqa: PLC0415 (as above)

    return await shown_certificate(config, file)
