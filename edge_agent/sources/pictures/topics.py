"""Pictures in MQTT messages, over the connection of a source that is there anyway."""

from __future__ import annotations

import asyncio
import binascii
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.payload_spec import TimeUnit
from edge_agent.sources.mqtt.payload_time import time_us
from edge_agent.sources.mqtt.topics import compile_pattern
from edge_agent.sources.pictures.base import CameraSource
from edge_agent.sources.qualities import status_of
from edge_agent.values import BAD, GOOD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.config.cameras import Camera, PictureTopic
    from edge_agent.sources.mqtt.paho_client import Messages

_WAITING: Final = 4  # payloads of a camera that are not yet parsed
_MAX_PART: Final = 128  # characters of a part's id
_BASE64: Final = 1.4  # times the size of a picture, with what is around it
_HEAD: Final = 64 << 10


class SentPicture(NamedTuple):
    """What a message says of a picture; see `EncodedPicture`."""

    data: bytes
    at_ns: int | None
    part: str | None
    status: int


def parse_payload(payload: bytes, topic: PictureTopic) -> SentPicture:
    """The picture of a JSON payload; DecodeError says what is wrong."""
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise DecodeError("json", f"not JSON: {error}") from error
    text = _under(found, topic.image)
    if not isinstance(text, str):
        raise DecodeError("no_picture", f"there is no text under {topic.image!r}")
    raw_time = _under(found, topic.time)
    at_ns = None if raw_time is None else time_us(raw_time, TimeUnit.AUTO) * 1000
    status = GOOD
    if topic.quality:
        known = status_of(_under(found, topic.quality), key=topic.quality)
        status = BAD if known is None else known
    return SentPicture(_from_base64(text), at_ns, part_of(_under(found, topic.part)), status)


def _under(found: Any, path: str) -> Any:  # noqa: ANN401 (JSON)
    """What is under a dotted path of keys; None if nothing is, or there is no path."""
    if not path:
        return None
    if isinstance(found, dict) and path in found:
        return found[path]
    for key in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def part_of(raw: object) -> str | None:
    """The id of a part as one line; None if there is none."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    text = "".join(one for one in str(raw).strip() if one.isprintable())
    return text[:_MAX_PART] or None


def _from_base64(text: str) -> bytes:
    """Base64, also with line ends, of the URL alphabet, or as a data URL."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        raw = text.translate(_URL_ALPHABET).encode("ascii")
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise DecodeError("base64", "the picture is not base64") from error


_URL_ALPHABET: Final = str.maketrans({"-": "+", "_": "/", "\n": "", "\r": "", "=": ""})


def payload_limit(camera: Camera) -> int:
    """The largest message that can hold a picture of a camera, in bytes."""
    in_json = camera.mqtt is not None and camera.mqtt.image
    return int(camera.max_bytes * _BASE64) + _HEAD if in_json else int(camera.max_bytes)


class TopicCamera(CameraSource):
    """A camera whose pictures come in the messages of one topic."""

    def _prepare(self) -> None:
        super()._prepare()
        assert self._config.mqtt is not None  # noqa: S101 (its kind)
        self.topic = self._config.mqtt
        self.target = self.topic.topic
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._waiting = 0

    async def _serve(self) -> None:
        await self._follow_arrivals()

    async def stop(self) -> None:
        """Stop delivering, and end the thread; safe when repeated, and before another start."""
        await super().stop()
        self._parsing.shutdown(wait=False, cancel_futures=True)
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="pictures")

    @property
    def max_payload(self) -> int:
        """The largest message that can hold a picture of it."""
        return payload_limit(self._config)

    def accept_payload(self, payload: bytes) -> None:
        """Take a message; JSON is parsed in a thread, a megabyte of base64 takes milliseconds."""
        if not self.topic.image:
            self.deliver(payload)
        elif self._waiting >= _WAITING:
            self.refuse("busy", "pictures arrive faster than they are parsed")
        else:
            self._waiting += 1
            loop = asyncio.get_running_loop()
            parsed = loop.run_in_executor(self._parsing, parse_payload, payload, self.topic)
            parsed.add_done_callback(self._deliver_parsed)

    def _deliver_parsed(self, parsed: asyncio.Future[SentPicture]) -> None:
        self._waiting -= 1
        if parsed.cancelled():
            return
        error = parsed.exception()
        if error is None:
            self.deliver(*parsed.result())
        else:
            reason = error.reason if isinstance(error, DecodeError) else "internal"
            self.refuse(reason, str(error))


class PictureTopics:
    """The cameras whose pictures come over the connection of one source of type mqtt.

    max_payload: of all its other messages.
    """

    def __init__(self, max_payload: int) -> None:
        self._max_payload = max_payload
        self._cameras: dict[bytes, TopicCamera] = {}

    def add(self, camera: TopicCamera) -> None:
        """Add a camera."""
        self._cameras[camera.topic.topic.encode()] = camera

    @property
    def max_payload(self) -> int:
        """Of all messages of the connection."""
        return max(self._max_payload, *(one.max_payload for one in self._cameras.values()))

    def filters(self, subscribed: Iterable[str]) -> list[tuple[str, int]]:
        """(topic, QoS) of each camera; without those that a subscription matches already."""
        known = [compile_pattern(one) for one in subscribed if not one.startswith("$")]
        return [
            (one.topic.topic, one.topic.qos)
            for one in self._cameras.values()
            if not any(pattern.match(one.topic.topic) is not None for pattern in known)
        ]

    def remove_from(self, messages: Messages) -> None:
        """Take the pictures out of the messages, and what is too large for a value.

        A retained picture is of an unknown age: a camera that sends none is not alive.
        """
        retained, kept = set(messages.retained), list[int]()
        for n, topic in enumerate(messages.topics):
            camera = self._cameras.get(topic)
            if camera is not None:
                if n not in retained:
                    camera.accept_payload(messages.payloads[n])
            elif len(messages.payloads[n]) > self._max_payload:
                messages.too_large.append(topic)
            else:
                kept.append(n)
        self._refuse_large(messages)
        if len(kept) < len(messages.topics):
            messages.retained = [at for at, n in enumerate(kept) if n in retained]
            messages.topics = [messages.topics[n] for n in kept]
            messages.payloads = [messages.payloads[n] for n in kept]

    def _refuse_large(self, messages: Messages) -> None:
        for topic in messages.too_large:
            if (camera := self._cameras.get(topic)) is not None:
                camera.refuse("too_large", "a message is larger than max_bytes allows")
        messages.too_large = [one for one in messages.too_large if one not in self._cameras]
