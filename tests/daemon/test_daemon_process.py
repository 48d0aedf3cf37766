"""The daemon as a process: systemd's datagrams, signals, exit codes, the store's lock."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest
from daemon_support import NotifySocket, Site, unused_url

from edge_agent.testing import DaemonProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Start daemons that are gone after the test."""
    with ExitStack() as stack:
        logs = (tmp_path / f"daemon-{number}.log" for number in count())

        def start(path: Path, **environment: str) -> DaemonProcess:
            child = DaemonProcess(path, log=next(logs), **environment)
            stack.callback(child.kill)
            return child.start(wait=False)

        yield start


def ended(child: DaemonProcess) -> tuple[int | None, str]:
    """Exit code and output of one that ends by itself."""
    return child.wait().code, child.log()


def started(child: DaemonProcess, notified: NotifySocket) -> None:
    wait_until(
        lambda: "READY=1" in notified.heard() or child.process.poll() is not None, 30, "READY=1"
    )
    assert child.process.poll() is None


def test_ready_and_watchdog_though_broker_and_plant_are_down(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    """A dead PLC must not fail a boot; the outage is known and said, so the watchdog is fed."""
    site = Site(tmp_path, unused_url())
    with closing(NotifySocket(tmp_path)) as systemd:
        child = children(site.path, NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="1000000")
        started(child, systemd)
        wait_until(lambda: systemd.heard().count("WATCHDOG=1") >= 4, 10, "watchdog")
        wait_until(lambda: any("refused" in s for s in systemd.heard()), 10, "status")
        (code, took_s), text = child.stop(), child.log()
        heard = systemd.heard()
    assert code == 0, text
    assert took_s < 3
    assert heard.index("READY=1") < heard.index("WATCHDOG=1") < heard.index("STOPPING=1")
    assert "Traceback" not in text


def test_a_bad_config_ends_with_78_and_a_line_for_each_problem(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    site = Site(tmp_path, "ftp://nowhere")
    site.change(sinks={"bus": {"colour": "red"}}, tuning={"tick": "soon"})
    code, text = ended(children(site.path))
    lines = text.splitlines()
    assert code == 78
    assert len(lines) == 4, text
    assert all(line.startswith(f"{site.path}:") for line in lines), text
    for part in ("sinks.bus.colour", "sinks.bus.url", "tuning.tick", "sources.plant.url"):
        assert any(part in line for line in lines), part


def test_a_missing_config_ends_with_78(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    code, text = ended(children(tmp_path / "none.yaml"))
    assert (code, len(text.splitlines())) == (78, 1), text


def test_a_second_daemon_on_the_same_store_is_refused_in_one_line(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    """Both would deliver the same outbox."""
    site = Site(tmp_path, unused_url())
    with closing(NotifySocket(tmp_path)) as systemd:
        first = children(site.path, NOTIFY_SOCKET=str(systemd.path))
        started(first, systemd)
        code, text = ended(children(site.path))
        assert code == 1
        assert len(text.splitlines()) == 1, text
        assert "store.db" in text
        assert "another edge-agent" in text
        assert first.stop().code == 0


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs of its own."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_start_without_a_usable_disk_is_a_degraded_start(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    """Alarms matter more than their history; it says so, and uses the disk when it works again."""
    with mounted(tmp_path / "disk", "size=8m,ro") as disk, closing(NotifySocket(tmp_path)) as sd:
        site = Site(tmp_path, unused_url(), store={"path": str(disk / "store.db")})
        child = children(site.path, NOTIFY_SOCKET=str(sd.path))
        started(child, sd)
        wait_until(lambda: "continuing in memory" in child.log(), 10, "it says so")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        wait_until((disk / "store.db").exists, 20, "the disk is used again")
        code, text = child.stop().code, child.log()
    assert code == 0, text
    assert "Traceback" not in text
    assert "store works again" in text


def test_it_starts_and_stops_on_a_full_disk(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    """Of a store that was there before: what must be written has its space set aside."""
    with mounted(tmp_path / "disk", "size=8m") as disk, closing(NotifySocket(tmp_path)) as systemd:
        store = {"path": str(disk / "store.db"), "max_bytes": "1MiB"}
        site = Site(tmp_path, unused_url(), store=store)
        first = children(site.path, NOTIFY_SOCKET=str(systemd.path))
        started(first, systemd)
        assert first.stop().code == 0
        systemd.heard().clear()
        fill(disk / "filler")
        second = children(site.path, NOTIFY_SOCKET=str(systemd.path))
        started(second, systemd)
        code, text = second.stop().code, second.log()
    assert code == 0, text
    assert "Traceback" not in text


def fill(path: Path) -> None:
    """Leave not one page of the disk free."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_sighup_in_the_first_moments_does_no_harm(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    """Without a handler its default is to end the process."""
    site = Site(tmp_path, unused_url())
    with closing(NotifySocket(tmp_path)) as systemd:
        child = children(site.path, NOTIFY_SOCKET=str(systemd.path))
        wait_until((tmp_path / "store.db").exists, 20, "the store is opened")
        for _ in range(20):
            child.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        started(child, systemd)
        assert child.stop().code == 0


def test_sigterm_during_the_start_ends_it_well(
    tmp_path: Path, children: Callable[..., DaemonProcess]
) -> None:
    site = Site(tmp_path, unused_url())
    child = children(site.path)
    wait_until((tmp_path / "store.db").exists, 20, "the store is opened")
    (code, took_s), text = child.stop(), child.log()
    assert code == 0, text
    assert took_s < 10
    assert "Traceback" not in text


def test_sighup_reloads_and_tells_systemd(
    tmp_path: Path, broker: Mosquitto, children: Callable[..., DaemonProcess]
) -> None:
    site = Site(tmp_path, broker.url)
    with closing(NotifySocket(tmp_path)) as systemd:
        child = children(site.path, NOTIFY_SOCKET=str(systemd.path))
        started(child, systemd)
        site.change(assets={"P-3": {"template": "pump"}})
        child.process.send_signal(signal.SIGHUP)
        wait_until(lambda: systemd.heard().count("READY=1") == 2, 20, "reloaded")
        assert "RELOADING=1" in systemd.heard()
        wait_until(lambda: any("3 assets" in s for s in systemd.heard()), 10, "status")
        code, text = child.stop().code, child.log()
    assert code == 0
    assert "config reloaded" in text


@contextmanager
def hanging_port(*, accept: bool) -> Iterator[int]:
    """A port where nobody answers: connections are taken (or not even that), and nothing comes."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(16 if accept else 0)
        port = server.getsockname()[1]
        for _ in range(0 if accept else 8):  # fill its queue: then even SYN is dropped
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003
            filler.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("accept", [True, False], ids=["never answers", "drops every packet"])
def test_sigterm_ends_in_time_though_a_broker_hangs(
    tmp_path: Path,
    children: Callable[..., DaemonProcess],
    accept: bool,  # noqa: FBT001
) -> None:
    with hanging_port(accept=accept) as port, closing(NotifySocket(tmp_path)) as systemd:
        site = Site(tmp_path, f"mqtt://127.0.0.1:{port}", tuning={"drain_deadline": "2s"})
        child = children(site.path, NOTIFY_SOCKET=str(systemd.path))
        started(child, systemd)
        time.sleep(1)
        (code, took_s), text = child.stop(), child.log()
    assert code == 0, text
    assert took_s < 4
    assert "Traceback" not in text
