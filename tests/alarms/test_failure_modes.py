"""Failure modes: every shipped one is whole and safe; a plant's own file is refused clearly."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from alarm_helpers import blaming

from edge_agent.alarms.failure_modes import (
    PARTS,
    Safety,
    columns,
    load_failure_modes,
    read_failure_modes,
    shipped_modes,
)
from edge_agent.alarms.input_kinds import kind_of_input
from edge_agent.alarms.texts import load_texts
from edge_agent.config.problem import ConfigErrors
from edge_agent.config.schema import AlarmRule, Alarms
from edge_agent.messages import Alarm, Contributor, Detail

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = ("en", "zh", "ja", "de")
WANTED = {
    "imbalance",
    "misalignment",
    "looseness",
    "bearing_wear",
    "bearing_inner_race",
    "bearing_outer_race",
    "bearing_cage",
    "bearing_ball",
    "bearing_damage",
    "lubrication",
    "cavitation",
    "valve_leakage",
    "blocked_valve",
    "blockage",
    "overheating",
    "belt_slip",
    "electrical_fault",
    "phase_imbalance",
    "rotor_bar",
    "stator_winding",
    "sensor_stuck",
    "sensor_drift",
    "sensor_noise",
    "sensor_stale",
    *(
        f"abnormal_{kind}"
        for kind in (
            "temperature",
            "vibration",
            "pressure",
            "flow",
            "current",
            "speed",
            "level",
            "value",
        )
    ),
}
OWN = """\
seal_wear:
  name: {en: seal wear, de: Dichtungsverschleiß}
  check:
    - {priority: 1, text: {en: Look for drops., de: Nach Tropfen sehen.}}
  mend:
    - {priority: 1, safety: lockout, text: {en: Replace the seal., de: Dichtung ersetzen.}}
"""


def test_the_wanted_modes_are_there() -> None:
    """The modes of rotating machines, of sensors, and of unusual inputs have an entry."""
    assert shipped_modes().keys() >= WANTED


@pytest.mark.parametrize("name", sorted(shipped_modes()))
@pytest.mark.parametrize("part", PARTS)
def test_every_mode_has_each_part_in_every_language(name: str, part: str) -> None:
    """Cause, check and mend are each told in all four languages; every mend says how it is safe."""
    steps = getattr(shipped_modes()[name], part)
    assert len(steps) >= 2
    for step in steps:
        assert tuple(step.text) == LANGUAGES
        assert (step.safety is not None) == (part == "mend")


def test_translations_are_translations() -> None:
    """No language has the text of another, and Chinese and Japanese have their own script."""
    for mode in shipped_modes().values():
        for text in (mode.name, *(step.text for _, _, step in mode.steps())):
            assert len(set(text.values())) >= 3, text
            assert re.search("[\u4e00-\u9fff]", text["zh"]), text
            assert re.search("[\u3040-\u30ff\u4e00-\u9fff]", text["ja"]), text


def test_the_shipped_file_passes_its_own_linter(tmp_path: Path) -> None:
    """What a plant's file is refused for is not in ours."""
    file = tmp_path / "shipped.yaml"
    file.write_bytes(
        resources.files("edge_agent.alarms").joinpath("failure_modes.yaml").read_bytes()
    )
    assert read_failure_modes(file, LANGUAGES) == shipped_modes()


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("de: Dichtungsverschleiß", "fr: joint", 2, "seal_wear.name: missing in de"),
        ("seal_wear:", "cavitaton:", 0, ""),
        ("  name: {en: seal wear, de: Dichtungsverschleiß}\n", "", 1, "unknown failure mode"),
        ("priority: 1, text", "priority: 2, text", 4, "priorities are 1, 2, 3"),
        ("Look for drops.", "Look. " * 30, 4, "too long for a phone: 179 columns, 110 are read"),
        ("Look for drops.", '"Look at {pump}."', 4, "unknown placeholder {pump}; known: alarm_id"),
        ("safety: lockout, ", "", 6, "unsafe: 'replace' is work at the machine"),
        ("safety: lockout", "safety: brave", 6, "is not allowed"),
        ("seal_wear:", "seal_wear:\n  also: [cavitation]", 2, "cavitation is a name of cavitation"),
        ("en: seal wear", "english: seal wear", 2, "no language tag"),
    ],
)
def test_the_linter_names_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, problem: str
) -> None:
    """Each mistake of a plant's own file is one problem with file, line and key."""
    file = tmp_path / "modes.yaml"
    file.write_text(OWN.replace(old, new, 1))
    if not problem:
        read_failure_modes(file, ("en", "de"))
        return
    with pytest.raises(ConfigErrors) as caught:
        read_failure_modes(file, ("en", "de"))
    found = [each for each in caught.value.problems if problem in str(each)]
    assert found, caught.value
    assert (found[0].file, found[0].line) == (str(file), line)


def test_an_unknown_mode_without_a_name_gets_a_hint(tmp_path: Path) -> None:
    """A typing error in the name of a shipped mode is told with the name that is meant."""
    file = tmp_path / "modes.yaml"
    file.write_text("cavitaton:\n  check: [{priority: 1, text: {en: Listen.}}]\n")
    with pytest.raises(ConfigErrors, match=r"modes.yaml:1: cavitaton: .*did you mean 'cavitation'"):
        read_failure_modes(file, ("en",))


def guided(failure_mode: str, languages: tuple[str, ...] = ("en", "de"), **config: Any) -> Any:
    texts = load_texts(Alarms(languages=languages, **config))
    detail = Detail("fault", failure_mode=failure_mode)
    return texts.guidance(Alarm("P-1.a", "P-1", active=True, detail=detail))


def test_a_plants_part_replaces_the_shipped_part(tmp_path: Path) -> None:
    """An own check stands in place of ours; our causes and mends, and the name, stay."""
    file = tmp_path / "modes.yaml"
    step = "{priority: 1, text: {en: 'Look at {input}, call 4711.', de: Ruf 4711 an.}}"
    file.write_text(f"cavitation: {{check: [{step}], also: [KAV]}}\n")
    modes = load_failure_modes(Alarms(failure_modes=file, languages=("en", "de")))
    found = modes.find("kav")
    assert found is not None
    name, mode = found
    assert name == "cavitation"
    assert [step.text["de"] for step in mode.check] == ["Ruf 4711 an."]
    assert mode.mend == shipped_modes()[name].mend
    texts = load_texts(Alarms(failure_modes=file, languages=("en",)))
    detail = Detail("fault", failure_mode="KAV", contributors=blaming("flow").contributors)
    alarm = Alarm("P-1.a", "P-1", detail=detail)
    assert texts.render(alarm, AlarmRule())["advice"]["en"].startswith("Look at flow, call 4711.")


def test_a_new_mode_of_the_plant_has_message_and_advice(tmp_path: Path) -> None:
    """A plant's new mode is told like ours, with the hint to lock out before its mend."""
    file = tmp_path / "modes.yaml"
    file.write_text(OWN)
    texts = load_texts(Alarms(failure_modes=file, languages=("en", "de")))
    said = texts.render(
        Alarm("P-1.a", "P-1", detail=Detail("fault", failure_mode="seal_wear")), AlarmRule()
    )
    assert said["message"]["de"] == "P-1: Anzeichen für Dichtungsverschleiß"
    assert said["advice"]["en"] == "Look for drops. Lock out, tag out first: Replace the seal."


def test_guidance_has_steps_by_priority_with_safety() -> None:
    """The alert carries cause, check and mend in the languages of the config."""
    found = guided("unbalance")
    assert found["failure_mode"] == "imbalance"
    assert found["name"] == {"en": "imbalance", "de": "Unwucht"}
    assert [step["priority"] for step in found["mend"]] == [1, 2]
    assert found["mend"][0]["safety"] == Safety.LOCKOUT
    assert "safety" not in found["check"][0]
    assert guided("gear_pitting_of_a_stranger") is None


def test_a_missing_language_is_told_in_english() -> None:
    """A language that the catalogue lacks has the English text instead of none."""
    assert guided("cavitation", ("fr",))["name"] == {"fr": "cavitation"}


@pytest.mark.parametrize(
    ("name", "unit", "kind"),
    [
        ("x", "°C", "temperature"),
        ("bearing_temp", "", "temperature"),
        ("oilTemperature", "", "temperature"),
        ("template", "", "value"),
        ("de_vib", "", "vibration"),
        ("x", "mm/s", "vibration"),
        ("suction_pressure", "", "pressure"),
        ("x", "bar", "pressure"),
        ("Durchfluss", "", "flow"),
        ("x", "m³/h", "flow"),
        ("motor_current", "A", "current"),
        ("Drehzahl", "", "speed"),
        ("x", "rpm", "speed"),
        ("タンク液位", "", "level"),
        ("tank_level", "%", "level"),
        ("轴承温度", "", "temperature"),
        ("quality", "", "value"),
    ],
)
def test_the_kind_of_an_input(name: str, unit: str, kind: str) -> None:
    """A unit decides what an input measures, else the words of its name in four languages."""
    assert kind_of_input(name, unit) == kind


def test_an_unusual_input_has_advice_by_its_kind() -> None:
    """A model that knows only «abnormal» gets the advice of what its first input measures."""
    contributors = (Contributor("winding", 1.0, 93.0, "°C"), Contributor("flow", 0.2, 7.0, "l/min"))
    alarm = Alarm("P-1.a", "P-1", active=True, detail=Detail("anomaly", contributors=contributors))
    texts = load_texts(Alarms(languages=("en",)))
    assert "ambient temperature" in texts.render(alarm, AlarmRule())["advice"]["en"]
    found = texts.guidance(alarm)
    assert found is not None
    assert found["failure_mode"] == "abnormal_temperature"


def test_wide_characters_take_two_columns() -> None:
    """A phone shows half as many Chinese characters as latin ones."""
    assert columns("轴承 ok") == 7
