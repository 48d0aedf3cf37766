"""Texts: every language has them, templates never fail, a user's file is refused clearly."""

# ruff: noqa: RUF001 (Chinese and Japanese punctuation)

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alarm_helpers import blaming
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alarms.texts import TextEntry, fill, load_texts, parsed, shown, shown_values
from edge_agent.config.schema import AlarmRule, Alarms
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.errors import ConfigError
from edge_agent.messages import Alarm, Detail

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES = ("en", "zh", "ja", "de")
KEYS = [
    "alarm",
    "anomaly",
    "fault",
    "remaining_life",
    "bearing_wear",
    "bearing_ball",
    "bearing_inner_race",
    "bearing_outer_race",
    "bearing_damage",
    "cavitation",
    "blocked_valve",
    "sensor_stale",
    "sensor_bad",
    "sensor_stuck",
    "sensor_out_of_range",
    "drift",
    "connection_lost",
    "flood",
    "outbox_dropping",
    "model_failed",
    "model_rolled_back",
    "store_trouble",
    "store_replaced",
    "http_address",
    "keys_refused",
    "log_dropping",
    "trends_trouble",
    "lines_trouble",
    "ideal_cycle_wrong",
    "clock_ahead",
    "clock_behind",
    "clock_stands",
    "clock_refused",
    "clock_stepped",
    "clock_gateway",
    "config_refused",
    "discovery_full",
    "learning_blocked",
    "learning_failed",
    "learning_finished",
]
EVERYTHING = {
    "asset": "P-1",
    "where": "http://127.0.0.1:9460",
    "alarm_id": "P-1.a",
    "score": 12.345,
    "failure_mode": "wear",
    "probability": 87.5,
    "false_alarms": 0.1,
    "held_out": "4 min",
    "at_most": 833,
    "provisional_min": 15,
    "moved_sigmas": 2.1,
    "moved_since": "2026-01-01",
    "late_time": "2026-01-01 00:00:00Z",
    "psi": 0.8,
    "ks": 0.3,
    "rul_p10": 10,
    "rul_p50": 120.4,
    "rul_p90": 400,
    "input": "flow",
    "value": 7.1,
    "unit": "l/min",
    "limit": 3.5,
    "seconds": 30,
    "status": "BadSensorFailure",
    "low": 0,
    "high": 10,
    "source": "line1",
    "reason": "timeout",
    "minutes": 10,
    "sink": "plant",
    "file": "store.db.corrupt-20260101T000000Z",
    "dropped": 5,
    "refused": 4,
    "zone": "+2 h",
    "machine": "P-7",
    "line": "assembly",
    "share": 130,
    "sources": 3,
    "model": "pump",
    "version": "2",
}
SHIPPED = load_texts(Alarms()).entries


def filled(template: str, named: Mapping[str, object]) -> str:
    return fill(parsed(template), shown_values(named))


def told(
    detail: Detail | None, language: str = "en", rule: AlarmRule | None = None, **config: Any
) -> str:
    texts = load_texts(Alarms(languages=(language,), **config))
    return texts.render(Alarm("P-1.a", "P-1", detail=detail), rule or AlarmRule())["message"][
        language
    ]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("part", ["message", "advice"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_has_both_texts_in_every_language(key: str, part: str, language: str) -> None:
    template = SHIPPED[key, part, language]
    names = set(re.findall(r"\{(\w+)\}", template)) - {"reading"}
    assert names <= EVERYTHING.keys()
    known = EVERYTHING if "held_out" not in names else {**EVERYTHING, "false_alarms": None}
    late = {**known, "held_out": None, "at_most": None}  # instead of the promise
    whole = filled(template, {**known, "late_time": None} if "late_time" in names else known)
    assert len(filled(template, late)) < 250
    assert not re.search(r"[{}\[\]]|  ", whole)
    bare = filled(template, {})
    assert not re.search(r"[{}\[\]]|  | [,;.]|\(\)", bare)
    assert len(whole) < 250


@pytest.mark.parametrize("key", KEYS)
def test_all_languages_name_the_same_things(key: str) -> None:
    """A translation leaves out neither a number nor a name."""
    named = {
        language: set(re.findall(r"\{(\w+)\}", SHIPPED[key, "message", language]))
        for language in LANGUAGES
    }
    assert len(set(map(frozenset, named.values()))) == 1, named


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("en", "P-1: unusual behaviour, score 2.5 (limit 1.25); mainly flow = 7.1 mm/s"),
        ("zh", "P-1：运行异常，得分 2.5（限值 1.25）；主要来自 flow = 7.1 mm/s"),
        ("ja", "P-1：通常と異なる挙動、スコア 2.5（しきい値 1.25）。主因 flow = 7.1 mm/s"),
        ("de", "P-1: ungewöhnliches Verhalten, Wert 2,5 (Grenze 1,25); vor allem flow = 7,1 mm/s"),
    ],
)
def test_a_message_in_each_language(language: str, message: str) -> None:
    """Numbers come with their units, and with the decimal sign of the language."""
    contributors = blaming("flow", "current").contributors
    detail = Detail("anomaly", {"limit": 1.25}, score=2.5, contributors=contributors)
    assert told(detail, language) == message


def test_optional_parts_go_when_they_say_nothing() -> None:
    assert told(Detail("anomaly", score=2.5)) == "P-1: unusual behaviour, score 2.5"
    detail = Detail("sensor_stuck", {"input": "flow", "value": 3, "unit": ""})
    assert told(detail) == "P-1: flow has not changed, stays at 3"


def test_the_failure_mode_goes_before_the_message_key() -> None:
    detail = Detail("anomaly", failure_mode="bearing_wear", probability=0.875)
    assert told(detail) == "P-1: signs of bearing wear, probability 87.5 %"
    assert told(Detail("fault", failure_mode="gear_pitting")) == "P-1: fault detected: gear_pitting"


@pytest.mark.parametrize("detail", [None, Detail("no_such_key"), Detail("")])
def test_an_unknown_key_still_says_which_alarm(detail: Detail | None) -> None:
    assert told(detail, "de") == "P-1: Alarm P-1.a"


def test_an_unknown_language_falls_back_to_english() -> None:
    assert told(None, "fr") == "P-1: alarm P-1.a"


def test_the_rules_own_texts_go_first() -> None:
    rule = AlarmRule(message={"de": "{asset} schwingt"}, advice={"de": "Nachsehen."})
    assert told(None, "de", rule) == "P-1 schwingt"
    assert told(None, "en", rule) == "P-1: alarm P-1.a"
    texts = load_texts(Alarms(languages=("de",)))
    assert texts.render(Alarm("P-1.a", "P-1"), rule)["advice"] == {"de": "Nachsehen."}


def test_what_is_missing_shows_as_a_dash() -> None:
    assert filled("{a} and {b}", {"a": 1}) == "1 and –"


def test_values_are_not_templates() -> None:
    """What comes from outside is never filled in again."""
    assert filled("{a} [{b}]", {"a": "{secret}", "b": "[{a}]", "secret": "x"}) == "{secret} [{a}]"


def test_brackets_that_name_nothing_stay() -> None:
    assert filled("pressure [bar] {a}", {"a": 1}) == "pressure [bar] 1"


@given(st.text(), st.dictionaries(st.text(max_size=5), st.none() | st.floats() | st.text()))
def test_no_template_and_no_value_fails(template: str, values: dict[str, object]) -> None:
    filled(template, values)
    filled("{" + template + "} [x {a}] {b}", {**values, "a": object(), "b": [1, {}]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456, "1.23"),
        (0.0001234, "0.000123"),
        (99.96, "100"),
        (1013.25, "1013"),
        (-250.7, "-251"),
        (0, "0"),
        (float("nan"), ""),
        (float("inf"), ""),
        (None, ""),
        ("a\nb\x1b[31m", "a b [31m"),
        ("x" * 999, "x" * 200),
    ],
)
def test_how_values_are_shown(value: object, text: str) -> None:
    assert shown(value) == text


# A user's own file --------------------------------------------------------------------------------


def test_a_users_file_adds_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "anomaly: {message: {en: 'look at {asset}', no: 'se på {asset}'}}\n"
        "gear_pitting: {message: {en: 'teeth'}}\n"
        "number: {decimal: {no: ','}}\n",
        encoding="utf-8",
    )
    assert told(Detail("anomaly"), texts=file) == "look at P-1"
    assert told(Detail("anomaly"), "no", texts=file) == "se på P-1"
    assert told(Detail("anomaly"), "de", texts=file) == "P-1: ungewöhnliches Verhalten, Wert –"
    assert told(Detail("x", failure_mode="gear_pitting"), texts=file) == "teeth"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b", r":1: a: takes a map of keys"),
        ("[]", ":1: the file is not a map of keys"),
        ("text", ":1: the file is not a map of keys"),
        ("a:\n  message:\n    en: [x]", r":3: a\.message\.en: takes one value, not a list"),
        ("a:\n  message:\n    en: {x: y}", r":3: a\.message\.en: takes one value, not a map"),
        ("{a: 1}: b", ":1: a key must be text"),
        (
            "a: {message: {en: x}}\nb: {message: {en: x}}\na: {advice: {en: x}}",
            ":3: a: written twice: first on line 1",
        ),
        ("a: {message: {en: x,\n en: y}}", r":2: a\.message\.en: written twice: first on line 1"),
        ("a: {massage: {en: x}}", r":1: a\.massage: unknown key 'massage' .did you mean 'message'"),
        ("a: {message: {english: x}}", r":1: a\.message\.english: no language tag"),
        ("a b: {message: {en: x}}", ":1: a b: 'a b' is not a name"),
        ("a: {message: {en: ''}}", r":1: a\.message\.en: a text has 1 to 1000 characters"),
        ("a: {message: {en: " + "x" * 1001 + "}}", r":1: a\.message\.en: a text has"),
        ("a:\n\t- b", ":2: not valid YAML: "),
        # Refused by the parser from PyYAML 6.0.4 on, by us before: in whose words does not matter.
        ("[" * 100_000, ":1: (nested more than|not valid YAML)"),
        ("\x00", ":1: NUL in the text"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"own\.yaml" + problem):
        load_texts(Alarms(texts=file))


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("a: {massage: {en: x}}\nb: {message: {en: ''}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"(?s)own\.yaml:1: a\.massage.*own\.yaml:2: b\.message"):
        load_texts(Alarms(texts=file))


def test_a_text_may_be_used_twice_and_files_may_be_divided(tmp_path: Path) -> None:
    """By alias and by include, as in a config; a file may be commented out as a whole."""
    (tmp_path / "own.yaml").write_text("include: more.yaml\na: {message: {en: &x hi, de: *x}}\n")
    (tmp_path / "more.yaml").write_text("b: {message: {en: there}}\n")
    assert told(Detail("a"), "de", texts=tmp_path / "own.yaml") == "hi"
    assert told(Detail("b"), texts=tmp_path / "own.yaml") == "there"
    (tmp_path / "more.yaml").write_text("# b: {message: {en: there}}\n")
    assert load_texts(Alarms(texts=tmp_path / "more.yaml")).entries == SHIPPED


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml:1: there is no file"):
        load_texts(Alarms(texts=tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"a: {message: {en: \xe4}}")
    with pytest.raises(ConfigError, match=r"latin\.yaml:1: not UTF-8 text"):
        load_texts(Alarms(texts=tmp_path / "latin.yaml"))
    (tmp_path / "large.yaml").write_bytes(b"#" * ((4 << 20) + 1))
    with pytest.raises(ConfigError, match=r"large\.yaml' is larger than 4 MiB"):
        load_texts(Alarms(texts=tmp_path / "large.yaml"))


@given(st.text(alphabet="ab:{}[],&*!|>'\"\n\t -?#%@`", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_struct(text, Path("f"), dict[Name, TextEntry])
