"""Keeps in the store which bundles this machine has verified: a start tries only new ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.models import VerifiedBundles

log = logging.getLogger("edge_agent.models")

_KEY: Final = "verified_bundles"  # of the store


class VerifiedModels:
    """Saves what the registry has verified, and restores it before models are loaded."""

    def __init__(self, verified: VerifiedBundles, values: SavedValues) -> None:
        self._verified = verified
        self._values = values

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""
        try:
            raw = await self._values.load(_KEY)
            if raw is not None:
                self._verified.restore(raw)
        except (StoreError, ValueError, KeyError, TypeError) as error:
            log.warning("verified models not restored", extra={"reason": str(error)})

    async def save(self) -> None:
        """Save changes; call it about once a second."""
        if self._verified.is_changed:
            await self._values.save(_KEY, self._verified.dumped())
