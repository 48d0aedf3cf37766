"""Fixtures for all tests; the plain helpers behind them are in support.py."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from workers import OneFileOneWorker, work_of

from edge_agent.clock import FakeClock
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import ListIntake, Mosquitto, find_free_port, find_mosquitto
from scripts.rigs import (
    find_clients_python,
    find_data,
    find_node_modules,
    find_text_model,
    find_text_python,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# An example that waits for a core is no failure: the suite runs on all of them.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
NEW_YEAR_2026_US = 1_767_225_600_000_000


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneFileOneWorker | None:
    """For -n, with the --dist of pyproject.toml."""
    return OneFileOneWorker(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, so that at the end no worker waits for another one's last file."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: (work_of(item.nodeid) != "busy", item.path not in slow))


@pytest.fixture(scope="session", autouse=True)
def _own_sockets() -> Iterator[None]:
    """Unix sockets of daemons under test go where no other daemon is; the path is short."""
    with tempfile.TemporaryDirectory(prefix="ea") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME_DIRECTORY", folder)
        yield


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at 2026-01-01T00:00:00Z until it is advanced."""
    return FakeClock(NEW_YEAR_2026_US)


@pytest.fixture
def intake() -> ListIntake:
    """An intake that records every `Columns` and block."""
    return ListIntake()


@pytest.fixture
def metrics() -> Metrics:
    """A fresh registry."""
    return Metrics()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Call it for a TCP port of the loopback that is free now."""
    return find_free_port


@pytest.fixture
def make_broker(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Mosquitto]]:
    """Call it (with extra config lines) for a running mosquitto of its own."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    brokers: list[Mosquitto] = []

    def make(extra: str = "", *, anonymous: bool = True) -> Mosquitto:
        folder = tmp_path_factory.mktemp("mosquitto")
        brokers.append(Mosquitto(folder, extra, anonymous=anonymous).start())
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Mosquitto]) -> Mosquitto:
    """A running mosquitto on a free loopback port: `.url`, `.port`, `.stop()`, `.kill()`."""
    return make_broker()


def found_or_skip(place: Path | None, why: str) -> Path:
    """A place; skips the test if there is none."""
    if place is None:
        pytest.skip(why)
    return place


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The node_modules folder with node-opcua; skips where it is not installed."""
    return found_or_skip(
        find_node_modules(), "node-opcua is not installed: ./scripts/test installs it where it may"
    )


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """A Python with foreign clients (requirements/clients.txt); skips where it is not installed."""
    return found_or_skip(
        find_clients_python(), "no foreign clients: ./scripts/test installs them where it may"
    )


@pytest.fixture(scope="session")
def text_python() -> Path:
    """A Python with foreign clients of the OpenAI API; skips where it is not installed."""
    return found_or_skip(
        find_text_python(),
        "no clients of the OpenAI API: ./scripts/test installs them where it may",
    )


@pytest.fixture(scope="session")
def text_model() -> Path:
    """The file of a small language model; skips where it is not installed."""
    return found_or_skip(
        find_text_model(), "no language model: ./scripts/test installs it where it may"
    )


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings (skab, cmapss, cwru); skips where it is absent."""
    return found_or_skip(find_data(), "no recordings: set EDGE_AGENT_DATA to their folder")
