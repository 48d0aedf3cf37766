"""The config as people see it: values, places, defaults, and never a secret."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml

from edge_agent.daemon.config_view import ConfigView, list_config
from edge_agent.daemon.tables import load_config
from edge_agent.service import ConfigQuestion
from edge_agent.service.side_command import Ended

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config

PASSWORD = "sesame-street-4711"  # noqa: S105
CHAT = "B0X9Q2-token-of-a-chat"
ALL = ConfigQuestion()
CONFIG: dict[str, Any] = {
    "gateway": {"id": "gw"},
    "http": {"token": {"env": "VIEW_TOKEN"}},
    "sinks": {
        "chat": {
            "type": "webhook",
            "url": f"https://hooks.example/services/{CHAT}?k={CHAT}",
            "headers": {"X-Api-Key": PASSWORD},
        },
        "lines": {"type": "log"},
    },
    "include": "plant.yaml",
}
PLANT: dict[str, Any] = {
    "sources": {"plc": {"type": "opcua", "url": "opc.tcp://plc:4840"}},
    "templates": {
        "pump": {
            # A secret that somebody has written where it does not belong is not shown either.
            "signals": {"flow": {"address": f"ns=2;s={PASSWORD}", "stale_after": "30s"}},
            "learn": {"auto": True},
        }
    },
    "assets": {"P-1": {"template": "pump"}},
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIEW_TOKEN", PASSWORD)
    (tmp_path / "plant.yaml").write_text(yaml.safe_dump(PLANT))
    path = tmp_path / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return path


class Near:
    """Runs what the child would run in this process; tests/daemon/test_views.py has the child."""

    async def run(self, _words: object, _within_s: float, stdin: bytes) -> Ended:
        return Ended(0, orjson.dumps(list_config(*pickle.loads(stdin))), "")  # noqa: S301 (ours)


def view_of(config: Config, path: Path | None) -> ConfigView:
    near: Any = Near()
    return ConfigView(lambda: config, path, near)


async def rows_of(path: Path, question: ConfigQuestion = ALL) -> dict[str, Any]:
    config = load_config(path, files=False)
    return await view_of(config, path).listed(question)


def by_key(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in found["lines"]}


async def test_each_value_has_the_file_and_line_it_comes_from(path: Path) -> None:
    """Also of an included file; what no file names is a default."""
    found = await rows_of(path)
    rows = by_key(found)
    assert rows["gateway.id"]["from"] == f"{path}:2"
    stale = rows["templates.pump.signals.flow.stale_after"]
    assert (stale["value"], stale["unit"], stale["is_default"]) == (30.0, "s", False)
    assert stale["from"].startswith(f"{path.parent / 'plant.yaml'}:")
    assert rows["sources.plc.type"]["value"] == "opcua"
    tick = rows["tuning.tick"]
    assert (tick["value"], tick["from"], tick["is_default"]) == (0.04, "", True)
    assert found["files"] == [str(path), str(path.parent / "plant.yaml")]
    assert (found["disk"], found["changed"], found["total"]) == ("same", 0, len(rows))


async def test_no_secret_is_in_it_nor_its_length(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the secret is, the answer is the same to the byte."""
    raw = orjson.dumps(await rows_of(path))
    other = "a-secret-of-another-length-0815-4711"
    for file in (path, path.parent / "plant.yaml"):
        file.write_text(file.read_text().replace(PASSWORD, other).replace(CHAT, "x"))
    monkeypatch.setenv("VIEW_TOKEN", other)
    assert orjson.dumps(await rows_of(path)) == raw
    assert PASSWORD.encode() not in raw
    assert CHAT.encode() not in raw
    rows = by_key(orjson.loads(raw))
    assert rows["http.token"]["value"] == "hidden, from the environment variable VIEW_TOKEN"
    assert rows["sinks.chat.url"]["value"] == "https://hooks.example/..."
    assert rows["sinks.chat.headers.X-Api-Key"]["value"] == "hidden"
    assert rows["templates.pump.signals.flow.address"]["value"] == "ns=2;s=..."
    assert all(rows[key]["is_hidden"] for key in ("http.token", "sinks.chat.url"))


async def test_a_secret_is_not_found_by_search(path: Path) -> None:
    """A search that told whether it matches would give the secret away letter by letter."""
    assert (await rows_of(path, ConfigQuestion(search=PASSWORD[:6])))["lines"] == []
    found = await rows_of(path, ConfigQuestion(search="plc", is_set_only=True))
    assert [row["key"] for row in found["lines"]] == ["sources.plc.type", "sources.plc.url"]
    found = await rows_of(path, ConfigQuestion(is_set_only=True, offset=1, limit=2))
    assert (len(found["lines"]), found["total"] > 2) == (2, True)


async def test_what_the_disk_has_instead_is_shown(path: Path) -> None:
    """Until a reload, and also what a reload would add; a refused config says why."""
    config = load_config(path, files=False)
    view = view_of(config, path)
    more = {"assets": {"P-1": {"template": "pump"}, "P-2": {"template": "pump"}}}
    more["sources"] = {"plc": {"type": "opcua", "url": "opc.tcp://other:4840"}}
    (path.parent / "plant.yaml").write_text(yaml.safe_dump(PLANT | more))
    found = await view.listed(ALL)
    rows = by_key(found)
    assert rows["sources.plc.url"]["value"] == "opc.tcp://plc:4840"
    assert rows["sources.plc.url"]["on_disk"] == "opc.tcp://other:4840"
    assert (rows["assets.P-2.template"]["value"], found["disk"]) == (None, "changed")
    assert rows["assets.P-2.template"]["on_disk"] == "pump"
    (path.parent / "plant.yaml").write_text(yaml.safe_dump(PLANT | {"assets": 5}))
    found = await view.listed(ALL)
    assert (found["disk"], found["changed"]) == ("refused", 0)
    assert "plant.yaml:" in found["disk_problem"]
    assert (await view_of(config, None).listed(ALL))["disk"] == "none"
