"""Contrast of the status page (WCAG 2.2 AA) in both colour schemes, from its custom properties."""

from __future__ import annotations

import re
from importlib import resources

import pytest

CSS = resources.files("edge_agent.ops").joinpath("page", "style.css").read_text("utf-8")
TEXT, PART = 4.5, 3.0  # success criteria 1.4.3 and 1.4.11
GROUNDS = ("ground", "panel", "sunk")
PAIRS = [
    *((ink, ground, TEXT) for ink in ("ink", "soft") for ground in GROUNDS),
    *(("failure", ground, TEXT) for ground in GROUNDS),
    *(("off", ground, TEXT) for ground in ("panel", "sunk")),
    *(("#fff", mark, TEXT) for mark in ("critical", "low")),
    *(("on-bright", mark, TEXT) for mark in ("high", "medium")),
    ("ground", "soft", TEXT),  # the form to sign in
    *(("fill", ground, PART) for ground in ("panel", "sunk")),
    *(("focus", ground, PART) for ground in GROUNDS),
    *(("edge", ground, PART) for ground in ("panel", "ground")),  # of fields and buttons
    *(("high", ground, PART) for ground in ("panel",)),
    *((mark, "sunk", PART) for mark in ("fill", "edge")),  # jobs in their stops
    *((state, "panel", PART) for state in ("off", "edge")),  # of timelines
]


def colours(scheme: str) -> dict[str, str]:
    """The custom properties of a scheme; the dark one replaces some of the light one."""
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else {}
    )


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_is_that_of_wcag() -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("one", "other", "least"), PAIRS)
def test_colours_differ_enough(scheme: str, one: str, other: str, least: float) -> None:
    known = colours(scheme)
    found = contrast(known.get(one, one), known[other])
    assert found >= least, f"{one} on {other}: {found:.2f}"


def test_only_custom_properties_name_colours() -> None:
    """So that the pairs above are all that there are; white on a mark is one of them."""
    rules = re.sub(r":root \{.*?\}", "", CSS, flags=re.DOTALL)
    assert set(re.findall(r"#[0-9a-f]{3,8}\b(?=[;\s])", rules)) <= {"#fff"}
