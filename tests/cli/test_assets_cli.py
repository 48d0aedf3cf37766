"""`edge-agent assets forget`: one by one, and junk in bulk by a pattern."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.cli import assets, main
from edge_agent.errors import EdgeAgentError

KNOWN = ["P-1", "junk-1", "junk-2", "junk-of-the-config"]


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a daemon was told to forget; it keeps what its config names."""
    told: list[str] = []

    def request(_url: str, path: str, _body: object = None) -> dict[str, Any]:
        asset = path.split("/")[3]
        if asset in {"P-1", "junk-of-the-config"}:
            raise EdgeAgentError("it is in the config", where=asset)
        told.append(asset)
        return {"asset": asset}

    monkeypatch.setattr(assets, "request", request)
    monkeypatch.setattr(assets, "query_rows", lambda *_: [{"id": one} for one in KNOWN])
    return told


def test_a_pattern_forgets_what_was_discovered(
    forgotten: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the config names is kept, and said; the others go on."""
    assert main(["assets", "forget", "junk-*", "--url", "http://127.0.0.1:9"]) == 0
    assert forgotten == ["junk-1", "junk-2"]
    assert "junk-of-the-config: kept: it is in the config" in capsys.readouterr().out


def test_a_name_that_is_refused_is_an_error(forgotten: list[str]) -> None:
    assert main(["assets", "forget", "P-1", "--url", "http://127.0.0.1:9"]) == 1
    assert main(["assets", "forget", "x-*", "--url", "http://127.0.0.1:9"]) == 2
    assert forgotten == []
