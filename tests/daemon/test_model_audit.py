"""Changes of models become rows of the audit, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.daemon.model_audit import ModelAudit
from edge_agent.daemon.saved_values import SavedValues
from edge_agent.errors import StoreError
from edge_agent.serving import AUTOMATIC, COMMAND, DAEMON, ModelChange

if TYPE_CHECKING:
    from collections.abc import Sequence


class Saved(SavedValues):
    """Saved values in memory; `is_broken`: the store fails."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.rows: list[tuple[str, str, str, str]] = []
        self.is_broken = False

    async def load(self, key: str) -> bytes | None:
        if self.is_broken:
            raise StoreError("the store is closed")
        return self.values.get(key)

    async def save(self, key: str, value: bytes) -> bool:
        self.values[key] = value
        return not self.is_broken

    async def audit(
        self, actor: str, action: str, subjects: Sequence[str], detail: str = ""
    ) -> None:
        self.rows += [(actor, action, one, detail) for one in subjects]


def activated(version: str, actor: str, before: str = "", model: str = "pump") -> ModelChange:
    return ModelChange("activate", model, version, before, actor)


async def rows_of(saved: Saved, *changes: ModelChange) -> list[tuple[str, str, str, str]]:
    """The rows of a daemon that starts, sees these changes, and stops."""
    audit = ModelAudit(saved)
    for change in changes:
        audit.accept_change(change)
    await audit.save()
    rows, saved.rows = saved.rows, []
    return rows


async def test_a_start_is_recorded_only_with_another_version() -> None:
    """With the version that was active before, although another run of the service recorded it."""
    saved = Saved()
    first = await rows_of(saved, activated("1", DAEMON), activated("1", DAEMON))
    assert first == [("daemon", "activate", "pump", "version 1")]
    assert await rows_of(saved, activated("1", DAEMON)) == []
    assert await rows_of(saved, activated("2", DAEMON)) == [
        ("daemon", "activate", "pump", "version 2, before 1")
    ]


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (activated("2", COMMAND, "1"), ("command", "activate", "pump", "version 2, before 1")),
        (
            activated("2", COMMAND, model="learned-pump-1f"),
            ("automatic", "activate", "learned-pump-1f", "version 2"),
        ),
        (
            ModelChange("rollback", "pump", "1", "2", AUTOMATIC, "not a number"),
            ("automatic", "rollback", "pump", "version 1, before 2: not a number"),
        ),
    ],
)
async def test_a_change_says_who_what_and_why(
    change: ModelChange, row: tuple[str, str, str, str]
) -> None:
    """A learned bundle is activated by the service itself, whoever looks at the disk."""
    assert await rows_of(Saved(), change) == [row]


async def test_a_store_that_fails_does_not_stop_the_audit() -> None:
    """The versions of the last run are then unknown: what is active is recorded again."""
    saved = Saved()
    await rows_of(saved, activated("1", DAEMON))
    saved.is_broken = True
    assert await rows_of(saved, activated("1", DAEMON)) == [
        ("daemon", "activate", "pump", "version 1")
    ]


async def test_changes_that_wait_are_bounded() -> None:
    """The newest stay; accepting one never fails or waits."""
    changes = [activated(str(n), COMMAND) for n in range(1500)]
    rows = await rows_of(Saved(), *changes)
    assert (len(rows), rows[-1][3]) == (1000, "version 1499")
