"""What systemd hears, and that nobody hears anything without it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edge_agent.ops import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The receiving end of NOTIFY_SOCKET, once as a path and once as an abstract name."""
    name = f"{tmp_path}/notify"
    abstract = request.param == "abstract"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}" if abstract else name)
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        yield receiver


def test_each_call_is_one_datagram(systemd: socket.socket) -> None:
    sent = (notify.ready(), notify.watchdog(), notify.stopping())
    received = [systemd.recv(4096) for _ in sent]
    assert sent == (True, True, True)
    assert received == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_reloading_carries_the_monotonic_time_in_the_same_datagram(systemd: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    notify.reloading()
    first, second = systemd.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_a_status_cannot_smuggle_in_a_command(systemd: socket.socket) -> None:
    notify.status("source down: a\nSTOPPING=1\r\nMAINPID=1 ü")
    assert systemd.recv(4096).decode() == "STATUS=source down: a STOPPING=1 MAINPID=1 ü"


def test_a_long_status_is_cut(systemd: socket.socket) -> None:
    notify.status("x" * 100_000)
    assert len(systemd.recv(200_000)) < 2 * notify.MAX_STATUS


@pytest.mark.parametrize("place", [None, "", "relative", "vsock:2:1234"])
def test_without_a_socket_nothing_happens(
    place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if place is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", place)
    assert not notify.ready()


def test_a_dead_socket_is_a_warning_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/gone")
    assert not notify.ready()
    assert [record.message for record in caplog.records] == ["systemd not notified"]


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("30000000", None, 15.0),
        ("30000000", "self", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_watchdog_interval_is_half_the_timeout_and_only_for_the_process_it_is_meant_for(
    usec: str | None, pid: str | None, interval_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "self" else value)
    assert notify.watchdog_interval_s() == interval_s


def test_only_the_http_server_costs_aiohttp() -> None:
    """Commands that serve nothing must not wait for it."""
    rooms = "logs, metrics, notify, routes"
    code = f"import sys; from edge_agent.ops import {rooms}; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
