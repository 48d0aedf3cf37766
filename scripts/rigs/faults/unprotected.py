"""Protections switched off, for negative controls: each function changes the product in place.

Tests run with one through `Control.without`; a rig's daemon is started with one by
`python -m scripts.rigs.faults.unprotected NAME run -c FILE`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from edge_agent.cli import main
from edge_agent.store import Store, schema

if TYPE_CHECKING:
    import sqlite3


def unsynced_commits() -> None:
    """A commit is reported as done before the disk has it."""
    check = schema.quick_check

    def then_unsync(db: sqlite3.Connection) -> None:
        check(db)
        db.execute("PRAGMA synchronous = NORMAL")

    schema.quick_check = then_unsync


def volatile_outbox() -> None:
    """A restart forgets which messages have not been confirmed."""
    open_store = Store.open

    def then_forget(*args: Any, **options: Any) -> Store:  # noqa: ANN401 (handed on)
        store = open_store(*args, **options)
        store.db.execute("DELETE FROM outbox")
        return store

    Store.open = then_forget  # type: ignore[method-assign]


def switch_off(name: str) -> None:
    """Call the function of this module with that name."""
    globals()[name]()


if __name__ == "__main__":
    switch_off(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
