"""Maps Sparkplug metrics to signals, and their values to readings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_MS
from edge_agent.errors import DecodeError
from edge_agent.findings import first_of
from edge_agent.plant import fill
from edge_agent.sources.mqtt.config import Subscription
from edge_agent.sources.mqtt.machines import Place
from edge_agent.sources.mqtt.sparkplug_wire import read_value, status_of_metric
from edge_agent.values import BAD, BAD_NO_COMMUNICATION, TensorBlock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.sources.mqtt.payload_spec import Wanted
    from edge_agent.sources.mqtt.readings import Readings
    from edge_agent.sources.mqtt.refusals import Refusals
    from edge_agent.sources.mqtt.routes import Routes
    from edge_agent.sources.mqtt.sparkplug_config import Sparkplug
    from edge_agent.sources.mqtt.sparkplug_wire import Metric

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
# A plant has more than is monitored here.
_EXPECTED: Final = frozenset({"unknown_asset", "asset_name", "other_shard"})


@dataclass(slots=True)
class Channel:
    """A metric of a birth: its data type, and the signal that uses it."""

    name: str
    datatype: int
    wanted: Wanted | None
    last_us: int = 0  # the newest time of its values


class Channels:
    """Makes the channels of metrics, and reads their values."""

    def __init__(self, config: Sparkplug, routes: Routes, refusals: Refusals) -> None:
        self._asset = config.asset
        self._metric = _pattern(config.metric)
        self._routes = routes
        self._refusals = refusals
        # For `Machines`: an id for each asset, made of what distinguishes nodes and devices.
        self._subscription = Subscription(
            config.topic, asset="{asset}", signal="{signal}", template=config.template
        )

    def new_channel(self, group: str, node: str, device: str, metric: Metric) -> Channel:
        """The channel of a metric of a new birth; device: empty for the node's own."""
        places = {"group": group, "node": node, "device": device or node}
        topic = "/".join((group, node, *([device] if device else [])))
        found = self._metric.fullmatch(metric.name)
        wanted = None if found is None else self._wanted(places | found.groupdict(), topic)
        return Channel(metric.name, metric.datatype, wanted)

    def _wanted(self, places: dict[str, str], topic: str) -> Wanted | None:
        """The signal of a metric; None if no asset of the plant has it."""
        asset_id = fill(self._asset, {key: _safe(text) for key, text in places.items()})
        place = self._place(places, topic)
        if not self._routes.machines.is_signal(place, asset_id, places["signal"]):
            return None
        try:
            asset = self._routes.machines.asset_of(place, asset_id)
            wanted = self._routes.wanted_of(asset).get(places["signal"])
            if wanted is not None:
                self._routes.machines.claim(place, wanted.index)
        except DecodeError as error:
            if error.reason not in _EXPECTED:
                about = f"{topic}/{places['signal']}"
                self._refusals.refuse_payload(error.reason, about.encode(), error.message)
            return None
        return wanted

    def report_unused(self, topic: str, channels: list[Channel]) -> None:
        """Log a device of which no metric is a signal, if devices become assets by a template."""
        if not self._subscription.template or any(one.wanted is not None for one in channels):
            return
        names = first_of([one.name for one in channels])
        text = f"none of its metrics is a signal: {names} (address: of a signal, or metric:)"
        self._refusals.refuse_payload("unknown_signal", topic.encode(), text)

    def _place(self, places: dict[str, str], topic: str) -> Place:
        """The place of a metric. A machine that metrics name may be spread over devices."""
        of_metric = set(self._metric.groupindex) - {"signal"}
        left_out = {"signal", "device"} if of_metric else {"signal"}
        identity = {key: text for key, text in places.items() if key not in left_out}
        return Place(-1, self._subscription, identity, tuple(identity.values()), topic)

    def read_metric(self, channel: Channel, metric: Metric, out: Readings) -> None:
        """Read a metric's value; one that cannot be a number is Bad, and reported once."""
        wanted = channel.wanted
        if wanted is None:
            return
        at_us = None if metric.time_ms is None else metric.time_ms * US_PER_MS
        channel.last_us = max(channel.last_us, at_us or 0)
        status = status_of_metric(metric.raw)
        try:
            value = read_value(metric.raw, metric.datatype or channel.datatype)
            if isinstance(value, np.ndarray):
                _add_samples(wanted, value, at_us, status, out)
            else:
                out.add_value(wanted, value, at_us, status)
        except DecodeError as error:
            if not wanted.waveform:
                out.add_value(wanted, None, at_us, BAD)
            self._refusals.refuse_payload(error.reason, channel.name.encode(), error.message)


def add_loss(channel: Channel, out: Readings) -> None:
    """Mark a value as no longer valid: its origin does not communicate."""
    if channel.wanted is not None and not channel.wanted.waveform:
        # Not before the last value, whose clock may be ahead of ours: it would be discarded as
        # late.
        out.add_value(
            channel.wanted, None, max(out.arrival_us, channel.last_us), BAD_NO_COMMUNICATION
        )


def _add_samples(
    wanted: Wanted, samples: NDArray[np.generic], at_us: int | None, status: int, out: Readings
) -> None:
    if not wanted.waveform or wanted.rate_hz <= 0:
        raise DecodeError("kind", "an array, but the signal is not a waveform with rate_hz")
    block = samples.astype(np.float32)
    status = status if np.isfinite(block).all() else BAD
    end_us = out.arrival_us if at_us is None else at_us
    out.blocks.append(TensorBlock(wanted.index, end_us, wanted.rate_hz, block, status))


def _safe(text: str) -> str:
    """A name that an asset may have; `Pump 1` and `Pump-1` remain two by their places."""
    return _UNSAFE.sub("-", text).strip("-_.") or "_"


def _pattern(text: str) -> re.Pattern[str]:
    """`{asset}/{signal}` as an expression over metric names; {signal} may match several levels."""
    parts = re.split(r"(\{[a-z_]+\})", text)
    texts = [
        f"(?P<{part[1:-1]}>{'.+' if part == '{signal}' else '[^/]+'})"
        if part.startswith("{")
        else re.escape(part)
        for part in parts
    ]
    return re.compile("".join(texts))
