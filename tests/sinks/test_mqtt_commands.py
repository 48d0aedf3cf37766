"""Commands from the bus: what is one, what is ignored, and that nothing else ever happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import DecodeError
from edge_agent.sinks.base import Command
from edge_agent.sinks.mqtt_commands import (
    BURST,
    MAX_BYTES,
    RATE_HZ,
    REMEMBERED_IDS,
    CommandInbox,
    command_filters,
    parse_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import FakeClock
    from edge_agent.ops.metrics import Metrics

TOPIC = "edge/e/s/a/l/P-1/_pdm/cmd/"
NOW_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
GOOD: dict[str, Any] = {
    "id": "c-1",
    "alarm_id": "P-1/bearing",
    "expires": "2026-01-01T00:01:00Z",
    "by": "anna",
    "duration_s": 3600,
}
REASONS = {"oversized", "malformed", "expired", "too_far"}


def encoded(**changes: Any) -> bytes:
    body = {**GOOD, **changes}
    return json.dumps({k: v for k, v in body.items() if v is not None}).encode()


def reason_of(payload: bytes, kind: str = "shelve") -> str:
    with pytest.raises(DecodeError) as caught:
        parse_command(TOPIC + kind, payload, NOW_US)
    return caught.value.reason


def test_filters_reach_every_asset_and_only_commands() -> None:
    assert command_filters("edge") == [
        "edge/+/+/+/+/+/_pdm/cmd/ack",
        "edge/+/+/+/+/+/_pdm/cmd/confirm",
        "edge/+/+/+/+/+/_pdm/cmd/comment",
        "edge/+/+/+/+/+/_pdm/cmd/shelve",
        "edge/+/+/+/+/+/_pdm/cmd/unshelve",
        "edge/+/+/+/+/+/_pdm/cmd/feedback",
        "edge/+/+/+/+/+/_pdm/cmd/healthy",
    ]


def test_a_command_says_what_who_how_long_and_where() -> None:
    assert parse_command(TOPIC + "shelve", encoded(), NOW_US) == Command(
        "shelve", "P-1/bearing", "anna", 3600.0, "c-1", "e/s/a/l/P-1"
    )


def test_an_acknowledgement_needs_no_duration_and_an_actor_has_a_default() -> None:
    command = parse_command(TOPIC + "ack", encoded(duration_s=None, by=None), NOW_US)
    assert (command.kind, command.duration_s, command.actor) == ("ack", 0.0, "mqtt")


def test_a_comment_needs_its_text() -> None:
    """All other commands may have one."""
    assert reason_of(encoded(duration_s=None), "comment") == "malformed"
    said = parse_command(TOPIC + "comment", encoded(comment="belt ordered"), NOW_US)
    assert (said.kind, said.comment) == ("comment", "belt ordered")
    assert parse_command(TOPIC + "confirm", encoded(comment=None), NOW_US).comment == ""


def test_healthy_is_said_of_the_asset_of_the_topic() -> None:
    """It names no alarm; an alarm that is named all the same does not count."""
    for alarm_id in (None, "P-2.baseline"):
        body = encoded(alarm_id=alarm_id, duration_s=None, comment="new impeller")
        assert parse_command(TOPIC + "healthy", body, NOW_US) == Command(
            "healthy", "", "anna", 0.0, "c-1", "e/s/a/l/P-1", "new impeller"
        )


@pytest.mark.parametrize("verdict", ["true", "false"])
def test_feedback_calls_an_alarm_true_or_false(verdict: str) -> None:
    body = encoded(duration_s=None, verdict=verdict)
    assert parse_command(TOPIC + "feedback", body, NOW_US) == Command(
        "feedback", "P-1/bearing", "anna", 0.0, "c-1", "e/s/a/l/P-1", verdict=verdict
    )


@pytest.mark.parametrize("verdict", [None, True, False, "no", "", 0, ["false"], {}])
def test_feedback_without_a_verdict_is_none(verdict: object) -> None:
    """A boolean is no text: a panel that sends its default must not raise a limit."""
    assert reason_of(encoded(verdict=verdict), "feedback") == "malformed"


@pytest.mark.parametrize(
    "expires",
    [
        NOW_US / 1000 + 1,
        NOW_US // 1000 + 1,
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T01:00:00.5+01:00",
        "2026-01-01T00:00:01",
    ],
)
def test_expiry_is_milliseconds_or_iso_8601(expires: object) -> None:
    assert parse_command(TOPIC + "ack", encoded(expires=expires), NOW_US).id == "c-1"


@pytest.mark.parametrize("expires", [NOW_US // 1000, 0, -1, "2025-12-31T23:59:59Z", "2020-01-01"])
def test_an_expired_command_is_none(expires: object) -> None:
    assert reason_of(encoded(expires=expires)) == "expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": ""},
        {"id": 7},
        {"id": "x" * 257},
        {"alarm_id": None},
        {"alarm_id": "two\nlines"},
        {"by": 7},
        {"by": "anna (key panel)"},  # what the audit says of a key that was used
        {"by": "\ud800"},
        {"by": "\x1b[31mred"},
        {"expires": None},
        {"expires": "soon"},
        {"expires": True},
        {"expires": []},
        {"expires": "99999-01-01"},
        {"duration_s": None},
        {"duration_s": 0},
        {"duration_s": -1},
        {"duration_s": "1h"},
        {"duration_s": True},
    ],
)
def test_a_command_with_a_broken_field_is_none(changes: dict[str, object]) -> None:
    assert reason_of(encoded(**changes)) == "malformed"


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"{", b"\xff", b"NaN", b'{"id":1e999}'])
def test_what_is_no_json_object_is_none(payload: bytes) -> None:
    assert reason_of(payload) == "malformed"


def test_a_command_may_not_be_larger_than_4_kib() -> None:
    assert reason_of(encoded(junk="x" * MAX_BYTES)) == "oversized"


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(GOOD)), inner),
    ).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {key: st.just(value) | st.floats() | st.text() | st.none() for key, value in GOOD.items()}
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_payload_does_anything_but_be_a_command_or_be_counted(payload: bytes) -> None:
    command, reason = None, ""
    try:
        command = parse_command(TOPIC + "shelve", payload, NOW_US)
    except DecodeError as error:
        reason = error.reason
    if command is None:
        assert reason in REASONS
    else:
        assert command.duration_s > 0
        assert command.alarm_id.isprintable()


@pytest.fixture
def inbox(metrics: Metrics, clock: FakeClock) -> CommandInbox:
    return CommandInbox("plant", metrics, clock)


@pytest.fixture
def outcomes(metrics: Metrics) -> Callable[[str], float | None]:
    return lambda outcome: metrics.registry.get_sample_value(
        "edge_agent_commands_total", {"sink": "plant", "outcome": outcome}
    )


def test_a_retained_command_is_ignored_and_counted(
    inbox: CommandInbox, outcomes: Callable[[str], float | None]
) -> None:
    assert inbox.command_of(TOPIC + "ack", encoded(), retained=True) is None
    assert outcomes("retained") == 1
    assert inbox.command_of(TOPIC + "ack", encoded(), retained=False) is not None, (
        "its id is not used up"
    )


def test_an_id_counts_once(inbox: CommandInbox, outcomes: Callable[[str], float | None]) -> None:
    assert inbox.command_of(TOPIC + "ack", encoded(), retained=False) is not None
    assert inbox.command_of(TOPIC + "ack", encoded(), retained=False) is None
    assert (outcomes("accepted"), outcomes("repeated")) == (1, 1)


def test_a_broken_command_does_not_use_up_its_id(inbox: CommandInbox) -> None:
    assert inbox.command_of(TOPIC + "shelve", encoded(duration_s=0), retained=False) is None
    assert inbox.command_of(TOPIC + "shelve", encoded(), retained=False) is not None


def test_the_memory_of_ids_is_bounded(inbox: CommandInbox) -> None:
    for number in range(REMEMBERED_IDS + 1):
        assert (
            inbox.command_of(TOPIC + "ack", encoded(id=f"c-{number}"), retained=False) is not None
        )
    assert inbox.command_of(TOPIC + "ack", encoded(id="c-1"), retained=False) is None
    assert inbox.command_of(TOPIC + "ack", encoded(id="c-0"), retained=False) is not None
    assert len(inbox._seen) == REMEMBERED_IDS


def test_a_flood_is_counted_and_not_read(
    inbox: CommandInbox, outcomes: Callable[[str], float | None], clock: FakeClock
) -> None:
    """After a burst so many a second are looked at, broken ones too; later all are again."""
    for number in range(int(BURST) + 100):
        inbox.command_of(TOPIC + "ack", encoded(id=f"c-{number}"), retained=False)
    assert (outcomes("accepted"), outcomes("flood")) == (BURST, 100)
    clock.advance(1)
    for _ in range(100):
        inbox.command_of(TOPIC + "ack", b"{", retained=False)
    assert (outcomes("malformed"), outcomes("flood")) == (RATE_HZ, 150)
    clock.advance(10)
    assert inbox.command_of(TOPIC + "ack", encoded(id="late"), retained=False) is not None
