"""The routes of cameras: their state, their newest pictures, and thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.errors import NotFoundError
from edge_agent.ops.routes import READ, Request, Response, Route, number
from edge_agent.service import schemas

if TYPE_CHECKING:
    from collections.abc import Awaitable

CAMERAS: Final = "/api/cameras"
MOST_PICTURES: Final = 100
_PICTURES: Final = 24
_CAMERA: Final = schemas.object_of(
    *("camera", "asset", "alarm_id", "quality", "faults", "pictures", "dropped"),
    camera=schemas.TEXT,
    asset=schemas.TEXT,
    alarm_id=schemas.TEXT,
    quality=schemas.TEXT,
    faults=schemas.list_of(schemas.TEXT),
    pictures=schemas.WHOLE,
    dropped=schemas.WHOLE,
)
_PICTURE: Final = schemas.object_of(
    *("id", "camera", "asset", "at_ms", "over", "regions"),
    id=schemas.TEXT,
    camera=schemas.TEXT,
    asset=schemas.TEXT,
    at_ms=schemas.WHOLE,
    over=schemas.FLAG,
    regions=schemas.list_of(schemas.FREE),
)


class CameraProvider(Protocol):
    """The cameras of the daemon as plain data."""

    def rows(self) -> list[dict[str, Any]]:
        """The state of each camera."""

    def pictures(self, name: str, count: int) -> Awaitable[list[dict[str, Any]] | None]:
        """The newest pictures of a camera; None if there is no such camera."""

    def thumbnail(self, picture_id: str) -> Awaitable[bytes | None]:
        """The JPEG of a picture; None if it is not kept."""


def camera_routes(cameras: CameraProvider) -> list[Route]:
    """The table of the camera API."""
    api = _CameraApi(cameras)
    count = {"limit": number(MOST_PICTURES, _PICTURES)}
    return [
        Route(
            "GET",
            CAMERAS,
            lambda _: cameras.rows(),
            READ,
            summary="Cameras, their last picture and score",
            answer=schemas.list_of(_CAMERA),
        ),
        Route(
            "GET",
            f"{CAMERAS}/{{camera}}/pictures",
            api.pictures,
            READ,
            query=count,
            summary="The newest pictures of a camera, with map and regions",
            answer=schemas.list_of(_PICTURE),
        ),
        Route(
            "GET",
            "/api/pictures/{picture}",
            api.thumbnail,
            READ,
            summary="The thumbnail of a picture (JPEG)",
        ),
    ]


class _CameraApi:
    """The handlers that are more than one call."""

    def __init__(self, cameras: CameraProvider) -> None:
        self._cameras = cameras

    async def pictures(self, request: Request) -> list[dict[str, Any]]:
        """Answer with the newest pictures of a camera."""
        name = request.parts["camera"]
        found = await self._cameras.pictures(name, max(1, request.query["limit"]))
        if found is None:
            raise NotFoundError("no such camera", where=repr(name), hint=f"GET {CAMERAS}")
        return found

    async def thumbnail(self, request: Request) -> Response:
        """Answer with a JPEG."""
        name = request.parts["picture"]
        found = await self._cameras.thumbnail(name)
        if found is None:
            hint = "thumbnails are kept for some time only (docs/cameras.md)"
            raise NotFoundError("no such picture", where=repr(name), hint=hint)
        return Response(found, "image/jpeg")
