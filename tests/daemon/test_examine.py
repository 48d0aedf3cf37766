"""Probes behind `check --connect` and `doctor`, without anything to connect to."""

from __future__ import annotations

import hashlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from opcua_support import make_pair
from text_support import fake_server

from edge_agent.clock import US_PER_S, SystemClock
from edge_agent.config.schema import TimeOf
from edge_agent.daemon import examine_machine
from edge_agent.daemon.examination import examine
from edge_agent.daemon.examine_machine import Examined
from edge_agent.daemon.tables import load_config
from edge_agent.errors import ConnectError
from edge_agent.findings import Severity, error, fine, ordered, warning
from edge_agent.ops.key_file import changed_keys, new_key
from edge_agent.ops.metrics import Metrics
from edge_agent.sources.skew import judge_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.findings import Finding

DAY_S = 86_400
REFUSED = (
    "daemon: 7 values were refused since its start: reason type, source bus "
    "(the daemon's log names the first topic or node of each reason)"
)


class Later(SystemClock):
    """A clock that is ahead by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now_us(self) -> int:
        return super().now_us() + round(self._seconds * US_PER_S)


def nobody(url: str, path: str) -> bytes:
    raise ConnectError("no answer", where=url + path)


async def look(
    folder: Path,
    later_s: float = 0,
    ask: Callable[[str, str], bytes] = nobody,
    **parts: Any,
) -> list[Finding]:
    """Findings on a recording with these parts of the config, and of nothing that is fine."""
    (folder / "run.csv").write_text("time,P-1.flow\n2026-01-01T00:00:00Z,1\n")
    config = {
        "sources": {"run": {"type": "replay", "path": "run.csv"}},
        "sinks": {"journal": {"type": "log"}},
        "templates": {"t": {"signals": {"flow": {}}, "learn": "auto"}},
        "assets": {"P-1": {"template": "t"}},
        "http": {"enabled": False},
        "models_dir": "models",
        "store": {"path": "store.db"},
        **parts,
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    examined = Examined(load_config(path), path, 0.1, Later(later_s), "http://127.0.0.1:1", ask)
    return await examine(examined, deep=True)


def bad(findings: list[Finding]) -> list[str]:
    return [str(one) for one in findings if one.severity is not Severity.OK]


@pytest.mark.parametrize(("group", "is_known"), [("no-such-group", False), ("root", True)])
async def test_the_group_that_may_command_must_exist(
    group: str, tmp_path: Path, *, is_known: bool
) -> None:
    told = bad(await look(tmp_path, http={"enabled": False, "group": group}))
    assert any("no group 'no-such-group'" in line for line in told) != is_known


async def test_api_keys_are_looked_at(tmp_path: Path) -> None:
    """Those that have ended or end soon, and a file that others may read."""
    path, day_ms = tmp_path / "keys.json", DAY_S * 1000
    now_ms = SystemClock().now_us() // 1000
    ends = {"old": -1, "soon": 3, "late": 60, "ever": None}
    with changed_keys(path) as keys:
        for name, days in ends.items():
            at_ms = None if days is None else now_ms + days * day_ms
            key, _ = new_key(name, ["read"], now_ms, expires_ms=at_ms)
            keys[key.id] = key
        key, _ = new_key("gone", ["read"], now_ms, expires_ms=now_ms, revoked_ms=now_ms)
        keys[key.id] = key
    told = [line for line in bad(await look(tmp_path)) if line.startswith("http.keys")]
    assert len(told) == 2
    assert "the key old expired on 20" in told[0]
    assert "the key soon expires on 20" in told[1]
    assert "edge-agent keys create soon --scope read" in told[1]
    path.chmod(0o640)
    told = bad(await look(tmp_path))
    assert f"(chmod 600 {path})" in told[0]
    path.write_text("{")
    path.chmod(0o600)
    assert any("it is not JSON" in line for line in bad(await look(tmp_path)))
    path.unlink()
    named = {"enabled": False, "keys": str(path)}
    assert any("is not there" in line for line in bad(await look(tmp_path, http=named)))


async def test_all_is_well_but_for_the_daemon(tmp_path: Path) -> None:
    told = bad(await look(tmp_path))
    assert len(told) == 1
    assert told[0].startswith("daemon: no daemon answers: no answer (start it")


async def test_the_language_model_is_looked_at(tmp_path: Path) -> None:
    """A file that is not the one of the config, a server without the model, one that is away."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    local = {"engine": "llama_cpp", "model": "m.gguf", "sha256": "0" * 64}
    assert any(
        "language.sha256 is not that of" in row for row in bad(await look(tmp_path, language=local))
    )
    local["sha256"] = hashlib.sha256(b"GGUF").hexdigest()
    assert not any("language" in row for row in bad(await look(tmp_path, language=local)))
    gone = bad(await look(tmp_path, language=local | {"model": "none.gguf"}))
    assert any("language.model: there is no file" in row for row in gone)
    server = {"engine": "openai", "url": "http://127.0.0.1:9", "name": "x"}
    assert any(
        "language: the language model's server does not" in row
        for row in bad(await look(tmp_path, language=server))
    )
    async with fake_server() as fake:
        server["url"] = fake.url
        rows = bad(await look(tmp_path, language=server))
        assert any("no model 'x'; it has: theirs" in row for row in rows)
        server["name"] = "theirs"
        [row] = [
            x for x in bad(await look(tmp_path, language=server | {"wording": True})) if "lang" in x
        ]
        assert "has not passed the exam: edge-agent language exam" in row
        found = bad(await look(tmp_path, language=server))
        assert not any("language" in row for row in found)


@pytest.mark.parametrize(
    ("later_days", "severity", "text"),
    [
        (-2, Severity.ERROR, "is not valid before"),
        (0, Severity.OK, "holds until"),
        (45, Severity.WARNING, "expires in 14 days"),
        (61, Severity.ERROR, "expired on"),
    ],
)
async def test_certificates_are_watched(
    tmp_path: Path, later_days: int, severity: Severity, text: str
) -> None:
    """Our own and the pinned one: renewed before they expire, not after."""
    pair = make_pair(tmp_path, "ca", "urn:x", days=(-1, 60))
    sink = {"type": "webhook", "url": "https://127.0.0.1:1/x", "tls": {"ca": str(pair.certificate)}}
    found = await look(tmp_path, later_days * DAY_S + 60, sinks={"hook": sink})
    mine = [one for one in found if one.where == "sinks.hook.tls.ca"]
    assert [(one.severity, text in one.what) for one in mine] == [(severity, True)]


async def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    sink = {"type": "webhook", "url": "https://127.0.0.1:1/x", "tls": {"ca": "ca.pem"}}
    told = bad(await look(tmp_path, sinks={"hook": sink}))
    assert f"sinks.hook.tls.ca: {tmp_path}/ca.pem contains no certificate (PEM or DER)" in told


async def test_a_store_that_is_none(tmp_path: Path) -> None:
    """SQLite's own word, and what happens next."""
    (tmp_path / "store.db").write_text("x" * 5000)
    told = [one for one in bad(await look(tmp_path)) if one.startswith("store: ")]
    assert len(told) == 1
    assert "file is not a database" in told[0]
    assert (tmp_path / "store.db").read_text() == "x" * 5000


async def test_the_opcua_server_is_looked_at(tmp_path: Path) -> None:
    """Its port, its pair of certificate and key, and passwords that are too short."""
    ours, other = (make_pair(tmp_path, name, f"urn:test:{name}") for name in ("ours", "other"))
    (tmp_path / "short").write_text("secret\n")
    (tmp_path / "short").chmod(0o600)
    keys = {"certificate": str(ours.certificate), "private_key": str(ours.key)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        section = {"enabled": True, "port": port, **keys}
        found = await look(tmp_path, opcua_server=section)
        (line,) = [one for one in bad(found) if one.startswith("opcua_server:")]
        assert f"127.0.0.1:{port} is taken by another program" in line
        assert "encrypted, as urn:test:ours" in {one.what for one in found}

        def daemon(_url: str, path: str) -> bytes:
            if path != "/api/summary":
                raise ConnectError("no answer", where=path)
            return json.dumps({"gateway": "gateway", "troubles": []}).encode()

        found = await look(tmp_path, ask=daemon, gateway={"id": "gateway"}, opcua_server=section)
        assert not [one for one in bad(found) if one.startswith("opcua_server:")]
    section = {"enabled": True, "port": 0, **keys, "private_key": str(other.key)}
    assert any("has another key" in one for one in bad(await look(tmp_path, opcua_server=section)))
    section = {"enabled": True, "port": 0, "users": {"anna": {"file": str(tmp_path / "short")}}}
    (line,) = [
        one for one in bad(await look(tmp_path, opcua_server=section)) if "opcua_server" in one
    ]
    assert "opcua_server.users.anna: shorter than 8 characters" in line


async def test_what_the_running_daemon_complains_of(tmp_path: Path) -> None:
    """Its troubles, its counters, its assets without a model, what waits in the outbox."""
    metrics = Metrics()
    metrics.values_rejected.labels("bus", "type").inc(7)
    metrics.values_rejected.labels("bus", "mended").inc(2)  # payloads that were read all the same
    metrics.log_dropped.inc(3)
    answers = {
        "/api/summary": {
            "version": "1",
            "troubles": ["bus: connection refused"],
            "outbox": [{"sink": "hook", "rows": 4, "bytes": 1, "oldest_s": 900}],
        },
        "/api/assets": [
            {
                "id": "P-1",
                "state": "no_model",
                "note": "its model is refused",
                "inputs": [{"name": "flow", "quality": "stale"}],
            }
        ],
    }

    def ask(_url: str, path: str) -> bytes:
        from prometheus_client import generate_latest  # noqa: PLC0415

        if path == "/metrics":
            return generate_latest(metrics.registry)
        return json.dumps(answers[path]).encode()

    told = bad(await look(tmp_path, ask=ask))
    assert told == [
        "daemon: bus: connection refused",
        "sink hook: 4 messages wait, the oldest for 15 min (its receiver does not confirm them)",
        "daemon: P-1: its model is refused",
        "daemon: without a good value: P-1.flow",
        REFUSED,
        "daemon: 3 log lines were dropped since its start (the reader of the log has stopped)",
    ]


def test_the_counters_that_doctor_looks_at_exist() -> None:
    """A metric that is renamed would else never be seen again."""
    names = {family.name for family in Metrics().registry.collect()}
    assert set(examine_machine.COUNTERS) <= names


@pytest.mark.parametrize(
    ("offset_s", "time", "severity"),
    [
        (2, TimeOf.AUTO, Severity.OK),
        (-5, TimeOf.AUTO, Severity.WARNING),
        (3600, TimeOf.AUTO, Severity.ERROR),
        (-3600, TimeOf.SOURCE, Severity.ERROR),
        (3600, TimeOf.ARRIVAL, Severity.OK),
    ],
)
def test_clocks(offset_s: float, time: TimeOf, severity: Severity) -> None:
    """One that is not used may be as wrong as it likes."""
    assert judge_clock("source plc", "it is", offset_s, time).severity is severity


def test_the_worst_comes_first_and_nothing_twice() -> None:
    found = [fine("a"), warning("b", "x"), error("c", "x"), warning("b", "x")]
    assert [one.where for one in ordered(found)] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("role", "others", "said"),
    [
        ("active", {"b": "standby"}, "a is active, the lease has a; the other one: b"),
        ("active", {"b": "offline"}, "nobody is there to take over"),
        ("suspended", {"b": "standby"}, "but cannot be renewed"),
    ],
)
async def test_a_pair_says_who_is_active(
    tmp_path: Path, role: str, others: dict[str, str], said: str
) -> None:
    """Also that nobody would take over, which is no trouble as long as this one works."""
    pair = {"member": "a", "role": role, "holder": "a", "epoch": 3, "others": others}
    summary = {"version": "1", "troubles": [], "outbox": [], "pair": pair}

    def answer(url: str, path: str) -> bytes:
        del url
        found: dict[str, object] = {"/api/summary": summary, "/api/assets": []}
        return json.dumps(found[path]).encode() if path in found else b""

    findings = await look(tmp_path, ask=answer)
    (found,) = [one for one in findings if one.where == "standby"]
    assert said in found.what
