"""Payload dialects, put together from parts: each is read right, or refused with a cause.

A dialect is a structure, a way to write the value, the time and the quality, and an encoding. The
truth is known from the parts, so that nothing can be wrong without a word.
"""

from __future__ import annotations

import gzip
import math
import random
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import yaml
from mqtt_support import rejected
from test_recipes import Reader, load

from edge_agent.status_codes import Severity, severity_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW_US: Final = 1_767_225_660_000_000
AT_US: Final = NOW_US - 4_500_000
N_DIALECTS: Final = 400
TOPIC: Final = "plant/M-1/flow"
REFUSED: Final = "refused"
BAD: Final = "bad"


class Structure(NamedTuple):
    """text: %V value, %T time, %Q quality; parts in < > go where that is not written."""

    name: str
    subscribe: str
    text: str
    topic: str = "plant/M-1/flow"
    has_time: bool = True
    has_quality: bool = True
    json: bool = True
    wide: bool = False  # an object of many signals


ONE = "topic: 'plant/{asset}/{signal}'"
ALL = "topic: 'plant/{asset}/all'"
WIDE = "plant/M-1/all"
STRUCTURES = (
    Structure("scalar", f"{{{ONE}}}", "%V", has_time=False, has_quality=False),
    Structure("object", f"{{{ONE}}}", '{<"ts": %T, ><"quality": %Q, >"value": %V}'),
    Structure("object, q", f"{{{ONE}}}", '{"value": %V<, "q": %Q><, "ts": %T>}'),
    Structure(
        "paths",
        f"{{{ONE}, payload: {{value: d.v, time: d.t, quality: d.q}}}}",
        '{"d": {<"t": %T, ><"q": %Q, >"v": %V}}',
    ),
    Structure(
        "path, own quality",
        f"{{{ONE}, payload: {{value: d.value}}}}",
        '{<"ts": %T, >"d": {<"quality": %Q, >"value": %V}}',
    ),
    Structure("list", f"{{{ONE}}}", '[{<"ts": %T, >"value": %V<, "quality": %Q>}]'),
    Structure(
        "index",
        f"{{{ONE}, payload: {{value: 'x[1].v', time: 'x[1].t', quality: 'x[1].q'}}}}",
        '{"x": [{"v": 99}, {"v": %V<, "t": %T><, "q": %Q>}]}',
    ),
    Structure(
        "tag as key",
        f"{{{ONE}, payload: {{value: '{{signal}}'}}}}",
        '{"flow": %V<, "ts": %T><, "quality": %Q>}',
    ),
    Structure(
        "asset",
        f"{{{ALL}}}",
        '{"flow": %V, "other": 7<, "ts": %T><, "quality": %Q>}',
        WIDE,
        wide=True,
    ),
    Structure(
        "asset, nested", f"{{{ALL}}}", '{"flow": {"value": %V<, "ts": %T><, "quality": %Q>}}', WIDE
    ),
    Structure(
        "kepware",
        f"{{{ALL}, payload: {{items: values, name: id, value: v, time: t, quality: q}}}}",
        '{"timestamp": 1, "values": [{"id": "other", "v": 7}, '
        '{"id": "flow", "v": %V<, "q": %Q><, "t": %T>}]}',
        WIDE,
    ),
    Structure(
        "time around",
        f"{{{ALL}, payload: {{items: values, name: id, value: v}}}}",
        '{<"ts": %T, >"values": [{"id": "flow", "v": %V<, "quality": %Q>}]}',
        WIDE,
    ),
    Structure(
        "pubsub",
        f"{{{ALL}, payload: {{items: 'Messages[].Payload', value: Value, "
        f"time: SourceTimestamp, quality: StatusCode}}}}",
        '{"Messages": [{"Payload": {"flow": '
        '{"Value": %V<, "SourceTimestamp": %T><, "StatusCode": %Q>}}}]}',
        WIDE,
    ),
    Structure(
        "variant",
        f"{{{ALL}, payload: {{items: Payload, value: Value, time: T, quality: S}}}}",
        '{"Payload": {"flow": {"Value": {"Type": 11, "Body": %V}<, "T": %T><, "S": %Q>}}}',
        WIDE,
    ),
    Structure(
        "samples",
        f"{{{ALL}, payload: {{name: DisplayName, value: Value.Value, time: Value.T, "
        f"quality: Value.StatusCode}}}}",
        '[{"DisplayName": "flow", "Value": {"Value": %V<, "T": %T><, "StatusCode": %Q>}}]',
        WIDE,
    ),
    Structure(
        "values",
        f"{{{ALL}, payload: {{items: values}}}}",
        '{<"ts": %T, >"values": {"flow": %V}}',
        WIDE,
        has_quality=False,
    ),
    Structure(
        "values, list",
        f"{{{ALL}, payload: {{items: values}}}}",
        '[{<"ts": %T, >"values": {"flow": %V}}]',
        WIDE,
        has_quality=False,
    ),
    Structure(
        "gateway",
        "{topic: gw, payload: {asset: '*', items: values}}",
        '{"M-1": [{<"ts": %T, >"values": {"flow": %V}}]}',
        "gw",
        has_quality=False,
    ),
    Structure(
        "asset in payload",
        "{topic: gw, payload: {asset: dev.id}}",
        '{"dev": {"id": "M-1"}, "flow": %V<, "ts": %T><, "quality": %Q>}',
        "gw",
        wide=True,
    ),
    Structure(
        "csv",
        f"{{{ONE}, payload: {{format: csv, separator: ';', columns: [ts, value, quality], "
        f"quality: quality}}}}",
        "%T;%V;%Q",
        json=False,
    ),
    Structure(
        "csv, asset",
        f"{{{ALL}, payload: {{format: csv, separator: ';', columns: [q, flow, ts], quality: q}}}}",
        "q;flow;ts\n%Q;%V;%T\n",
        WIDE,
        json=False,
    ),
)


class Form(NamedTuple):
    """How something is written, and what it is worth; csv: how it is written in a cell."""

    text: str
    worth: Any
    csv: str | None = None


# worth: the number, BAD, or REFUSED, which is bad and counted.
VALUES = (
    Form("12.5", 12.5),
    Form("-3", -3.0),
    Form("1.25e2", 125.0),
    Form("0", 0.0),
    Form("true", 1.0),
    Form("false", 0.0),
    Form('"12.5"', 12.5),
    Form('" 12.5 "', 12.5),
    Form('"12.5 m3/h"', 12.5),
    Form('"+7"', 7.0),
    Form('"1e3"', 1000.0),
    Form('"RUNNING"', 5.0),
    Form('"stopped"', 6.0),
    Form('"ON"', 1.0),
    Form("+4.5", 4.5),
    Form(".5", 0.5),
    Form("007", 7.0),
    Form("null", BAD),
    Form("NaN", BAD),
    Form("nan", BAD),
    Form("-nan", BAD),
    Form("inf", BAD),
    Form("-inf", BAD),
    Form("Infinity", BAD),
    Form("nan(ind)", BAD),
    Form("1.#QNAN", BAD),
    Form('"NaN"', BAD),
    Form('""', BAD),
    Form('"--"', BAD),
    Form("1e999", BAD),
    Form('"ERR"', REFUSED),
    Form('"12,5"', REFUSED),
    Form('"0x1F"', REFUSED),
    Form("0x1F", REFUSED),
    Form("ERR", REFUSED),
    Form('"12.5 bar"', REFUSED),
    Form('"5 of 10"', REFUSED),
    Form('"12:30"', REFUSED),
    Form("123456789012345678901234567890", 123456789012345678901234567890.0),
    Form("None", BAD),
    Form("Null", BAD),
)
ISO = "2026-01-01T00:00:55.500"
# worth: the time in microseconds, None for the time of arrival, or REFUSED.
TIMES = (
    Form(str(AT_US // 1000), AT_US),
    Form(str(AT_US), AT_US),
    Form(str(AT_US * 1000), AT_US),
    Form(f"{AT_US / 1e6:.3f}", AT_US),
    Form(f'"{ISO}Z"', AT_US),
    Form('"2026-01-01T02:00:55.500+02:00"', AT_US),
    Form('"2025-12-31T19:00:55.5-0500"', AT_US),
    Form(f'"{ISO}000Z"', AT_US),
    Form(f'"{ISO.replace(".", ",")}Z"', AT_US),
    Form("", None),
    Form("", None),
    Form("null", None, ""),
    Form('"yesterday"', REFUSED),
    Form('"01.01.2026 00:00:55"', REFUSED),
    Form("0", REFUSED),
    Form("5", 5_000_000),  # of a clock that was never set, which the source's clock corrects
    Form("true", REFUSED),
    Form("1e300", REFUSED),
)
GOOD, UNCERTAIN = Severity.GOOD, Severity.UNCERTAIN
# worth: the severity; REFUSED is bad and counted.
QUALITIES = (
    Form("", GOOD),
    Form("", GOOD),
    Form("", GOOD),
    Form('"Good"', GOOD),
    Form('"GOOD"', GOOD),
    Form('"good"', GOOD),
    Form("192", GOOD),
    Form("true", GOOD),
    Form('"gut"', GOOD),
    Form('"OK"', GOOD),
    Form('"Good_LocalOverride"', GOOD),
    Form('"0x00000000"', GOOD),
    Form('"192"', GOOD),
    Form('"bad"', Severity.BAD),
    Form('"Bad_NoCommunication"', Severity.BAD),
    Form('"BAD"', Severity.BAD),
    Form("false", Severity.BAD),
    Form("2147483648", Severity.BAD),
    Form("-2147483648", Severity.BAD),
    Form('"0x80000000"', Severity.BAD),
    Form('"schlecht"', Severity.BAD),
    Form('"Fehler"', Severity.BAD),
    Form("500", Severity.BAD),
    Form("24", Severity.BAD),
    Form('"ungültig"', Severity.BAD),
    Form('"uncertain"', UNCERTAIN),
    Form('"Uncertain_SubNormal"', UNCERTAIN),
    Form("64", UNCERTAIN),
    Form('"Uncertain_LastUsableValue"', Severity.BAD),
    Form('{"Code": 2150694912, "Symbol": "BadNoCommunication"}', Severity.BAD, "bad"),
    Form('"wat"', REFUSED),
    Form("7777", REFUSED),
    Form('"goodish"', REFUSED),
)
ENCODINGS: tuple[tuple[str, Callable[[str], bytes], bool], ...] = (
    *[("utf-8", lambda text: text.encode(), True)] * 6,
    ("BOM", lambda text: b"\xef\xbb\xbf" + text.encode(), True),
    ("NUL", lambda text: text.encode() + b"\0", True),
    ("latin-1", lambda text: text.encode("latin-1"), True),
    ("newline", lambda text: text.encode() + b"\r\n", True),
    ("utf-16", lambda text: text.encode("utf-16"), True),
    ("gzip", lambda text: gzip.compress(text.encode(), mtime=0), True),
    ("zlib", lambda text: zlib.compress(text.encode()), True),
    ("cut", lambda text: gzip.compress(text.encode(), mtime=0)[:-9], False),
    ("cut", lambda text: text.encode()[:-2], False),
)
TEMPLATE = {"signals": {"flow": {"unit": "m3/h", "map": {"RUNNING": 5, "Stopped": 6}}, "other": {}}}


_MARKS: Final = str.maketrans("", "", "<>")


class Dialect(NamedTuple):
    structure: Structure
    value: Form
    time: Form
    quality: Form
    encoding: tuple[str, Callable[[str], bytes], bool]

    @property
    def payload(self) -> bytes:
        text = self.structure.text
        for mark, form in (("%T", self.time), ("%Q", self.quality), ("%V", self.value)):
            text = _without(text, mark) if not form.text and self.structure.json else text
            text = text.replace(mark, self._written(form))
        return self.encoding[1](text.translate(_MARKS))

    def _written(self, form: Form) -> str:
        if self.structure.json:
            return form.text
        return form.text.strip('"') if form.csv is None else form.csv


def _without(text: str, mark: str) -> str:
    """Without the optional part in which the mark stands."""
    at = text.find(mark)
    if at < 0:
        return text
    start, end = text.rfind("<", 0, at), text.find(">", at)
    return text[:start] + text[end + 1 :]


def dialects() -> list[Dialect]:
    """The same ones each time: each form at least once, the rest by chance."""
    chance = random.Random(6)  # noqa: S311
    found = []
    for n in range(N_DIALECTS):
        structure = STRUCTURES[n % len(STRUCTURES)]
        value = VALUES[n % len(VALUES)] if n % 2 else chance.choice(VALUES[:20])
        time = chance.choice(TIMES) if structure.has_time else Form("", None)
        quality = chance.choice(QUALITIES) if structure.has_quality else Form("", GOOD)
        found.append(Dialect(structure, value, time, quality, chance.choice(ENCODINGS)))
    return found


def name_of(one: Dialect) -> str:
    parts = (one.structure.name, one.value.text, one.time.text, one.quality.text, one.encoding[0])
    return " | ".join(parts)


def worth(one: Dialect) -> tuple[float | str, int | None, Severity, bool]:
    """What a dialect says: number, time, severity, and whether a refusal is counted."""
    refused = REFUSED in {one.value.worth, one.quality.worth}
    severity = Severity.BAD if one.quality.worth == REFUSED else one.quality.worth
    is_number = isinstance(one.value.worth, float)
    return (
        one.value.worth if is_number else BAD,
        one.time.worth,
        severity if is_number else Severity.BAD,
        refused,
    )


def is_lost(one: Dialect) -> bool:
    """Whether nothing of the message can be used, but that it came."""
    return not one.encoding[2] or one.time.worth == REFUSED


def is_ambiguous(one: Dialect) -> bool:
    """A cut number is another number, and a cut line of CSV another cell: nobody can know."""
    cut = one.encoding[0] == "cut"
    return cut and (one.structure.name == "scalar" or not one.structure.json)


DIALECTS: Final = [one for one in dialects() if not is_ambiguous(one)]


def test_there_are_enough_of_them_and_each_form_occurs() -> None:
    assert len(DIALECTS) >= 200
    assert {one.structure for one in DIALECTS} == set(STRUCTURES)
    assert {one.value for one in DIALECTS} == set(VALUES)
    assert {one.time for one in DIALECTS} >= set(TIMES)
    assert {one.quality for one in DIALECTS} >= set(QUALITIES)
    assert {one.encoding[0] for one in DIALECTS} == {name for name, *_ in ENCODINGS}


@pytest.mark.parametrize("one", DIALECTS, ids=map(name_of, DIALECTS))
def test_a_dialect_is_read_right_or_refused_with_a_cause(one: Dialect, tmp_path: Path) -> None:
    """Three times, since the next messages of a topic may go a faster way than the first."""
    subscribe = {**yaml.safe_load(one.structure.subscribe), "template": "machine"}
    reader = Reader(load(tmp_path, {"subscribe": [subscribe], "templates": {"machine": TEMPLATE}}))
    for _ in range(3):
        before = sum(rejected(reader.metrics).values())
        reader.read(one.structure.topic, one.payload)
        refused = sum(rejected(reader.metrics).values()) > before
        check(one, readings(reader), refused=refused)


def readings(reader: Reader) -> list[tuple[float, int, Severity]]:
    """(number, time, severity) of each reading of M-1.flow."""
    if not reader.intake.packets:
        return []
    values = reader.intake.columns
    asset = reader.plant.assets.get("M-1")
    mine = values.signal == (-1 if asset is None else asset.signals["flow"].index)
    severity = severity_of(values.status[mine]).tolist()
    rows = zip(values.value[mine].tolist(), values.time_us[mine].tolist(), severity, strict=True)
    return [(value, at_us, Severity(code)) for value, at_us, code in rows]


def check(one: Dialect, got: list[tuple[float, int, Severity]], *, refused: bool) -> None:
    """Nothing is ever silently wrong."""
    number, at_us, severity, counted = worth(one)
    if is_lost(one):
        assert refused
        assert all(code is Severity.BAD for _, _, code in got)
        return
    assert len(got) == 1
    value, time_us, code = got[0]
    assert code is severity
    if number != BAD:
        assert value == pytest.approx(number)
    else:
        assert math.isnan(value)
    assert refused or not counted
    if code is not Severity.BAD:
        assert abs(time_us - (NOW_US if at_us is None else at_us)) <= 1000
