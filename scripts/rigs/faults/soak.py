"""The soak: 8,000 values/s for hours with a disturbance a minute; nothing may grow."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import paho.mqtt.client as mqtt
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import wait_until
from scripts.crash_test.peers import Subscriber
from scripts.rigs.faults.flow import Flow, PatchedDaemon, Shape, alarm_of, broker_of, write_config
from scripts.rigs.faults.promises import Measured
from scripts.rigs.faults.unprotected import TASKS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_agent.testing import Mosquitto
    from scripts.rigs.faults.promises import Run

SHAPE: Final = Shape(assets=40, hz=10.0)  # 8,000 values/s
LONG_S: Final = 7200.0
QUICK_S: Final = 60.0
CONTROL_S: Final = 600.0
EVERY_S: Final = 60.0  # a disturbance, and an alarm
QUICK_EVERY_S: Final = 6.0
SAMPLE_S: Final = 5.0
FAULT_S: Final = 3.0
HEARD_S: Final = 30.0  # an alarm that comes later counts as missing
ALLOWED_MIB_H: Final = 1.0
MEMORY_FROM_S: Final = 1200.0  # the memory of a shorter run is that of the start
ALLOWED_COUNT: Final = 1.5  # median of a cycle against that of another
PATHS: Final = ("/api/summary", "/api/assets", "/api/alarms", "/api/alarms/history", "/metrics")


class Sample(NamedTuple):
    """What the daemon holds at a moment; children: memory of its processes."""

    at_s: float
    rss_mib: float
    children_mib: float
    descriptors: int
    threads: int
    tasks: int


@dataclass
class Site:
    """All programs of a soak."""

    broker: Mosquitto
    daemon: PatchedDaemon
    config: Path
    flow: Flow
    heard: Subscriber
    tasks_file: Path


def restart_broker(site: Site) -> None:
    """Kill it; it has forgotten everything."""
    site.broker.kill()
    time.sleep(2.0)
    site.broker.start()


def stall_broker(site: Site) -> None:
    """No answer for five seconds."""
    site.broker.halt(5.0)


def reload_rules(site: Site) -> None:
    """Change a rule back and forth."""
    text = site.config.read_text()
    changed = text.replace("off_delay: 0s", "off_delay: 1s")
    site.config.write_text(
        changed if changed != text else text.replace("off_delay: 1s", "off_delay: 0s")
    )
    os.kill(site.daemon.pid, signal.SIGHUP)


def send_nonsense(site: Site) -> None:
    """Payloads and topics that fit nothing, and commands that nobody may give."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", site.broker.port)
    client.loop_start()
    for number in range(500):
        client.publish(f"plant/a{number % 40:03d}", os.urandom(number))
        client.publish(f"plant/nobody-{number}", b'{"ts":1}')
        client.publish("edge/x/x/x/x/x/_pdm/cmd/ack", b'{"id":"%d"}' % number)
    time.sleep(1.0)
    client.loop_stop()
    client.disconnect()


def read_pages(site: Site) -> None:
    """Four readers of every page at once."""
    readers = [
        threading.Thread(target=lambda: [site.daemon.ask(path) for path in PATHS * 5])
        for _ in range(4)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def come_and_go(site: Site) -> None:
    """Twenty subscribers that leave at once."""
    for number in range(20):
        with Subscriber(site.broker.port, f"passer-by-{number}"):
            time.sleep(0.05)


def do_nothing(_: Site) -> None:
    """A quiet minute."""


DISTURBANCES: Final[tuple[Callable[[Site], None], ...]] = (
    do_nothing,
    restart_broker,
    read_pages,
    reload_rules,
    stall_broker,
    send_nonsense,
    come_and_go,
    read_pages,
)


def soak(run: Run) -> Measured:
    """Run for two hours, or a minute; the control leaks memory, descriptors and tasks."""
    seconds = run.seconds or (QUICK_S if run.quick else LONG_S)
    if not run.protected:
        seconds = min(seconds, CONTROL_S)
    # core_dumps: else only root may count its descriptors.
    patches = ["count_tasks", "core_dumps", *([] if run.protected else ["leaking"])]
    with ExitStack() as stack:
        site = _start(run.folder, patches, stack)
        samples, missing, alarms = _watch(site, seconds, run)
        received = site.daemon.metric("values_received_total")
        sent = site.flow.sent
    return verdict_of(samples, missing=missing, alarms=alarms, share=received / sent)


def _start(folder: Path, patches: Sequence[str], stack: ExitStack) -> Site:
    broker = broker_of(folder)
    broker.start()
    stack.callback(broker.stop)
    config = write_config(folder, broker.port, SHAPE.assets, is_learned=True)
    tasks = folder / "tasks"
    tasks.write_text("0")
    daemon = PatchedDaemon(config, patches, **{TASKS_FILE: str(tasks)})
    daemon.start()
    stack.callback(daemon.stop)
    heard = stack.enter_context(Subscriber(broker.port))
    flow = stack.enter_context(Flow(broker.port, SHAPE))
    return Site(broker, daemon, config, flow, heard, tasks)


def _watch(site: Site, seconds: float, run: Run) -> tuple[list[Sample], int, int]:
    """(Samples, alarms that were not heard, alarms); each minute a disturbance, then an alarm."""
    every_s = QUICK_EVERY_S if run.quick else EVERY_S
    choose = random.Random(1)  # noqa: S311 (a plan, not a secret)
    samples: list[Sample] = []
    missing = alarms = 0
    began_s = time.monotonic()
    sampler = _Sampler(site, samples, began_s)
    sampler.start()
    try:
        while (passed_s := time.monotonic() - began_s) < seconds:
            DISTURBANCES[alarms % len(DISTURBANCES)](site)
            missing += not _raises(site, choose.randrange(SHAPE.assets))
            alarms += 1
            run.tell(f"{passed_s / 60:.0f} of {seconds / 60:.0f} min, {_line(samples)}")
            time.sleep(max(0.0, began_s + alarms * every_s - time.monotonic()))
    finally:
        sampler.over.set()
        sampler.join()
    return samples, missing, alarms


class _Sampler(threading.Thread):
    def __init__(self, site: Site, samples: list[Sample], began_s: float) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self._site, self._samples, self._began_s = site, samples, began_s

    def run(self) -> None:
        process = psutil.Process(self._site.daemon.pid)
        while not self.over.wait(SAMPLE_S if len(self._samples) > 10 else 1.0):  # noqa: PLR2004
            self._samples.append(_sample(process, self._site, time.monotonic() - self._began_s))


def _sample(process: psutil.Process, site: Site, at_s: float) -> Sample:
    children = 0
    for child in process.children(recursive=True):
        try:
            children += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return Sample(
        at_s,
        process.memory_info().rss / (1 << 20),
        children / (1 << 20),
        process.num_fds(),
        process.num_threads(),
        int(site.tasks_file.read_text() or 0),
    )


def _line(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    _, rss, children, files, threads, tasks = samples[-1]
    return (
        f"{rss:.1f} MiB + {children:.0f} MiB in children, {files} descriptors, "
        f"{threads} threads, {tasks} tasks"
    )


def _raises(site: Site, asset: int) -> bool:
    """Whether a fault of this asset is heard as an alarm, and its end as well."""
    alarm_id = alarm_of(asset)
    before = len(site.heard.order.get(alarm_id, ()))
    site.flow.break_asset(asset)
    heard = _grows(site, alarm_id, before)
    time.sleep(FAULT_S)
    site.flow.break_asset(-1)
    return _grows(site, alarm_id, before + 1) and heard


def _grows(site: Site, alarm_id: str, number: int) -> bool:
    try:
        wait_until(lambda: len(site.heard.order.get(alarm_id, ())) > number, HEARD_S)
    except TimeoutError:
        return False
    return True


class Slope(NamedTuple):
    """MiB per hour, and twice its standard error."""

    mib_h: float
    doubt: float


def slope_of(samples: Sequence[Sample], cycle_s: float) -> Slope:
    """Fit a line through the means of the cycles: values within one are not independent."""
    groups: dict[int, list[Sample]] = {}
    for one in samples:
        groups.setdefault(int(one.at_s // cycle_s), []).append(one)
    hours = np.array([np.mean([one.at_s for one in g]) / 3600 for g in groups.values()])
    means = np.array([np.mean([one.rss_mib for one in g]) for g in groups.values()])
    if len(groups) < 3:  # noqa: PLR2004 (a line through two points has no doubt)
        return Slope(float("nan"), float("inf"))
    (slope, level) = np.polyfit(hours, means, 1)
    left = means - (slope * hours + level)
    error = np.sqrt(np.sum(left**2) / (len(means) - 2) / np.sum((hours - hours.mean()) ** 2))
    return Slope(float(slope), 2 * float(error))


def steady_part(samples: Sequence[Sample]) -> list[Sample]:
    """The longest part with the same processes: a proven model moves into the daemon (1 h)."""
    parts: list[list[Sample]] = []
    for one in samples:
        if not parts or bool(parts[-1][-1].children_mib) != bool(one.children_mib):
            parts.append([])
        parts[-1].append(one)
    return max(parts, key=len)


def verdict_of(samples: Sequence[Sample], *, missing: int, alarms: int, share: float) -> Measured:
    """Grown if the slope is certainly above the limit, or a count is higher at the end.

    The first third is not used: caches, the heap and the store's pages get their final size.
    """
    length_s = samples[-1].at_s
    warm = steady_part([one for one in samples if one.at_s > length_s / 3])
    slope = slope_of(warm, max(length_s / 15, SAMPLE_S))
    parts = len(warm) // 4
    grown = {}
    for name in ("descriptors", "threads", "tasks"):
        begin = statistics.median(getattr(one, name) for one in warm[:parts])
        end = statistics.median(getattr(one, name) for one in warm[-parts:])
        grown[name] = (begin, end)
    counts = ", ".join(f"{name} {begin:g} → {end:g}" for name, (begin, end) in grown.items())
    figure = (
        f"{length_s / 60:.0f} min (memory of {warm[0].at_s / 60:.0f} to "
        f"{warm[-1].at_s / 60:.0f}), {share:.1%} of the values received, {alarms - missing} of "
        f"{alarms} alarms heard, {warm[0].rss_mib:.1f} → {warm[-1].rss_mib:.1f} MiB: "
        f"{slope.mib_h:+.1f} ± {slope.doubt:.1f} MiB/h, {counts}"
    )
    steady = all(end - begin <= ALLOWED_COUNT for begin, end in grown.values())
    certain = length_s > MEMORY_FROM_S and slope.mib_h - slope.doubt > ALLOWED_MIB_H
    return Measured(figure, steady and not certain and missing == 0)
