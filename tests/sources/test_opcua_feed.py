"""From notifications to the intake: times, qualities, marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from opcua_support import named
from support import NO_SOURCE, value_of

from edge_agent.config import schema
from edge_agent.config.types import Name
from edge_agent.messages import Link
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.opcua.event_times import EventTimes
from edge_agent.sources.opcua.feed import Feed
from edge_agent.sources.opcua.notification import (
    NOTHING,
    NUMBER,
    OTHER,
    Notification,
    Rows,
    Samples,
    Text,
)
from edge_agent.sources.source_clock import SourceClock
from edge_agent.sources.zone import Zone
from edge_agent.status_codes import name_of, type_of
from edge_agent.testing import ListIntake
from edge_agent.values import (
    BAD_NO_COMMUNICATION,
    BAD_NO_DATA,
    BAD_SENSOR_FAILURE,
    BAD_TYPE_MISMATCH,
    UNCERTAIN,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.clock import FakeClock

NOW = 1_767_225_600_000_000
SECOND = 1_000_000
YEAR = 365 * 86_400 * SECOND


class Fed:
    """A feed of three scalars and a waveform with everything it touches."""

    def __init__(self, clock: FakeClock, more: dict[str, schema.Signal] | None = None) -> None:
        signals = {
            "a": schema.Signal(),
            "b": schema.Signal(),
            "c": schema.Signal(),
            "wave": schema.Signal(kind=schema.Kind.WAVEFORM, rate_hz=100.0),
            "unrated": schema.Signal(kind=schema.Kind.WAVEFORM),
        }
        signals |= more or {}
        config = schema.Config(
            sources={Name("other"): NO_SOURCE, Name("plc"): NO_SOURCE},
            templates={Name("t"): schema.Template(signals=named(signals))},
            assets={"P": schema.Asset(template=Name("t"))},
        )
        self.clock = clock
        self.intake = ListIntake()
        self.metrics = Metrics()
        plant, link = Plant(config), Link()
        judge = SourceClock("plc", schema.TimeOf.AUTO, plant, link, self.metrics, clock)
        times = EventTimes(judge, Zone("UTC"), schema.TimeOf.AUTO, clock)
        self.feed = Feed("plc", self.intake, self.metrics, clock, times)
        # Handles in another order than the plant's numbers, as when assets are discovered.
        self.feed.add(list(reversed(plant.signals)))
        self.feed.start_subscription()

    def take(self, *rows: tuple[int, int, float, int], kind: int = NUMBER) -> None:
        self.feed.accept_notification(Notification(1, 1, data=True, rows=[make_rows(rows, kind)]))

    def last(self) -> tuple[list[int], list[int], list[float], list[int]]:
        packet = self.intake.packets[-1]
        return (
            packet.signal.tolist(),
            packet.time_us.tolist(),
            packet.value.tolist(),
            packet.status.tolist(),
        )

    def rejected(self, reason: str) -> float:
        return value_of(self.metrics.values_rejected.labels("plc", reason))


def make_rows(rows: Sequence[tuple[int, int, float, int]], kind: int) -> Rows:
    handle, time_us, value, status = zip(*rows, strict=True)
    return Rows(
        np.array(handle, np.uint32),
        np.array(time_us, np.int64),
        np.array(value, np.float64),
        np.array(status, np.uint32),
        np.full(len(rows), kind, np.uint8),
        np.zeros(len(rows), np.int64),
    )


@pytest.fixture
def fed(clock: FakeClock) -> Fed:
    return Fed(clock)


def test_handles_become_the_plants_numbers(fed: Fed) -> None:
    fed.take((4, NOW, 1.0, 0), (2, NOW, 3.0, 0))
    assert fed.last() == ([0, 2], [NOW, NOW], [1.0, 3.0], [0, 0])


def test_a_value_without_time_gets_the_gateways(fed: Fed) -> None:
    fed.take((4, 0, 1.0, 0))
    assert fed.last()[1] == [NOW]


def test_the_status_code_is_kept_and_bad_is_never_a_number(fed: Fed) -> None:
    fed.take((4, NOW, 1.0, UNCERTAIN), (3, NOW, 2.0, BAD_SENSOR_FAILURE))
    _, _, value, status = fed.last()
    assert value[0] == 1.0
    assert np.isnan(value[1])
    assert status == [UNCERTAIN, BAD_SENSOR_FAILURE]


def test_good_without_a_value_is_no_data(fed: Fed) -> None:
    fed.take((4, NOW, np.nan, 0), kind=NOTHING)
    assert fed.last()[3] == [BAD_NO_DATA]
    assert fed.rejected("type") == 0


def test_a_value_that_is_no_number_keeps_the_name_of_its_type(fed: Fed) -> None:
    """It is a fault of the config, and the alarm has to say which type it met."""
    fed.take((4, NOW, np.nan, 0), kind=OTHER)
    (status,) = fed.last()[3]
    assert name_of(status).startswith("BadTypeMismatch")
    assert type_of(status) == "String"
    assert fed.rejected("type") == 1


def test_bad_without_a_number_keeps_its_own_code(fed: Fed) -> None:
    fed.take((4, NOW, np.nan, BAD_SENSOR_FAILURE), kind=NOTHING)
    assert fed.last()[3] == [BAD_SENSOR_FAILURE]


def test_overflow_of_the_servers_queue_is_counted(fed: Fed) -> None:
    fed.take((4, NOW, 1.0, 0x0480), (3, NOW, 1.0, 0x0080))
    assert fed.rejected("overflow") == 1
    assert fed.last()[3] == [0x0480, 0x0080]


def test_a_handle_that_was_never_given_is_refused(fed: Fed) -> None:
    fed.take((99, NOW, 1.0, 0), (4, NOW, 2.0, 0), (2**32 - 1, NOW, 3.0, 0))
    assert fed.last()[2] == [2.0]
    assert fed.rejected("handle_unknown") == 2


def test_an_array_on_a_waveform_signal_is_a_block(fed: Fed) -> None:
    samples = np.array([1.0, 2.0], np.float32)
    fed.feed.accept_notification(
        Notification(1, 1, data=True, arrays=[Samples(1, NOW, 0, samples)])
    )
    (block,) = fed.intake.blocks
    assert (block.signal, block.end_us, block.rate_hz) == (3, NOW, 100.0)
    assert block.samples.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("handle", "reason"), [(4, "type"), (0, "rate_unknown")])
def test_an_array_that_fits_nowhere_is_no_data(fed: Fed, handle: int, reason: str) -> None:
    samples = np.array([1.0, 2.0], np.float32)
    fed.feed.accept_notification(
        Notification(1, 1, data=True, arrays=[Samples(handle, NOW, 0, samples)])
    )
    assert fed.intake.blocks == []
    assert [type_of(status) for status in fed.last()[3]] == ["array"]
    assert fed.rejected(reason) >= 1


def test_a_number_on_a_waveform_signal_is_no_data(fed: Fed) -> None:
    fed.take((1, NOW, 5.0, 0))
    assert fed.last()[3] == [BAD_TYPE_MISMATCH]


def test_a_bad_waveform_is_a_bad_value(fed: Fed) -> None:
    samples = np.array([1.0], np.float32)
    bad = Samples(1, NOW, BAD_SENSOR_FAILURE, samples)
    fed.feed.accept_notification(Notification(1, 1, data=True, arrays=[bad]))
    assert fed.intake.blocks == []
    assert fed.last()[3] == [BAD_SENSOR_FAILURE]


def test_a_mark_names_every_signal(fed: Fed) -> None:
    fed.feed.mark_lost()
    signal, time_us, value, status = fed.last()
    assert sorted(signal) == [0, 1, 2, 3, 4]
    assert time_us == [NOW] * 5
    assert np.isnan(value).all()
    assert status == [BAD_NO_COMMUNICATION] * 5


def test_a_mark_falls_behind_values_of_a_clock_that_runs_ahead(fed: Fed) -> None:
    fed.take((4, NOW + 20 * SECOND, 1.0, 0))
    fed.take((4, NOW + 21 * SECOND, 1.0, 0))
    fed.clock.advance(3)
    fed.feed.mark_lost()
    assert fed.last()[1] == [NOW + 24 * SECOND] * 5


def test_a_mark_falls_ahead_of_what_follows_from_a_clock_that_lags(fed: Fed) -> None:
    fed.take((4, NOW - 20 * SECOND, 1.0, 0))
    fed.take((4, NOW - 19 * SECOND, 1.0, 0))
    fed.clock.advance(3)
    fed.feed.mark_lost()
    assert fed.last()[1] == [NOW - 16 * SECOND] * 5


def test_a_mark_stays_in_the_time_of_a_recording(fed: Fed) -> None:
    fed.take((4, NOW - 5 * YEAR, 1.0, 0))
    fed.take((4, NOW - 5 * YEAR + SECOND, 1.0, 0))
    fed.clock.advance(2)
    fed.feed.mark_lost()
    assert fed.last()[1] == [NOW - 5 * YEAR + 3 * SECOND] * 5


def test_old_first_values_say_nothing_about_the_sources_clock(fed: Fed) -> None:
    fed.take((4, NOW - 3600 * SECOND, 1.0, 0))
    fed.feed.mark_lost()
    assert fed.last()[1] == [NOW] * 5


def test_a_time_stamp_far_ahead_does_not_move_the_marks(fed: Fed) -> None:
    fed.take((4, NOW, 1.0, 0))
    fed.take((4, NOW + YEAR, 1.0, 0))
    fed.clock.advance(1)
    fed.feed.mark_lost()
    assert fed.last()[1] == [NOW + SECOND] * 5


def test_a_value_that_held_through_an_outage_holds_again_from_now(fed: Fed) -> None:
    fed.take((4, NOW - 60 * SECOND, 7.0, 0))
    fed.feed.mark_lost()
    fed.clock.advance(10)
    fed.feed.start_subscription()
    fed.take((4, NOW - 60 * SECOND, 7.0, 0))
    assert fed.last() == ([0], [NOW + 10 * SECOND], [7.0], [0])


def test_a_value_that_changed_after_the_outage_keeps_its_time(fed: Fed) -> None:
    fed.feed.mark_lost()
    fed.clock.advance(10)
    fed.feed.start_subscription()
    fed.take((4, NOW + 8 * SECOND, 7.0, 0))
    assert fed.last()[1] == [NOW + 8 * SECOND]


def test_an_outage_is_marked_once_until_values_come_again(fed: Fed) -> None:
    fed.feed.mark_lost()
    fed.feed.mark_lost()
    assert len(fed.intake) == 5
    fed.take((4, NOW, 1.0, 0))
    fed.feed.mark_lost()
    assert len(fed.intake) == 11


def test_only_named_signals_are_marked(fed: Fed) -> None:
    fed.feed.mark_without_value(BAD_NO_DATA, [2])
    assert fed.last()[0] == [2]
    fed.feed.mark_without_value(BAD_NO_DATA, [])
    assert len(fed.intake.packets) == 1


def test_received_values_are_counted(fed: Fed) -> None:
    fed.take((4, NOW, 1.0, 0), (3, NOW, 2.0, 0))
    assert value_of(fed.metrics.values_received.labels("plc")) == 2


GONE = 0x8034_0000


def test_what_the_server_says_of_its_nodes_is_kept_until_a_value_comes(fed: Fed) -> None:
    """A program download deletes nodes and creates them again: they must be asked for anew."""
    fed.take((4, NOW, np.nan, GONE), (3, NOW, 1.0, 0), kind=NOTHING)
    assert fed.feed.faulty() == {4: GONE}
    assert fed.feed.faulty_changed
    fed.feed.faulty_changed = False
    fed.take((4, NOW + 1, np.nan, GONE), kind=NOTHING)
    assert not fed.feed.faulty_changed
    fed.take((4, NOW + 2, 5.0, 0))
    assert fed.feed.faulty() == {}
    assert fed.feed.faulty_changed


def test_a_bad_sensor_is_no_fault_of_its_node(fed: Fed) -> None:
    fed.take((4, NOW, np.nan, BAD_SENSOR_FAILURE), kind=NOTHING)
    assert fed.feed.faulty() == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("RUNNING", 1.0), ("stopped", 0.0), ("12,5", 12.5), ("3,4 bar", 3.4), ("ON", 1.0)],
)
def test_texts_that_are_numbers_or_words_of_the_map_are_read(
    clock: FakeClock, text: str, value: float
) -> None:
    """String and LocalizedText alike; handle 0 is the last of the plant's signals."""
    states = schema.Signal(map={"RUNNING": 1, "Stopped": 0}, decimal=",", unit="bar")
    fed = Fed(clock, {"state": states})
    rows = make_rows([(0, clock.now_us(), float("nan"), 0)], 12)
    fed.feed.accept_notification(Notification(1, 1, data=True, texts=[Text(text, rows)]))
    assert fed.last()[2:] == ([value], [0])


@pytest.mark.parametrize("text", ["IDLE", "3,4 mbar", "1.5x"])
def test_other_texts_have_a_wrong_type(clock: FakeClock, text: str) -> None:
    fed = Fed(clock, {"state": schema.Signal(map={"RUNNING": 1}, unit="bar")})
    rows = make_rows([(0, clock.now_us(), float("nan"), 0)], 12)
    fed.feed.accept_notification(Notification(1, 1, data=True, texts=[Text(text, rows)]))
    assert fed.last()[3] == [BAD_TYPE_MISMATCH | 12]
    assert fed.rejected("type") == 1
