"""The soak test: alarms come and go, pages are read, configs reload; memory must not grow."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil

from edge_agent.testing import wait_until
from scripts.crash_test.crash import assets_of, broker_of, write_config
from scripts.crash_test.peers import Daemon, Plant, Subscriber

if TYPE_CHECKING:
    from pathlib import Path

WARM_S = 60.0  # until caches, the heap and the store's pages have their final size
RELOAD_EVERY_S = 15.0
ALLOWED_MIB = 6.0
PATHS = ("/api/summary", "/api/assets", "/api/alarms", "/api/alarms/history", "/metrics")


@dataclass
class Soak:
    """Resident memory in MiB after the warm-up and at the end, and counts of events."""

    seconds: float
    begin_mib: float
    end_mib: float
    slope_mib_h: float
    transitions: int
    reloads: int
    threads: int
    files: int

    @property
    def grows(self) -> bool:
        """True if the end is above the beginning by more than noise."""
        return self.end_mib - self.begin_mib > ALLOWED_MIB

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s, {self.transitions} transitions, {self.reloads} reloads: "
            f"{self.begin_mib:.1f} MiB after {WARM_S:g} s, {self.end_mib:.1f} MiB at the end "
            f"({self.slope_mib_h:+.1f} MiB/h), {self.threads} threads, {self.files} open files"
        )


def soak(seconds: float, folder: Path, seed: int = 1) -> Soak:
    """Run for this time; the memory is the mean of ten seconds."""
    broker = broker_of(folder, persistence=True)
    config = write_config(folder, broker.port)
    daemon = Daemon(config)
    broker.start()
    with ExitStack() as stack:
        stack.callback(broker.stop)
        heard = stack.enter_context(Subscriber(broker.port))
        stack.enter_context(Plant(broker.port, assets_of(), seed, heard))
        stack.callback(daemon.kill)
        daemon.start()
        wait_until(daemon.quiet, 30)
        process = psutil.Process(daemon.pid)
        samples, reloads = _watch(process, daemon, config, seconds)
        threads, files = process.num_threads(), _open_files(daemon)
        daemon.stop()
    warm = samples[int(WARM_S) :] if seconds > 2 * WARM_S else samples
    slope = np.polyfit(np.arange(len(warm)), warm, 1)[0] * 3600
    begin, end = float(np.mean(warm[:10])), float(np.mean(warm[-10:]))
    return Soak(seconds, begin, end, slope, len(heard.events), reloads, threads, files)


def _open_files(daemon: Daemon) -> int:
    """As the daemon counts them: of its process, only root may look at them."""
    lines = daemon.ask("/metrics").decode().splitlines()
    return int(float(next(x.split()[1] for x in lines if x.startswith("process_open_fds "))))


def _watch(
    process: psutil.Process, daemon: Daemon, config: Path, seconds: float
) -> tuple[list[float], int]:
    """Memory once a second; meanwhile request every page, and reload the config."""
    samples: list[float] = []
    reloads = 0
    begin_s = time.monotonic()
    while (passed_s := time.monotonic() - begin_s) < seconds:
        for path in PATHS:
            daemon.ask(path)
        if passed_s > (reloads + 1) * RELOAD_EVERY_S:
            reloads += 1
            _change(config, reloads)
            os.kill(process.pid, signal.SIGHUP)
        samples.append(process.memory_info().rss / (1 << 20))
        time.sleep(max(0.0, begin_s + len(samples) - time.monotonic()))
    return samples, reloads


def _change(config: Path, number: int) -> None:
    """Alternately change a rule, in place, and add an asset, which rebuilds the plant."""
    text = config.read_text()
    if number % 2:
        text = text.replace("off_delay: 300ms", "off_delay: 400ms")
    else:
        text = text.replace("off_delay: 400ms", "off_delay: 300ms")
        text += f"  B-{number}: {{template: machine}}\n"
    config.write_text(text)
