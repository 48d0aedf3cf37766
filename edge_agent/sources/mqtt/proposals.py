"""Makes subscriptions and templates of a config from received topics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config import id_ranges, safe_name
from edge_agent.plant import fill
from edge_agent.sources.mqtt.form_leaves import is_value_key
from edge_agent.sources.mqtt.topics import compile_pattern, is_safe_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from edge_agent.sources.mqtt.form_objects import Form
    from edge_agent.sources.mqtt.listener import HeardTopic

# Last levels that identify neither a machine nor a signal.
_EMPTY_WORDS: Final = frozenset(
    {"", "value", "val", "state", "status", "data", "json", "raw", "reading", "sensor", "telemetry"}
    | {"values", "tele", "up", "payload", "measurement", "iot", "default", "messages", "samples"}
)
_OURS: Final = ("/_pdm/", "/_svc/")  # topics that a gateway like this one publishes
_DEFAULT_TIME: Final = "ts"
_DEFAULT_VALUE: Final = "value"
_KNOWN_QUALITIES: Final = frozenset({"quality", "q", "statuscode", "status"})  # read by default
_KNOWN_OF_MACHINES: Final = frozenset({"quality", "statuscode"})  # also beside many values


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
    asset: str  # the key of the payload that names the machine
    payload: tuple[tuple[str, Any], ...]


def propose(topics: Iterable[HeardTopic], source: str) -> Proposal:
    """Subscriptions with placeholders, and a template for each set of signals."""
    proposal = Proposal()
    groups: dict[_Likeness, list[HeardTopic]] = {}
    for one in _with_keys([one for one in topics if not _is_of_broker_or_ours(one.topic)]):
        if one.form.usable:
            groups.setdefault(_likeness(one), []).append(one)
        else:
            note = f" ({one.form.note})" if one.form.note else ""
            proposal.left_out.append(f"{one.topic}: {one.form.kind}{note}")
    for like, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        _add(proposal, like, group, source)
    return proposal


def _is_of_broker_or_ours(topic: str) -> bool:
    return topic.startswith("$") or "/$" in topic or any(mark in topic for mark in _OURS)


def _with_keys(topics: Sequence[HeardTopic]) -> list[HeardTopic]:
    """Topics whose object has one number: under a name of its own it is a signal of a machine.

    `zigbee/S-1 {"temperature": 21}` is a machine S-1. `plant/P-1/flow {"flow": 21}` is a signal,
    and so are topics beside each other whose keys differ.
    """
    keys: dict[str, set[str]] = {}
    for one in topics:
        keys.setdefault(one.topic.rpartition("/")[0], set()).add(one.form.value)
    found = []
    for one in topics:
        above, _, last = one.topic.rpartition("/")
        form, key = one.form, one.form.value.rpartition(".")[2]
        is_signal = not key or form.numbers or is_value_key(key) or key.lower() == last.lower()
        if not is_signal and len(keys[above]) == 1:
            about = {"unit": form.unit, "decimal": form.decimal}
            named = {form.value: {k: text for k, text in about.items() if text}}
            form = replace(form, value="", numbers=(form.value,), about=named)
        found.append(replace(one, form=form))
    return found


def _likeness(one: HeardTopic) -> _Likeness:
    levels, form = one.topic.split("/"), one.form
    single = not form.numbers
    return _Likeness(
        len(levels),
        levels[0] if len(levels) > 1 else "",
        "" if single or levels[-1].lower() not in _EMPTY_WORDS else levels[-1],
        single,
        "{signal}" if single and form.value == levels[-1] else form.value,
        form.time,
        form.quality,
        form.items,
        form.name,
        form.asset,
        form.payload,
    )


def _add(proposal: Proposal, like: _Likeness, group: list[HeardTopic], source: str) -> None:
    if like.asset:
        _add_named(proposal, like, group, source)
        return
    pattern = _pattern([one.topic.split("/") for one in group], single=like.single)
    compiled = compile_pattern(pattern)
    matched = [(one, compiled.match(one.topic) or {}) for one in group]
    odd = [(one, places) for one, places in matched if not is_safe_name(places.get("asset", "x"))]
    _add_odd(proposal, like, odd, pattern, source)
    matched = [pair for pair in matched if pair not in odd]
    if not matched:
        return
    asset_format = _asset_format([places for _, places in matched])
    machines: dict[str, dict[str, dict[str, Any]]] = {}
    lines: dict[str, str] = {}
    for one, places in matched:
        asset = fill(asset_format, places) if asset_format else _fixed_asset(one.topic, like)
        lines[asset] = places.get("line", "")
        _merge(machines, asset, _signals(one.form, places.get("signal", ""), like))
    keys: dict[str, Any] = {"topic": pattern}
    if asset_format != "{asset}":
        keys["asset"] = asset_format or next(iter(machines))
    names = _templates(proposal, machines, source)
    if len(set(names.values())) == 1 and asset_format and _are_safe(lines.values()):
        keys["template"] = next(iter(names.values()))
    else:
        proposal.assets |= _assets(names, lines)
    proposal.subscribe.append(_subscription(keys, like))


def _add_odd(
    proposal: Proposal,
    like: _Likeness,
    odd: list[tuple[HeardTopic, dict[str, str]]],
    pattern: str,
    source: str,
) -> None:
    """Machines whose names the config does not accept, `Pumpe 1`: a subscription for each."""
    topics: dict[str, tuple[str, str]] = {}
    machines: dict[str, dict[str, dict[str, Any]]] = {}
    for one, places in odd:
        topic = fill(pattern.replace("{signal}", "\0"), places).replace("\0", "{signal}")
        asset = topics.get(topic, (_unused(safe_name(places["asset"], "machine"), machines), ""))[0]
        topics[topic] = (asset, places.get("line", ""))
        _merge(machines, asset, _signals(one.form, places.get("signal", ""), like))
    names = _templates(proposal, machines, source)
    proposal.assets |= _assets(names, dict(topics.values()))
    proposal.subscribe += [
        _subscription({"topic": topic, "asset": asset}, like)
        for topic, (asset, _) in topics.items()
    ]


def _add_named(proposal: Proposal, like: _Likeness, group: list[HeardTopic], source: str) -> None:
    """Topics whose payloads name their machines."""
    machines: dict[str, dict[str, dict[str, Any]]] = {}
    for one in group:
        for asset, numbers in one.form.machines.items():
            if is_safe_name(asset):
                form = replace(one.form, numbers=numbers)
                _merge(machines, asset, _signals(form, "", like))
            else:
                proposal.left_out.append(
                    f"{one.topic}: {asset!r} is not a name for a machine: let the sender use "
                    "letters, digits, _ . -"
                )
    if not machines:
        return
    levels = [one.topic.split("/") for one in group]
    varies = [len({topic[n] for topic in levels}) > 1 for n in range(len(levels[0]))]
    topic = "/".join("+" if varies[n] else level for n, level in enumerate(levels[0]))
    names = _templates(proposal, machines, source)
    keys: dict[str, Any] = {"topic": topic}
    proposal.assets |= {} if len(set(names.values())) == 1 else _assets(names, {})
    keys["template"] = next(iter(names.values()))
    proposal.subscribe.append(_subscription(keys, like))


def _merge(
    machines: dict[str, dict[str, dict[str, Any]]], asset: str, signals: dict[str, dict[str, Any]]
) -> None:
    """Add signals to a machine; of two with one name that are not the same, both stay."""
    known = machines.setdefault(asset, {})
    for name, about in signals.items():
        is_other = name in known and known[name].get("address") != about.get("address")
        known[_unused(name, known) if is_other else name] = about


def _are_safe(lines: Iterable[str]) -> bool:
    return all(not line or is_safe_name(line) for line in lines)


def _subscription(keys: dict[str, Any], like: _Likeness) -> dict[str, Any]:
    payload = _payload(like)
    return keys | ({"payload": payload} if payload else {})


def _pattern(topics: Sequence[list[str]], *, single: bool) -> str:
    """Replaces levels that differ by placeholders: from the right {signal}, {asset}, {line}."""
    levels = list(topics[0])
    varies = [len({topic[n] for topic in topics}) > 1 for n in range(len(levels))]
    names = ["signal", "asset", "line"] if single else ["asset", "line"]
    at = len(levels) - 1
    is_same = not single and any(varies)  # then the machine is the last level that differs
    while at > 0 and not varies[at] and (is_same or levels[at].lower() in _EMPTY_WORDS):
        at -= 1
    for n in range(at, -1, -1):
        # The first two names are always needed; a line only if there are several.
        needed = bool(names) and names[0] != "line" and (n > 0 or len(levels) == 1)
        needed = needed and bool(levels[n])
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
    levels = [level for level in topic.split("/") if level]
    if like.single:
        return safe_name(levels[0], "machine") if len(levels) > 1 else "machine"
    return safe_name(levels[-1] if levels else "", "machine")


def _signals(form: Form, name: str, like: _Likeness) -> dict[str, dict[str, Any]]:
    """The signals of one topic, by name."""
    about = {"unit": form.unit} if form.unit else {}
    if like.single:
        about |= {"decimal": form.decimal} if form.decimal else {}
        safe = safe_name(name, "value")
        return {safe: about if safe == name or not name else {"address": name} | about}
    signals: dict[str, dict[str, Any]] = {}
    short = [path.rpartition(".")[2] for path in form.numbers]
    is_short = bool(form.name) and len(set(short)) == len(short)
    for path, last in zip(form.numbers, short, strict=True):
        signal = _unused(safe_name(last if is_short else path, "value"), signals)
        signals[signal] = ({} if signal == path else {"address": path}) | form.about.get(path, {})
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


def _unused(name: str, taken: Container[str]) -> str:
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
    if (like.single or like.name or like.items) and like.value and like.value != _DEFAULT_VALUE:
        keys["value"] = like.value
    known = _KNOWN_QUALITIES if like.single or like.name else _KNOWN_OF_MACHINES
    if like.quality and like.quality.lower() not in known:
        keys["quality"] = like.quality
    if like.items:
        keys["items"] = like.items
    if like.name:
        keys["name"] = like.name
    if like.asset:
        keys["asset"] = like.asset
    return keys | {key: list(v) if isinstance(v, tuple) else v for key, v in like.payload}
