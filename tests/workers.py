"""What runs on which worker when scripts/test runs the suite in several processes."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# These run one after the other: each needs a core, or fails if it gets no time, so that beside
# one of them another file may run and not a second of them. The names of files are unique.
BUSY = frozenset(
    {
        "test_crash.py",
        "test_daemon_process.py",
        "test_daemon_restart.py",
        "test_factory_checks.py",
        "test_factory_training.py",
        "test_faults_quick.py",
        "test_http_guard.py",
        "test_page.py",
        "test_skab_live.py",
        "test_sources_contract.py",
        "test_unit_boots.py",
    }
)


def work_of(nodeid: str) -> str:
    """The piece of work that a test belongs to: its file, or "busy"."""
    file = nodeid.partition("::")[0]
    return "busy" if file.rpartition("/")[2] in BUSY else file


class OneFileOneWorker(LoadFileScheduling):  # type: ignore[misc] # xdist hands out Any
    """A file is one piece of work, because its fixtures are made once; BUSY is one piece, too.

    Marks (`xdist_group`) would say it, but pytest 9.2 does not let xdist 3.8 read them.
    """

    def _split_scope(self, nodeid: str) -> str:
        return work_of(nodeid)
