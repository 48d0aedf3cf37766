"""Planned stops from iCalendar files: recurrences, clocks that change, and files of strangers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.local_time import Day
from edge_agent.config.maintenance import (
    Crew,
    Maintenance,
    PlaceFrom,
    PlannedStop,
    StopCalendar,
    WorkingHours,
)
from edge_agent.config.types import Duration, Name
from edge_agent.insight.maintenance.calendar_in import (
    MAX_BYTES,
    CalendarError,
    busy_times,
    read_duration,
)
from edge_agent.insight.maintenance.problem import SLOT_S
from edge_agent.insight.maintenance.stops import Place, Span, stops_of, team_of

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
OUTLOOK = """\
BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
"""


def calendar(*events: str, before: str = "") -> bytes:
    body = "".join(f"BEGIN:VEVENT\nUID:u{n}\n{one}\nEND:VEVENT\n" for n, one in enumerate(events))
    return f"BEGIN:VCALENDAR\n{before}{body}END:VCALENDAR\n".replace("\n", "\r\n").encode()


def starts(raw: bytes) -> list[str]:
    found, notes = busy_times(raw, BEGIN, END, BERLIN)
    assert notes == []
    return [
        f"{one.start:%m-%d %H:%M}/{(one.end - one.start).total_seconds() / 3600:g}" for one in found
    ]


WEEKLY = "DTSTART;TZID=Europe/Berlin:20261010T060000\nDTEND;TZID=Europe/Berlin:20261010T140000\n"
CASES = {
    "over the change of clocks": (
        calendar(WEEKLY + "RRULE:FREQ=WEEKLY;COUNT=4"),
        ["10-10 04:00/8", "10-17 04:00/8", "10-24 04:00/8", "10-31 05:00/8"],
    ),
    "the last night of summer": (
        calendar(
            "DTSTART;TZID=Europe/Berlin:20261024T220000\nDTEND;TZID=Europe/Berlin:20261025T060000"
        ),
        ["10-24 20:00/9"],
    ),
    "until a time in UTC": (
        calendar(WEEKLY + "RRULE:FREQ=WEEKLY;UNTIL=20261017T040000Z"),
        ["10-10 04:00/8", "10-17 04:00/8"],
    ),
    "until a day": (
        calendar(WEEKLY + "RRULE:FREQ=WEEKLY;UNTIL=20261017"),
        ["10-10 04:00/8", "10-17 04:00/8"],
    ),
    "an exception": (
        calendar(WEEKLY + "RRULE:FREQ=WEEKLY;COUNT=3\nEXDATE;TZID=Europe/Berlin:20261017T060000"),
        ["10-10 04:00/8", "10-24 04:00/8"],
    ),
    "one more": (
        calendar(WEEKLY + "RDATE:20261012T060000Z,20261013T060000Z"),
        ["10-10 04:00/8", "10-12 06:00/8", "10-13 06:00/8"],
    ),
    "a moved one": (
        b"".join(
            (
                calendar(WEEKLY + "RRULE:FREQ=WEEKLY;COUNT=2")[:-15],
                calendar(
                    "RECURRENCE-ID;TZID=Europe/Berlin:20261017T060000\nDTSTART:20261018T100000Z\nDURATION:PT2H"
                ).removeprefix(b"BEGIN:VCALENDAR\r\n"),
            )
        ),
        ["10-10 04:00/8", "10-18 10:00/2"],
    ),
    "a cancelled one": (calendar(WEEKLY + "STATUS:CANCELLED"), []),
    "whole days": (
        calendar("DTSTART;VALUE=DATE:20261024\nDTEND;VALUE=DATE:20261026"),
        ["10-23 22:00/49"],
    ),
    "the last Friday": (
        calendar("DTSTART:20261030T080000Z\nDURATION:PT4H\nRRULE:FREQ=MONTHLY;BYDAY=-1FR"),
        ["10-30 08:00/4", "11-27 08:00/4"],
    ),
    "a zone of Outlook": (
        calendar(
            "DTSTART;TZID=W. Europe Standard Time:20261031T060000\nDURATION:PT1H", before=OUTLOOK
        ),
        ["10-31 05:00/1"],
    ),
    "a zone with a prefix": (
        calendar(
            "DTSTART;TZID=/citadel.org/20210210_1/Europe/Berlin:20261031T060000\nDURATION:PT1H"
        ),
        ["10-31 05:00/1"],
    ),
    "a time without a zone": (
        calendar("DTSTART:20261031T060000\nDURATION:PT1H"),
        ["10-31 05:00/1"],
    ),
    "folded lines": (
        calendar("DTSTART:2026103\n 1T060000Z\nDURATION:PT\n\t1H"),
        ["10-31 06:00/1"],
    ),
    "began before the span": (
        calendar("DTSTART:20260930T200000Z\nDURATION:PT8H"),
        ["09-30 20:00/8"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_events_are_those_of_rfc_5545(name: str) -> None:
    raw, expected = CASES[name]
    assert starts(raw) == expected


BOMBS = {
    "by the second": "DTSTART:20260101T000000Z\nDURATION:PT1H\nRRULE:FREQ=SECONDLY",
    "no step": "DTSTART:20260101T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;INTERVAL=0",
    "never": "DTSTART:20260101T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
    "for ever": "DTSTART:00010101T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY",
    "many in a day": "DTSTART:20261001T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;BYHOUR="
    + ",".join(map(str, range(24)))
    + ";BYMINUTE="
    + ",".join(map(str, range(60))),
    "a long rule": "DTSTART:20261001T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;BYSETPOS="
    + ",".join(["1"] * 100_000),
    "ends before": "DTSTART:20261010T000000Z\nDTEND:20261009T000000Z",
    "a century": "DTSTART:20261001T000000Z\nDURATION:P36500D",
    "unknown zone": "DTSTART;TZID=Mars/Olympus:20261010T000000\nDURATION:PT1H",
    "no time": "DTSTART:yesterday\nDURATION:PT1H",
    "no start": "SUMMARY:x",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_noted_and_costs_its_event_alone(name: str) -> None:
    """The healthy event beside it is read."""
    begin = time.thread_time()
    raw = calendar(BOMBS[name], "DTSTART:20261110T080000Z\nDURATION:PT1H\nSUMMARY:fine")
    found, notes = busy_times(raw, BEGIN, END, BERLIN)
    assert [one.summary for one in found] == ["fine"]
    assert len(notes) == 1
    assert time.thread_time() - begin < 5.0


def test_many_bombs_end_with_the_time_of_their_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.insight.maintenance.calendar_in.CALENDAR_S", 0.3)
    found, notes = busy_times(calendar(*[BOMBS["never"]] * 2000), BEGIN, END, BERLIN)
    assert found == []
    assert any("too costly" in one for one in notes)


def test_a_rule_with_a_huge_step_has_its_first_time() -> None:
    raw = calendar("DTSTART:20261001T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;INTERVAL=99999999999")
    assert starts(raw) == ["10-01 00:00/1"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>sign in</html>",
        b"\xff\xfe" * 100,
        b"BEGIN:VCALENDAR\r\n" + b" " * MAX_BYTES,
        calendar(*["SUMMARY:x"] * 20_001),
    ],
    ids=["nothing", "a page", "bytes", "too large", "too many"],
)
def test_what_is_no_calendar_is_refused(raw: bytes) -> None:
    with pytest.raises(CalendarError):
        busy_times(raw, BEGIN, END, BERLIN)


PIECES = st.sampled_from(
    [
        *BOMBS.values(),
        WEEKLY,
        OUTLOOK,
        "BEGIN:VEVENT",
        "END:VEVENT",
        "RRULE:FREQ=DAILY",
        "\x00",
        ";",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES | st.text(max_size=40), max_size=6))
def test_any_text_gives_events_or_an_error_and_never_a_crash(pieces: list[str]) -> None:
    raw = b"BEGIN:VCALENDAR\r\n" + "\r\n".join(pieces).encode(errors="surrogatepass")
    try:
        found, _ = busy_times(raw, BEGIN, END, BERLIN)
    except CalendarError:
        return
    assert all(one.start < one.end for one in found)


@pytest.mark.parametrize(
    ("text", "hours"), [("PT8H", 8), ("P1D", 24), ("P1W", 168), ("P1DT2H30M", 26.5)]
)
def test_durations(text: str, hours: float) -> None:
    assert read_duration(text) == timedelta(hours=hours)


PLACES = [Place("P-1", "intake", "water"), Place("C-7", "packing", "water")]
SPAN = Span(BEGIN, END, BERLIN)


def named(one: StopCalendar, raw: bytes) -> list[tuple[str, list[str]]]:
    config = Maintenance(calendars={Name("plant"): one})
    found, notes = stops_of(config, {"plant": raw}, PLACES, SPAN)
    assert notes == []
    return [(stop.name, sorted(stop.assets)) for stop in found]


def test_a_calendar_says_which_assets_stop() -> None:
    """By its own keys, or by a property of the event; only events that fit."""
    when = "DTSTART:20261110T080000Z\nDURATION:PT1H\n"
    raw = calendar(
        f"{when}SUMMARY:Shutdown packing\nLOCATION:Packing\\, C-9",
        f"{when}SUMMARY:Birthday\nLOCATION:intake",
    )
    every = ["C-7", "P-1"]
    assert named(StopCalendar(match="shutdown*"), raw) == [("Shutdown packing", every)]
    by_place = StopCalendar(match="shut*", place=PlaceFrom.LOCATION)
    assert named(by_place, raw) == [("Shutdown packing", ["C-7"])]
    assert named(StopCalendar(match="b*", lines=("intake",)), raw) == [("Birthday", ["P-1"])]


def test_a_stop_of_the_config_repeats_by_the_plants_clock() -> None:
    one = PlannedStop("2026-10-24T06:00", Duration(8 * 3600), "FREQ=WEEKLY;COUNT=2", ("intake",))
    found, notes = stops_of(Maintenance(stops={Name("sat"): one}), {}, PLACES, SPAN)
    assert notes == []
    hours = [datetime.fromtimestamp(stop.first * SLOT_S, UTC).hour for stop in found]
    assert hours == [4, 5], "summer, then winter"
    assert all(stop.assets == {"P-1"} for stop in found)


def test_a_crew_works_by_the_plants_clock() -> None:
    """Over midnight, over the change of clocks; hours that touch are one shift."""
    night = WorkingHours("22:00", "06:00", (Day.SAT,))
    early = WorkingHours("06:00", "14:00", (Day.SUN,))
    span = Span(datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC), BERLIN)
    (shift,) = team_of("a", Crew(hours=(night, early)), span).shifts
    begin, end = (datetime.fromtimestamp(slot * SLOT_S, UTC) for slot in shift)
    assert (begin.isoformat()[:16], end.isoformat()[:16]) == (
        "2026-10-24T20:00",
        "2026-10-25T13:00",
    )
    assert (shift[1] - shift[0]) * SLOT_S == 17 * 3600, "one hour more than by the clock"
