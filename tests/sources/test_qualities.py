"""Qualities of all dialects: what is not known is bad, and no bad one is ever good."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.sources.qualities import QualityCodes, status_of, worst
from edge_agent.status_codes import NAMES, Severity, severity_of
from edge_agent.values import BAD, GOOD, UNCERTAIN

GOOD_TEXTS: tuple[str, ...] = (
    "good",
    "Good",
    "GOOD",
    " good ",
    "ok",
    "OK",
    "gut",
    "Gültig",
    "GUELTIG",
    "valid",
    "true",
)
GOOD_TEXTS += (
    "Good_LocalOverride",
    "GoodClamped",
    "0x00000000",
    "192",
    "0xC0",
    "Good (192)",
    "Good (0xC0)",
)
GOOD_TEXTS += (
    "Good [Non-Specific]",
    "in Ordnung",
    "i.O.",
    "192.0",
    "良好",
    "192 (Good)",
    "Good (0x00000000)",
)
BAD_TEXTS: tuple[str, ...] = (
    "bad",
    "Bad",
    "BAD",
    "Bad_NoCommunication",
    "BadNoCommunication",
    "bad no communication",
)
BAD_TEXTS += (
    "0x80000000",
    "0x80310000",
    "2147483648",
    "-2147483648",
    "Bad (0x808C0000)",
)
BAD_TEXTS += (
    "Bad [Sensor Failure]",
    "Bad, Comm Failure",
    "schlecht",
    "FEHLER",
    "ungültig",
    "invalid",
)
BAD_TEXTS += (
    "error",
    "fault",
    "defekt",
    "gestört",
    "Störung",
    "offline",
    "stale",
    "false",
    "nok",
    "n.i.O.",
)
BAD_TEXTS += (
    "not good",
    "nicht gut",
    "no good",
    "500",
    "故障",
    "Drahtbruch",
    "timeout",
    "BadFutureCode_2030",
)
UNCERTAIN_TEXTS = (
    "uncertain",
    "Uncertain",
    "Uncertain_SubNormal",
    "unsicher",
    "fraglich",
    "",
    "64",
    "0x40000000",
)
UNKNOWN_TEXTS: tuple[str, ...] = (
    "odd",
    "Goodish",
    "good?no",
    "good but stale",
    "GoodWill",
    "42x",
    "-",
    "Good (0x80000000)",
)
UNKNOWN_TEXTS += ("12", "3", "0", "1", "128", "99999")


def severity(
    raw: object, codes: QualityCodes = QualityCodes.AUTO, key: str = "q"
) -> Severity | None:
    status = status_of(raw, codes, key)
    return None if status is None else Severity(severity_of(np.array([status], np.uint32))[0])


@pytest.mark.parametrize("text", GOOD_TEXTS)
def test_good_texts(text: str) -> None:
    assert severity(text) is Severity.GOOD


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_bad_texts(text: str) -> None:
    assert severity(text) is Severity.BAD


@pytest.mark.parametrize("text", UNCERTAIN_TEXTS)
def test_uncertain_texts(text: str) -> None:
    assert severity(text) is Severity.UNCERTAIN


@pytest.mark.parametrize("text", UNKNOWN_TEXTS)
def test_what_is_not_known_is_not_good(text: str) -> None:
    assert severity(text) in {Severity.BAD, None}


@pytest.mark.parametrize("code", sorted(NAMES))
@pytest.mark.parametrize("write", [str, lambda n: f"0x{n:08X}", lambda n: NAMES[n], int, float])
def test_every_status_code_keeps_its_severity(code: int, write: object) -> None:
    """As a number, in hex and by its name; zero alone is ambiguous, and then bad."""
    raw = write(code)  # type: ignore[operator]
    expected = Severity(severity_of(np.array([code], np.uint32))[0])
    ambiguous = code == 0 and (raw == "0" or not isinstance(raw, str))
    assert severity(raw) is (None if ambiguous else expected)
    assert severity(raw, QualityCodes.OPCUA) is expected


@pytest.mark.parametrize("name", [name for name in NAMES.values() if len(name) > len("Uncertain")])
def test_names_may_have_underscores_and_any_case(name: str) -> None:
    split = "".join(f"_{c}" if c.isupper() and n else c for n, c in enumerate(name))
    for text in (split, name.upper(), name.lower(), split.replace("_", " ")):
        assert status_of(text) == status_of(name)


def test_last_usable_and_substitute_values_are_no_data() -> None:
    for text in ("Uncertain_LastUsableValue", "Uncertain [Last Usable]", "Ersatzwert", "68"):
        assert severity(text) is Severity.BAD


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        *((n, Severity.BAD) for n in (0, 4, 8, 12, 16, 20, 24, 28, 3, 500)),
        *((n, Severity.UNCERTAIN) for n in (64, 80, 84, 88, 127)),
        *((n, Severity.GOOD) for n in (192, 195, 216, 255)),
        *((n, None) for n in (128, 191, 256, -1, 1000)),
        (68, Severity.BAD),
    ],
)
def test_classic_numbers(number: int, expected: Severity | None) -> None:
    assert severity(number, QualityCodes.CLASSIC) is expected


def test_zero_is_good_where_opc_ua_is_named_and_else_bad() -> None:
    assert status_of(0, QualityCodes.AUTO, "StatusCode") == GOOD
    assert status_of(0, QualityCodes.OPCUA, "q") == GOOD
    assert status_of(0, QualityCodes.AUTO, "quality") is None
    assert status_of(0, QualityCodes.CLASSIC, "StatusCode") == BAD
    assert status_of(192, QualityCodes.AUTO, "StatusCode") == GOOD
    assert status_of(0x400, QualityCodes.OPCUA) == 0x400  # info bits of a data value
    assert status_of("GoodClamped (0x00300000)") == 0x0030_0000
    assert status_of(192, QualityCodes.OPCUA) is None


def test_other_numbers() -> None:
    siemens = [status_of(n, QualityCodes.SIEMENS) for n in (0, 1, 2, 3, 192)]
    assert siemens == [BAD, UNCERTAIN, None, GOOD, None]
    assert [status_of(n, QualityCodes.FLAG) for n in (0, 1, 2)] == [BAD, GOOD, None]
    assert status_of(1.5) is None


def test_truth_values_under_a_key_that_names_the_bad_are_turned() -> None:
    yes, no = True, False
    assert [status_of(yes, key=key) for key in ("valid", "error", "sensor.fault")] == [
        GOOD,
        BAD,
        BAD,
    ]
    assert [status_of(no, key=key) for key in ("valid", "error")] == [BAD, GOOD]
    assert [status_of(n, key="error") for n in (0, 1)] == [GOOD, BAD]


def test_objects_and_null() -> None:
    assert status_of({"Code": 0x80310000, "Symbol": "BadNoCommunication"}) == 0x80310000
    assert status_of({"Code": 0, "Symbol": "Good"}) == GOOD
    assert status_of({"Symbol": "Good", "Code": 0x80000000}) == BAD
    assert status_of({"odd": 1}) is None
    assert status_of([0]) is None
    assert status_of(None) == UNCERTAIN
    assert status_of(None, key="StatusCode") == GOOD


def test_the_worst_of_several() -> None:
    assert worst(GOOD, UNCERTAIN, GOOD) == UNCERTAIN
    assert worst(UNCERTAIN, 0x80310000, BAD) == 0x80310000
