"""Compares a config's subscriptions with the broker; waits for a message on every topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.findings import Finding, error, fine, first_of, warning
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.mqtt.decode import Decoder
from edge_agent.sources.mqtt.readings import Readings
from edge_agent.sources.mqtt.receive import receive
from edge_agent.sources.mqtt.refusals import Refusals, shown
from edge_agent.sources.mqtt.routes import Routes
from edge_agent.sources.mqtt.source import filters
from edge_agent.sources.mqtt.topics import compile_pattern
from edge_agent.sources.skew import SKEW_S, judge_clock
from edge_agent.values import SEVERITY_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config, TimeOf
    from edge_agent.plant import PlantSignal
    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.sources.mqtt.paho_client import Messages
    from edge_agent.sources.mqtt.sparkplug_config import Sparkplug
    from edge_agent.values import Columns, TensorBlock

_MAX_SHOWN: Final = 20
# Messages of others below our topics are no fault of the config; a warning if signals are missing.
_OF_OTHERS: Final = frozenset(
    {"unknown_topic", "unknown_signal", "unknown_asset", "other_shard", "asset_name", "empty"}
)


class _FirstRefusals(Refusals):
    """The first topic and text of each reason, and their number; logs nothing."""

    def __init__(self, source: str, metrics: Metrics) -> None:
        super().__init__(source, metrics)
        self.first: dict[str, tuple[str, str]] = {}
        self.n: dict[str, int] = {}

    def count(self, reason: str, n: int = 1) -> None:
        self.n[reason] = self.n.get(reason, 0) + n

    def refuse_payload(self, reason: str, topic: bytes, message: str) -> None:
        self.count(reason)
        self.first.setdefault(reason, (shown(topic), message))


class _Heard:
    """An intake that keeps of each signal if it arrived, its quality and its age."""

    def __init__(self) -> None:
        self.arrival_us = 0
        self.good: set[int] = set()
        self.bad: set[int] = set()
        self.offsets_us: dict[int, int] = {}

    def append(self, values: Columns) -> None:
        usable = values.status >> SEVERITY_SHIFT < 2  # noqa: PLR2004 (2: bad)
        self.good.update(values.signal[usable].tolist())
        self.bad.update(values.signal[~usable].tolist())
        offsets_us = (values.time_us - self.arrival_us).tolist()
        self.offsets_us.update(zip(values.signal.tolist(), offsets_us, strict=True))

    def append_block(self, block: TensorBlock) -> None:
        self.good.add(block.signal)
        self.offsets_us[block.signal] = block.end_us - self.arrival_us

    def backpressured(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


async def inspect_broker(
    name: str, config: MqttSourceConfig, whole: Config, clock: Clock, seconds: float
) -> list[Finding]:
    """Findings on the broker, each subscription and each signal of the source `name`.

    Listens for at most `seconds`; ConnectError if the broker refuses the connection.
    """
    plant, metrics, heard = Plant(whole), Metrics(), _Heard()
    refusals = _FirstRefusals(name, metrics)
    routes = Routes(name, config.subscriptions, plant, metrics, refusals)
    decoder = Decoder(routes, refusals, heard, metrics.values_received.labels(name))
    wanted = {signal.index for signal in plant.of_source(name)}
    patterns = [one.pattern for one in config.subscribe]
    read: Callable[[Messages, int], None] = decoder.decode_messages
    if config.sparkplug is not None:
        patterns = [compile_pattern(config.sparkplug.topic)]
        read = _sparkplug_reader(name, config.sparkplug, routes, refusals, decoder)
    silent = set(range(len(patterns)))

    def accept(messages: Messages) -> None:
        for topic in {*messages.topics, *messages.too_large}:
            text = topic.decode(errors="replace")
            silent.difference_update([n for n in silent if patterns[n].match(text) is not None])
        heard.arrival_us = clock.now_us()
        read(messages, heard.arrival_us)

    def enough(_share: float) -> bool:
        return bool(wanted) and not silent and wanted <= heard.good

    topics = filters(config, shared=False)
    refused = await receive(config, topics, seconds, accept, enough)
    where = f"source {name}"
    found = [error(where, f"not subscribed: {text}", "see the broker's ACL") for text in refused]
    found += [_silence(where, patterns[n].filter, seconds) for n in sorted(silent)]
    mine = plant.of_source(name)
    found += _refused(where, refusals, complete=all(one.index in heard.good for one in mine))
    if len(silent) < len(patterns):
        found += _missing(where, mine, heard, seconds, sparkplug=config.sparkplug is not None)
        found += _clock(where, mine, heard, config.time)
    fitting = sum(signal.index in heard.good for signal in mine)
    return [fine(where, f"{fitting} of {len(mine)} signals were heard"), *found]


def _sparkplug_reader(
    name: str, config: Sparkplug, routes: Routes, refusals: Refusals, decoder: Decoder
) -> Callable[[Messages, int], None]:
    """Returns a reader of Sparkplug messages. It requests no births: a check publishes nothing."""
    # Imported here, as in the source: a plant without Sparkplug need not load protobuf.
    from edge_agent.sources.mqtt.sparkplug import SparkplugReader  # noqa: PLC0415

    reader = SparkplugReader(name, config, routes, refusals)

    def read(messages: Messages, arrival_us: int) -> None:
        out = Readings(arrival_us)
        reader.read(messages, out, arrival_us / US_PER_S)
        decoder.deliver(out)

    return read


def _silence(where: str, topic: str, seconds: float) -> Finding:
    mend = "is the topic right? `edge-agent listen` lists the topics; --seconds waits longer"
    return warning(where, f"no message on {topic} within {seconds:g} s", mend)


def _refused(where: str, refusals: _FirstRefusals, *, complete: bool) -> list[Finding]:
    found = []
    for reason, (topic, text) in refusals.first.items():
        n = refusals.n.get(reason, 1)
        times = f" ({n} times)" if n > 1 else ""
        what = f"{topic}: {reason}: {text}{times}"
        if reason in _OF_OTHERS:
            found.append(
                fine(where, what) if complete else warning(where, what, "is the spelling right?")
            )
        else:
            mend = "see payload: of the subscription; `edge-agent listen` proposes one"
            found.append(error(where, what, mend))
    return found


def _missing(
    where: str, signals: list[PlantSignal], heard: _Heard, seconds: float, *, sparkplug: bool
) -> list[Finding]:
    """The signals without a value, or with bad values only, by asset."""
    found: list[Finding] = []
    mend = "is the name right, and does it publish?"
    if sparkplug:
        mend = "only births contain names of metrics: a running daemon requests them, this does not"
    quiet: dict[str, list[str]] = {}
    for signal in signals:
        if signal.index in heard.good:
            continue
        if signal.index in heard.bad:
            what = f"{signal.asset.id}.{signal.name} reports bad quality now"
            found.append(warning(where, what, "look at the sensor"))
        else:
            quiet.setdefault(signal.asset.id, []).append(signal.name)
    for asset, names in quiet.items():
        what = f"{asset}: no value of {first_of(names)} within {seconds:g} s"
        found.append(warning(where, what, mend))
    more = len(found) - _MAX_SHOWN
    return found if more <= 0 else [*found[:_MAX_SHOWN], warning(where, f"{more} more like these")]


def _clock(where: str, signals: list[PlantSignal], heard: _Heard, time: TimeOf) -> list[Finding]:
    """Offset of time stamps from this gateway's clock: the median, and signals far from it."""
    if not heard.offsets_us:
        return []
    offsets_s = np.array(list(heard.offsets_us.values())) / 1e6
    middle_s = float(np.median(offsets_s))
    if abs(middle_s) > SKEW_S:
        return [judge_clock(where, "time stamps are", middle_s, time)]
    far = [
        f"{signal.asset.id}.{signal.name}"
        for signal in signals
        if abs(heard.offsets_us.get(signal.index, 0) / 1e6 - middle_s) > SKEW_S
    ]
    if far:
        what = f"time stamps of {first_of(far)} are off by more than {SKEW_S:g} s"
        return [warning(where, what, "set the clocks of the publishers")]
    return []
