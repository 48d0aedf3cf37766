"""Root acts as whoever decides where a path leads."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.ops.owner import as_owner_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER, THIRD = 65534, 4321
# The imports come first: the new user may not be able to read this interpreter's files.
RUN = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
import edge_agent.ops.owner
from edge_agent.cli import run
os.access = lambda *_: sys.argv[2] == "may run"
store = SimpleNamespace(path=Path(sys.argv[1]) / "edge-agent.db")
print(run._become_owner(SimpleNamespace(store=store)), os.getresuid(), os.getgroups())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder where all may pass."""
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        yield Path(scratch)


def give(path: Path, user: int = OTHER) -> Path:
    os.chown(path, user, user, follow_symlinks=False)
    return path


def test_it_is_the_last_user_but_root_on_the_way(place: Path) -> None:
    """Root's folder in a folder of another user can be exchanged by that user."""
    (place / "a" / "b").mkdir(parents=True)
    assert owner_of(place / "a" / "b").uid == 0
    give(place / "a")
    assert owner_of(place / "a" / "b").uid == OTHER
    assert owner_of(place / "a" / "b" / "not" / "there").uid == OTHER
    give(place / "a" / "b", THIRD)
    assert owner_of(place / "a" / "b").uid == THIRD


def test_who_owns_a_link_counts(place: Path) -> None:
    """Also one in the middle, and one that is relative; a circle is an error."""
    (place / "etc" / "b").mkdir(parents=True)
    (place / "link").symlink_to("etc")
    assert owner_of(place / "link" / "b").uid == 0
    give(place / "link")
    assert owner_of(place / "link" / "b").uid == OTHER
    (place / "up").symlink_to(place / "link" / ".." / "etc")
    assert owner_of(place / "up").uid == OTHER
    (place / "round").symlink_to("round")
    with pytest.raises(OSError, match="too many links"):
        owner_of(place / "round")


def test_a_child_cannot_become_root_again(place: Path) -> None:
    """Real, effective and saved user of a process that is started meanwhile are the owner's."""
    give(place)
    with as_owner_of(place):
        done = subprocess.run(
            ["/bin/grep", "^[UG]id\\|Groups", "/proc/self/status"],
            capture_output=True,
            text=True,
            check=True,
        )
    uids, gids, groups = (line.split()[1:] for line in done.stdout.splitlines())
    assert (uids, gids, groups) == ([str(OTHER)] * 4, [str(OTHER)] * 4, [str(OTHER)])
    assert (os.getresuid(), os.getresgid()) == ((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("folder_owner", "may", "expected"),
    [
        (OTHER, "may run", "nobody (65534, 65534, 65534) [65534]"),
        (OTHER, "may not", " (0, 0, 0)"),
        (0, "may run", " (0, 0, 0)"),
    ],
)
def test_run_becomes_the_owner_of_the_store(
    place: Path, folder_owner: int, may: str, expected: str
) -> None:
    """What root leaves in the store's folder, the service could not open."""
    give(place, folder_owner)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(place), may], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(expected), done.stdout
    assert ("runs as root" in done.stderr) == (may == "may not")
