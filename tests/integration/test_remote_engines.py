"""A daemon whose model runs on a server that fails: no window is lost, doubled or wrong.

All faults, Triton, MLServer and KServe: scripts/remote-engines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scripts.rigs.remote_plant import (
    REMOTE,
    FakeProgram,
    ProcessHost,
    RemotePlant,
    site_of,
    write_models,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_server_that_is_killed_or_wrong_costs_no_window(tmp_path: Path) -> None:
    """The bundle's own graph scores at once, the alarm comes, and the server returns by itself.

    The control: one window taken away, one doubled and one changed are found by the same look.
    """
    bundle = write_models(tmp_path)
    with FakeProgram(bundle, tmp_path) as program:
        host = ProcessHost(program, program.url)
        with RemotePlant(tmp_path, site_of([host.url], timeout="500ms")) as plant:
            plant.wait_used()
            for fault in ("sigkill", "nan"):
                plant.live_through(host, fault)
            assert plant.finish() == []
            told = plant.told
            first, second, third = [key for key in told.scores if key[0] == REMOTE][:3]
            del told.scores[first]
            told.scores[second] *= 2
            told.scores[third][0] += 1
            found = [f"{REMOTE}: lost 1", f"{REMOTE}: told twice 1", f"{REMOTE}: wrong 1"]
            assert sorted(told.problems(plant.rows)) == found
