"""Every call: its request, and what it makes of the answer; without a connection."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.client import (
    AsyncClient,
    BadDataError,
    BusyError,
    Client,
    ClientError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    TimedOutError,
    UnauthorizedError,
    calls,
)
from edge_agent.client.exchange import Pause, Reply, Request, check, steps

if TYPE_CHECKING:
    from edge_agent.client.exchange import Call


def carried_out(call: Call[Any], *bodies: object, status: int = 200) -> tuple[list[Request], Any]:
    """The requests of a call that is answered with these bodies, and its result."""
    todo, asked, answers = steps(call, 0), [], iter(bodies)
    try:
        action = next(todo)
        while True:
            assert isinstance(action, Request)
            asked.append(action)
            action = todo.send(Reply(status, {}, json.dumps(next(answers)).encode()))
    except StopIteration as end:
        return asked, end.value


ALARM = {"alarm_id": "P-1.pump", "asset": "P-1", "state": "acked", "unheard_of": 1}


def test_an_acknowledgement_of_one_alarm() -> None:
    (asked,), (alarm,) = carried_out(calls.ack("P 1/x", by="anna", comment="seen"), ALARM)
    assert (asked.method, asked.target) == ("POST", "/api/alarms/P%201%2Fx/ack")
    assert json.loads(asked.body or b"") == {"by": "anna", "comment": "seen"}
    assert (alarm.alarm_id, alarm.state) == ("P-1.pump", "acked")


def test_an_acknowledgement_of_several() -> None:
    _, (alarm,) = carried_out(calls.ack("P-1.pump", by="anna"), ALARM)
    (asked,), found = carried_out(calls.ack([alarm, "P-2.pump"], by="anna"), [ALARM, ALARM])
    assert asked.target == "/api/alarms/ack"
    assert json.loads(asked.body or b"")["ids"] == ["P-1.pump", "P-2.pump"]
    assert len(found) == 2


def test_an_acknowledgement_of_nothing_is_refused() -> None:
    """An empty list must never mean all."""
    with pytest.raises(BadDataError, match="which alarms"):
        carried_out(calls.ack([]))


def test_who_acknowledges_is_the_user_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    (asked,), _ = carried_out(calls.ack("P-1.pump"), ALARM)
    assert json.loads(asked.body or b"")["by"] == "anna"


def test_feedback_says_true_or_false() -> None:
    row = {"alarm_id": "P-1.pump", "verdict": "false", "limit_factor": 1.2}
    (asked,), found = carried_out(calls.feedback("P-1.pump", is_true=False, by="anna"), row)
    assert asked.target == "/api/alarms/P-1.pump/feedback"
    assert json.loads(asked.body or b"") == {"by": "anna", "comment": "", "verdict": "false"}
    assert found.limit_factor == 1.2


def test_history_is_read_page_by_page() -> None:
    def page(*rows: int) -> list[dict[str, Any]]:
        one = {"alarm_id": "a", "asset": "P-1", "transition": "raise", "at_ms": 1000}
        return [{**one, "row": row} for row in rows]

    asked, found = carried_out(calls.history("P-1", limit=5), page(9, 8), page(7), [])
    assert [one.target for one in asked] == [
        "/api/alarms/history?asset=P-1&limit=5",
        "/api/alarms/history?asset=P-1&before=8&limit=3",
        "/api/alarms/history?asset=P-1&before=7&limit=2",
    ]
    assert [one.raw["row"] for one in found] == [9, 8, 7]
    assert str(found[0].at) == "1970-01-01 00:00:01+00:00"
    assert len(carried_out(calls.history(limit=2), page(9, 8))[0]) == 1


def test_a_trend_is_asked_for_in_milliseconds_and_read_as_columns() -> None:
    """Times may be datetimes or seconds; a series is found by its name and kind."""
    series = {"kind": "score", "name": "pump", "unit": "", "time_ms": [1000], "mean": [0.5]}
    alarm = {"alarm_id": "P-1.pump", "severity": 700, "from_ms": 1000, "to_ms": None}
    row = {"asset": "P-1", "from_ms": 0, "to_ms": 9000, "step_s": 10, "series": [series]}
    row |= {"alarms": [alarm], "marks": {"bad": 2}}
    start = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    (asked,), found = carried_out(calls.trend("P-1", ["temp", "score:*"], start=start, end=90), row)
    assert asked.target == (
        "/api/trend?asset=P-1&signals=temp%2Cscore%3A%2A&from=60000&to=90000&points=300"
    )
    assert found.of("pump", "score").mean == [0.5]
    assert found.alarms[0].to_ms is None
    with pytest.raises(KeyError, match="input:pump"):
        found.of("pump")


def test_a_question_has_what_is_told_alone() -> None:
    row = {"answer": "See 4.2.", "facts": [{"key": "k", "text": "t"}], "passages": [{"text": "p"}]}
    (asked,), found = carried_out(calls.ask("why?", alarm="P-1.pump"), row)
    assert json.loads(asked.body or b"") == {"question": "why?", "alarm": "P-1.pump"}
    assert (found.facts[0].text, found.passages[0].text, found.nearest) == ("t", "p", ())


@pytest.mark.parametrize("chosen", [{}, {"asset": "P-1", "model": "pump"}])
def test_a_prediction_is_of_an_asset_or_of_a_model(chosen: dict[str, Any]) -> None:
    with pytest.raises(BadDataError, match="which asset, or which model"):
        carried_out(calls.predict_failure({"flow": [1.0]}, **chosen))


def test_both_clients_have_the_same_methods() -> None:
    """With the parameters of the calls, for editors and `help`."""
    for name in ("predict_failure", "ask", "generate_text", "alarms", "ack", "feedback"):
        one, other = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
        assert one == other
        assert [*one.parameters][1:] == [*inspect.signature(getattr(calls, name)).parameters]
        assert getattr(Client, name).__doc__ == getattr(calls, name).__doc__
    both = [{name for name in vars(kind) if name[0] != "_"} for kind in (Client, AsyncClient)]
    assert both[0] == both[1]


OURS = {"error": "what", "hint": "do", "column": "flow"}
OPENAI = {"error": {"message": "what", "type": "t", "param": "flow"}}


@pytest.mark.parametrize("said", [OURS, OPENAI])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadDataError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (408, TimedOutError),
        (409, ConflictError),
        (413, BadDataError),
        (415, BadDataError),
        (429, BusyError),
        (500, ServerError),
        (503, BusyError),
        (504, TimedOutError),
    ],
)
def test_each_status_is_an_error_of_its_own(
    status: int, kind: type[ClientError], said: object
) -> None:
    with pytest.raises(ClientError, match="what") as raised:
        check(Reply(status, {}, json.dumps(said).encode()))
    assert type(raised.value) is kind
    assert raised.value.status == status
    if isinstance(raised.value, BadDataError):
        assert raised.value.column == "flow"


def test_pauses_grow_and_end() -> None:
    """0.25 s, 0.5 s, then the error; `Retry-After` sets them where it is given."""
    todo = steps(calls.models(), 2)
    seen = [next(todo)]
    for headers in ({"retry-after": "7"}, {"retry-after": "soon"}):
        pause = todo.send(Reply(503, headers, b"{}"))
        assert isinstance(pause, Pause)
        seen += [pause, next(todo)]
    with pytest.raises(BusyError):
        todo.send(Reply(503, {}, b"{}"))
    assert [one.seconds for one in seen if isinstance(one, Pause)] == [7.0, 1.0]


def test_the_oee_of_a_line_is_that_of_its_machine() -> None:
    """The running shift first, then closed ones; the losses are a tree of the same data."""
    losses = {"name": "shift", "seconds": 9.0, "parts": [{"name": "gap", "seconds": 9.0}]}
    shift = {
        "line": "a/b",
        "machine": "M2",
        "shift": "early",
        "day": "2026-03-02",
        "start_ms": 1,
        "end_ms": 2,
        "is_closed": False,
        "losses": losses,
        "indicators": {"oee": 0.75},
    }
    now = {"state": "down", "since_ms": 1, "until_ms": 2}
    machines = [
        {"machine": "M1", "current": None, **now},
        {"machine": "M2", "current": shift, **now},
    ]
    line = {"line": "a/b", "oee_of": "M2", "current": shift, "machines": machines}
    closed = [{**shift, "is_closed": True}]
    asked, found = carried_out(calls.oee("a/b", shifts=3), [line], closed)
    assert asked[1].target == "/api/lines/a%2Fb/shifts?machine=M2&limit=3"
    assert [(one.oee, one.is_closed) for one in found] == [(0.75, False), (0.75, True)]
    assert [one.name for one in found[0].losses.walk()] == ["shift", "gap"]
    with pytest.raises(NotFoundError):
        carried_out(calls.oee("other"), [line])


def test_the_bottleneck_of_a_line_and_of_all() -> None:
    """The machine is named only if the gateway is sure of it."""
    shift = {"verdict": "named", "named": ["S2"], "confidence": 0.9}
    now = {"verdict": "too_little", "named": []}
    drifts = [{"machine": "S2", "change": 0.1}]
    row: dict[str, Any] = {"line": "L 1", "shift": shift, "now": now, "drifts": drifts}
    (asked,), found = carried_out(calls.bottleneck("L 1"), row)
    assert asked.target == "/api/lines/L%201/bottleneck"
    assert (found.line, found.machine, found.drifts[0]["change"]) == ("L 1", "S2", 0.1)
    unsure = row | {"shift": {"verdict": "not_sure", "named": ["S2", "S3"]}}
    (asked,), (found,) = carried_out(calls.bottlenecks(), [unsure])
    assert (asked.target, found.machine) == ("/api/bottlenecks", None)
