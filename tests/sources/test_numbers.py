"""Numbers in texts: read right, or refused with what would read them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edge_agent.config.schema import Signal
from edge_agent.errors import DecodeError
from edge_agent.sources.numbers import TextRules


def number(text: str, **signal: Any) -> float:
    return TextRules(Signal(**signal)).number(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.5", 12.5),
        (" +5 ", 5.0),
        ("\N{MINUS SIGN}12.5 °C", -12.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-3", 0.001),
        ("23.4 °C", 23.4),
        ("23.4°C", 23.4),
        ("45%", 45.0),
        ("12 m3/h", 12.0),
        ("9.81 m/s2", 9.81),
        ("1.5 kg/cm^2", 1.5),
        ("-7 mA", -7.0),
        ("ON", 1.0),
        ("off", 0.0),
        ("True", 1.0),
    ],
)
def test_texts_that_are_numbers(text: str, expected: float) -> None:
    assert number(text) == expected


@pytest.mark.parametrize(
    "text", ["", "nan", "-NaN", "inf", "null", "N/A", "--", "nan(ind)", "1.#QNAN", "-1.#IND"]
)
def test_texts_that_say_there_is_no_number(text: str) -> None:
    assert math.isnan(number(text))


@pytest.mark.parametrize(
    "text",
    [
        *("0x1F", "0x2", "21.5 22", "5 of 10", "12:30", "1.2.3", "1,5", "1_000", "1.5e", "1.5D2"),
        *("1/2", "RUNNING", "10-5", "b'5'", "5'", "9" * 65, "\u0663", "1e5e5", "12h30"),
    ],
)
def test_texts_that_are_refused(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        number(text)
    assert caught.value.reason == "type"


def test_a_decimal_comma_is_read_where_the_config_says_so() -> None:
    assert number("23,4 °C", decimal=",") == 23.4
    assert number("-1,5e3", decimal=",") == -1500.0
    with pytest.raises(DecodeError):
        number("1.234,5", decimal=",")
    with pytest.raises(DecodeError, match='decimal: ","'):
        number("23,4")


def test_words_of_the_map_come_first() -> None:
    states = {"RUNNING": 1, "Stopped": 0, "on": 7}
    assert [number(t, map=states) for t in ("running", " STOPPED ", "ON")] == [1.0, 0.0, 7.0]
    with pytest.raises(DecodeError, match=r"map: \{IDLE: 1\}"):
        number("IDLE", map=states)


def test_another_unit_is_no_jump_of_the_value() -> None:
    """The config's unit, or the first that came: a device that goes from mbar to bar is refused."""
    assert number("23.4 ℃", unit="°C") == number("23.4 degC", unit="C") == 23.4
    with pytest.raises(DecodeError, match="another unit"):
        number("74 °F", unit="°C")
    rules = TextRules(Signal())
    assert rules.number("950 mbar") == 950
    with pytest.raises(DecodeError, match="another unit"):
        rules.number("1.2 bar")
    with pytest.raises(DecodeError):
        number("5 MW", unit="mW")
