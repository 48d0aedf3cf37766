"""`edge-agent alarms` against the daemon's real HTTP server, alarm table and store."""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent import service
from edge_agent.alarms.catalogue import AlarmPolicy
from edge_agent.alarms.envelope import to_json
from edge_agent.alarms.selection import Selection
from edge_agent.alarms.table import AlarmTable
from edge_agent.alarms.texts import load_texts
from edge_agent.cli import main
from edge_agent.cli.alarms import COMMANDS, STATES, seconds, since_ms
from edge_agent.clock import FakeClock
from edge_agent.config.schema import AlarmRule, Alarms
from edge_agent.config.settings import Http
from edge_agent.config.types import Duration
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Alarm, AlarmState, Detail, Observation, Transition
from edge_agent.ops import local_socket
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.service import status_routes
from edge_agent.store import AuditFilter, HistoryFilter, Store
from edge_agent.store.journal import select_history

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from edge_agent.alarms import Judgement

RULE = AlarmRule(off_delay=Duration(0), message={"en": "{asset} shakes", "de": "{asset} wackelt"})
NOW_US = 1_767_225_600_000_000


class Plant:
    """As much of a daemon as has alarms: the real table and the real store behind the API."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock(NOW_US)
        self.store = Store.open(path, max_bytes=16 << 20, history_days=1, clock=self.clock)
        self.table = AlarmTable(policy_of, Alarms(), self.clock)
        self.texts = load_texts(Alarms())
        self.keep(
            *self.table.accept_observation(Observation("P-1.pump", 2.0, NOW_US, Detail("anomaly")))
        )
        self.keep(
            *self.table.accept_observation(Observation("P-2.pump", 9.0, NOW_US, Detail("anomaly")))
        )

    def keep(self, *transitions: Transition) -> None:
        self.store.commit(transitions, [])

    def alarms(self, state: str | None) -> list[dict[str, Any]]:
        found = self.table.active() if state is None else self.table.all()
        return [self.row(alarm) for alarm in found if state in {None, "all", alarm.state}]

    async def history(self, wanted: HistoryFilter, limit: int) -> list[dict[str, Any]]:
        """In pages of one row."""
        return select_history(self.store.db, wanted, min(limit, 1))

    async def command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str
    ) -> dict[str, Any]:
        if duration_s is None:
            made = self.table.apply_command(kind, alarm_id, actor, comment)
        else:
            made = self.table.shelve(alarm_id, duration_s, actor, comment)
        self.keep(made)
        self.store.audit(actor, kind, alarm_id, comment)
        return self.row(made.alarm)

    async def feedback(self, alarm_id: str, judgement: Judgement, actor: str) -> dict[str, Any]:
        verdict = judgement.verdict
        self.store.audit(actor, "feedback", alarm_id, f"called {verdict}: {judgement.comment}")
        counts = {"alarms": 3, "called_false": 1, "called_true": 0, "judged_h": 36.5}
        return {"alarm_id": alarm_id, "verdict": verdict, "limit_factor": 1.8, **counts}

    async def command_several(
        self,
        kind: str,
        wanted: dict[str, Any],
        actor: str,
        duration_s: float | None,
        comment: str,
    ) -> list[dict[str, Any]]:
        ids = Selection(**wanted).ids_of(self.table.all(), kind)
        return [await self.command(kind, one, actor, duration_s, comment) for one in ids]

    async def audit(self, wanted: AuditFilter, limit: int) -> list[dict[str, Any]]:
        rows = self.store.audit_log(wanted, limit)
        return [{"at_ms": row.pop("at_us") // 1000, **row} for row in rows]

    def row(self, alarm: Alarm) -> dict[str, Any]:
        return to_json(alarm) | {"message": self.texts.render(alarm, RULE)["message"]}


def policy_of(alarm_id: str) -> AlarmPolicy | None:
    asset = alarm_id.split(".", 1)[0]
    return AlarmPolicy(asset, f"e/s/a/l/{asset}", RULE) if asset.startswith("P-") else None


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path / "store.db")
    yield made
    made.store.close()


@asynccontextmanager
async def served(plant: Plant) -> AsyncIterator[str]:
    """The address of a running server; the command runs on a thread of its own."""
    routes = status_routes(plant, Metrics())  # type: ignore[arg-type]
    server = HttpServer(Http(port=0), routes, FakeClock())
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def call(url: str, action: str, *words: str) -> int:
    return await asyncio.to_thread(main, ["alarms", action, "--url", url, *words])


async def test_list_is_an_aligned_table(
    plant: Plant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line an alarm, columns below their names, the message last and in the user's language."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    async with served(plant) as url:
        assert await call(url, "list") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["PRIORITY", "STATE", "SINCE", "COUNT", "ALARM", "BY", "MESSAGE"]
    assert [line[head.index("ALARM") :].split(maxsplit=2) for line in lines] == [
        ["P-1.pump", "-", "P-1 wackelt"],
        ["P-2.pump", "-", "P-2 wackelt"],
    ]
    assert [line.split()[:2] for line in lines] == [["high", "unack"], ["critical", "unack"]]


@pytest.mark.parametrize(
    ("words", "acked"),
    [
        (["P-*"], ["P-1.pump", "P-2.pump"]),
        (["P-1*"], ["P-1.pump"]),
        (["P-1*", "P-2.pump"], ["P-1.pump", "P-2.pump"]),
        (["--asset", "P-2"], ["P-2.pump"]),
        (["--all"], ["P-1.pump", "P-2.pump"]),
        (["P-1.pump", "P-2.pump"], ["P-1.pump", "P-2.pump"]),
    ],
)
async def test_several_are_acknowledged_at_once_with_a_comment(
    plant: Plant, capsys: pytest.CaptureFixture[str], words: list[str], acked: list[str]
) -> None:
    """By ids, patterns, asset, or all; the comment stands in the list, the history, the audit."""
    async with served(plant) as url:
        assert await call(url, "ack", *words, "--by", "anna", "--comment", "filter is new") == 0
        assert capsys.readouterr().out.count("[filter is new]") == len(acked)
        assert await call(url, "list") == 0
        assert capsys.readouterr().out.count("[filter is new]") == len(acked)
        assert await call(url, "audit") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert sorted(line.split()[2:] for line in lines) == [
        ["anna", "ack", one, "filter", "is", "new"] for one in acked
    ]
    states = {alarm.alarm_id for alarm in plant.table.all() if alarm.state is AlarmState.ACKED}
    assert states == set(acked)


async def test_the_audit_is_chosen_and_paged(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    """By asset, alarm, person and time; a full page says how to go on."""
    entries = [("anna", "ack", "P-1.pump", "seen"), ("bert", "learn", "P-2", "")]
    plant.store.audit_all(entries)
    plant.clock.advance(3600)
    plant.store.audit("anna", "unshelve", "P-2.pump", "again")

    async def rows(*words: str) -> list[str]:
        async with served(plant) as url:
            assert await call(url, "audit", "--json", *words) == 0
        return [json.loads(line)["subject"] for line in capsys.readouterr().out.splitlines()]

    assert await rows() == ["P-2.pump", "P-2", "P-1.pump"]
    assert await rows("--asset", "P-2") == ["P-2.pump", "P-2"]
    assert await rows("--alarm", "*.pump", "--by", "anna") == ["P-2.pump", "P-1.pump"]
    assert await rows("--since", "2026-01-01T00:30:00Z") == ["P-2.pump"]
    assert await rows("--since", "1h") == []
    async with served(plant) as url:
        assert await call(url, "audit", "--limit", "2") == 0
        hint = capsys.readouterr().err.split("--before ")[1].strip()
    assert await rows("--before", hint) == ["P-1.pump"]


@pytest.mark.parametrize("since", ["yesterday", "3 weeks", ""])
def test_a_since_that_is_no_time_is_refused(since: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a time such as"):
        since_ms(since)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "which alarm?"),
        (["Q-*"], 1, "no alarm to ack"),
        (["--asset", "P-9"], 1, "no alarm to ack"),
    ],
)
async def test_a_selection_of_nothing_is_said(
    plant: Plant, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    async with served(plant) as url:
        assert await call(url, "ack", *words, "--by", "anna") == code
    assert said in capsys.readouterr().err


async def test_a_shelved_alarm_says_by_whom(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(plant) as url:
        assert await call(url, "shelve", "P-1*", "--for", "1h", "--by", "ben") == 0
        assert await call(url, "list") == 0
    line = capsys.readouterr().out.splitlines()[-2]
    assert "shelved until" in line
    assert " ben " in line


async def test_list_says_when_there_is_nothing(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(plant) as url:
        assert await call(url, "list", "--state", "shelved") == 0
        assert await call(url, "list", "--state", "shelved", "--json") == 0
    assert capsys.readouterr().out == "no alarms\n"


async def test_list_as_json_is_one_alarm_a_line(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(plant) as url:
        assert await call(url, "list", "--state", "all", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == plant.alarms("all")


async def test_ack_and_shelve_and_unshelve(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(plant) as url:
        assert await call(url, "ack", "P-1.pump", "--by", "anna") == 0
        acked = plant.table.get("P-1.pump")
        assert await call(url, "shelve", "P-2.pump", "--for", "90m", "--by", "anna") == 0
        shelved = plant.table.get("P-2.pump")
        assert await call(url, "unshelve", "P-2.pump", "--by", "anna") == 0
    assert acked is not None
    assert (acked.state, acked.acked_by) == (AlarmState.ACKED, "anna")
    assert shelved is not None
    assert shelved.shelved_until_us == NOW_US + 5400 * 1_000_000
    lines = capsys.readouterr().out.splitlines()
    assert "acked" in lines[1]
    assert "anna" in lines[1]
    assert "shelved until " in lines[3]
    assert "unack" in lines[5]


@pytest.mark.parametrize(
    ("commands", "state"),
    [
        (["suppress"], AlarmState.SUPPRESSED),
        (["suppress", "unsuppress"], AlarmState.UNACK),
        (["remove-from-service"], AlarmState.OUT_OF_SERVICE),
        (["remove-from-service", "return-to-service"], AlarmState.UNACK),
    ],
)
async def test_the_other_commands(plant: Plant, commands: list[str], state: AlarmState) -> None:
    async with served(plant) as url:
        for command in commands:
            assert await call(url, command, "P-1.pump", "--by", "anna") == 0
    alarm = plant.table.get("P-1.pump")
    assert alarm is not None
    assert alarm.state is state


async def test_an_alarm_is_confirmed_and_commented(plant: Plant) -> None:
    """Confirmed by whoever did what it asked for; a comment leaves its state, and needs words."""
    async with served(plant) as url:
        assert await call(url, "confirm", "P-1.pump", "--by", "anna") == 1
        assert await call(url, "ack", "P-1.pump", "--by", "anna") == 0
        assert await call(url, "confirm", "P-1.pump", "--by", "bert") == 0
        assert await call(url, "comment", "P-1.pump", "--by", "bert") == 2
        assert await call(url, "comment", "P-*", "--by", "bert", "--comment", "seal worn") == 0
    alarm = plant.table.get("P-1.pump")
    assert alarm is not None
    assert (alarm.state, alarm.acked_by, alarm.confirmed_by) == (AlarmState.ACKED, "anna", "bert")
    assert alarm.comment == "seal worn"


async def test_an_alarm_is_called_false(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer says what was counted, and what became of the limit."""
    words = ("P-1.pump", "false", "--by", "anna", "--comment", "new oil")
    async with served(plant) as url:
        assert await call(url, "feedback", *words) == 0
        line = capsys.readouterr().out.strip()
        assert await call(url, "feedback", "P-1.pump", "perhaps") == 2
    assert line == (
        "P-1.pump: called false; 1 of 3 alarms in 36.5 h were called false; "
        "limit: 1.8 times the model's"
    )
    (entry,) = plant.store.audit_log()
    assert (entry["actor"], entry["detail"]) == ("anna", "called false: new oil")


async def test_several_alarms_are_called_false(
    plant: Plant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are no model's are named and left out, unless somebody wrote their id."""
    quality = Observation("P-1.x.quality", 2.0, NOW_US, Detail("quality"))
    plant.keep(*plant.table.accept_observation(quality))
    called = plant.feedback

    async def feedback(alarm_id: str, *args: Any) -> dict[str, Any]:
        if alarm_id == "P-1.x.quality":
            raise EdgeAgentError("no alarm of an anomaly model")
        return await called(alarm_id, *args)

    monkeypatch.setattr(plant, "feedback", feedback)
    async with served(plant) as url:
        assert await call(url, "feedback", "P-1*", "false", "--by", "anna") == 0
        said = capsys.readouterr()
        assert "P-1.pump: called false" in said.out
        assert said.err == "P-1.x.quality: no alarm of an anomaly model\n"
        assert await call(url, "feedback", "P-1.pump", "P-2.pump", "true") == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
        assert await call(url, "feedback", "X*", "true") == 1
        assert "no such alarm" in capsys.readouterr().err
        assert await call(url, "feedback", "P-1.x.quality", "true") == 1


async def test_who_says_nothing_is_the_login(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "berta")
    async with served(plant) as url:
        assert await call(url, "ack", "P-1.pump") == 0
    alarm = plant.table.get("P-1.pump")
    assert alarm is not None
    assert alarm.acked_by == "berta"


async def test_history(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first, filtered by the server."""
    plant.keep(plant.table.apply_command("ack", "P-1.pump", "anna"))
    async with served(plant) as url:
        assert await call(url, "history", "--alarm", "P-1.pump") == 0
        table = capsys.readouterr().out.splitlines()
        assert await call(url, "history", "--asset", "P-2", "--limit", "1", "--json") == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert await call(url, "history", "--asset", "P-9") == 0
    assert [row.split()[2:] for row in table[1:]] == [
        ["ack", "acked", "anna", "P-1.pump"],
        ["raise", "unack", "-", "P-1.pump"],
    ]
    assert json.loads(line)["alarm_id"] == "P-2.pump"
    assert capsys.readouterr().out == "no history\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ack", "Q-9.x", "--by", "me"], 1, "no such alarm"),
        (["ack", "P 1?ä#", "--by", "me"], 1, "no such alarm"),
        (["unshelve", "P-1.pump", "--by", "me"], 1, "cannot unshelve: the alarm is unack"),
        (["shelve", "P-1.pump", "--for", "9h", "--by", "me"], 2, "cannot shelve for 32400 s"),
        (["ack", "P-1.pump", "--by", "x" * 200], 2, "by is longer than"),
        (["history", "--limit", "-1"], 2, "limit is not a whole number"),
    ],
)
async def test_a_refusal_is_one_line_in_the_daemons_words(
    plant: Plant, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    async with served(plant) as url:
        assert await call(url, *words) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith(url)
    assert said in line


async def test_a_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    with foreign(lambda handler: seen.append(handler.headers.get("Authorization", ""))) as url:
        monkeypatch.setenv("EDGE_AGENT_TOKEN", "0123456789abcdef")
        await call(url, "list")
        monkeypatch.delenv("EDGE_AGENT_TOKEN")
        await call(url, "list")
    assert seen == ["Bearer 0123456789abcdef", ""]


async def test_a_token_is_not_given_to_a_program_of_another_user(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any user may listen on the daemon's port while the daemon does not run."""
    monkeypatch.setattr(local_socket, "trusted_users", set)
    seen: list[str] = []
    with foreign(lambda handler: seen.append(handler.path)) as url:
        assert await call(url, "ack", "P-1.pump") == 1  # a command is no business of his either
        monkeypatch.setenv("EDGE_AGENT_TOKEN", "0123456789abcdef")
        assert await call(url, "list") == 1
        assert seen == []
        monkeypatch.delenv("EDGE_AGENT_TOKEN")
        await call(url, "list")
    assert seen == ["/api/alarms"]
    told = capsys.readouterr().err.splitlines()
    assert all("listens there (stop that program" in line for line in told[:2])


async def test_a_socket_is_an_address_too(
    plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    routes = status_routes(plant, Metrics())  # type: ignore[arg-type]
    server = HttpServer(Http(port=0, socket=tmp_path / "s"), routes, FakeClock())
    await server.start()
    assert await call(f"unix:{tmp_path}/s", "ack", "P-1.pump") == 0
    await server.stop()
    assert "acked" in capsys.readouterr().out
    assert await call(f"unix:{tmp_path}/s", "list") == 1
    assert "is the daemon running" in capsys.readouterr().err


def test_states_and_commands_are_the_servers() -> None:
    assert list(STATES) == [*AlarmState, "all"]
    assert [name.replace("-", "_") for name in COMMANDS] == list(service.COMMANDS)


# What answers there is something else -------------------------------------------------------------


class foreign:  # noqa: N801 (used as a context manager)
    """A server that is no edge-agent: `act` sees each request, then `body` is the answer."""

    def __init__(
        self, act: Any = None, *, status: int = 200, body: bytes = b"[]", **headers: str
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if act is not None:
                    act(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_exc: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def refused(capsys: pytest.CaptureFixture[str], url: str) -> str:
    """The one line that `list` says when it fails."""
    assert main(["alarms", "list", "--url", url]) in {1, 2}
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>", "the program that answers there is not edge-agent"),
        (200, b"\xff\xfe", "the program that answers there is not edge-agent"),
        (200, b'{"a": 1}', "the program that answers there is not edge-agent"),
        (200, b"[1]", "the program that answers there is not edge-agent"),
        (500, b"oops", "HTTP 500"),
        (503, b'{"error": "tired\\u001b[2J", "hint": "wait"}', "tired?[2J (wait)"),
        (404, b"[]", "HTTP 404"),
    ],
)
def test_a_foreign_answer_is_one_line(
    capsys: pytest.CaptureFixture[str], status: int, body: bytes, said: str
) -> None:
    with foreign(status=status, body=body) as url:
        assert said in refused(capsys, url)


def test_a_redirect_does_not_carry_the_token_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AGENT_TOKEN", "secret")
    visits: list[str] = []
    with (
        foreign(lambda handler: visits.append(handler.path)) as elsewhere,
        foreign(status=302, Location=elsewhere) as url,
    ):
        assert "HTTP 302" in refused(capsys, url)
    assert visits == []


def test_no_proxy_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign() as url:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert main(["alarms", "list", "--url", url]) == 0
    assert capsys.readouterr().out == "no alarms\n"


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with foreign() as url:
        pass
    assert "no answer: " in (line := refused(capsys, url))
    assert "is the daemon running" in line


@pytest.mark.parametrize("url", ["", "gateway:9460", "file:///etc/passwd", "http://", "http://[x"])
def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert "not an address of a daemon" in refused(capsys, url)


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "90", "h", "-1h", "1e9h", "inf", "1h30m", "9" * 99 + "s"])
def test_what_is_no_duration(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert main(["alarms", "shelve", "P-1.pump", f"--for={text}"]) == 2
    assert "is not a duration such as" in capsys.readouterr().err
