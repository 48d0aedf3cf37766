"""Checks of values against each other: references, ids, ranges. Each notes all it finds."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

from edge_agent.config.assets import check_assets
from edge_agent.config.camera_check import check_cameras
from edge_agent.config.chart_check import check_charts
from edge_agent.config.effects import check_effects
from edge_agent.config.learning_check import check_learning
from edge_agent.config.limit_check import check_conditions, check_limits
from edge_agent.config.line_check import check_lines
from edge_agent.config.problem import ConfigErrors, KeyPath, Notes, shown
from edge_agent.config.types import Name, is_language
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_agent.config.schema import Config, Signal, Template

    ReadFile: TypeAlias = Callable[[Path], object] | None

PROVIDERS: Final = ("cpu", "cuda", "tensorrt")
_TAKEN: Final = frozenset({"flood", "silent"})  # <asset>.<name> is another alarm's id
_NO_SOURCE: Final = "without one no value arrives; only a recording (--input) needs none"
LEVELS: Final = ("debug", "info", "warning", "error")


def crosscheck(config: Config, notes: Notes) -> None:
    """Note every contradiction between parts of the config."""
    for check in _CHECKS:
        check(config, notes)
    unread = {str(path[0]) for path in notes.broken if path}
    for whole, sections in _OF_WHOLE_SECTIONS:
        if not (notes.unread or unread & sections):
            whole(config, notes)


@dataclass(frozen=True, slots=True)
class Readers:
    """Read the files that a config names, to find their problems.

    key: raises an EdgeAgentError for a file without a key; texts, modes: ConfigErrors with all
    problems of a file of texts, or of failure modes in the languages of the config; templates:
    yields (key, problem) of a sink's template, its file and its own values.
    """

    key: ReadFile = None
    texts: ReadFile = None
    modes: Callable[[Path, Sequence[str]], object] | None = None
    templates: Callable[[str, Path, Mapping[str, str]], Iterable[tuple[str, str]]] | None = None


NO_READERS: Final = Readers()


def missing_files(config: Config, notes: Notes, readers: Readers) -> None:
    """Note every missing bundle, and all problems of the files of texts and of keys."""
    _texts(config.alarms.texts, "texts", notes, readers.texts)
    modes, languages = readers.modes, config.alarms.languages
    read_modes = None if modes is None else lambda file: modes(file, languages)
    _texts(config.alarms.failure_modes, "failure_modes", notes, read_modes)
    _keys(config, notes, readers.key)
    _templates(config, notes, readers)
    for name, template in config.templates.items():
        if template.learn is not None and template.learn.by_itself:
            continue
        for number, use in enumerate(template.models):
            path = ("templates", name, "models", number, "bundle")
            if path in notes.broken or not use.bundle:
                continue
            folder = config.models_dir / use.bundle
            if not os.path.isdir(folder):  # noqa: PTH112
                hint = "make it with 'edge-agent learn', or set learn: auto"
                notes.add(path, f"there is no bundle {shown(folder)}", hint)


def _texts(file: Path | None, key: str, notes: Notes, read_texts: ReadFile) -> None:
    if file is None:
        return
    if not os.path.isfile(file):  # noqa: PTH113 (Path raises on odd names)
        notes.add(("alarms", key), f"there is no file {shown(file)}")
    elif read_texts is not None:
        notes.files.append(str(file))
        try:
            read_texts(file)
        except ConfigErrors as errors:
            notes.problems += errors.problems


def _templates(config: Config, notes: Notes, readers: Readers) -> None:
    """Note what is wrong with the template files of sinks that tell people."""
    for name, struct in config.sinks.items():
        file = getattr(struct, "templates", None)
        if file is None or readers.templates is None or ("sinks", name) in notes.broken:
            continue
        for key, problem in readers.templates(struct.template, file, struct.values):
            notes.add(("sinks", name, key), problem)


def _keys(config: Config, notes: Notes, read_key: ReadFile) -> None:
    for number, key in enumerate(config.trust.keys):
        path = ("trust", "keys", number)
        if path in notes.broken:
            continue
        if not os.path.isfile(key):  # noqa: PTH113
            notes.add(path, f"there is no file {shown(key)}")
            continue
        try:
            if read_key is not None:
                read_key(key)
        except EdgeAgentError as error:
            notes.add(path, f"{shown(key)}: {error.message}", error.hint)


def _references(config: Config, notes: Notes) -> None:
    if ("templates",) in notes.broken:
        return
    for pattern, asset in config.assets.items():
        if asset.template and asset.template not in config.templates:
            hint = notes.nearest(asset.template, config.templates)
            path: KeyPath = ("assets", pattern, "template")
            notes.add(path, f"there is no template {shown(asset.template)}", hint)
    for path, name in discovering(config):
        if name not in config.templates:
            hint = notes.nearest(name, config.templates)
            notes.add(path, f"there is no template {shown(name)}", hint)


def discovering(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """The places where sources name the template of assets that announce themselves."""
    for path, value in walk(("sources",), config.sources):
        if path[-1] == "template" and value:
            yield path, str(value)


def walk(path: KeyPath, value: object) -> Iterator[tuple[KeyPath, object]]:
    """Every value in `value`, itself included, with its path."""
    yield path, value
    inner: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, tuple):
        inner = enumerate(value)
    elif isinstance(value, dict):
        inner = value.items()
    elif is_dataclass(value):
        inner = ((spec.name, getattr(value, spec.name)) for spec in fields(value))
    for key, item in inner:
        yield from walk((*path, key), item)


def _signals(config: Config) -> Iterator[tuple[KeyPath, Signal]]:
    for name, template in config.templates.items():
        for key, signal in template.signals.items():
            yield ("templates", name, "signals", key), signal
    for pattern, asset in config.assets.items():
        for key, signal in asset.signals.items():
            yield ("assets", pattern, "signals", key), signal


def _sources(config: Config, notes: Notes) -> None:
    if ("sources",) in notes.broken:
        return
    if not config.sources:
        if notes.live:
            notes.add(("sources",), "there is no source", _NO_SOURCE)
        return
    for path, signal in _signals(config):
        if signal.source and signal.source not in config.sources:
            hint = notes.nearest(signal.source, config.sources)
            notes.add((*path, "source"), f"there is no source {shown(signal.source)}", hint)
        elif not signal.source and len(config.sources) > 1:
            names = notes.nearest("", config.sources)
            notes.add(path, "has no source, and there are several", names)


@runtime_checkable
class _HasAddresses(Protocol):
    """A source's struct that checks addresses. Some sources accept any text."""

    def address_problem(self, address: str) -> tuple[str, str] | None:
        """The problem of a signal's address, and a hint; None if it is valid."""


def _addresses(config: Config, notes: Notes) -> None:
    if ("sources",) in notes.broken:
        return
    for path, signal, problem in address_problems(config):
        if signal.address:
            text = f"{shown(signal.address)} {problem[0]}"
            notes.add((*path, "address"), text, problem[1])


def address_problems(config: Config) -> Iterator[tuple[KeyPath, Signal, tuple[str, str]]]:
    """Signals whose address is invalid or missing, with the reason and a hint."""
    sources: dict[str, object] = {str(name): one for name, one in config.sources.items()}
    only = next(iter(sources), "") if len(sources) == 1 else ""
    for path, signal in _signals(config):
        source = sources.get(signal.source or only)
        if isinstance(source, _HasAddresses):
            problem = source.address_problem(signal.address)
            if problem is not None:
                yield path, signal, problem


def _effects(config: Config, notes: Notes) -> None:
    check_effects(config, _signals(config), notes)


def _valid_ranges(config: Config, notes: Notes) -> None:
    for path, signal in _signals(config):
        if signal.valid is not None and None not in signal.valid:
            low, high = signal.valid
            if low == high:
                notes.add((*path, "valid"), "the range is empty", "write [low, high]")


def _inputs(config: Config, notes: Notes) -> None:
    own = _signals_of_every_asset(config)
    for name, template in config.templates.items():
        base: KeyPath = ("templates", name)
        if (*base, "signals") in notes.broken:
            continue
        known = template.signals.keys() | own.get(name, set())
        for path, signal in _used(template):
            if signal is not None and signal not in known:
                hint = notes.nearest(signal, sorted(known))
                notes.add((*base, *path), f"the template has no signal {shown(signal)}", hint)


def _signals_of_every_asset(config: Config) -> dict[str, set[str]]:
    """By template, the signals that each of its assets adds."""
    own: dict[str, set[str]] = {}
    for asset in config.assets.values():
        names = set[str](asset.signals)
        own[asset.template] = own.get(asset.template, names) & names
    return own


def _used(template: Template) -> Iterator[tuple[KeyPath, str]]:
    for number, use in enumerate(template.models):
        for name, signal in use.inputs.items():
            yield ("models", number, "inputs", name), signal
    for key in ("inputs", "mode") if template.learn else ():
        for number, signal in enumerate(getattr(template.learn, key)):
            yield ("learn", key, number), signal
    if template.learn and template.learn.cycle and template.learn.cycle.start:
        yield ("learn", "cycle"), template.learn.cycle.start


def _when(config: Config, notes: Notes) -> None:
    extra: dict[str, set[str]] = {}
    for asset in config.assets.values():
        extra.setdefault(asset.template, set()).update(asset.signals)
    check_conditions(config, notes, _signals_of_every_asset(config), extra)


def _models(config: Config, notes: Notes) -> None:
    """An alarm of a model has the name of its use, by default the bundle's name."""
    for name, template in config.templates.items():
        places = [use.name or use.bundle for use in template.models]
        for number, place in enumerate(places):
            key = "name" if template.models[number].name else "bundle"
            path = ("templates", name, "models", number, key)
            if place and place in places[:number]:
                hint = "its alarms would have the same ids: give each use a name of its own"
                notes.add(path, f"{shown(place)} is used twice", hint)
            if place in _TAKEN:
                notes.add(
                    path, f"{shown(place)} is the name of another alarm", "choose another name"
                )


def _runtime(config: Config, notes: Notes) -> None:
    if not config.runtime.providers:
        notes.add(("runtime", "providers"), "is empty", f"some of: {', '.join(PROVIDERS)}")
    for number, name in enumerate(config.runtime.providers):
        if name is not None and name not in PROVIDERS:
            path = ("runtime", "providers", number)
            notes.add(path, f"{shown(name)} is not a provider", notes.nearest(name, PROVIDERS))


def _alarms_and_logs(config: Config, notes: Notes) -> None:
    if not config.alarms.languages:
        notes.add(("alarms", "languages"), "is empty", "alerts need at least one language: [en]")
    for number, language in enumerate(config.alarms.languages):
        if language is not None and not is_language(language):
            path = ("alarms", "languages", number)
            notes.add(path, f"{shown(language)} is not a language tag", "write en, de or pt-BR")
    level = config.log.level
    if level not in LEVELS:
        notes.add(("log", "level"), f"{shown(level)} is not a level", notes.nearest(level, LEVELS))


def _http(config: Config, notes: Notes) -> None:
    http = config.http
    has_keys = http.token is not None or http.keys is not None
    has_keys |= any(("http", name) in notes.broken for name in ("token", "keys"))
    if http.enabled and not has_keys and not _is_loopback(http.host):
        message = f"{shown(http.host)} can be reached from other machines: a key is needed"
        notes.add(("http", "host"), message, "add http.keys or http.token, or use 127.0.0.1")


def _standby(config: Config, notes: Notes) -> None:
    """A pair of gateways has one id, and one broker that keeps its lease."""
    named, is_pair = ("gateway", "member") in notes.marks, config.standby.enabled
    if named and not is_pair:
        notes.add(("gateway", "member"), "has no effect without standby", "add standby: true")
    if not is_pair:
        return
    if ("gateway", "id") not in notes.marks:
        hint = "write the same gateway.id in both gateways of the pair"
        notes.add(("standby",), "needs gateway.id: its default differs between machines", hint)
    brokers = [
        name for name, struct in config.sinks.items() if getattr(struct, "keeps_lease", False)
    ]
    if problem := _lease_problem(config.standby.sink, brokers):
        notes.add(("standby", "sink") if config.standby.sink else ("standby",), *problem)


def _lease_problem(sink: str, brokers: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with the sink whose broker keeps the lease."""
    if sink:
        hint = f"one of: {', '.join(brokers)}" if brokers else "add a sink of type mqtt"
        return None if sink in brokers else (f"{shown(sink)} is no MQTT sink", hint)
    if not brokers:
        return "needs a sink of type mqtt: its broker keeps the lease", "add one to `sinks`"
    if len(brokers) > 1:
        return "there are several MQTT sinks", f"write which one: standby: {{sink: {brokers[0]}}}"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trends(config: Config, notes: Notes) -> None:
    """Two databases in one file damage each other."""
    if config.trends.path is not None and config.trends.path == config.store.path:
        hint = "leave it out: the file is beside the store then"
        notes.add(("trends", "path"), "this is the file of the store", hint)


def _routes(config: Config, notes: Notes) -> None:
    """Routes name sinks that tell people, and such sinks have a route."""
    routes, languages = config.notify.routes, config.alarms.languages
    for name, route in routes.items():
        path = ("notify", "routes", name)
        if route.sink and route.sink not in config.sinks and ("sinks",) not in notes.broken:
            hint = notes.nearest(route.sink, config.sinks)
            notes.add((*path, "sink"), f"there is no sink {shown(route.sink)}", hint)
        elif route.sink and not hasattr(config.sinks.get(route.sink), "values"):
            hint = "use a webhook, with or without a template, or smtp"
            notes.add((*path, "sink"), "this sink tells no people", hint)
        if route.language and route.language not in languages:
            notes.add((*path, "language"), "is not in alarms.languages")
    routed = {route.sink for route in routes.values()} | {_maintenance_sink(config)}
    for sink, struct in config.sinks.items():
        if getattr(struct, "template", "") and sink not in routed:
            hint = "write an entry in notify.routes with sink: " + sink
            notes.add(("sinks", sink), "a sink with a template needs a route", hint)


def _maintenance_sink(config: Config) -> str:
    return "" if config.maintenance is None else config.maintenance.sink


def _maintenance(config: Config, notes: Notes) -> None:
    """Proposals go to a sink that tells people."""
    sink = _maintenance_sink(config)
    if not sink:
        return
    path: KeyPath = ("maintenance", "sink")
    if sink not in config.sinks:
        notes.add(path, f"there is no sink {shown(sink)}", notes.nearest(sink, config.sinks))
    elif not hasattr(config.sinks.get(Name(sink)), "values"):
        notes.add(path, "this sink tells no people", "use a webhook, or smtp")


def _charts(config: Config, notes: Notes) -> None:
    check_charts(config, notes, discovers=any(discovering(config)))


_CHECKS: Final = (
    _routes,
    _references,
    _sources,
    _addresses,
    _effects,
    _valid_ranges,
    _inputs,
    check_limits,
    _when,
    _models,
    check_assets,
    check_learning,
    _runtime,
    _alarms_and_logs,
    _http,
    _standby,
    _trends,
)
# They read what others wrote, so these sections must have no problem: what refers to a thing that
# is there but broken is not blamed as well, and no check meets a value that could not be read.
_MACHINES: Final = frozenset({"templates", "assets"})
_OF_WHOLE_SECTIONS: Final[tuple[tuple[Callable[[Config, Notes], None], frozenset[str]], ...]] = (
    (_maintenance, _MACHINES | {"maintenance", "sinks"}),
    (check_lines, _MACHINES | {"lines", "shifts"}),
    (check_cameras, _MACHINES | {"cameras", "sources"}),
    (_charts, _MACHINES | {"control_charts"}),
)
