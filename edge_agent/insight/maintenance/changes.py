"""What a plan changes of the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Row = dict[str, Any]


def places_of(lines: Iterable[Row]) -> dict[str, Row]:
    """By job: its stop and crew, to keep until the next plan."""
    return {
        line["job"]: {
            "stop": (line["stop"] or {}).get("id", ""),
            "name": (line["stop"] or {}).get("name", ""),
            "crew": line["crew"],
            "start_ms": line["start_ms"],
        }
        for line in lines
    }


def changes_of(before: Mapping[str, Row], lines: Iterable[Row]) -> list[Row]:
    """Jobs that are new, gone, or in another stop or with another crew than before."""
    now = places_of(lines)
    return list(_changes(before, now)) if before else []


def _changes(before: Mapping[str, Row], now: Mapping[str, Row]) -> Iterator[Row]:
    for job, place in now.items():
        told = {"job": job, "stop": place["name"], "start_ms": place["start_ms"]}
        was = before.get(job)
        if was is None:
            yield {"kind": "new", **told}
        elif (was["stop"], was["crew"]) != (place["stop"], place["crew"]):
            yield {"kind": "moved", **told, "was": was["name"], "was_ms": was["start_ms"]}
    for job in before.keys() - now.keys():
        yield {"kind": "gone", "job": job}


def known_places(before: Mapping[str, Row]) -> dict[str, tuple[str, str]]:
    """The stop and crew of each job in the last plan, as a problem needs them."""
    return {job: (was["stop"], was["crew"]) for job, was in before.items() if was["stop"]}
