"""What the page shows behind the plant, asked of a whole daemon over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from daemon_support import Running, Site, unused_url, write_bundle
from status_support import BEARER
from support import until

from edge_agent.models import ModelRepository

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

TOKEN = {"http": {"token": {"env": "EDGE_AGENT_TEST_TOKEN"}}}
BY = {"by": "Lena"}


async def test_views_of_a_running_daemon(tmp_path: Path) -> None:
    """One start for all: each answer has been through the loop of the server and the daemon's."""
    site = Site(tmp_path, unused_url(), **TOKEN)
    write_bundle(tmp_path / "next" / "watch", version=2)
    repository = ModelRepository(tmp_path / "models")
    installed = repository.install(tmp_path / "next" / "watch")
    async with (
        Running(site.path) as daemon,
        aiohttp.ClientSession(daemon.url, headers=BEARER) as session,
    ):

        async def ask(method: str, path: str, body: Any = None) -> Any:
            async with session.request(method, path, json=body) as answer:
                return answer.status, await answer.json()

        def is_in_service(version: str) -> bool:
            model = daemon.daemon.runtime.models.deployments.latest("watch")
            return model is not None and model.manifest.version == version

        status, (source,) = await ask("GET", "/api/sources")
        assert (status, source["name"], source["signals"], source["ok"]) == (200, "plant", 6, False)
        status, (sink,) = await ask("GET", "/api/outbox")
        assert (status, sink["sink"], sink["refused_messages"]) == (200, "bus", [])

        status, found = await ask("GET", "/api/models/watch")
        first = found["card"]["version"]
        assert [row["state"] for row in found["versions"]] == ["active", "shelf"]
        status, done = await ask("POST", "/api/models/watch/activate", BY)
        assert (status, done["version"]) == (200, str(installed.version))
        await until(lambda: is_in_service(str(installed.version)))
        status, done = await ask("POST", "/api/models/watch/rollback", BY)
        assert (status, done["version"]) == (200, first)
        await until(lambda: is_in_service(first))

        status, config = await ask("GET", "/api/config?search=http.token")
        (line,) = config["lines"]
        assert (status, config["disk"]) == (200, "same")
        assert line["value"].startswith("hidden, from the environment")

        status, found = await ask("POST", "/api/sources/plant/tags", BY)
        assert (status, "refused" in found["error"]) == (409, True), found
        status, found = await ask("POST", "/api/doctor", BY)
        assert (status, found["ok"]) == (200, False)
        assert any(one["where"] == "source plant" for one in found["findings"])

        _, audit = await ask("GET", "/api/audit?by=Lena")
        done = [row["action"] for row in audit][::-1]
        assert [one for one in done if one != "refused"] == [
            *("activate", "rollback", "browse", "doctor")
        ]
