"""What is installed of a model as the API shows it, and choices of versions: real bundles."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tiny_versions import mean, nan_over

from edge_agent.config.settings import Trust
from edge_agent.daemon.model_choice import ModelChoice
from edge_agent.errors import EdgeAgentError, ModelError, NotFoundError
from edge_agent.models import ModelRepository
from edge_agent.service import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass
class Journal:
    """The audit in memory."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    async def audit(self, actor: str, action: str, subjects: Sequence[str], detail: str) -> None:
        self.rows.append((actor, action, *subjects, detail))

    async def refuse(self, *row: str) -> None:
        self.rows.append(row)


class Judged(list[Any]):
    """Deployments whose track record says what version 1 did."""

    def __init__(self) -> None:
        self.track_record = self

    def judged(self, _: object, name: str, version: str) -> dict[str, Any]:
        return {"precision": 0.75} if (name, version) == ("watch", "1") else {}


def choice_of(folder: Path, journal: Journal) -> ModelChoice:
    """Two versions of one model; 1 is active."""
    mean("1", folder=folder / "in" / "1")
    nan_over(1e9, "2", folder=folder / "in" / "2")
    repository = ModelRepository(folder / "models")
    for version in ("1", "2"):
        repository.install(folder / "in" / version)
    repository.activate("watch", "1")
    worst = {("watch", "flow"): (0.1, 0.2), ("watch", "pressure"): (0.4, 0.3), ("x", "y"): (9, 9)}
    drift = SimpleNamespace(worst=lambda: worst)
    config = SimpleNamespace(
        trust=Trust(), models_dir=folder / "models", drift=SimpleNamespace(limit=0.25)
    )
    pipeline = SimpleNamespace(diagnostics=SimpleNamespace(drift=drift), deployments=Judged())
    runtime: Any = SimpleNamespace(config=config, pipeline=pipeline)
    values: Any = journal
    return ModelChoice(lambda: runtime, values, journal.refuse)


def request(kind: str, version: str = "", comment: str = "") -> ModelRequest:
    return ModelRequest(kind, "watch", version, "mes", comment)


async def test_versions_card_and_drift_are_shown(tmp_path: Path) -> None:
    """Drift is only this model's, the worst input first; the card is that of the asked version."""
    choice = choice_of(tmp_path, Journal())
    found = await choice.installed("watch", "")
    assert [(row["version"], row["state"]) for row in found["versions"]] == [
        ("1", "active"),
        ("2", "shelf"),
    ]
    assert {row["signer"] for row in found["versions"]} == {"unsigned"}
    assert [row["input"] for row in found["drift"]] == ["pressure", "flow"]
    assert (found["card"]["version"], found["drift_limit"]) == ("1", 0.25)
    assert found["card"]["judged"] == {"precision": 0.75}
    assert [row["name"] for row in found["card"]["inputs"]] == ["flow", "pressure"]
    assert (await choice.installed("watch", "2"))["card"]["version"] == "2"
    with pytest.raises(NotFoundError):
        await choice.installed("watch", "3")
    with pytest.raises(NotFoundError):
        await choice.installed("../watch", "")


async def test_a_damaged_version_is_shown_with_its_reason(tmp_path: Path) -> None:
    """Otherwise the one that must be looked at would be the one that is missing."""
    choice = choice_of(tmp_path, Journal())
    (tmp_path / "models" / "watch" / "model.yaml").write_text("name: [")
    found = await choice.installed("watch", "")
    assert found["card"] is None
    assert "model.yaml" in found["versions"][0]["error"]


async def test_activate_and_rollback_are_done_on_disk_and_recorded(tmp_path: Path) -> None:
    """With the name of who chose, and the comment; the daemon follows the disk by itself."""
    journal = Journal()
    choice = choice_of(tmp_path, journal)
    repository = ModelRepository(tmp_path / "models")
    done = await choice.choose(request("activate", "2", "trial went well"))
    assert (done["version"], repository.active("watch")) == ("2", "2")
    assert (await choice.choose(request("rollback")))["version"] == "1"
    assert repository.active("watch") == "1"
    await choice.choose(request("shadow", "2"))
    assert repository.shadow("watch") == "2"
    await choice.choose(request("stop_shadow"))
    assert repository.shadow("watch") is None
    assert journal.rows == [
        ("mes", "activate", "watch", "version 2 chosen: trial went well"),
        ("mes", "rollback", "watch", "version 1 chosen"),
        ("mes", "shadow", "watch", "version 2 chosen"),
        ("mes", "stop_shadow", "watch", "shadow ended"),
    ]


async def test_a_version_that_fails_its_trial_is_not_activated(tmp_path: Path) -> None:
    """And the attempt is recorded as refused."""
    journal = Journal()
    choice = choice_of(tmp_path, journal)
    folder = ModelRepository(tmp_path / "models").folder("watch", "2")
    (folder / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError):
        await choice.choose(request("activate", "2"))
    assert ModelRepository(tmp_path / "models").active("watch") == "1"
    assert [row[:3] for row in journal.rows] == [("http", "watch", "mes")]


async def test_one_choice_at_a_time(tmp_path: Path) -> None:
    """Each tries a bundle in a child: many at once would take the gateway's processors."""
    choice = choice_of(tmp_path, Journal())
    first = asyncio.create_task(choice.choose(request("activate", "2")))
    await asyncio.sleep(0)
    with pytest.raises(EdgeAgentError, match="in progress"):
        await choice.choose(request("rollback"))
    assert (await first)["version"] == "2"
