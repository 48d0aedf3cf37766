"""Write the references of docs/ from the code; with `--check`, only say if they are current.

    docs/configuration.md   from the config's structs: types, defaults, ranges, comments
    docs/metrics.md         the table, from edge_agent/ops/metrics.py; what follows the first words
                            of a meaning is kept, and so is the text around the table

The comments beside the fields of a struct own the text of the reference; config/edge-agent.yaml
has examples, and tests/config compares its keys with the structs.
"""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable  # noqa: TC003 (of tables below)
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from prometheus_client.metrics import MetricWrapperBase

from edge_agent.config.conditions import Condition
from edge_agent.config.limits import Deadband, Level
from edge_agent.config.schema import Config
from edge_agent.config.types import Between, Cycle, Duration, HostText, Name, Secret, Size
from edge_agent.ops.metrics import Metrics
from edge_agent.sinks import SINKS
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
EXAMPLE: Final = DOCS.parent / "config" / "edge-agent.yaml"
_KEY: Final = re.compile(r"^([ -]*)#?([a-z_0-9]+):(?:[^#]*?\s#\s*(.+))?")
_ROW: Final = re.compile(r"^\| `(edge_agent_\w+)` \| (.+?) \| (.+?) \| (.*) \|$")
_WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Name: "name",
    Duration: "[duration](#values)",
    Size: "[size](#values)",
    Secret: "[secret](#values)",
    Condition: "[condition](limits.md#conditions)",
    Cycle: "`none`, a duration, or a signal",
    Level: "number, or a text",
    Deadband: "number, or a text",
    Any: "any",
    HostText: "text; `{hostname}` is replaced",
}
# Of keys that mean the same in every struct and have no comment there.
_SAID: Final = {
    "Quiet.start": "local time at which it begins",
    "Quiet.end": "local time at which it ends",
    "SmtpConfig.host": "the mail server",
    "host": "the server",
    "ControlChart.asset": "an id, a range `P-{01..12}` or a pattern `P-*`",
    "ControlChart.signal": "the measurement",
    "ControlChart.ne107": "status signal of NAMUR NE 107",
    "ControlChart.chart": "the statistic",
    "ControlChart.phase_one": "from what the limits are learned",
    "ControlChart.specification": "of the customer, for Cp and Cpk",
    "ControlChart.autocorrelation": "if a measurement depends on the one before it",
    "ControlChart.ewma": "of chart: ewma",
    "ControlChart.cusum": "of chart: cusum",
    "PhaseOne.subgroups": "that are needed",
    "GivenLimits.center": "the centre line",
    "GivenLimits.sigma": "of one value, not of the subgroup's mean",
    "Specification.low": "the lower specification limit",
    "Specification.high": "the upper specification limit",
    "Specification.target": "the best value, for Cpm",
    "Specification.confidence": "of the intervals of the indices",
    "Cusum.h": "the decision limit, standard deviations",
    "control_charts": "charts over measurements of parts, by name (process-quality.md)",
    "part_records": "what is kept of parts",
    "sender": "address that the mail comes from",
    "to": "addresses that the mail goes to",
    "sink": "the sink that sends it",
    "limit_window": "the time in which the limit counts",
    "escalate_to": "the route that hears of it if nobody acknowledges in time",
    "topic_root": "first level of all topics of this service",
    "sinks": "where alarms go, by name; `type` says which kind",
    "models_dir": "the folder of the model bundles, also of those that are learned here",
    "username": "user name for the login",
    "password": "where the password is kept",
    "keepalive": "the connection is checked this often",
    "max_payload": "larger messages are refused",
    "allow_insecure_password": "send the password without encryption",
    "user_certificate": "DER or PEM: log in with a certificate instead of a password",
    "user_private_key": "of this certificate",
    "user_private_key_password": "of this key, if it is encrypted",
    "publishing_interval": "how often the server sends what has changed",
    "queue_size": "values of a node that the server keeps between two messages",
    "timeout": "of a request",
    "session_timeout": "how long the server keeps the session without us",
    "asset": "the machine that all rows belong to",
    "asset_column": "the column with the machine of each row",
    "value_column": "the column with the value, if each row is of one signal",
    "quality_codes": "what numbers in a quality mean",
    "loop": "begin again at the end of the recording",
    "url": "where the broker, server or receiver is",
    "send_window": "messages that are sent before the first of them is confirmed",
    "headers": "of each request",
    "language": "of the texts",
    "enterprise": "level of ISA-95, in topics",
    "site": "level of ISA-95, in topics",
    "area": "level of ISA-95, in topics; of a machine, the gateway's by default",
    "line": "level of ISA-95, in topics; of a machine, the gateway's by default",
    "template": "the template whose settings it has",
    "max_assets": "more machines are refused, and counted",
    "index": "which part this gateway has, from 0",
    "of": "into how many parts the machines are divided",
    "max_batch": "windows in one run of a model",
    "shelve_max": "longest time for which an alarm can be shelved",
    "languages": "of the texts in messages",
    "severity": "1 to 1000, as OPC UA counts; the priority follows from it",
    "path": "the file",
    "history_days": "how long transitions are kept",
    "port": "TCP port; 0: any free one",
    "enabled": "false: off",
    "threads": "processor threads",
    "json": "one JSON object a line",
    "intake_values": "values that wait for the pipeline; if there are more, the oldest are dropped",
    "drain_deadline": "how long a stop waits for what is still to be sent",
    "topic": "with the placeholders {area}, {line}, {asset}, {signal}",
    "qos": "quality of service of MQTT",
    "ca": "PEM; default: the system's authorities",
    "cert": "ours, if the other side asks for one; PEM",
    "certificate": "ours; DER or PEM",
    "private_key": "of our certificate",
    "private_key_password": "of this key, if it is encrypted",
    "unit": "of the value, for people; nothing is converted",
    "Signal.deadband": "the server reports no smaller change than this (OPC UA)",
    "deadband": "how far the value goes back below its limit before the alarm clears",
    "bundle": "the name of the model's folder in `models_dir`",
    "false_alarms_per_day": "that an asset's alarm may raise at most, on average",
    "model": "the bearing's name in the table of known bearings",
    "balls": "number of rolling elements",
    "ball_diameter_mm": "diameter of a rolling element",
    "pitch_diameter_mm": "diameter of the circle through their centres",
    "contact_angle_deg": "between load and radius",
    "bpfo": "frequency of the outer ring, per turn of the shaft",
    "bpfi": "frequency of the inner ring, per turn of the shaft",
    "bsf": "frequency of a rolling element, per turn of the shaft",
    "ftf": "frequency of the cage, per turn of the shaft",
    "speed": "the signal with the speed of the shaft",
    "speed_ratio": "turns of the shaft for one of that signal",
    "on_delay": "how long the value is over the limit before the alarm is raised",
    "off_delay": "how long it is back before the alarm clears",
    "cooldown": "how long after an alarm no other is raised",
    "failure_mode": "what probably fails, in the alarm's message",
    "advice": "what to do, by language",
    "falling": "as `rising`, for a value that falls",
    "offset": "added to the value after `scale`",
    "byte_order": "of a binary payload",
    "foundation": "of the machine: its zones are in ISO 20816-3",
}
_LONG_S: Final = 1e8
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_NOTHING: Final = "\N{EN DASH}"
_HEAD: Final = f"""\
# Configuration reference

Every key of the config, made from the code by `scripts/reference`. A complete example with
comments is `config/edge-agent.yaml`; [quickstart.md](quickstart.md) shows how to begin, and
`edge-agent check -c FILE` lists every problem with its line. A key that is not here is an error.

## Values

| value | written as |
| --- | --- |
| duration | `500ms`, `10s`, `5m`, `2h`, `1d`; a number is seconds |
| size | `64KiB`, `64MiB`, `1GiB`; a number is bytes |
| name | letters, digits, `_`, `-`, `.`; begins with a letter or digit |
| secret | never the secret itself: `{{file: PATH}}`, `{{env: VARIABLE}}`, `{{credential: NAME}}` |
| map | keys that you choose, such as the names of sources, with a value each |

`{_NOTHING}` as default: nothing is set, or the text says what is used. **required**: no default.

"""


# -- the config --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Structs:
    """The structs that are shown, in the order in which they are met, and where each is used."""

    found: dict[type, str] = field(default_factory=dict)
    tops: dict[type, set[str]] = field(default_factory=dict)  # sections of the file
    here: set[str] = field(default_factory=set)  # of the struct that is being shown

    def link(self, struct: type) -> str:
        if struct not in self.found:
            self.found[struct] = struct.__name__
        self.tops.setdefault(struct, set()).update(self.here)
        title = self.found[struct]
        return f"[{title}](#{_anchor(title)})"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def configuration() -> str:
    """The text of docs/configuration.md."""
    structs, parts, done = _Structs(), [_HEAD], set[type]()
    structs.found[Config], structs.tops[Config] = "The file", {""}
    for table, what in ((SOURCES, "source"), (SINKS, "sink")):
        for kind, row in table.items():
            structs.found[row.config] = f"{what.capitalize()} of type {kind}"
    while left := [one for one in structs.found if one not in done]:
        done.add(left[0])
        parts.append(_section(left[0], structs))
    return "\n".join(parts)


def _section(struct: type, structs: _Structs) -> str:
    """One struct: its words, and a row for each key."""
    lines = [f"## {structs.found[struct]}", "", *_words(struct), ""]
    lines += ["| key | value | default | |", "| --- | --- | --- | --- |"]
    hints, texts = get_type_hints(struct, include_extras=True), _comments(struct)
    example = _example_notes()
    for each in fields(struct):
        structs.here = {each.name} if struct is Config else structs.tops[struct]
        kind = _sources_of(each.name, structs) or _kind(hints[each.name], structs)
        default = _default(each, hints[each.name])
        text = texts.get(each.name) or _first_sentence(hints[each.name])
        sections = sorted(structs.tops[struct])
        said = [example[one, each.name] for one in sections if (one, each.name) in example]
        common = _SAID.get(f"{struct.__name__}.{each.name}", _SAID.get(each.name, ""))
        text = text or next(iter(said), common)
        cells = (f"`{each.name}`", kind, default, text)
        lines.append(f"| {' | '.join(one.replace('|', chr(92) + '|') for one in cells)} |")
    return "\n".join([*lines, ""])


def _first_sentence(hint: object) -> str:
    """What a struct is, for the key that holds it."""
    for one in (hint, *get_args(hint)):
        if isinstance(one, type) and is_dataclass(one) and one is not Secret:
            text = inspect.cleandoc(one.__doc__ or "").split("\n\n")[0]
            return " ".join(text.split())
    return ""


@functools.cache
def _example_notes() -> dict[tuple[str, str], str]:
    """The comments behind keys of config/edge-agent.yaml, by section and key, if there is one."""
    found: dict[tuple[str, str], set[str]] = {}
    section = ""
    for line in EXAMPLE.read_text("utf-8").splitlines():
        if (key := _KEY.match(line)) is None:
            continue
        if not key[1]:
            section = key[2]
        found.setdefault((section if key[1] else "", key[2]), set()).add(key[3] or "")
    texts = {key: notes - {""} for key, notes in found.items()}
    return {key: next(iter(notes)) for key, notes in texts.items() if len(notes) == 1}


def _words(struct: type) -> list[str]:
    text = inspect.cleandoc(struct.__doc__ or "")
    return ["\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))]


def _sources_of(key: str, structs: _Structs) -> str:
    """The kinds of sources and sinks, whose structs are tables of the rooms."""
    tables: dict[str, dict[str, Any]] = {"sources": {**SOURCES}, "sinks": {**SINKS}}
    table = tables.get(key)
    if table is None:
        return ""
    return "map of name to " + ", ".join(structs.link(row.config) for row in table.values())


def _kind(hint: object, structs: _Structs) -> str:
    """A type in words."""
    if hint in _WORDS:
        return _WORDS[hint]
    shown = _GENERIC.get(get_origin(hint))
    if shown is not None:
        return shown(get_args(hint), structs)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f"`{one.value}`" for one in hint if one.value)
    if isinstance(hint, type) and is_dataclass(hint):
        return structs.link(hint)
    return str(getattr(hint, "__name__", hint))


def _annotated(inner: tuple[Any, ...], structs: _Structs) -> str:
    ranges = [one for one in inner[1:] if isinstance(one, Between)]
    form = _FORMS.get(inner[0], _plain)
    within = "".join(f", {form(one.low)} to {form(one.high)}" for one in ranges)
    return _kind(inner[0], structs) + within


def _either(inner: tuple[Any, ...], structs: _Structs) -> str:
    return " or ".join(_kind(one, structs) for one in inner if one is not NoneType)


def _listed(inner: tuple[Any, ...], structs: _Structs) -> str:
    if inner[-1] is ...:
        return f"list of {_kind(inner[0], structs)}"
    return f"[{', '.join(_kind(one, structs) for one in inner)}]"


def _mapped(inner: tuple[Any, ...], structs: _Structs) -> str:
    return f"map of {_kind(inner[0], structs)} to {_kind(inner[1], structs)}"


_GENERIC: Final[dict[Any, Callable[[tuple[Any, ...], _Structs], str]]] = {
    Annotated: _annotated,
    Union: _either,
    UnionType: _either,
    tuple: _listed,
    dict: _mapped,
}


def _default(one: Field[Any], hint: object) -> str:
    """The default as it would be written."""
    value = one.default
    if value is MISSING and one.default_factory is not MISSING:
        value = one.default_factory()
    if value is MISSING:
        return "**required**"
    if value is None or is_dataclass(value) or value in ((), {}, ""):
        return _NOTHING
    kind = hint
    while get_origin(kind) in {Annotated, Union, UnionType}:
        kind = get_args(kind)[0]
    return f"`{_FORMS.get(kind, _plain)(value)}`"


def _duration(value: float) -> str:
    if not value or value > _LONG_S:
        return f"{value:.0f}s" if value else "0"
    units = ((size, name) for size, name in _UNITS if value >= size and value % size == 0)
    size, name = next(units, (0.001, "ms"))
    return f"{value / size:g}{name}"


def _size(value: int) -> str:
    size, name = next(((n, name) for n, name in _SIZES if value % n == 0), (1, ""))
    return f"{value // size}{name}"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else str(value)


_FORMS: Final[dict[Any, Callable[[Any], str]]] = {Duration: _duration, Size: _size}


def _comments(struct: type) -> dict[str, str]:
    """The comment of each field: lines above it and behind it."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__[:-1]):
        source = textwrap.dedent(inspect.getsource(base))
        notes, alone = _notes(source)
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                text = _note_of(node, notes, alone)
                if text:
                    found[node.target.id] = text
    return found


def _notes(source: str) -> tuple[dict[int, str], set[int]]:
    """The comments by line, and the lines that have nothing else."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    notes = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
    alone = {line for line, one in notes.items() if not one.line[: one.start[1]].strip()}
    texts = {line: re.sub(r"^#\s*|\s*noqa:.*$", "", one.string) for line, one in notes.items()}
    return texts, alone


def _note_of(node: ast.AnnAssign, notes: dict[int, str], alone: set[int]) -> str:
    above: list[str] = []
    line = node.lineno - 1
    while line in alone:
        above.insert(0, notes[line])
        line -= 1
    last = node.end_lineno or node.lineno
    behind = [notes[n] for n in range(node.lineno, last + 1) if n in notes and n not in alone]
    return " ".join([*above, *behind]).strip()


# -- metrics -----------------------------------------------------------------------------------


def metrics() -> str:
    """The text of docs/metrics.md: its rows by the code, all else as it is."""
    lines = (DOCS / "metrics.md").read_text("utf-8").splitlines()
    rows = [n for n, line in enumerate(lines) if _ROW.match(line)]
    more = {found[1]: found[4] for line in lines if (found := _ROW.match(line))}
    made = [_metric_row(one, more) for one in _metrics_of_code()]
    return "\n".join([*lines[: rows[0]], *made, *lines[rows[-1] + 1 :], ""])


def _metrics_of_code() -> Iterator[MetricWrapperBase]:
    return (one for one in vars(Metrics()).values() if isinstance(one, MetricWrapperBase))


def _metric_row(metric: MetricWrapperBase, more: dict[str, str]) -> str:
    """The row of a metric; what the page says after the code's own words is kept."""
    kind, text = str(metric._type), str(metric._documentation)  # noqa: SLF001
    name = metric._name + ("_total" if kind == "counter" else "")  # noqa: SLF001
    labels = ", ".join(f"`{one}`" for one in metric._labelnames) or _NOTHING  # noqa: SLF001
    old = more.get(name, "")
    meaning = old if old.startswith(text) else text
    return f"| `{name}` | {kind} | {labels} | {meaning} |"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "configuration.md": configuration,
    "metrics.md": metrics,
}


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if a page is not current"
    )
    args = parser.parse_args()
    old = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        old.append(name)
        if not args.check:
            path.write_text(text, "utf-8")
            print(f"docs/{name}: written")
    if args.check and old:
        print(f"not current: {', '.join(old)}; run scripts/reference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
