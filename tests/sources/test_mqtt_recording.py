"""Recorded MQTT messages: decoded as live ones, in order of time, values and waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.schema import Asset, Config, Kind, Signal, Template
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.plant import Plant
from edge_agent.sources.mqtt import MqttSourceConfig, Payload, Subscription
from edge_agent.sources.mqtt.payload_spec import Format
from edge_agent.sources.replay.config import ReplayConfig
from edge_agent.sources.replay.playback import Playback
from edge_agent.values import Columns

if TYPE_CHECKING:
    from pathlib import Path

NOON_S = 1_767_268_800
BUS = MqttSourceConfig(
    url="mqtt://broker",
    subscribe=(
        Subscription("plant/{asset}/{signal}"),
        Subscription(
            "raw/{asset}/{signal}", payload=Payload(format=Format.FLOAT32, rate_hz=1000.0)
        ),
    ),
)


def made() -> tuple[Plant, dict[Name, Any]]:
    signals = {
        Name("flow"): Signal(source="bus"),
        Name("vibration"): Signal(source="bus", kind=Kind.WAVEFORM, rate_hz=1000.0),
    }
    config = Config(
        sources={Name("bus"): BUS},
        templates={Name("pump"): Template(signals=signals)},
        assets={"P 1": Asset(Name("pump"))},
    )
    return Plant(config), dict(config.sources)


def line(at_s: float, topic: str, payload: bytes) -> str:
    return f"{NOON_S + at_s:.6f} {topic} {payload.hex()}\n"


def play(path: Path) -> tuple[Playback, list[Any]]:
    plant, sources = made()
    playback = Playback(ReplayConfig(path), plant, quiet=True, sources=sources)
    return playback, list(playback.readings())


SAMPLES = np.sin(np.arange(200)).astype("<f4")


def test_messages_are_decoded_as_the_source_decodes_them(tmp_path: Path) -> None:
    """With their own times, or that of their arrival; topics may have blanks."""
    path = tmp_path / "bus.txt"
    path.write_text(
        line(0, "plant/P 1/flow", b"1.5")
        + line(3, "raw/P 1/vibration", SAMPLES.tobytes())
        + line(4, "plant/P 1/flow", f'{{"value": 2.5, "ts": {NOON_S + 1}}}'.encode())
        + line(5, "plant/P 1/flow", b"3.5")
        + line(6, "other/P 1/flow", b"9")
    )
    playback, (before, block, after) = play(path)
    assert before.value.tolist() == [1.5, 2.5]
    assert ((before.time_us // 1_000_000) - NOON_S).tolist() == [0, 1]
    assert np.array_equal(block.samples, SAMPLES)
    assert (block.rate_hz, block.end_us) == (1000.0, (NOON_S + 3) * 1_000_000)
    assert after.value.tolist() == [3.5]
    assert (playback.n_values, playback.position) == (4, playback.total_bytes)


def test_a_line_that_is_no_message_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "bus.txt"
    good = [line(n, "plant/P 1/flow", value) for n, value in enumerate((b"1.5", b"2"))]
    path.write_text("broken\n\n".join(good))
    playback, (values,) = play(path)
    assert values.value.tolist() == [1.5, 2]
    assert playback.rejected == {"message": 1}


def test_without_the_source_of_the_messages_they_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "bus.txt"
    path.write_text(line(0, "plant/P 1/flow", b"1.5"))
    with pytest.raises(EdgeAgentError, match="a config with the source of type mqtt"):
        Playback(ReplayConfig(path), made()[0])
    (tmp_path / "more.csv").write_text("time,flow\n1767268800,1\n")
    with pytest.raises(EdgeAgentError, match="other files than MQTT"):
        play(tmp_path / "*")


@settings(max_examples=100, deadline=None)
@given(
    messages=st.lists(
        st.tuples(
            st.floats(0, 1e6),
            st.sampled_from(["plant/P 1/flow", "raw/P 1/vibration", "x", "plant/P 1/vibration"]),
            st.binary(max_size=40),
        ),
        max_size=8,
    ),
    tail=st.text(max_size=40),
)
def test_any_messages_become_values_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Any], tail: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "bus.txt"
    text = "".join(line(*message) for message in messages) + tail
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        _, found = play(path)
    except EdgeAgentError:
        return
    for one in found:
        values = one.value if isinstance(one, Columns) else one.samples
        assert len(values)
