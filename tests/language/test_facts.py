"""Facts: what is said of an alarm, in four languages, and what is left out."""

# ruff: noqa: RUF001 (Chinese and Japanese punctuation)

from __future__ import annotations

import re
from datetime import UTC
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from status_support import alarm_row, asset_row

from edge_agent.alarms.texts import TextEntry
from edge_agent.config.schema import Alarms
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.language.answers import Search, compose, named_in
from edge_agent.language.facts import Subject, facts_of, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXTS = load_catalogue(Alarms())
LANGUAGES = ("en", "zh", "ja", "de")
FILE = resources.files("edge_agent.language").joinpath("texts.yaml").read_text("utf-8")
ENTRIES = parse_struct(FILE, Path("texts.yaml"), dict[Name, TextEntry])
T_MS = 1_767_225_600_000
DETAIL = {
    "score": 2.4,
    "message_args": {"limit": 1.2},
    "failure_mode": "bearing_wear",
    "probability": None,
    "contributors": [
        {"input": "vib_de", "weight": 1.8, "value": 7.81, "unit": "mm/s"},
        {"input": "temp_de", "weight": 0.6, "value": 74.2, "unit": "°C"},
    ],
    "rul_h": {"p10": 40.0, "p50": 95.0, "p90": 240.0},
    "model": {"name": "pump-vibration", "version": "1.2.0", "sha256": "", "mode": "active"},
}
MODEL = {
    "task": "anomaly",
    "threshold": 1.2,
    "rate": 0.1,
    "at_most": None,
    "inputs": ["vib_de", "temp_de", "flow"],
    "classes": [],
    "training": "24 h of healthy running",
    "judged_h": 400.4,
    "alarms": 3,
    "called_false": 1,
    "called_true": 2,
}


def alarm(**changes: Any) -> dict[str, Any]:
    row = alarm_row("P-042.model", first_seen_ms=T_MS, changed_ms=T_MS + 60_000, detail=DETAIL)
    return row | changes


def moved(kind: str, minute: int, **changes: Any) -> dict[str, Any]:
    """A row of the history."""
    at_ms = T_MS + minute * 60_000
    row = {"transition": kind, "at_ms": at_ms, "alarm_id": "P-042.model", "actor": ""}
    return {**row, "alarm": {"detail": DETAIL}, **changes}


def said(subject: Subject, language: str = "en") -> dict[str, str]:
    """The facts by key; several of one key in lines."""
    found: dict[str, str] = {}
    for key, text in facts_of(subject, language, TEXTS, UTC):
        found[key] = f"{found[key]}\n{text}" if key in found else text
    return found


def whole(**changes: Any) -> Subject:
    past = [moved("raise", 0), moved("clear", -50), moved("raise", -60), moved("raise", -99)]
    words = [
        {"subject": "P-042.model", "action": "ack", "actor": "anna", "at_ms": T_MS, "detail": "x9"},
        {"subject": "P-042.flow", "action": "ack", "actor": "bob", "at_ms": T_MS, "detail": "no"},
        {"subject": "P-042", "action": "overhauled", "actor": "c", "at_ms": T_MS, "detail": ""},
        {"subject": "P-042.model", "action": "ack", "actor": "d", "at_ms": T_MS, "detail": ""},
    ]
    rows: dict[str, Any] = {"asset": asset_row("P-042"), "model": MODEL}
    return Subject(alarm(), past=past, words=words, **(rows | changes))


def test_everything_that_is_known_of_an_alarm_is_said() -> None:
    """What, since when, values against limits, contributors, model, similar alarms, life."""
    facts = said(whole())
    assert facts["message"] == "P-042: bearing wear, drive end"
    assert "not acknowledged, priority high" in facts["fact_state"]
    assert "2026-01-01 00:00:00 +0000, last change 2026-01-01 00:01:00" in facts["fact_since"]
    assert facts["fact_score"] == "Score 2.4, limit 1.2: 2 times the limit."
    shares = ["vib_de contributes 75 % of the score; it was 7.81 mm/s."]
    assert facts["fact_contributor"].split("\n")[:1] == shares
    assert "Now: vib_de = 2.31 mm/s." in facts["fact_now"]
    assert facts["fact_rul"] == "Remaining life 95 h, between 40 h and 240 h (80 % interval)."
    assert "pump-vibration 1.2.0 (unusual behaviour); its own limit is 1.2" in facts["fact_model"]
    assert "vib_de, temp_de, flow; trained on 24 h of healthy" in facts["fact_model_scope"]
    assert "3 alarms in 400 h; operators called 1 of them false" in facts["fact_model_record"]
    assert "What to do: Plan the bearing's replacement" in facts["fact_advice"]


def test_similar_alarms_are_those_before_this_one() -> None:
    """The one that stands is not counted, and words are of similar alarms and of the asset."""
    facts = said(whole())
    assert facts["fact_past"] == (
        "Similar alarms of this asset before: 2, the last one 2025-12-31 23:00:00 +0000; "
        "half of them lasted less than 10 min."
    )
    assert [line[27:] for line in facts["fact_word"].split("\n")] == [
        "anna (ack): «x9»",
        "c (overhauled): «–»",
    ]
    assert "fact_past_none" in said(Subject(alarm(), past=[moved("raise", 0)]))


def test_an_alarm_without_a_model_has_no_facts_of_one() -> None:
    """A limit alarm: its value and its limit."""
    args = {"input": "flow", "value": 43.5, "unit": "m³/h", "limit": 50, "limit_name": "low"}
    detail: dict[str, Any] = {
        "score": None,
        "message_args": args,
        "contributors": [],
        "model": None,
    }
    facts = said(Subject(alarm(detail=detail)))
    assert facts["fact_measured"] == "flow was 43.5 m³/h; limit low: 50 m³/h."
    assert not {"fact_score", "fact_model", "fact_model_scope", "fact_rul"} & facts.keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_fact_is_in_another_language(language: str) -> None:
    """Every sentence of a language differs from the English one, except names and numbers."""
    mine, english = said(whole(), language), said(whole())
    assert mine.keys() == english.keys()
    own = {key for key in mine if mine[key] != english[key]}
    advice_is_english = {"message", "fact_word"}
    assert language == "en" or own >= mine.keys() - advice_is_english


def test_a_comment_is_not_shortened_and_is_no_template() -> None:
    """500 characters of an operator are his words, whatever they are."""
    comment = "{by} [x] " * 55
    facts = said(Subject(alarm(comment=comment, acked_by="anna")))
    assert facts["fact_comment"] == f"Comment of anna: «{comment}»"


def test_an_asset_and_a_plant_without_alarms() -> None:
    assert said(Subject(asset=asset_row("P-1"))) == {
        "fact_asset": "P-1: normal, health 97 %, score 0.31 of limit 1.",
        "fact_no_alarm": "There is no alarm.",
    }
    two = Subject(alarms=[alarm(), alarm(alarm_id="P-7.flow.low")])
    assert said(two)["fact_alarms"] == "Alarms that are not normal: 2."


@pytest.mark.parametrize("key", ENTRIES)
def test_every_text_is_there_in_every_language_and_names_the_same(key: str) -> None:
    """A language that forgot a placeholder would hide a figure."""
    texts: Mapping[str, str] = ENTRIES[Name(key)].message
    assert texts.keys() >= set(LANGUAGES)
    names = {lang: set(re.findall(r"\{(\w+)\}", text)) for lang, text in texts.items()}
    assert all(one == names["en"] for one in names.values()), names


def test_a_file_of_texts_adds_a_language(tmp_path: Path) -> None:
    """`alarms.texts` extends the answers as it does the alarms."""
    file = tmp_path / "texts.yaml"
    file.write_text('fact_no_alarm: {message: {pl: "Brak alarmów."}}\n')
    texts = load_catalogue(Alarms(texts=file))
    assert facts_of(Subject(), "pl", texts)[0].text == "Brak alarmów."
    found = facts_of(Subject(alarms=[alarm()]), "pl", texts)
    assert found[0].text == "Alarms that are not normal: 1."


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What is wrong with P-101?", "P-101"),
        ("p-101.baseline: why", "P-101.baseline"),
        ("P-1011 is fine", ""),
        ("Was ist mit P-101.", "P-101"),
        ("P-101报警怎么处理", "P-101"),
        ("what about XP-101", ""),
    ],
)
def test_ids_in_questions(question: str, found: str) -> None:
    """A whole word alone, the longest one."""
    assert named_in(question, ["P-101", "P-101.baseline", "P-102"]) == found


def test_an_answer_says_if_there_are_no_manuals() -> None:
    """Three ways to have no passage are three different sentences."""
    answers = [
        compose([], search, "en", TEXTS)["answer"]
        for search in (
            Search(is_configured=False),
            Search(trouble="the index is not made yet"),
            Search(nearest=["Oil", "Seals"]),
        )
    ]
    assert "No manuals are configured" in answers[0]
    assert answers[1].endswith("the index is not made yet.")
    assert answers[2] == "Not in the manuals. The nearest headings: Oil; Seals."
