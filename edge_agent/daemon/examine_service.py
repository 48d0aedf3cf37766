"""Probes of the models on disk and of the daemon that runs."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from edge_agent.errors import EdgeAgentError
from edge_agent.findings import Finding, error, fine, first_of, warning
from edge_agent.models import ModelRepository, checked_signer, keyring, verify_bundle

if TYPE_CHECKING:
    from edge_agent.daemon.examined import Examined
    from edge_agent.models import Keyring

_MAX_MODELS: Final = 50
_OUTBOX_OLD_S: Final = 300
# Counters that should stand still: metric -> what it counts, and the mend.
_COUNTERS: Final = {
    "edge_agent_values_rejected": (
        "values were refused",
        "the daemon's log names the first topic or node of each reason",
    ),
    "edge_agent_values_dropped": ("values were dropped", "the machine is too slow: see tuning"),
    "edge_agent_log_dropped": ("log lines were dropped", "who reads the log has stopped"),
    "edge_agent_assets_refused": ("machines were refused", "raise discovery.max_assets"),
    "edge_agent_store_errors": ("writes into the store failed", "see the disk and the log"),
    "edge_agent_defects": ("unexpected errors were survived", "send the log to the maintainers"),
    "edge_agent_sink_given_up": ("messages were never taken", "see the sink's receiver"),
    "edge_agent_outbox_dropped": ("messages were dropped", "a sink was away for too long"),
}


async def models(examined: Examined) -> list[Finding]:
    """Each bundle at work: checksums, graph, golden vectors, signature."""
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
    return [await asyncio.to_thread(_model, examined, name, keys) for name in there]


def _model(examined: Examined, name: str, keys: Keyring) -> Finding:
    folder = examined.config.models_dir / name
    problems = [str(one) for one in verify_bundle(folder)]
    if not problems and keys.keys:
        try:
            checked_signer(folder, keys)
        except EdgeAgentError as problem:
            problems = [str(problem)]
    if problems:
        mend = f"`edge-agent models rollback {name}` goes back to the version before"
        return error(f"model {name}", first_of(problems, 3), mend)
    return fine(f"model {name}", "checksums, graph and golden vectors fit")


async def running(examined: Examined) -> list[Finding]:
    """What the running daemon itself complains of."""
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
        return [error("daemon", "what answers there is not edge-agent")]
    found = [error("daemon", str(text)) for text in summary.get("troubles", [])]
    found += _outbox(summary.get("outbox") or [])
    found += _assets(assets)
    found += _counters(metrics.decode(errors="replace"))
    return found or [fine("daemon", f"runs, version {summary.get('version')}, no troubles")]


async def _json(examined: Examined, path: str) -> Any:  # noqa: ANN401 (any JSON)
    return json.loads(await asyncio.to_thread(examined.ask, str(examined.url), path))


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
    """Assets without a model, by the reason that the daemon gives."""
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
        if family.name not in _COUNTERS:
            continue
        what, mend = _COUNTERS[family.name]
        for sample in family.samples:
            was_read = sample.labels.get("reason") == "mended"
            if sample.name.endswith("_total") and sample.value and not was_read:
                labels = ", ".join(f"{key} {value}" for key, value in sample.labels.items())
                line = f"{sample.value:.0f} {what} since its start" + (labels and f": {labels}")
                found.append(warning("daemon", line, mend))
    return found
