"""The installed versions of models for the API, and the choices of people among them.

A choice is made on the disk, as `edge-agent models` does it; the reconciler follows the disk.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edge_agent.errors import EdgeAgentError, ModelError, NotFoundError
from edge_agent.models import (
    ModelRepository,
    card_of,
    check_version,
    choose_version,
    keyring,
    version_row,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.models import Keyring
    from edge_agent.service import ModelRequest


class ModelChoice:
    """Shows what is installed, and activates what somebody chooses (`service.ModelsProvider`).

    note_refusal: records a refused command: (sender, subject, actor, reason, detail).
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        values: SavedValues,
        note_refusal: Callable[[str, str, str, str, str], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._values = values
        self._note_refusal = note_refusal
        self._busy = False

    async def installed(self, name: str, version: str) -> dict[str, Any]:
        """Versions, card and drift of a model; NotFoundError if there is no such version."""
        runtime = self._runtime()
        keys = keyring(runtime.config.trust)
        repository = ModelRepository(runtime.config.models_dir)
        found = await asyncio.to_thread(_installed, repository, name, version, keys)
        worst = runtime.pipeline.diagnostics.drift.worst()
        mine = [(psi, ks, one) for (model, one), (psi, ks) in worst.items() if model == name]
        drift = [{"input": one, "psi": psi, "ks": ks} for psi, ks, one in sorted(mine)[::-1]]
        if found["card"] is not None:
            deployments, version = runtime.pipeline.deployments, found["card"]["version"]
            judged = deployments.track_record.judged(deployments, name, version)
            found["card"] = {**found["card"], "judged": judged}
        return {**found, "drift": drift, "drift_limit": runtime.config.drift.limit}

    async def choose(self, request: ModelRequest) -> dict[str, Any]:
        """Carry out a choice and record it; a refused one is recorded, too."""
        try:
            done = await self._one_at_a_time(request)
        except EdgeAgentError as error:
            detail = f"{request.kind}: {error}"
            await self._note_refusal("http", request.name, request.actor, str(error), detail)
            raise
        detail = f"version {done['version']} chosen" if done["version"] else "shadow ended"
        detail += f": {request.comment}" if request.comment else ""
        await self._values.audit(request.actor, request.kind, [request.name], detail)
        return done

    async def _one_at_a_time(self, request: ModelRequest) -> dict[str, Any]:
        """A version is tried in a child for seconds; who asks meanwhile must ask again."""
        if self._busy:
            hint = "ask again in some seconds"
            raise EdgeAgentError("another choice of a version is in progress", hint=hint)
        self._busy = True
        try:
            config = self._runtime().config
            repository = ModelRepository(config.models_dir)
            keys = keyring(config.trust)
            version, signer = await asyncio.to_thread(_choose, repository, request, keys)
        finally:
            self._busy = False
        return {"name": request.name, "version": version, "done": request.kind, "signer": signer}


def _installed(
    repository: ModelRepository, name: str, version: str, keys: Keyring
) -> dict[str, Any]:
    _expect_known(repository, name)
    folders = repository.installed(name)
    chosen = repository.folder(name, version) if version else folders[0][1]
    rows: list[dict[str, Any]] = []
    for state, folder in folders:
        try:
            rows.append(version_row(folder, state, keys))
        except ModelError as error:
            rows.append({"name": name, "version": folder.name, "state": state, "error": str(error)})
    try:
        card = card_of(chosen)
    except ModelError:  # its row has the reason
        card = None
    return {"name": name, "versions": [_shown(row) for row in rows], "card": card}


def _expect_known(repository: ModelRepository, name: str) -> None:
    known = repository.names()
    if name not in known:
        there = ", ".join(known) or "none"
        raise NotFoundError("no such model", where=repr(name), hint=f"installed: {there}")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the number of its assets: a learned version may name thousands."""
    return row | {"assets": len(row.get("assets", ()))}


def _choose(repository: ModelRepository, request: ModelRequest, keys: Keyring) -> tuple[str, str]:
    """The version that was chosen, empty if none, and its signer."""
    name = request.name
    if request.kind == "rollback":
        return repository.rollback(name), ""
    if request.kind == "stop_shadow":
        _expect_known(repository, name)
        repository.set_shadow(name, None)
        return "", ""
    wanted = f"{name}@{request.version}" if request.version else name
    _, version = choose_version(repository, wanted)
    signer, _ = check_version(repository.folder(name, version), keys)
    if request.kind == "activate":
        repository.activate(name, version)
    else:
        repository.set_shadow(name, version)
    return version, signer
