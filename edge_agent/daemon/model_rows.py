"""The models as plain data: at work, beside them, and refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.clock import US_PER_MS

if TYPE_CHECKING:
    from edge_agent.daemon.daemon import Daemon
    from edge_agent.models import Model


def model_rows(daemon: Daemon) -> list[dict[str, Any]]:
    """A row for each model at work or refused, and one for each shadow."""
    loaded = daemon.runtime.models.active
    rows = [_active(daemon, model) for model in loaded]
    names = {model.manifest.name for model in loaded}
    rows += [
        _row(name, "", "active", "refused") | {"assets": 0, "refused": why}
        for name, why in daemon.runtime.models.refused.items()
        if name not in names
    ]
    for row in rows:
        refusal = daemon.reconciler.refused.get(row["name"])
        if refusal is not None:
            at_ms = refusal.at_us // US_PER_MS
            row |= {"refused": refusal.text, "refused_version": refusal.version}
            row |= {"refused_ms": at_ms, "rolled_back": bool(refusal.good)}
    return rows + _shadows(daemon)


def _row(name: str, version: str, mode: str, state: str) -> dict[str, Any]:
    return {"name": name, "version": version, "mode": mode, "state": state}


def _active(daemon: Daemon, loaded: Model) -> dict[str, Any]:
    """The version at work: until the windows of the one that was loaded last are full, another."""
    name, versions = loaded.manifest.name, daemon.runtime.pipeline.versions
    groups = [g for g in daemon.runtime.pipeline.groups if g.model.manifest.name == name]
    model = groups[0].model if groups else loaded
    previous, arriving = versions.previous(name), versions.arriving(name)
    failing = versions.failing.get(name)
    state = "failing" if failing else "warming" if arriving else "active"
    return {
        **_row(name, model.manifest.version, "active", state),
        **_about(model),
        "assets": sum(len(group.assets) for group in groups),
        "reason": failing[1] if failing else "",
        "previous": previous and previous.manifest.version,
        "next": arriving and arriving.manifest.version,
        "latency_ms": versions.conduct(model).as_dict()["latency_ms"],
    }


def _about(model: Model) -> dict[str, Any]:
    return {
        "sha256": model.sha256,
        "variant": model.variant,
        "provider": model.provider,
        "task": model.manifest.task.value,
        "provisional_s": model.manifest.provisional_s,
    }


def _shadows(daemon: Daemon) -> list[dict[str, Any]]:
    shadows = daemon.runtime.pipeline.shadows
    rows = []
    for name in {**shadows.past, **shadows.running}:
        report = shadows.report(name) or {}
        row = _row(name, report["candidate"]["version"], "shadow", report["state"])
        told = {key: report[key] for key in ("reason", "compared", "agreement")}
        rows.append({**row, **told, "assets": report["assets_served"]})
    return rows
