"""A user's labelled pictures: the recipe in YAML, and the files that it names."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final

from edge_agent.alarms import FALSE, TRUE
from edge_agent.config.cameras import View
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Between, Name
from edge_agent.errors import UsageError
from edge_agent.factory.pictures.features import Symmetry
from edge_agent.labelled import entries_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KIND: Final = "pictures"  # of the recipe's YAML
ENDINGS: Final = frozenset({".jpg", ".jpeg", ".png"})
PARTS: Final = ("train", "test")
_COLUMNS: Final = ("file", "label")
_LEAST: Final = 8  # pictures of a class


@dataclass(frozen=True, slots=True)
class ClassifierRecipe:
    """A recipe in YAML, `kind: pictures`.

    pictures: folders below the YAML's folder, in each of them one folder a class. table: a CSV file
    with the columns `file` and `label`; also, if it has them, `group`, `stratum`, `weight` and
    `part` (train or test). labelled: pictures of a labelled set: those of false alarms are healthy,
    those of true ones have the class of their part. group: a regular expression; what it finds in a
    file's path is its product (its first group, if it has one), and no product is in two parts.
    view: how the camera's pictures are cut, as in the config. size: the side of the square that the
    model sees. fine_tune: passes over the pictures that train the backbone, too (extra `compress`);
    0: only the head is trained. test: the share for judging. false_alarms: at most this share of
    good pictures may raise an alarm. sure: the share of right answers that is wanted of those that
    are sure.
    """

    name: Name
    kind: str = KIND
    pictures: tuple[str, ...] = ()
    table: str = ""
    labelled: str = ""
    healthy: str = "good"
    defect: str = "defect"
    group: str = ""
    view: View = field(default_factory=View)
    size: Annotated[int, Between(64, 512)] = 224  # a multiple of 32
    symmetry: Symmetry = Symmetry.NONE
    fine_tune: Annotated[int, Between(0, 1000)] = 0
    test: Annotated[float, Between(0.05, 0.6)] = 0.25
    false_alarms: Annotated[float, Between(0.001, 1)] = 0.05
    sure: Annotated[float, Between(0.5, 0.9999)] = 0.95
    card: dict[str, str] = field(default_factory=dict)
    version: str = "1.0"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if not (self.pictures or self.table or self.labelled):
            yield "pictures", "missing: folders, or a table, or a labelled set"
        if self.size % 32:
            yield "size", "must be a multiple of 32"
        try:
            re.compile(self.group)
        except re.error as error:
            yield "group", f"not a regular expression: {error}"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture. group: its product; stratum: kept alike in both parts; part: "" to be drawn."""

    file: Path
    label: str
    group: str
    stratum: str = ""
    weight: float = 1.0
    part: str = ""


def load_recipe(path: Path) -> ClassifierRecipe:
    """Read the YAML; ConfigError lists all its problems."""
    try:
        return parse_struct(path.read_text(encoding="utf-8"), path, ClassifierRecipe)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(path)) from error


def list_pictures(spec: ClassifierRecipe, folder: Path) -> tuple[Labelled, ...]:
    """All pictures in the order of their paths; UsageError names what is missing."""
    found = [
        *(one for each in spec.pictures for one in _of_folders(folder / each)),
        *(_of_table(spec, folder) if spec.table else ()),
        *(_of_set(spec, folder / spec.labelled) if spec.labelled else ()),
    ]
    pattern = re.compile(spec.group) if spec.group else None
    named = [one if one.group else replace(one, group=_product(one, pattern)) for one in found]
    joined = _same_files_joined(sorted(named, key=lambda one: str(one.file)))
    _refuse_too_few(joined, spec, folder)
    return joined


def _of_folders(folder: Path) -> Iterator[Labelled]:
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder))
    for path in folder.glob("*/**/*"):
        if path.suffix.lower() in ENDINGS:
            yield Labelled(path, path.relative_to(folder).parts[0], "")


def _of_table(spec: ClassifierRecipe, folder: Path) -> Iterator[Labelled]:
    file = folder / spec.table
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"no column {', '.join(missing)}", where=str(file))
            yield from (_row(row, file.parent, f"{file}:{reader.line_num}") for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot be read: {error}", where=str(file)) from error


def _row(row: dict[str, str], folder: Path, where: str) -> Labelled:
    path = folder / (row["file"] or "")
    if not path.is_file():
        raise UsageError(f"there is no picture {row['file']!r}", where=where)
    part = row.get("part") or ""
    if part not in ("", *PARTS):
        raise UsageError(f"part {part!r} is neither train nor test", where=where)
    try:
        weight = float(row.get("weight") or 1.0)
    except ValueError as error:
        raise UsageError(f"weight: {error}", where=where) from error
    label, group, stratum = ((row.get(name) or "") for name in ("label", "group", "stratum"))
    return Labelled(path, label, group, stratum, weight, part)


def _of_set(spec: ClassifierRecipe, folder: Path) -> Iterator[Labelled]:
    """Pictures of alarms that people judged; planned work tells nothing about a product."""
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder))
    for entry in entries_of(folder):
        if entry.verdict in {TRUE, FALSE} and entry.path.suffix in ENDINGS:
            label = (entry.part or spec.defect) if entry.verdict == TRUE else spec.healthy
            yield Labelled(entry.path, label, "")


def _product(one: Labelled, pattern: re.Pattern[str] | None) -> str:
    found = pattern.search(one.file.as_posix()) if pattern else None
    if found is None:
        return str(one.file)
    return found.group(1) if found.re.groups else found.group()


def _same_files_joined(pictures: Iterable[Labelled]) -> tuple[Labelled, ...]:
    """Each picture once; a picture that two products have joins them."""
    first: dict[str, Labelled] = {}
    joined: dict[str, str] = {}
    for one in pictures:
        before = first.setdefault(sha256(one.file.read_bytes()).hexdigest(), one)
        if before.label != one.label:
            text = f"the same picture is {one.label!r} here and {before.label!r} in {before.file}"
            raise UsageError(text, where=str(one.file), hint="remove one of them")
        joined[_root(one.group, joined)] = _root(before.group, joined)
    return tuple(replace(one, group=_root(one.group, joined)) for one in first.values())


def _root(group: str, joined: dict[str, str]) -> str:
    while joined.get(group, group) != group:
        group = joined[group]
    return group


def _refuse_too_few(pictures: tuple[Labelled, ...], spec: ClassifierRecipe, folder: Path) -> None:
    counts: dict[str, int] = {}
    for one in pictures:
        counts[one.label] = counts.get(one.label, 0) + 1
    told = ", ".join(f"{label} {count}" for label, count in sorted(counts.items())) or "none"
    if spec.healthy not in counts or len(counts) < 2:  # noqa: PLR2004
        hint = "set `healthy` to the class of good parts; at least one other class is needed"
        raise UsageError(f"the classes found are: {told}", where=str(folder), hint=hint)
    if min(counts.values()) < _LEAST:
        hint = f"each class needs at least {_LEAST} pictures"
        raise UsageError(f"too few pictures: {told}", where=str(folder), hint=hint)
