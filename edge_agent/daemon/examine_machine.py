"""Probes of this machine: folders, store, port, models on disk, and the daemon that runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from edge_agent.errors import EdgeAgentError, StoreError
from edge_agent.findings import Finding, error, fine, first_of, warning
from edge_agent.models import (
    ModelRepository,
    checked_signer,
    keyring,
    probe_remote,
    verify_bundle,
)
from edge_agent.store import look_at_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.models import Keyring

_SPARE_BYTES: Final = 32 << 20
_MAX_MODELS: Final = 50
_OUTBOX_OLD_S: Final = 300
# Counters that should stay 0: metric -> what it counts, and the fix.
COUNTERS: Final = {
    "edge_agent_values_rejected": (
        "values were refused",
        "the daemon's log names the first topic or node of each reason",
    ),
    "edge_agent_values_dropped": ("values were dropped", "the machine is too slow: see tuning"),
    "edge_agent_log_dropped": ("log lines were dropped", "the reader of the log has stopped"),
    "edge_agent_assets_refused": ("machines were refused", "raise discovery.max_assets"),
    "edge_agent_store_errors": ("writes into the store failed", "see the disk and the log"),
    "edge_agent_defects": ("unexpected errors were caught", "send the log to the maintainers"),
    "edge_agent_sink_given_up": ("messages were never accepted", "see the sink's receiver"),
    "edge_agent_outbox_dropped": ("messages were dropped", "a sink was disconnected for too long"),
}


@dataclass(frozen=True, slots=True)
class Examined:
    """The input of probes: a config and its surroundings.

    path: of its file; seconds: for how long to wait for messages; url: where the running daemon
    answers, None if the config has no HTTP; ask: returns the body of (URL, path), EdgeAgentError
    without an answer.
    """

    config: Config
    path: Path
    seconds: float
    clock: Clock
    url: str | None
    ask: Callable[[str, str], bytes]


async def models_dir(examined: Examined) -> list[Finding]:
    """The folder of the models: it must be writable for learned models."""
    folder = examined.config.models_dir
    learning = any(one.learn is not None for one in examined.config.templates.values())
    why = await asyncio.to_thread(_unwritable, folder)
    if not why:
        return [fine("models_dir", f"{folder} can be written")]
    mend = "this user and the user of the service need write access"
    make = error if learning else warning
    return [make("models_dir", f"{folder}: {why}", mend)]


async def store(examined: Examined) -> list[Finding]:
    """The store: its folder is writable, and its file, if readable, is valid."""
    path = examined.config.store.path
    why = await asyncio.to_thread(_unwritable, path.parent)
    if why:
        mend = "store.path must be where the service can write"
        return [error("store", f"{path.parent}: {why}", mend)]
    try:
        return [fine("store", f"{path}: {await asyncio.to_thread(look_at_store, path)}")]
    except StoreError as problem:
        return [error("store", f"{path}: {problem.message}", problem.hint)]


def _unwritable(folder: Path) -> str:
    """Why a folder, or the one that would contain it, is not writable."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"{place} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as problem:
        return (problem.strerror or str(problem)).lower()


async def disk(examined: Examined) -> list[Finding]:
    """Space for the store at its largest, and for models."""
    config = examined.config
    found = []
    for where, folder, need in (
        ("store", config.store.path.parent, _growth(config.store.path, config.store.max_bytes)),
        ("models_dir", config.models_dir, _SPARE_BYTES),
    ):
        place = folder
        while not place.exists() and place != place.parent:
            place = place.parent
        free = shutil.disk_usage(place).free
        text = f"{place}: {free >> 20} MiB free"
        if free < need:
            make = error if free < need // 4 else warning
            what = f"{text}, {need >> 20} MiB may be needed"
            found.append(make(where, what, "make space, or lower store.max_bytes"))
        else:
            found.append(fine(where, text))
    return found


def _growth(path: Path, max_bytes: int) -> int:
    """Number of bytes that the store may still grow."""
    with contextlib.suppress(OSError):
        return max(0, max_bytes - path.stat().st_size)
    return max_bytes


# -- models, and the daemon that runs ---------------------------------------------------------


async def models(examined: Examined) -> list[Finding]:
    """Each active bundle: checksums, graph, golden vectors, signature."""
    config = examined.config
    folder = config.models_dir
    if not folder.is_dir():
        return []
    used = {use.bundle for template in config.templates.values() for use in template.models}
    names = [
        name
        for name in ModelRepository(folder).names()
        if name in used or name.startswith("learned-")
    ]
    try:
        keys = keyring(config.trust)
    except EdgeAgentError as problem:
        return [error("trust", str(problem))]
    there = [name for name in names if (folder / name).is_dir()][:_MAX_MODELS]
    found = [await asyncio.to_thread(_model, examined, name, keys) for name in there]
    return found + [
        one for name in there for one in await asyncio.to_thread(_model_servers, examined, name)
    ]


def _model_servers(examined: Examined, name: str) -> list[Finding]:
    """The servers that run a model: reachable, its metadata, golden vectors and time there."""
    config, where = examined.config, f"model {name}"
    servers = tuple(config.remote.values())
    try:
        probed = probe_remote(config.models_dir / name, servers, config.runtime.max_batch)
    except EdgeAgentError:
        return []  # `_model` says why
    mend = "until then the bundle's own graph scores; see docs/remote.md"
    return [
        warning(where, f"{one.url}: {one.problem}", mend)
        if one.problem
        else fine(where, f"{one.url}: golden vectors are correct, {one.latency_ms:.1f} ms")
        for one in probed
    ]


def _model(examined: Examined, name: str, keys: Keyring) -> Finding:
    folder = examined.config.models_dir / name
    problems = [str(one) for one in verify_bundle(folder)]
    if not problems and keys.keys:
        try:
            checked_signer(folder, keys)
        except EdgeAgentError as problem:
            problems = [str(problem)]
    if problems:
        mend = f"`edge-agent models rollback {name}` activates the previous version"
        return error(f"model {name}", first_of(problems, 3), mend)
    return fine(f"model {name}", "checksums, graph and golden vectors are correct")


async def running(examined: Examined) -> list[Finding]:
    """The problems that the running daemon reports."""
    if examined.url is None:
        return []
    try:
        summary = await _json(examined, "/api/summary")
        assets = await _json(examined, "/api/assets")
        metrics = await asyncio.to_thread(examined.ask, examined.url, "/metrics")
    except EdgeAgentError as problem:
        mend = "start it: edge-agent run, or systemctl start edge-agent"
        return [warning("daemon", f"no daemon answers: {problem.message}", mend)]
    except ValueError:
        return [error("daemon", "the program that answers there is not edge-agent")]
    found = [error("daemon", str(text)) for text in summary.get("troubles", [])]
    found += _pair(summary.get("pair") or {})
    found += _outbox(summary.get("outbox") or [])
    found += _assets(assets)
    found += _counters(metrics.decode(errors="replace"))
    return found or [fine("daemon", f"runs, version {summary.get('version')}, no troubles")]


async def _json(examined: Examined, path: str) -> Any:  # noqa: ANN401 (any JSON)
    return json.loads(await asyncio.to_thread(examined.ask, str(examined.url), path))


def _pair(pair: dict[str, Any]) -> list[Finding]:
    """Which one of a pair is active, and if somebody can take over."""
    if not pair:
        return []
    others = [name for name, state in pair["others"].items() if state != "offline"]
    text = f"{pair['member']} is {pair['role']}, the lease has {pair['holder'] or 'nobody'}"
    if not others:
        mend = "start the other gateway; it has the same gateway.id and topic_root"
        return [warning("standby", f"{text}; nobody is there to take over", mend)]
    if pair["role"] == "suspended":
        return [error("standby", f"{text}, but cannot be renewed", "check the broker")]
    return [fine("standby", f"{text}; the other one: {first_of(others)}")]


def _outbox(rows: list[dict[str, Any]]) -> list[Finding]:
    return [
        warning(
            f"sink {row['sink']}",
            f"{row['rows']} messages wait, the oldest for {row['oldest_s'] / 60:.0f} min",
            "its receiver does not confirm them",
        )
        for row in rows
        if row["rows"] and row["oldest_s"] > _OUTBOX_OLD_S
    ]


def _assets(rows: list[dict[str, Any]]) -> list[Finding]:
    """Assets without a model, by the daemon's reason."""
    by_note: dict[str, list[str]] = {}
    for row in rows:
        if row.get("note") and row.get("state") not in {"learning", "normal"}:
            by_note.setdefault(str(row["note"]), []).append(str(row["id"]))
    silent = [
        f"{row['id']}.{one['name']}"
        for row in rows
        for one in row.get("inputs", [])
        if one.get("quality") != "good"
    ]
    found = [warning("daemon", f"{first_of(ids)}: {note}") for note, ids in by_note.items()]
    if silent:
        found.append(warning("daemon", f"without a good value: {first_of(silent)}"))
    return found


def _counters(text: str) -> list[Finding]:
    found = []
    for family in text_string_to_metric_families(text):
        if family.name not in COUNTERS:
            continue
        what, mend = COUNTERS[family.name]
        for sample in family.samples:
            was_read = sample.labels.get("reason") == "mended"
            if sample.name.endswith("_total") and sample.value and not was_read:
                labels = ", ".join(f"{key} {value}" for key, value in sample.labels.items())
                line = f"{sample.value:.0f} {what} since its start" + (labels and f": {labels}")
                found.append(warning("daemon", line, mend))
    return found
