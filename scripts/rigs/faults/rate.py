"""Ten times the usual rate, then more than the pipeline can process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

from edge_agent.testing import wait_until
from scripts.crash_test.peers import Subscriber
from scripts.rigs.faults.flow import Flow, PatchedDaemon, Shape, alarm_of, broker_of, write_config
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.rigs.faults.promises import Run

SHAPE: Final = Shape(assets=100, hz=1.0)  # 2,000 values/s
TIMES: Final = 10.0
OVERLOAD: Final = 20.0  # times, on a pipeline that is slowed to `SLOW_VALUES_S`
LONG_S: Final = 60.0
QUICK_S: Final = 10.0
OVERLOAD_S: Final = 25.0
WARM_S: Final = 10.0
ALLOWED_MIB: Final = 25.0
FED_S: Final = 5.0  # the unit's WatchdogSec is 7 s
HEARD_S: Final = 60.0
DRAINED_S: Final = 120.0


class Load(NamedTuple):
    """Memory before and at most during a load."""

    before_mib: float
    most_mib: float

    @property
    def grown_mib(self) -> float:
        """What the load has cost."""
        return self.most_mib - self.before_mib


class Watchdog(threading.Thread):
    """Receives the daemon's notifications as systemd does; `longest_s` between two of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.environment = {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": "7000000",
        }
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.environment["NOTIFY_SOCKET"])
        self._fed_s = 0.0
        self.longest_s = 0.0

    def run(self) -> None:
        """Receive until the socket is closed."""
        with contextlib.suppress(OSError):
            while message := self._socket.recv(4096):
                if b"WATCHDOG=1" in message:
                    now_s = time.monotonic()
                    self.longest_s = max(self.longest_s, now_s - (self._fed_s or now_s))
                    self._fed_s = now_s

    def close(self) -> None:
        """End it."""
        self._socket.close()


def rate(run: Run) -> Measured:
    """Ten times the rate, then an overload; the control has an intake without a bound."""
    seconds = run.seconds or (QUICK_S if run.quick else LONG_S)
    run.tell("overload")
    patches = ["slow_pipeline", *([] if run.protected else ["unbounded_intake"])]
    flood = _overload(run, OVERLOAD_S, patches)
    told = f"{OVERLOAD:g} times on a slow pipeline: {flood.grown_mib:+.0f} MiB"
    bounded = flood.grown_mib < ALLOWED_MIB
    if not run.protected:
        return Measured(told, bounded)
    run.tell("ten times the rate")
    usual, holds = _ten_times(run, seconds)
    return Measured(f"{usual}; {told}", holds and bounded)


def _ten_times(run: Run, seconds: float) -> tuple[str, bool]:
    with ExitStack() as stack:
        watchdog = Watchdog(run.folder)
        watchdog.start()
        stack.callback(watchdog.close)
        daemon, flow, heard = _start(run.folder / "ten", [], watchdog.environment, stack)
        load = Load(*_memory_during(daemon, flow, seconds / 2, hz=SHAPE.hz * TIMES))
        latency_s = _time_to_alarm(flow, heard, asset=7)
        later = Load(*_memory_during(daemon, flow, seconds / 2, hz=SHAPE.hz * TIMES))
        flow.set_hz(0)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: _uncounted(daemon, flow) == 0, DRAINED_S)
        grown = max(load.most_mib, later.most_mib) - load.before_mib
        uncounted, dropped = _uncounted(daemon, flow), daemon.metric("values_dropped_total")
        sent = flow.sent
    figure = (
        f"{sent / 1e6:.2f} million values at {SHAPE.rate * TIMES:,.0f}/s, {uncounted:.0f} not "
        f"counted, {dropped:.0f} dropped, {grown:+.0f} MiB, alarm after {latency_s:.1f} s, "
        f"watchdog fed every {watchdog.longest_s:.1f} s at most"
    )
    holds = not uncounted and grown < ALLOWED_MIB and latency_s < HEARD_S
    return figure, holds and 0 < watchdog.longest_s < FED_S


def _overload(run: Run, seconds: float, patches: Sequence[str]) -> Load:
    with ExitStack() as stack:
        daemon, flow, _ = _start(run.folder / "overload", patches, {}, stack)
        return Load(*_memory_during(daemon, flow, seconds, hz=SHAPE.hz * OVERLOAD))


def _start(
    folder: Path, patches: Sequence[str], environment: dict[str, str], stack: ExitStack
) -> tuple[PatchedDaemon, Flow, Subscriber]:
    folder.mkdir()
    broker = broker_of(folder)
    broker.start()
    stack.callback(broker.stop)
    config = write_config(folder, broker.port, SHAPE.assets, intake_values=100_000)
    daemon = PatchedDaemon(config, patches, **environment)
    daemon.start()
    stack.callback(daemon.kill if patches else daemon.stop)
    heard = stack.enter_context(Subscriber(broker.port))
    flow = stack.enter_context(Flow(broker.port, SHAPE))
    time.sleep(WARM_S)
    return daemon, flow, heard


def _memory_during(
    daemon: PatchedDaemon, flow: Flow, seconds: float, *, hz: float
) -> tuple[float, float]:
    process = psutil.Process(daemon.pid)
    before = most = process.memory_info().rss / (1 << 20)
    flow.set_hz(hz)
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        most = max(most, process.memory_info().rss / (1 << 20))
        time.sleep(0.25)
    return before, most


def _time_to_alarm(flow: Flow, heard: Subscriber, *, asset: int) -> float:
    began_s = time.monotonic()
    flow.break_asset(asset)
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: heard.order.get(alarm_of(asset)), HEARD_S)
    return time.monotonic() - began_s


def _uncounted(daemon: PatchedDaemon, flow: Flow) -> float:
    return flow.sent - daemon.metric("values_received_total")
