"""Reads recorded MQTT messages, decoded as the config's sources of type mqtt decode them live.

`mosquitto_sub -F '%U %t %x'` writes a line for each message: seconds of arrival, topic, and the
payload in hexadecimal digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S
from edge_agent.errors import EdgeAgentError
from edge_agent.ops.metrics import Metrics
from edge_agent.sources.mqtt import Decoder, MqttSourceConfig, Refusals, Routes
from edge_agent.sources.mqtt.paho_client import Messages
from edge_agent.sources.replay.files import UNREADABLE, open_file
from edge_agent.values import Columns, TensorBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_agent.config.types import Name
    from edge_agent.plant import Plant
    from edge_agent.sources.replay.csv_reader import Reject

_LINE: Final = re.compile(r"(\d{9,11}(?:\.\d{1,9})?) (\S.*) ((?:[0-9a-fA-F]{2})*)")
_MAX_LINE: Final = 1 << 24
_MESSAGES: Final = 256  # decoded together, at their own times
_HEAD: Final = 2048


@dataclass(slots=True)
class _Collected:
    """An intake that keeps what a decoder writes, until the next `drain`."""

    values: list[Columns] = field(default_factory=list)
    blocks: list[TensorBlock] = field(default_factory=list)

    def append(self, values: Columns) -> None:
        """Append the values of a message."""
        self.values.append(values)

    def append_block(self, block: TensorBlock) -> None:
        """Append a block."""
        self.blocks.append(block)

    def backpressured(self) -> bool:
        """Never: the reader waits for the decoder."""
        return False

    def __len__(self) -> int:
        return sum(map(len, self.values))


def is_mqtt_file(path: Path) -> bool:
    """True if the first line of a file is a recorded message."""
    try:
        with open_file(path, _MAX_LINE) as opened:
            first = next(opened.lines or iter(()), "")
    except (EdgeAgentError, *UNREADABLE):
        return False
    return _LINE.match(first[:_HEAD]) is not None or _LINE.fullmatch(first.strip()) is not None


class MqttRecording:
    """The files of recorded messages. sources: of the config; counter: of what is refused."""

    def __init__(
        self,
        plant: Plant,
        sources: Mapping[Name, object],
        paths: Sequence[Path],
        counter: Callable[[Path], Reject],
    ) -> None:
        self._paths = paths
        self._counter = counter
        self._collected = _Collected()
        known = {name: one for name, one in sources.items() if isinstance(one, MqttSourceConfig)}
        if paths and not known:
            hint = "a config with the source of type mqtt that subscribes to these topics"
            raise EdgeAgentError("holds MQTT messages", where=str(paths[0]), hint=hint)
        self._decoders = [self._decoder(name, one, plant) for name, one in known.items()]
        self.n_values = 0
        self.position = 0

    def _decoder(self, name: str, config: MqttSourceConfig, plant: Plant) -> Decoder:
        metrics = Metrics()
        refusals = Refusals(name, metrics)
        stale_after_s = config.traits.silence_s
        routes = Routes(
            name, config.subscriptions, plant, metrics, refusals, stale_after_s=stale_after_s
        )
        return Decoder(routes, refusals, self._collected, metrics.values_received.labels(name))

    def readings(self) -> Iterator[Columns | TensorBlock]:
        """Values and blocks in order of time, as far as 256 messages are in order."""
        for path in self._paths:
            before = self.position
            with open_file(path, _MAX_LINE) as opened:
                lines = enumerate(opened.lines or (), 1)
                while some := list(islice(lines, _MESSAGES)):
                    self._decode(path, some)
                    self.position = before + opened.position()
                    yield from self._drain()

    def _decode(self, path: Path, lines: Sequence[tuple[int, str]]) -> None:
        for number, line in lines:
            found = _LINE.fullmatch(line.rstrip("\r\n"))
            if found is None:
                if line.strip():
                    self._counter(path)("message", 1, number, "", line.strip()[:_HEAD])
                continue
            payload = bytes.fromhex(found[3])
            message = Messages([found[2].encode()], [payload])
            for decoder in self._decoders:
                decoder.decode_messages(message, round(float(found[1]) * US_PER_S))

    def _drain(self) -> Iterator[Columns | TensorBlock]:
        """What the decoders wrote, with each block after the values until its end."""
        values = Columns.concat(self._collected.values).sorted_by_time()
        blocks = sorted(self._collected.blocks, key=lambda block: block.end_us)
        self._collected.values.clear()
        self._collected.blocks.clear()
        self.n_values += len(values) + len(blocks)
        for block in blocks:
            n = int(values.time_us.searchsorted(block.end_us, "right"))
            yield values.slice(0, n)
            yield block
            values = values.slice(n)
        yield values
