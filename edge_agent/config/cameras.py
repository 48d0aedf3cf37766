"""Cameras: where the pictures of an asset come from, and how a picture is cut and checked.

Places in a picture are fractions of its width and height after `rotate`: (0, 0) is the upper left
corner, (1, 1) the lower right one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (the loader asks for the types of fields)
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from edge_agent.config.types import Between, Duration, Name, Secret, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

_TURNS: Final = (0, 90, 180, 270)
_CORNERS: Final = 3
_KINDS: Final = ("mqtt", "folder", "http", "rtsp")
_LEAST_SIDE: Final = 0.01  # of a region
_STALE_S: Final = 30.0
_STALE_INTERVALS: Final = 5


@dataclass(frozen=True, slots=True)
class View:
    """How the pictures of a camera are cut, and when they are too bad to be judged.

    The same in learning and in operation: a bundle that was learned with another region or mask
    does not fit. rotate, region and mask are applied in this order.
    """

    rotate: int = 0  # degrees clockwise: 0, 90, 180 or 270
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)  # left, top, right, bottom
    # Polygons that are not looked at: a clock in the picture, people. [x1, y1, x2, y2, x3, y3, ...]
    mask: tuple[tuple[float, ...], ...] = ()
    mask_file: Path | None = (
        None  # a PNG of the whole picture: what is black in it is not looked at
    )
    exposure: bool = True  # a picture that is too dark, too bright or covered is not judged
    # Below this share of the sharpness of the pictures of learning, one is blurred; 0: not checked.
    blur: Annotated[float, Between(0, 1)] = 0.35
    # The very same picture so many times in a row: the camera is frozen; 0: not checked.
    frozen_after: Annotated[int, Between(0, 100_000)] = 5

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.rotate not in _TURNS:
            yield "rotate", "must be 0, 90, 180 or 270"
        left, top, right, bottom = self.region
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            yield "region", "is [left, top, right, bottom], fractions of the picture from 0 to 1"
        elif min(right - left, bottom - top) < _LEAST_SIDE:
            yield "region", f"has sides of at least {_LEAST_SIDE:g} of the picture"
        for number, corners in enumerate(self.mask):
            if len(corners) % 2 or len(corners) < 2 * _CORNERS:
                yield f"mask.{number}", "is [x1, y1, x2, y2, x3, y3, ...]: at least three corners"
            elif not all(0 <= one <= 1 for one in corners):
                yield f"mask.{number}", "has corners as fractions of the picture from 0 to 1"


@dataclass(frozen=True, slots=True)
class PictureTopic:
    """Pictures in MQTT messages, over the connection of a source of type mqtt."""

    topic: str  # of this camera alone: no + and no #
    source: Name = Name("")  # optional if there is only one source of type mqtt
    qos: Annotated[int, Between(0, 2)] = 1
    # The key of the picture (base64) in a JSON object, with dots for inner objects; default: the
    # payload is the picture itself.
    image: str = ""
    time: str = ""  # key of the time; default: the time of arrival
    part: str = ""  # key of the part's id
    quality: str = ""  # key of the quality, as in values: a bad picture is not judged

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if set(self.topic) & set("+#{}\0") or not self.topic:
            yield "topic", "is one topic, without + and #: each camera has its own"
        for key in ("time", "part", "quality"):
            if getattr(self, key) and not self.image:
                yield key, "needs image: a payload that is the picture itself has no keys"


class Earlier(StrEnum):
    """Which of the pictures that are in a folder at the start are read."""

    MISSED = "missed"  # those from after the last one that the service has read; none at first
    SKIP = "skip"
    ALL = "all"


class FileTime(StrEnum):
    """Where the time of a picture in a file comes from."""

    MTIME = "mtime"
    EXIF = "exif"
    NAME = "name"
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """Pictures that somebody writes into a folder, also of NFS: it is looked at again and again.

    A file is read once it is whole: its size and time are the same in two looks.
    """

    path: Path  # the folder
    # Of names: cam1_*.jpg. What begins with . or ends with .tmp or .part is never read.
    pattern: str = "*"
    every: Annotated[Duration, Between(0.05, 3600)] = Duration(0.5)  # between two looks
    earlier: Earlier = Earlier.MISSED  # pictures that are there at the start
    done: Path | None = None  # files that were read are moved to this folder; default: they stay
    remove: bool = False  # files that were read are deleted
    # The time of a picture; if it has none of this kind, or one in the future, that of the file.
    time: FileTime = FileTime.MTIME
    # A regular expression for names, with the groups `time` and `part`, or one of them.
    name: str = ""
    name_time: str = "%Y%m%d_%H%M%S"  # the form of the group `time`
    timezone: str = "UTC"  # of times in names and in EXIF

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.done is not None and self.remove:
            yield "remove", "is not possible together with done"
        if self.done is not None and self.done == self.path:
            yield "done", "is another folder than path"
        if "/" in self.pattern or not self.pattern:
            yield "pattern", "is one of names in this folder, without /"
        groups = set[str]()
        try:
            groups = set(re.compile(self.name).groupindex)
        except re.error as error:
            yield "name", f"is not a regular expression: {error}"
            return
        if self.name and not groups & {"time", "part"}:
            yield "name", "needs a group (?P<time>...) or (?P<part>...)"
        if self.time is FileTime.NAME and "time" not in groups:
            yield "time", "needs a group (?P<time>...) in name"


class Edge(StrEnum):
    """Which change of a signal triggers a picture."""

    RISING = "rising"  # from 0.5 or less to more
    FALLING = "falling"
    CHANGE = "change"  # another value than before, such as the number of a part


@dataclass(frozen=True, slots=True)
class Trigger:
    """A signal whose change asks for a picture."""

    signal: str  # ASSET.SIGNAL
    edge: Edge = Edge.RISING  # which change of it
    delay: Annotated[Duration, Between(0, 60)] = Duration(0)  # until the part is in front of it
    part: str = ""  # ASSET.SIGNAL whose value is the id of the part


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A URL that answers with a picture: the snapshot of an IP camera."""

    url: str
    every: Annotated[Duration, Between(0.1, 86_400)] | None = None  # default: 1 s without trigger
    trigger: Trigger | None = None
    username: str = ""
    password: Secret | None = None  # for Digest or Basic, whichever the camera asks for
    allow_insecure_password: bool = False  # sends it without encryption if the camera wants Basic
    timeout: Annotated[Duration, Between(0.1, 60)] = Duration(5)
    ca: Path | None = None  # PEM; default: the system's authorities
    cert: Path | None = None  # ours, if the camera asks for one
    cert_key: Path | None = None  # default: it is in the file of `cert`

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if problem := _url_problem(self.url, ("http", "https")):
            yield "url", problem
        if self.cert_key is not None and self.cert is None:
            yield "cert_key", "needs its certificate: cert"
        if (self.ca or self.cert) and not self.url.startswith("https:"):
            yield "ca" if self.ca else "cert", "has no effect without https://"
        if self.password is not None and not self.username:
            yield "username", "is missing: a password has a user"

    @property
    def every_s(self) -> float | None:
        """Seconds between two pictures that nobody triggers; None: only triggered ones."""
        return self.every if self.trigger is not None else self.every or 1.0


@dataclass(frozen=True, slots=True)
class Stream:
    """An RTSP stream; it needs the extra `rtsp`. Only its newest frame is taken."""

    url: str
    every: Annotated[Duration, Between(0.05, 86_400)] = Duration(1)  # between two pictures
    username: str = ""
    password: Secret | None = None
    timeout: Annotated[Duration, Between(0.5, 60)] = Duration(10)  # without a frame
    udp: bool = False  # RTP over UDP; default: inside the TCP connection

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if problem := _url_problem(self.url, ("rtsp", "rtsps")):
            yield "url", problem
        if self.password is not None and not self.username:
            yield "username", "is missing: a password has a user"


def _url_problem(url: str, schemes: tuple[str, ...]) -> str:
    """Why a text is not the URL of a camera; empty if it is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if "@" in parts.netloc:
        return "a login never belongs in a URL: use username and password"
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        return f"must be a URL such as {schemes[0]}://camera-1.plant:8080/path"
    return "" if url.isascii() and url.isprintable() else "has characters that no URL has"


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera and the asset that it looks at; exactly one of mqtt, folder, http, rtsp.

    It is also a source: its name is none of `sources`, and it has a state, metrics and an alarm
    when it is lost.
    """

    asset: str  # the machine that it looks at
    mqtt: PictureTopic | None = None
    folder: WatchedFolder | None = None
    http: Snapshot | None = None
    rtsp: Stream | None = None
    view: View = field(default_factory=View)
    # Without a picture for this long it is lost. Default: of http at an interval and rtsp 30 s, at
    # least five intervals; else never: parts come when they come.
    stale_after: Duration | None = None
    max_bytes: Annotated[Size, Between(1024, 64 << 20)] = Size(8 << 20)  # of an encoded picture
    max_pixels: Annotated[int, Between(1024, 80_000_000)] = 25_000_000  # width times height
    # A picture from further back than this is not judged; with a time in the future, it has ours.
    max_age: Annotated[Duration, Between(1, 30 * 86_400)] = Duration(3600)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            yield given[1] if given else "", f"needs exactly one of: {', '.join(_KINDS)}"

    @property
    def kind(self) -> str:
        """The key that says where its pictures come from."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def silence_s(self) -> float | None:
        """Without a picture for so many seconds it is lost; None: never."""
        if self.stale_after is not None:
            return self.stale_after
        every_s = self.rtsp.every if self.rtsp else self.http.every_s if self.http else None
        return None if every_s is None else max(_STALE_S, _STALE_INTERVALS * every_s)
