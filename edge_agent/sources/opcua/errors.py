"""Why a server was not reached. Without the library, which a plant without OPC UA does not load."""

from __future__ import annotations

from edge_agent.errors import ConnectError


class RefusedError(ConnectError):
    """It will be refused again until somebody changes a setting, here or there.

    code: the server's StatusCode, 0 where it gave none.
    """

    code = 0


class LostError(ConnectError):
    """A connection that worked does so no more."""
