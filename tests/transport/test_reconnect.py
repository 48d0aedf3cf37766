"""The one run loop of sources and sinks: when it connects again, and what is said meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from support import value_of

from edge_agent.clock import FakeClock
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.transport import (
    LinkReporter,
    LostError,
    Reconnector,
    RefusedError,
    Waits,
    backoff_s,
)
from edge_agent.transport.reconnect import HELD_S

if TYPE_CHECKING:
    from edge_agent.ops.metrics import Metrics


class Rig:
    """A reconnector whose sessions go by a script; its waits take no time and are noted.

    script: for each session a number of seconds for which it is connected (None: never), and the
    error that ends it (None: it is finished for good). After the script a session never ends.
    """

    def __init__(
        self,
        metrics: Metrics,
        *script: tuple[float | None, Exception | None],
        waits: Waits | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.reporter = LinkReporter("source", "plc", metrics.source_up.labels("plc"), self.clock)
        self.waited: list[float] = []
        self.shown: list[tuple[str, float]] = []  # the link's detail and metric at each wait
        self.up = metrics.source_up.labels("plc")
        self.lost = metrics.source_reconnects.labels("plc")
        self._script = list(script)
        self._idle = asyncio.Event()
        self.loop = Reconnector(
            self.reporter,
            self._session,
            self.clock,
            waits=waits or Waits(),
            reconnects=self.lost,
            sleep=self._sleep,
        )

    async def _session(self) -> None:
        if not self._script:
            self._idle.set()
            await asyncio.Event().wait()
        connected_s, error = self._script.pop(0)
        if connected_s is not None:
            self.loop.set_connected(detail="well")
            self.clock.advance(connected_s)
        if error is not None:
            raise error
        self._idle.set()

    async def _sleep(self, wait_s: float) -> None:
        self.waited.append(wait_s)
        self.shown.append((self.reporter.link.detail, value_of(self.up)))
        await asyncio.sleep(0)

    async def run(self) -> None:
        """Go through the script."""
        async with asyncio.timeout(5):
            await self.loop.start("opc.tcp://plc:4840")
            await self._idle.wait()


AWAY = ConnectError("refused", where="opc.tcp://plc:4840")
LOST = LostError("closed", where="opc.tcp://plc:4840")
REFUSED = RefusedError("wrong password", where="opc.tcp://plc:4840")


@pytest.mark.parametrize(
    ("failures", "low", "high"), [(0, 0.5, 1), (1, 0.5, 1), (2, 1, 2), (7, 30, 60), (99, 30, 60)]
)
def test_backoff_doubles_from_one_second_to_a_minute(
    failures: int, low: float, high: float
) -> None:
    """Each wait is cut by up to a half at random, so that many gateways do not return at once."""
    assert backoff_s(failures, rng=lambda: 0.0) == low
    assert backoff_s(failures, rng=lambda: 1.0) == high
    assert len({backoff_s(9) for _ in range(20)}) > 1


async def test_waits_grow_while_the_other_side_is_away(metrics: Metrics) -> None:
    """The longest wait is the source's own limit."""
    rig = Rig(metrics, *[(None, AWAY)] * 7, waits=Waits(longest_s=30))
    await rig.run()
    longest = (1, 2, 4, 8, 16, 30, 30)
    assert all(most / 2 <= wait <= most for wait, most in zip(rig.waited, longest, strict=True))
    assert value_of(rig.lost) == 0, "what was never up is no lost connection"
    await rig.loop.stop()


@pytest.mark.parametrize(
    ("held_s", "waits", "wait_s"),
    [(HELD_S + 1, Waits(), 1), (1, Waits(), 16), (1, Waits(failures_after_up=1), 2)],
)
async def test_a_connection_that_held_makes_the_next_wait_short(
    metrics: Metrics, held_s: float, waits: Waits, wait_s: float
) -> None:
    """One that broke at once does not, unless messages wait for it."""
    rig = Rig(metrics, *[(None, AWAY)] * 4, (held_s, LOST), waits=waits)
    await rig.run()
    assert wait_s / 2 <= rig.waited[-1] <= wait_s
    assert value_of(rig.lost) == 1
    await rig.loop.stop()


async def test_a_refusal_waits_for_somebody_to_change_a_setting(metrics: Metrics) -> None:
    """Every attempt counts against a lock-out, and nobody is that fast."""
    rig = Rig(metrics, (None, REFUSED), (None, AWAY), waits=Waits(refused_s=60))
    await rig.run()
    assert 30 <= rig.waited[0] <= 60
    assert rig.waited[1] <= 2
    await rig.loop.stop()


async def test_link_metric_and_log_say_the_same(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """One line per change of state, and one when what was away turns out to refuse us."""
    caplog.set_level(logging.INFO)
    rig = Rig(metrics, (None, AWAY), (None, AWAY), (None, REFUSED), (None, REFUSED), (5, LOST))
    await rig.run()
    await rig.loop.stop()
    assert [detail.partition(": ")[2] for detail, _ in rig.shown] == [
        *("refused", "refused", "wrong password", "wrong password", "closed")
    ]
    assert {up for _, up in rig.shown} == {0}
    lines = [(one.message, one.reason) for one in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        ("source connecting", "opc.tcp://plc:4840"),
        ("source down", str(AWAY)),
        ("source down", str(REFUSED)),
        ("source up", "well"),
        ("source down", str(LOST)),
        ("source stopped", ""),
    ]


async def test_a_defect_of_ours_does_not_end_the_loop(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """A source or sink ends when it is stopped, not before."""
    rig = Rig(metrics, (None, ValueError("a defect")), (None, AWAY))
    await rig.run()
    assert len(rig.waited) == 2
    assert [one.message for one in caplog.records if one.exc_info] == ["source failed"]
    await rig.loop.stop()


async def test_a_session_that_is_finished_is_not_run_again(metrics: Metrics) -> None:
    """A recording that was played to the end."""
    rig = Rig(metrics, (1, None), (None, AWAY))
    await rig.run()
    assert (rig.waited, rig.reporter.link.state) == ([], LinkState.UP)
    await rig.loop.stop()


async def test_start_and_stop_are_safe_in_any_order(metrics: Metrics) -> None:
    """Stop before start, twice, and a start while it runs."""
    rig = Rig(metrics)
    await rig.loop.stop()
    for _ in range(2):
        await rig.run()
        await rig.loop.start()
        state = rig.reporter.link.state
        assert state is LinkState.CONNECTING
        await rig.loop.stop()
        await rig.loop.stop()
        assert rig.reporter.link.state is LinkState.STOPPED


def test_a_view_decides_what_is_shown(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    """A clock that is wrong degrades a connection that is up, and only that."""
    caplog.set_level(logging.INFO)
    clock, trouble = FakeClock(), [""]

    def view(state: LinkState, detail: str) -> tuple[LinkState, str]:
        return (LinkState.DEGRADED, trouble[0]) if trouble[0] else (state, detail)

    reporter = LinkReporter("source", "plc", metrics.source_up.labels("plc"), clock)
    reporter.view = view
    reporter.set(LinkState.UP, "well")
    clock.advance(1)
    trouble[0] = "clock 1 day ahead"
    reporter.refresh()
    reporter.refresh()
    assert (reporter.link.state, reporter.link.detail) == (LinkState.DEGRADED, trouble[0])
    assert reporter.link.since_us == clock.now_us()
    trouble[0] = ""
    reporter.refresh()
    assert (reporter.link.state, reporter.link.detail) == (LinkState.UP, "well")
    assert [one.levelname for one in caplog.records] == ["INFO", "WARNING", "INFO"]
