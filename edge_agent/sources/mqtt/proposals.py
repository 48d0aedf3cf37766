"""Makes subscriptions and templates of a config from received topics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config import id_ranges, safe_name
from edge_agent.plant import fill
from edge_agent.sources.mqtt.topics import compile_pattern, is_safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.sources.mqtt.form import Form
    from edge_agent.sources.mqtt.listener import HeardTopic

# Last levels that identify neither a machine nor a signal.
_EMPTY_WORDS: Final = frozenset(
    {"value", "val", "state", "status", "data", "json", "raw", "reading", "sensor", "telemetry"}
    | {"values", "tele", "up", "payload", "measurement", "iot", "default", "messages", "samples"}
)
_OURS: Final = ("/_pdm/", "/_svc/")  # topics that a gateway like this one publishes
_DEFAULT_TIME: Final = "ts"
_DEFAULT_VALUE: Final = "value"
_KNOWN_QUALITIES: Final = frozenset({"quality", "q", "statuscode", "status"})  # read by default


@dataclass(slots=True)
class Proposal:
    """Parts of a config; left_out: topics that are not mapped, and why."""

    subscribe: list[dict[str, Any]] = field(default_factory=list)
    templates: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Likeness:
    """The common properties of the topics of one subscription."""

    levels: int
    first: str
    last: str  # of topics of a whole machine
    single: bool
    value: str
    time: str
    quality: str
    items: str
    name: str


def propose(topics: Iterable[HeardTopic], source: str) -> Proposal:
    """Subscriptions with placeholders, and a template for each set of signals."""
    proposal = Proposal()
    groups: dict[_Likeness, list[HeardTopic]] = {}
    for one in topics:
        if any(mark in one.topic for mark in _OURS):
            continue
        if one.form.usable:
            groups.setdefault(_likeness(one), []).append(one)
        else:
            note = f" ({one.form.note})" if one.form.note else ""
            proposal.left_out.append(f"{one.topic}: {one.form.kind}{note}")
    for like, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        _add(proposal, like, group, source)
    return proposal


def _likeness(one: HeardTopic) -> _Likeness:
    levels, form = one.topic.split("/"), one.form
    single = not form.numbers
    return _Likeness(
        len(levels),
        levels[0],
        "" if single or levels[-1].lower() not in _EMPTY_WORDS else levels[-1],
        single,
        "{signal}" if single and form.value == levels[-1] else form.value,
        form.time,
        form.quality,
        form.items,
        form.name,
    )


def _add(proposal: Proposal, like: _Likeness, group: list[HeardTopic], source: str) -> None:
    pattern = _pattern([one.topic.split("/") for one in group], single=like.single)
    machines: dict[str, dict[str, dict[str, Any]]] = {}
    lines: dict[str, str] = {}
    compiled = compile_pattern(pattern)
    matched = [(one, compiled.match(one.topic) or {}) for one in group]
    asset_format = _asset_format([places for _, places in matched])
    for one, places in matched:
        asset = fill(asset_format, places) if asset_format else _fixed_asset(one.topic, like)
        if not is_safe_name(asset):
            proposal.left_out.append(
                f"{one.topic}: {asset!r} is not a name for a machine: set asset:"
            )
            continue
        lines[asset] = places.get("line", "")
        signals = machines.setdefault(asset, {})
        signals |= _signals(one.form, places.get("signal", ""), like)
    if not machines:
        return
    keys: dict[str, Any] = {"topic": pattern}
    if asset_format != "{asset}":
        keys["asset"] = asset_format or next(iter(machines))
    names = _templates(proposal, machines, source)
    if len(set(names.values())) == 1 and asset_format:
        keys["template"] = next(iter(names.values()))
    else:
        proposal.assets |= _assets(names, lines)
    payload = _payload(like)
    proposal.subscribe.append(keys | ({"payload": payload} if payload else {}))


def _pattern(topics: Sequence[list[str]], *, single: bool) -> str:
    """Replaces levels that differ by placeholders: from the right {signal}, {asset}, {line}."""
    levels = list(topics[0])
    varies = [len({topic[n] for topic in topics}) > 1 for n in range(len(levels))]
    names = ["signal", "asset", "line"] if single else ["asset", "line"]
    at = len(levels) - 1
    while at > 0 and not varies[at] and levels[at].lower() in _EMPTY_WORDS:
        at -= 1
    for n in range(at, -1, -1):
        # The first two names are always needed; a line only if there are several.
        needed = bool(names) and names[0] != "line" and (n > 0 or len(levels) == 1)
        if names and (varies[n] or needed):
            levels[n] = f"{{{names.pop(0)}}}"
        elif varies[n]:
            levels[n] = "+"
    return "/".join(levels)


def _asset_format(matched: Sequence[dict[str, str]]) -> str:
    """The format of an asset's id: with its line if two lines have machines of one name."""
    if "asset" not in matched[0]:
        return ""
    machines = {(places.get("line"), places["asset"]) for places in matched}
    is_unique = len(machines) == len({asset for _, asset in machines})
    return "{asset}" if is_unique else "{line}-{asset}"


def _fixed_asset(topic: str, like: _Likeness) -> str:
    """The machine of a topic that has no level for one."""
    levels = topic.split("/")
    return safe_name(levels[0] if like.single else levels[-1], "machine")


def _signals(form: Form, name: str, like: _Likeness) -> dict[str, dict[str, Any]]:
    """The signals of one topic, by name."""
    about = {"unit": form.unit} if form.unit else {}
    if like.single:
        about |= {"decimal": form.decimal} if form.decimal else {}
        return {safe_name(name, "value"): about}
    signals: dict[str, dict[str, Any]] = {}
    short = [path.rpartition(".")[2] for path in form.numbers]
    is_short = bool(form.name) and len(set(short)) == len(short)
    for path, last in zip(form.numbers, short, strict=True):
        signal = safe_name(last if is_short else path, "value")
        signals[signal] = {} if signal == path else {"address": path}
    return signals


def _templates(
    proposal: Proposal, machines: dict[str, dict[str, dict[str, Any]]], source: str
) -> dict[str, str]:
    """The template of each machine; machines with the same signals share one."""
    names: dict[str, str] = {}
    made: dict[frozenset[str], str] = {}
    sizes = Counter(frozenset(signals) for signals in machines.values())
    for asset, signals in sorted(machines.items(), key=lambda item: -sizes[frozenset(item[1])]):
        kind = frozenset(signals)
        if kind not in made:
            made[kind] = _unused("machine", proposal.templates)
            filled = {
                name: ({"source": source} if source else {}) | about
                for name, about in signals.items()
            }
            proposal.templates[made[kind]] = {"signals": filled, "learn": "auto"}
        names[asset] = made[kind]
    return names


def _unused(name: str, taken: dict[str, Any]) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _assets(names: dict[str, str], lines: dict[str, str]) -> dict[str, Any]:
    alike: dict[tuple[str, str], list[str]] = {}
    for asset, template in names.items():
        line = lines.get(asset, "")
        alike.setdefault((template, line if is_safe_name(line) else ""), []).append(asset)
    return {
        text: {"template": template, **({"line": line} if line else {})}
        for (template, line), ids in alike.items()
        for text in id_ranges(ids)
    }


def _payload(like: _Likeness) -> dict[str, Any]:
    """Keys of `payload:` that differ from their defaults."""
    keys: dict[str, Any] = {}
    if like.time and like.time != _DEFAULT_TIME:
        keys["time"] = like.time
    if (like.single or like.name) and like.value and like.value != _DEFAULT_VALUE:
        keys["value"] = like.value
    if like.quality and like.quality.lower() not in _KNOWN_QUALITIES:
        keys["quality"] = like.quality
    if like.items:
        keys["items"] = like.items
    if like.name:
        keys["name"] = like.name
    return keys
