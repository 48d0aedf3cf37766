"""A log line stays one line, says no secret, and suits whom it is for."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.types import Secret
from edge_agent.errors import ConfigError
from edge_agent.ops import logs
from edge_agent.ops.log_writer import LogState, LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("edge_agent.sources")


@pytest.fixture(autouse=True)
def restore_root() -> Iterator[None]:
    """Leave the root logger as pytest set it up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(*, as_json: bool, **extra: Any) -> list[str]:
    stream = io.StringIO()
    logs.setup("debug", json=as_json, stream=stream)
    log.warning("source down", extra=extra)
    return stream.getvalue().splitlines()


def test_text_is_time_level_room_event_then_fields() -> None:
    (line,) = lines_of(as_json=False, source="plc1", reason="timed out", after_s=1.5)
    stamp, rest = line.split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == 'WARNING sources: source down source=plc1 reason="timed out" after_s=1.5'


def test_json_has_the_five_parts_and_typed_fields() -> None:
    (line,) = lines_of(as_json=True, source="plc1", count=3, ratio=float("nan"), up=False)
    row = json.loads(line)
    assert list(row)[:4] == ["ts", "level", "logger", "event"]
    assert row["level"] == "warning"
    assert row["logger"] == "edge_agent.sources"
    assert (row["event"], row["source"], row["count"]) == ("source down", "plc1", 3)
    assert row["ratio"] is None
    assert row["up"] is False


def test_a_field_cannot_take_the_place_of_a_part_of_the_line() -> None:
    row = json.loads(lines_of(as_json=True, event="forged", ts="forged")[0])
    assert row["event"] == "source down"
    assert row["ts"] != "forged"


@pytest.mark.parametrize("as_json", [False, True])
@given(value=st.text())
def test_no_value_from_the_wire_ends_its_line_or_steers_the_terminal(
    as_json: bool,  # noqa: FBT001
    value: str,
) -> None:
    lines = lines_of(as_json=as_json, topic=value)
    assert len(lines) == 1
    assert lines[0].isprintable()


def test_an_injected_line_shows_as_text() -> None:
    (line,) = lines_of(as_json=False, topic="a\n<0>2026 CRITICAL alarms: all clear \x1b[2J\u202e")
    assert r'topic="a\n<0>2026 CRITICAL alarms: all clear \u001b[2J\u202e"' in line


def test_a_long_value_is_cut() -> None:
    (line,) = lines_of(as_json=False, payload="x" * 100_000)
    assert len(line) < 2 * logs.MAX_VALUE


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_is_written(as_json: bool) -> None:  # noqa: FBT001
    (line,) = lines_of(
        as_json=as_json,
        password="hunter2",  # noqa: S106
        api_key="hunter2",
        url="mqtts://edge:hunter2@broker:8883/x",
        wire="see http://a:hunter2@b and " + "y" * logs.MAX_VALUE,
        place=Secret(env="BROKER_PASSWORD"),
    )
    assert "hunter2" not in line
    assert "mqtts://edge:***@broker:8883/x" in line
    assert "BROKER_PASSWORD" in line


def test_a_traceback_is_marked_line_by_line_and_cannot_forge_an_event() -> None:
    stream = io.StringIO()
    logs.setup("info", stream=stream)
    try:
        raise ValueError("first\n2026-01-01 INFO alarms: forged")  # noqa: TRY301
    except ValueError:
        log.exception("window failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR sources: window failed")
    assert len(rest) > 2
    assert all(line.startswith("  | ") for line in rest)


def test_a_traceback_in_json_is_one_field() -> None:
    stream = io.StringIO()
    logs.setup("info", json=True, stream=stream)
    try:
        raise ValueError("x" * 100_000)  # noqa: TRY301
    except ValueError:
        log.exception("window failed")
    (line,) = stream.getvalue().splitlines()
    assert "Traceback" in json.loads(line)["traceback"]
    assert len(line) < 2 * logs.MAX_TRACEBACK


def test_level_decides_and_a_repeated_setup_replaces_the_first() -> None:
    stream = io.StringIO()
    logs.setup("debug", stream=stream)
    logs.setup("warning", stream=stream)
    log.info("unseen")
    log.warning("seen")
    assert len(stream.getvalue().splitlines()) == 1


def test_libraries_are_heard_from_warning_up_only() -> None:
    stream = io.StringIO()
    logs.setup("debug", stream=stream)
    for name in ("asyncua.client", "paho.mqtt", "aiohttp.access"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("heard")
    assert [line.rsplit(" ", 1)[1] for line in stream.getvalue().splitlines()] == ["heard"] * 3


def test_an_unknown_level_is_a_config_error_that_lists_the_levels() -> None:
    with pytest.raises(ConfigError, match=r"log\.level.*debug, info, warning, error"):
        logs.setup("loud")


LINES = "from edge_agent.ops import logs; import logging; logs.setup('info'); {}"
WRITE = "logging.getLogger('edge_agent.sinks').error('sink down', extra={'sink': 'bus'})"


def run_with_journal(*, same_stream: bool) -> str:
    read_end, write_end = os.pipe()
    place = os.fstat(write_end)
    inode = place.st_ino if same_stream else place.st_ino + 1
    with os.fdopen(read_end, encoding="utf-8") as reader:
        subprocess.run(
            [sys.executable, "-c", LINES.format(WRITE)],
            env={**os.environ, "JOURNAL_STREAM": f"{place.st_dev}:{inode}"},
            stderr=write_end,
            check=True,
        )
        os.close(write_end)
        return reader.read()


def test_the_journal_gets_a_priority_and_no_time_of_ours() -> None:
    assert run_with_journal(same_stream=True) == "<3>sinks: sink down sink=bus\n"


def test_a_stderr_that_was_redirected_elsewhere_gets_no_priority() -> None:
    assert " ERROR sinks: sink down sink=bus" in run_with_journal(same_stream=False)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of which a test reads only when it wants to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "edge_agent.x", "levelno": 30, "msg": text})


def read_until(end: int, wanted: str) -> str:
    """Read the pipe until `wanted` has come."""
    text = ""
    while wanted not in text:
        text += os.read(end, 1 << 16).decode()
    return text


def test_a_reader_that_stops_costs_lines_and_nobody_waits(pipe: tuple[int, int]) -> None:
    """The oldest waiting lines are dropped, counted, and told of when the reader comes back."""
    reader, writes = pipe
    handler = LogWriter(writes, max_bytes=20_000)
    for number in range(2000):
        handler.emit(record(f"{number:04d} {'x' * 95}"))
    dropped = handler.state().dropped
    assert dropped > 500
    text = read_until(reader, "1999 ")
    assert f"lines={dropped}" not in text.splitlines()[0]
    assert "log lines dropped" in text
    shown = [line for line in text.splitlines() if line.endswith("xxx")]
    assert len(shown) + dropped == 2000
    handler.emit(record("after"))
    assert "after" in read_until(reader, "after")
    handler.close()
    assert handler.state() == LogState(dropped, 0.0)


def test_an_end_does_not_wait_for_a_reader_that_stopped(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.ops.log_writer.FLUSH_S", 0.05)
    reader, writes = pipe
    handler = LogWriter(writes)
    for _ in range(2):
        handler.emit(record("y" * 200_000))
    handler.close()
    assert handler.state().blocked_s > 0
    os.set_blocking(reader, False)
    while handler._thread.is_alive():
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 1 << 16)


def test_lines_for_a_reader_that_has_gone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may ever read them, and nothing raises."""

    def gone(_fd: int, _data: bytes) -> int:
        raise BrokenPipeError

    with open(os.devnull, "wb") as stream:  # noqa: PTH123 (its descriptor is what is needed)
        handler = LogWriter(stream.fileno())
        monkeypatch.setattr("edge_agent.ops.log_writer.os.write", gone)
        handler.emit(record("a"))
        handler.close()
        handler._thread.join(5)
    assert handler.state().dropped == 1


def test_a_process_ends_though_nobody_reads_its_log() -> None:
    """Its exit code is its own, whatever waits for the reader."""
    code = (
        "import logging; from edge_agent.ops import logs; logs.setup('info')\n"
        "[logging.warning('%s', 'z' * 400) for _ in range(2000)]"
    )
    reader, writes = os.pipe()
    try:
        done = subprocess.run([sys.executable, "-c", code], stderr=writes, timeout=20, check=False)
    finally:
        os.close(reader)
        os.close(writes)
    assert done.returncode == 0


def test_a_line_that_was_logged_last_is_written_before_the_end() -> None:
    code = (
        "import logging; from edge_agent.ops import logs; logs.setup('info')\n"
        "logging.warning('last words')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=20, check=False, text=True
    )
    assert done.stderr.endswith("last words\n")
