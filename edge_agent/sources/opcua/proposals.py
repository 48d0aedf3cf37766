"""Makes templates and assets of a config from the variables of a server.

Objects with the same variables become assets of one template. Their nodes become one pattern with
{asset} and {signal} if the addresses are built from the names, else each address is listed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config import id_ranges, safe_name
from edge_agent.plant import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.sources.opcua.found import FoundNode

_PLAIN_KINDS: Final = frozenset({"", "BaseObjectType", "FolderType", "BaseDataVariableType"})
_SEPARATORS: Final = "./|:"
_MAX_CLIMBS: Final = 4


@dataclass(frozen=True, slots=True)
class _Machine:
    """A future asset. path: of its object; nodes: by the name of their signal."""

    path: tuple[str, ...]
    nodes: dict[str, FoundNode]
    name: str

    @property
    def line(self) -> str:
        """The name of its parent, which may be a line."""
        return self.path[-2] if len(self.path) > 1 else ""


@dataclass(slots=True)
class Proposal:
    """Parts of a config. node: the pattern of a source; left_out: unused nodes, and why."""

    templates: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, Any] = field(default_factory=dict)
    node: str = ""
    left_out: list[str] = field(default_factory=list)
    notes: dict[tuple[str | int, ...], str] = field(default_factory=dict)


def propose(nodes: Iterable[FoundNode], source: str, node: str | None = None) -> Proposal:
    """Templates and assets for these variables.

    node: the existing pattern of the source; None lets the proposal choose one.
    """
    proposal = Proposal()
    usable = []
    for one in nodes:
        reason = _unusable(one)
        if reason:
            proposal.left_out.append(f"{'/'.join(one.path)}: {reason}")
        else:
            usable.append(one)
    groups = _groups(_machines(usable))
    ids = _ids(machine for group in groups for machine in group)
    patterns = [_pattern(group, ids) for group in groups]
    proposal.node = node if node is not None else _most_common(patterns)
    names: set[str] = set()
    for group, pattern in zip(groups, patterns, strict=True):
        template = _template_name(group, names)
        names.add(template)
        _add_group(proposal, template, group, ids, pattern, source)
    return proposal


def _unusable(node: FoundNode) -> str:
    if not node.number:
        word = "" if not node.value.isalnum() else f": map: {{{node.value}: 1, ...}} makes it one"
        return f"{node.type or 'no value'}, no number{word if node.type == 'String' else ''}"
    if node.array:
        return f"array of {node.type}: usable with kind: waveform and rate_hz"
    return ""


# -- which nodes are a machine -----------------------------------------------------------------


def _machines(nodes: Sequence[FoundNode]) -> list[_Machine]:
    by_parent: dict[tuple[str, ...], dict[str, FoundNode]] = {}
    for node in nodes:
        by_parent.setdefault(node.parent, {})[node.name] = node
    machines: list[_Machine] = []
    for path, children in by_parent.items():
        machines += _flat(path, children) or [_Machine(path, children, path[-1] if path else "")]
    for _ in range(_MAX_CLIMBS):
        climbed = _climb(machines)
        if len(climbed) == len(machines):
            break
        machines = climbed
    return machines


def _flat(path: tuple[str, ...], children: dict[str, FoundNode]) -> list[_Machine]:
    """A folder of tags such as P-101.Flow, P-102.Flow as machines; empty if it is not one."""
    for sign in _SEPARATORS:
        parts: dict[str, dict[str, FoundNode]] = {}
        for name, node in children.items():
            machine, found, signal = name.rpartition(sign)
            if found and machine and signal:
                parts.setdefault(machine, {})[signal] = node
        counts = Counter(frozenset(signals) for signals in parts.values())
        if counts and counts.most_common(1)[0][1] > 1:
            rest = {k: v for k, v in children.items() if not k.rpartition(sign)[0]}
            made = [_Machine((*path, name), signals, name) for name, signals in parts.items()]
            return made + ([_Machine(path, rest, path[-1] if path else "")] if rest else [])
    return []


def _climb(machines: list[_Machine]) -> list[_Machine]:
    """Parts that every machine has (Motor, Pump) become signals of their parent.

    A part has the name of other parts elsewhere, and no sibling with the same variables.
    """
    holders: dict[str, set[tuple[str, ...]]] = {}
    siblings: Counter[tuple[tuple[str, ...], frozenset[str]]] = Counter()
    for one in machines:
        holders.setdefault(one.name, set()).add(one.path[:-1])
        siblings[one.path[:-1], frozenset(one.nodes)] += 1
    merged: dict[tuple[str, ...], _Machine] = {}
    for one in machines:
        above = one.path[:-1]
        part = len(holders[one.name]) > 1 and above
        if part and siblings[above, frozenset(one.nodes)] == 1:
            signals = {f"{one.name}.{name}": node for name, node in one.nodes.items()}
            held = merged.get(above) or _Machine(above, {}, above[-1])
            merged[above] = replace(held, nodes=held.nodes | signals)
        else:
            held = merged.get(one.path) or one
            merged[one.path] = replace(held, nodes=held.nodes | one.nodes)
    return list(merged.values())


def _groups(machines: Iterable[_Machine]) -> list[list[_Machine]]:
    """Machines with the same signals, the largest group first."""
    by_signals: dict[frozenset[str], list[_Machine]] = {}
    for one in machines:
        by_signals.setdefault(frozenset(one.nodes), []).append(one)
    return sorted(by_signals.values(), key=len, reverse=True)


# -- names and addresses -----------------------------------------------------------------------


def _ids(machines: Iterable[_Machine]) -> dict[tuple[str, ...], str]:
    """An id for each machine, by its path; machines of one name get their parent's name as well."""
    known = list(machines)
    plain = Counter(safe_name(one.name, "machine") for one in known)
    ids: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for one in known:
        name = safe_name(one.name, "machine")
        if plain[name] > 1:
            name = safe_name(f"{one.line}-{one.name}", "machine")
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique)
        ids[one.path] = unique
    return ids


def _pattern(group: list[_Machine], ids: dict[tuple[str, ...], str]) -> str:
    """One pattern of all addresses of a group, from {asset}, {signal} and {line}; else empty."""
    first = group[0]
    signal, node = next(iter(first.nodes.items()))
    for use_line in (False, True) if _has_lines(group) else (False,):
        pattern = _abstract(node.address, _places(first, ids, signal, use_line=use_line))
        if all(
            fill(pattern, _places(one, ids, name, use_line=use_line)) == found.address
            and safe_name(name) == name
            for one in group
            for name, found in one.nodes.items()
        ):
            return pattern
    return ""


def _has_lines(group: list[_Machine]) -> bool:
    return len({one.line for one in group}) > 1


def _places(
    machine: _Machine, ids: dict[tuple[str, ...], str], signal: str, *, use_line: bool
) -> dict[str, str]:
    line = {"line": safe_name(machine.line)} if use_line and machine.line else {}
    return {"asset": ids[machine.path], **line, "signal": signal}


def _abstract(address: str, places: dict[str, str]) -> str:
    """The address with each name after the namespace replaced by its placeholder."""
    space, equals, identifier = address.rpartition("=")
    if address.startswith(("nsu=", "ns=")):
        head, _, rest = address.partition(";")
        kind, equals, identifier = rest.partition("=")
        space = f"{head};{kind}"
    signal = places.get("signal", "")
    if signal:
        before, found, behind = identifier.rpartition(signal)
        identifier = f"{before}{{signal}}{behind}" if found else identifier
    for name in ("asset", "line"):
        text = places.get(name, "")
        if text:
            identifier = identifier.replace(text, f"{{{name}}}", 1)
    return f"{space}{equals}{identifier}"


def _most_common(patterns: Sequence[str]) -> str:
    counts = Counter(pattern for pattern in patterns if pattern)
    return counts.most_common(1)[0][0] if counts else ""


def _template_name(group: list[_Machine], taken: set[str]) -> str:
    kinds = {node.kind for one in group for node in one.nodes.values()}
    kind = kinds.pop() if len(kinds) == 1 else ""
    name = "machine"
    if kind not in _PLAIN_KINDS:
        name = safe_name(kind.removesuffix("Type").lower(), name)
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


# -- the parts of the config -------------------------------------------------------------------


def _add_group(  # noqa: PLR0913, PLR0917 (a group, its names and addresses)
    proposal: Proposal,
    template: str,
    group: list[_Machine],
    ids: dict[tuple[str, ...], str],
    pattern: str,
    source: str,
) -> None:
    signals: dict[str, Any] = {}
    own: dict[tuple[str, ...], dict[str, Any]] = {}
    for name in group[0].nodes:
        nodes = [one.nodes[name] for one in group]
        signal = safe_name(name, "signal")
        signals[signal] = {"source": source} if source else {}
        address = pattern or _one_address(group, ids, name)
        if address:
            signals[signal] |= {} if address == proposal.node else {"address": address}
        signals[signal] |= _about(nodes)
        if not address:
            for one, node in zip(group, nodes, strict=True):
                about = {**signals[signal], "address": node.address}
                own.setdefault(one.path, {})[signal] = about
        where = ("templates", template, "signals", signal)
        proposal.notes[where] = f"{nodes[0].type} {nodes[0].value} {nodes[0].status}".strip()
    if own:
        # Without an address a template's signal would not be a node of its own.
        signals = {
            name: one for name, one in signals.items() if name not in next(iter(own.values()))
        }
    proposal.templates[template] = {"signals": signals, "learn": "auto"}
    proposal.assets |= _assets(template, group, ids, own)


def _one_address(group: list[_Machine], ids: dict[tuple[str, ...], str], name: str) -> str:
    """The pattern of one signal over all machines, with or without {asset}; else empty."""
    first = group[0]
    address = first.nodes[name].address
    if len(group) == 1:
        return address if "{" not in address else ""
    for use_line in (False, True) if _has_lines(group) else (False,):
        places = _places(first, ids, "", use_line=use_line)
        pattern = _abstract(address, places)
        if all(
            fill(pattern, _places(one, ids, "", use_line=use_line)) == one.nodes[name].address
            for one in group
        ):
            return pattern
    return ""


def _about(nodes: Sequence[FoundNode]) -> dict[str, Any]:
    """Unit and range, if all machines agree."""
    about: dict[str, Any] = {}
    units = {node.unit for node in nodes}
    ranges = {(node.low, node.high) for node in nodes}
    if len(units) == 1 and nodes[0].unit:
        about["unit"] = nodes[0].unit
    if len(ranges) == 1 and nodes[0].low is not None:
        about["valid"] = [nodes[0].low, nodes[0].high]
    return about


def _assets(
    template: str,
    group: list[_Machine],
    ids: dict[tuple[str, ...], str],
    own: dict[tuple[str, ...], dict[str, Any]],
) -> dict[str, Any]:
    """Ranges of ids if they differ only in their number."""
    has_lines = _has_lines(group)
    alike: dict[str, list[str]] = {}
    assets: dict[str, Any] = {}
    for one in group:
        if one.path in own:
            place = {"line": safe_name(one.line)} if has_lines and one.line else {}
            assets[ids[one.path]] = {"template": template, **place, "signals": own[one.path]}
        else:
            alike.setdefault(safe_name(one.line) if has_lines else "", []).append(ids[one.path])
    for line, names in alike.items():
        for name in id_ranges(names):
            assets[name] = {"template": template, **({"line": line} if line else {})}
    return assets
