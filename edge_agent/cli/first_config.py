"""The first config of a plant: a checked file from the user's answers and what was found."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edge_agent.cli import browse as browse_command
from edge_agent.cli import listen as listen_command
from edge_agent.cli.api_client import shown
from edge_agent.cli.endpoint import mqtt_source, opcua_source
from edge_agent.config import ConfigErrors, render, safe_name
from edge_agent.errors import EdgeAgentError, UsageError
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    import argparse

_UNITS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)")
_ROWS: Final = 450  # of a short baseline
_STEPS_S: Final = (0.1, 0.2, 0.5, 1.0)
_SHORT_LENGTH: Final = 32
_LOGIN_KEYS: Final = ("username", "password", "allow_insecure_password", "tls")
_HEAD: Final = """\
# Written by `edge-agent init`. All other keys: config/edge-agent.yaml of the project.
# Delete signals that do not show the state of a machine (setpoints, counters), then:
#   edge-agent check -c {name} --connect
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """The user's answers. learn_s: seconds of good data, None for the default."""

    url: str
    site: str
    line: str
    sink: str
    learn_s: float | None
    password: str
    http_port: int  # 0: the default


@dataclass(frozen=True, slots=True)
class Plant:
    """What was found: parts of a config."""

    name: str
    source: dict[str, Any]
    templates: dict[str, Any]
    assets: dict[str, Any]
    summary: str


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `15m`, `2h`, `1d`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is not a time", hint="write 90s, 15m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def look_at_plant(args: argparse.Namespace, answers: Answers) -> Plant:
    """Browse the server or listen to the broker; UsageError if it has nothing to monitor."""
    scheme = urlsplit(answers.url).scheme
    look = _LOOKS.get(scheme)
    if look is None:
        raise UsageError(
            f"{answers.url!r} is not a server or broker", hint="write opc.tcp://... or mqtt://..."
        )
    return look(args)


def _look_opcua(args: argparse.Namespace) -> Plant:
    from edge_agent.sources.opcua import browse, propose  # noqa: PLC0415 (the help needs it not)

    name, config, _ = opcua_source(args)
    print(f"browsing {args.url} ...", file=sys.stderr, flush=True)
    found = asyncio.run(browse(config, "init", args.only))
    proposal = propose(found.nodes, "")
    if not proposal.templates:
        hint = f"see: edge-agent browse {args.url}"
        raise EdgeAgentError("no variable with a number found", where=args.url, hint=hint)
    source = browse_command.source_keys(args, proposal.node)
    return _plant(
        name, source, proposal.templates, proposal.assets, f"{len(found.nodes)} variables"
    )


def _look_mqtt(args: argparse.Namespace) -> Plant:
    from edge_agent.sources.mqtt import listen, propose  # noqa: PLC0415

    topics = [args.only or "#"]
    name, config, _ = mqtt_source(args, topics)
    print(f"listening to {args.url} for {args.seconds:g} s ...", file=sys.stderr, flush=True)
    heard = asyncio.run(listen(config, topics, args.seconds))
    proposal = propose(heard.topics, "")
    if not proposal.templates:
        what, hint = "no topic with a number found", f"see: edge-agent listen {args.url}"
        if any(one.topic.startswith("spBv1.0/") for one in heard.topics):
            what = "only Sparkplug B found, which names its metrics in births alone"
            hint = "write a source with `sparkplug:`: docs/recipes.md has one to copy"
        elif not heard.topics:
            what, hint = f"no message in {args.seconds:g} s", "--seconds listens longer"
        raise EdgeAgentError(what, where=args.url, hint=hint)
    source = listen_command.source_keys(args, proposal.subscribe)
    return _plant(name, source, proposal.templates, proposal.assets, f"{len(heard.topics)} topics")


_LOOKS: Final = {
    "opc.tcp": _look_opcua,
    "mqtt": _look_mqtt,
    "mqtts": _look_mqtt,
}


def _plant(
    name: str,
    source: dict[str, Any],
    templates: dict[str, Any],
    assets: dict[str, Any],
    found: str,
) -> Plant:
    parts = (*templates.values(), *assets.values())
    signals = sum(len(one.get("signals", ())) for one in parts)
    machines = ", ".join(assets) or "machines discovered by their topics"
    summary = f"{found}; {signals} signals of {shown(machines)[:200]}"
    print(f"found {summary}", file=sys.stderr)
    return Plant(name, source, templates, assets, summary)


def write_config(file: Path, answers: Answers, plant: Plant) -> list[str]:
    """Check and write the config; returns one line per written file. ConfigErrors if refused."""
    folder = file.parent
    with as_owner_of(folder):
        written, draft = _write_draft(file, answers, plant)
    try:
        _check(draft)  # as the user who called: it may read the files that the config names
        with as_owner_of(folder):
            draft.chmod(0o640)
            draft.replace(file)
    except BaseException:
        with as_owner_of(folder):
            draft.unlink(missing_ok=True)
        raise
    return [*written, f"{file}: {plant.summary}"]


def _write_draft(file: Path, answers: Answers, plant: Plant) -> tuple[list[str], Path]:
    """Write the config beside `file`, and the password; returns what was written, and where."""
    folder = file.parent
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    source = dict(plant.source)
    if answers.password:
        place = folder / "secrets" / f"{plant.name}-password"
        _write_secret(place, answers.password)
        source["password"] = {"file": str(place.relative_to(folder))}
        written.append(f"{place}: the password, readable only by you")
    text = _HEAD.format(name=file.name) + render(_tree(answers, plant, source))
    handle, draft = tempfile.mkstemp(dir=folder, prefix=f".{file.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    return written, Path(draft)


def _check(file: Path) -> None:
    from edge_agent.daemon import find_problems  # noqa: PLC0415 (the help needs it not)

    config, problems = find_problems(file)
    if config is None:
        raise ConfigErrors(problems)


def _write_secret(place: Path, secret: str) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(secret + "\n")


def _tree(answers: Answers, plant: Plant, source: dict[str, Any]) -> dict[str, Any]:
    templates = plant.templates
    if answers.learn_s is not None:
        learn = _learn(answers.learn_s)
        templates = {name: {**one, "learn": learn} for name, one in templates.items()}
        step = float(learn.get("step", "1s").removesuffix("s"))
        if source["type"] == "opcua" and step < 0.5:  # noqa: PLR2004 (its default)
            source["publishing_interval"] = learn["step"]
    name, sink = _sink(answers, source)
    tree: dict[str, Any] = {
        "gateway": {"site": safe_name(answers.site), "line": safe_name(answers.line)},
        "sources": {plant.name: source},
        "sinks": {name: sink},
        "templates": templates,
    }
    if plant.assets:
        tree["assets"] = plant.assets
    if answers.http_port:
        tree["http"] = {"port": answers.http_port}
    return tree | {"models_dir": "models", "store": {"path": "edge-agent.db"}}


def _learn(seconds: float) -> dict[str, Any]:
    """A baseline from this much data; a short one has finer steps, so that it has enough rows."""
    learn: dict[str, Any] = {"auto": True, "duration": f"{seconds:g}s"}
    step = max((one for one in _STEPS_S if one <= seconds / _ROWS), default=_STEPS_S[0])
    if step < 1:
        learn |= {"step": f"{step:g}s", "length": _SHORT_LENGTH}
    return learn


def _sink(answers: Answers, source: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Its name and keys; the broker of the source is used with the source's login."""
    if answers.sink == "log":
        return "journal", {"type": "log"}
    scheme = urlsplit(answers.sink).scheme
    if scheme in {"http", "https"}:
        return "hook", {"type": "webhook", "url": answers.sink}
    if scheme not in {"mqtt", "mqtts"}:
        raise UsageError(f"{answers.sink!r} is not a sink", hint="mqtt://..., https://... or log")
    same = answers.sink == answers.url
    login: dict[str, Any] = {}
    if same:
        login = {key: source[key] for key in _LOGIN_KEYS if key in source}
    return "bus", {"type": "mqtt", "url": answers.sink, **login}
