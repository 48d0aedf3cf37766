"""Warnings: valid settings that are probably not intended."""

from __future__ import annotations

import stat
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.config.camera_check import camera_warnings
from edge_agent.config.cross_check import address_problems, discovering, walk
from edge_agent.config.language import EngineKind
from edge_agent.config.learning_check import learning_warnings
from edge_agent.config.limit_rules import rules_of
from edge_agent.config.problem import dotted
from edge_agent.config.types import Name, Secret
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.config.language import Language
    from edge_agent.config.schema import Config

_PRIVATE: Final = frozenset({"key", "private_key", "user_private_key"})  # paths of private keys


def warnings(config: Config) -> Iterator[str]:
    """One line each, with the key path first."""
    if not config.sinks:
        yield "sinks: there is none; alarms are only seen on the status page"
    used: set[str] = {asset.template for asset in config.assets.values()}
    used.update(name for _, name in discovering(config))
    for name, template in config.templates.items():
        if name not in used:
            yield f"templates.{name}: no asset uses it"
        if not template.models and template.learn is None and not _has_limits(config, name):
            yield (
                f"templates.{name}: neither models nor learn nor limits; "
                "only data quality is monitored"
            )
    for path, signal, (problem, hint) in address_problems(config):
        if not signal.address:  # of one signal: the others are still monitored
            yield f"{dotted(path)}: {problem}: it will have no value ({hint})"
    yield from learning_warnings(config)
    yield from camera_warnings(config)
    yield from _language(config.language)
    yield from _client_ids(config)
    yield from _ids_of_pair(config)
    yield from _secrets(config)
    yield from _open_files(config)


def _language(config: Language) -> Iterator[str]:
    """A language model that will not answer: no reason to stop a gateway."""
    if config.engine is not EngineKind.LLAMA_CPP or config.model is None:
        return
    if not config.model.is_file():
        yield f"language.model: there is no file {config.model}: /v1 will answer 503"
    elif config.model.stat().st_size > config.memory:
        yield f"language.memory: {config.model} alone is larger: it will not be loaded"
    if find_spec("xllamacpp") is None:
        hint = "pip install --require-hashes -r requirements/language.txt"
        yield f"language.engine: xllamacpp is not installed ({hint})"


def _client_ids(config: Config) -> Iterator[str]:
    """Clients of one id at one broker, which disconnects them alternately."""
    known: dict[tuple[str, str], str] = {}
    for room, structs in (("sources", config.sources), ("sinks", config.sinks)):
        for name, struct in structs.items():
            own_id, url = getattr(struct, "client_id", None), getattr(struct, "url", "")
            if own_id is None:
                continue
            suffix = "-alarms" if room == "sinks" else ""
            client = own_id or f"edge-agent-{config.gateway.client_name}-{name}{suffix}"
            path = f"{room}.{name}.client_id"
            first = known.setdefault((url.rstrip("/").lower(), client), path)
            if first != path:
                yield f"{path}: {client} is also that of {first}: the broker accepts only one"


def _ids_of_pair(config: Config) -> Iterator[str]:
    """Client ids that both gateways of a pair may have; ours contain the member's name."""
    for room, structs in (("sources", config.sources), ("sinks", config.sinks)):
        for name, struct in structs.items():
            if config.standby.enabled and getattr(struct, "client_id", None):
                yield (
                    f"{room}.{name}.client_id: the other gateway of the pair needs another one, or "
                    "the broker disconnects them in turns; without it the member's name is in it"
                )


def _open_files(config: Config) -> Iterator[str]:
    """Secrets and private keys that every user of this machine can read."""
    for path, value in walk((), config):
        file = value.file if isinstance(value, Secret) else value
        if not isinstance(file, Path) or (file is value and path[-1] not in _PRIVATE):
            continue
        with suppress(OSError):  # other checks report a missing file
            mode = file.stat().st_mode
            if mode & stat.S_IROTH:
                yield (
                    f"{dotted(path)}: {file} can be read by every user of this machine "
                    f"(mode {stat.S_IMODE(mode):04o}); chmod 640 it, with the service's group"
                )


def _has_limits(config: Config, template: str) -> bool:
    """True if any signal of any asset of a template has limits."""
    assets = [asset for asset in config.assets.values() if asset.template == template]
    signals = [*config.templates[Name(template)].signals.values()]
    signals += [signal for asset in assets for signal in asset.signals.values()]
    return any(map(rules_of, signals)) or any(asset.limits for asset in assets)


def _secrets(config: Config) -> Iterator[str]:
    """Secrets that cannot be read here; they may exist on the daemon's machine."""
    for path, secret in secrets_of(config):
        try:
            secret.reveal()
        except ConfigError as error:
            yield f"{path}: {error}"


def secrets_of(config: Config) -> Iterator[tuple[str, Secret]]:
    """Every secret that the config names, with its key path."""
    for path, value in walk((), config):
        if isinstance(value, Secret):
            yield dotted(path), value


def paths_of(config: Config) -> Iterator[tuple[str, Path]]:
    """Every file and folder that the config names, also of secrets, with its key path."""
    for path, value in walk((), config):
        if isinstance(value, Path):
            yield dotted(path), value
