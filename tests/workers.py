"""What runs on which worker when scripts/test runs the suite in several processes."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# These run one after the other: each needs a core, or fails if it gets no time, so that beside
# one of them another file may run and not a second of them.
BUSY = frozenset(
    {
        "tests/contracts/test_sources_contract.py",
        "tests/daemon/test_daemon_process.py",
        "tests/daemon/test_daemon_restart.py",
        "tests/factory/test_factory_bearing.py",
        "tests/factory/test_factory_torch.py",
        "tests/factory/test_turbofan_student.py",
        "tests/integration/test_crash.py",
        "tests/integration/test_skab_live.py",
        "tests/ops/test_http_guard.py",
        "tests/ops/test_page.py",
        "tests/systemd/test_unit_boots.py",
    }
)


def work_of(nodeid: str) -> str:
    """The name of the piece of work that a test belongs to: its file, or "busy"."""
    file = nodeid.partition("::")[0]
    return "busy" if file in BUSY else file


class OneFileOneWorker(LoadFileScheduling):  # type: ignore[misc] # xdist hands out Any
    """A file is one piece of work, because its fixtures are made once; BUSY is one piece, too.

    Marks (`xdist_group`) would say it, but pytest 9.2 does not let xdist 3.8 read them.
    """

    def _split_scope(self, nodeid: str) -> str:
        return work_of(nodeid)
