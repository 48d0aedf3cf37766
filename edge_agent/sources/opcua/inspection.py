"""Compares a config's signals with the server; reads every node once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.schema import Kind
from edge_agent.errors import DecodeError
from edge_agent.findings import Finding, Severity, error, fine, first_of, warning
from edge_agent.plant import Plant
from edge_agent.sources.numbers import TextRules
from edge_agent.sources.opcua.connector import connect
from edge_agent.sources.opcua.nodes import address_of, node_id
from edge_agent.sources.opcua.read import TEXTS, NodeValue, Reader, to_us
from edge_agent.sources.skew import judge_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncua import ua

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.plant import PlantSignal
    from edge_agent.sources.opcua.config import OpcUaSourceConfig

_MAX_SHOWN: Final = 20  # findings of one kind; the others are counted
_GONE: Final = frozenset({"BadNodeIdUnknown", "BadNodeIdInvalid"})
_LOCKED: Final = frozenset({"BadUserAccessDenied", "BadNotReadable", "BadSecurityModeInsufficient"})
_NOT_YET: Final = frozenset({"BadWaitingForInitialData", "BadNoData", "BadNoDataAvailable"})


@dataclass(slots=True)
class _Judged:
    """Findings of nodes by kind, so that a thousand of one kind do not hide another."""

    by_kind: dict[str, list[Finding]] = field(default_factory=dict)
    fitting: int = 0

    def add(self, kind: str, found: Finding) -> None:
        self.by_kind.setdefault(kind, []).append(found)

    def listed(self) -> list[Finding]:
        """At most _MAX_SHOWN of each kind, and the number of the others."""
        shown: list[Finding] = []
        for kind, found in self.by_kind.items():
            shown += found[:_MAX_SHOWN]
            more = len(found) - _MAX_SHOWN
            if more > 0:
                last = found[-1]
                shown.append(Finding(last.severity, last.where, f"{more} more: {kind}", last.mend))
        return shown


async def inspect_server(
    name: str, config: OpcUaSourceConfig, whole: Config, clock: Clock
) -> list[Finding]:
    """Findings on the server, its clock and limits, and on each node of the source `name`.

    ConnectError if there is no session. Reads only.
    """
    signals = Plant(whole).of_source(name)
    connection = await connect(config, whole.gateway.id)
    try:
        reader = Reader(connection)
        sent_us = clock.now_us()
        facts = await reader.facts()
        middle_us = (sent_us + clock.now_us()) // 2
        judged = await _judge_nodes(name, config, signals, connection.namespaces, reader)
        found = _judge_server(name, config, signals, facts, middle_us)
    finally:
        await connection.close()
    count = f"{judged.fitting} of {len(signals)} nodes"
    ok = judged.fitting == len(signals)
    head = fine(f"source {name}", count) if ok else error(f"source {name}", f"{count} fit")
    return [head, *found, *judged.listed()]


async def _judge_nodes(
    name: str,
    config: OpcUaSourceConfig,
    signals: Sequence[PlantSignal],
    namespaces: Sequence[str],
    reader: Reader,
) -> _Judged:
    judged = _Judged()
    nodes: list[ua.NodeId] = []
    known: list[PlantSignal] = []
    for signal in signals:
        address = address_of(signal, config.node)
        try:
            nodes.append(node_id(address, namespaces))
            known.append(signal)
        except ValueError as problem:
            mend = f"its namespaces: {', '.join(namespaces[:16])}"
            what = f"{_label(signal)}: {address}: {problem}"
            if not address:
                what = f"{_label(signal)} has no address, and the source no node pattern"
                mend = "write address: nsu=URI;s=NAME; `edge-agent browse` lists the nodes"
            judged.add("no such node", error(f"source {name}", what, mend))
    values = await reader.values(nodes)
    for signal, value in zip(known, values, strict=True):
        found = _judge(name, config, signal, value, namespaces)
        if found is None or found[1].severity is not Severity.ERROR:
            judged.fitting += 1
        if found is not None:
            judged.add(*found)
    for twice in _twice(name, known, nodes):
        judged.add("one node, several signals", twice)
    return judged


def _judge(
    name: str,
    config: OpcUaSourceConfig,
    signal: PlantSignal,
    value: NodeValue,
    namespaces: Sequence[str],
) -> tuple[str, Finding] | None:
    """The kind of fault of a signal's node, and the finding; None if it has none."""
    where, label = f"source {name}", _label(signal)
    address = address_of(signal, config.node)
    unread = _unread(name, label, address, value, namespaces)
    if unread is not None:
        kind, what, mend = unread
        return kind, error(where, what, mend)
    if value.status in _NOT_YET or (value.severity == 0 and not value.type):
        return "without a value", warning(where, f"{label} has no value yet ({address})")
    wrong = _wrong_type(signal, value) if value.type else None
    if wrong:
        return "of a wrong type", error(where, f"{label} {wrong[0]}", wrong[1])
    if value.severity:
        mend = "look at the sensor and its wiring"
        return "not good", warning(where, f"{label} reports {value.status} now", mend)
    return None


def _unread(
    name: str, label: str, address: str, value: NodeValue, namespaces: Sequence[str]
) -> tuple[str, str, str] | None:
    """Kind, text and remedy of a node that cannot be read at all."""
    if value.status in _GONE:
        index = address.partition(";")[0].removeprefix("ns=")
        if index.isdecimal() and int(index[:9]) >= len(namespaces):
            what = f"{label}: {address}: the server has {len(namespaces)} namespaces"
            return "no such node", what, _namespaces(namespaces)
        mend = f"`edge-agent browse {name}` lists the nodes"
        return "no such node", f"{label} does not exist ({address})", mend
    if value.status == "BadAttributeIdInvalid":
        return "no variables", f"{label} is not a variable ({address})", "name one below it"
    if value.status in _LOCKED:
        return (
            "not readable",
            f"{label}: {value.status} ({address})",
            "let the source's user read it",
        )
    return None


def _wrong_type(signal: PlantSignal, value: NodeValue) -> tuple[str, str] | None:
    waveform = signal.config.kind is Kind.WAVEFORM
    if value.type in TEXTS and not value.array and not waveform:
        try:
            TextRules(signal.config).number(str(value.value))
        except DecodeError as problem:
            what = f"is a {value.type}: not usable ({problem.message})"
            return what, "choose a node with a number, or use map: to turn its words into numbers"
        return None
    if not value.is_number:
        return f"is a {value.type}: not usable", "choose a node with a number"
    if value.array and not waveform:
        return f"is an array of {value.type}", "set kind: waveform and rate_hz, or name an element"
    if waveform and not value.array:
        return f"is one {value.type}, but the config says kind: waveform", "leave kind out"
    return None


def _twice(
    name: str, signals: Sequence[PlantSignal], nodes: Sequence[ua.NodeId]
) -> Iterable[Finding]:
    """Signals that are the same node: two machines would be one."""
    holders: dict[ua.NodeId, list[str]] = {}
    for signal, node in zip(signals, nodes, strict=True):
        holders.setdefault(node, []).append(_label(signal))
    for several in holders.values():
        if len(several) > 1:
            what = f"{first_of(several)} are the same node"
            yield warning(f"source {name}", what, "does the address lack {asset} or {signal}?")


def _judge_server(
    name: str,
    config: OpcUaSourceConfig,
    signals: Sequence[PlantSignal],
    facts: dict[str, Any],
    now_us: int,
) -> list[Finding]:
    where = f"source {name}"
    found: list[Finding] = []
    if facts["time"] is not None:
        offset_s = (to_us(facts["time"]) - now_us) / 1e6
        found.append(judge_clock(where, "the server's clock is", offset_s, config.time))
    asked_s = config.sampling_interval
    asked_ms = 1000 * (config.publishing_interval if asked_s is None else asked_s)
    least_ms = facts["sample_ms"]
    if isinstance(least_ms, float) and least_ms > asked_ms:
        what = f"the server samples every {least_ms:g} ms at the fastest, not every {asked_ms:g} ms"
        found.append(warning(where, what, "set sampling_interval to a value that it supports"))
    most, taken = facts["sessions"], facts["open_sessions"]
    if isinstance(most, int) and isinstance(taken, int) and 0 < most <= taken:
        what = f"all {most} sessions of the server are taken (one of them by this check)"
        found.append(warning(where, what, "close other clients, or raise the server's limit"))
    items = facts["items"]
    if isinstance(items, int) and 0 < items < len(signals):
        what = f"{len(signals)} nodes, {items} in one subscription: several are created"
        found.append(warning(where, what))
    return found


def _namespaces(namespaces: Sequence[str]) -> str:
    return "it has: " + ", ".join(f"{n} {uri}" for n, uri in enumerate(namespaces[:16]))


def _label(signal: PlantSignal) -> str:
    return f"{signal.asset.id}.{signal.name}"
