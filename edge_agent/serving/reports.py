"""The models in service for the page, the API and the service alarm, as plain data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.messages import Detail, Fault
from edge_agent.serving.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving.versions import BundleVersions

log = logging.getLogger("edge_agent.models")

_ALARM_S: Final = 600.0  # a past fault is active for this long; then it waits for an operator


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that should be active and is not; good: the one that replaced it."""

    version: str
    text: str
    at_us: int
    good: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As a part of the row of its bundle."""
        return {
            "refused": self.text,
            "refused_version": self.version,
            "refused_ms": self.at_us // US_PER_MS,
            "rolled_back": bool(self.good),
        }


def rows(
    bundles: Mapping[str, BundleVersions],
    not_loaded: Mapping[str, str],
    refused: Mapping[str, Refusal],
    shadow_reports: Iterable[dict[str, Any]],
) -> list[dict[str, Any]]:
    """A row for each bundle in service or refused, and one for each shadow."""
    found = [_active_row(name, bundle) for name, bundle in bundles.items()]
    found += [_refused_row(name, why) for name, why in not_loaded.items()]
    for row in found:
        if row["name"] in refused:
            row.update(refused[row["name"]].as_dict())
    return found + [_shadow_row(report) for report in shadow_reports]


def _active_row(name: str, bundle: BundleVersions) -> dict[str, Any]:
    """The active version; it is the old one until the windows of the new one are full."""
    version = bundle.active
    state = State.WARMING if bundle.warming and version.state is State.ACTIVE else version.state
    return {
        **_row(name, version.number, "active", state),
        **_about(version.model),
        "assets": sum(len(one.assets) for one in bundle.deployments),
        "reason": version.reason,
        "previous": bundle.standby and bundle.standby.number,
        "next": bundle.warming and bundle.warming.number,
        "latency_ms": version.run_stats.as_dict()["latency_ms"],
    }


def _refused_row(name: str, why: str) -> dict[str, Any]:
    """A bundle of which no version could be loaded."""
    return _row(name, "", "active", State.REFUSED) | {"assets": 0, "refused": why}


def _shadow_row(report: dict[str, Any]) -> dict[str, Any]:
    """A candidate, from its report."""
    row = _row(report["model"], report["candidate"]["version"], "shadow", report["state"])
    shown = {key: report[key] for key in ("reason", "compared", "agreement")}
    return {**row, **shown, "assets": report["assets_served"]}


def _row(name: str, version: str, mode: str, state: str) -> dict[str, Any]:
    return {"name": name, "version": version, "mode": mode, "state": str(state)}


def _about(model: Model) -> dict[str, Any]:
    return {
        "sha256": model.sha256,
        "variant": model.variant,
        "provider": model.provider,
        "task": str(model.manifest.task),
        "provisional_s": model.manifest.provisional_s,
    }


def faults(
    bundles: Mapping[str, BundleVersions], refused: Mapping[str, Refusal], now_us: int
) -> list[Fault]:
    """The present faults of models: failing ones, else the last one that was rolled back."""
    failing = {n: b.active for n, b in bundles.items() if b.active.state is State.FAILING}
    if failing:
        name, version = next(iter(failing.items()))
        args = {"model": name, "version": version.number, "reason": version.reason}
        text = "; ".join(f"model {name}: {one.reason}" for name, one in failing.items())
        return [Fault("model", text, Detail("model_failed", args))]
    recent = [
        (one.at_us, name, one)
        for name, one in refused.items()
        if one.good and now_us - one.at_us < _ALARM_S * US_PER_S
    ]
    if not recent:
        return []
    _, name, one = max(recent, key=lambda each: each[:2])
    reason = f"{one.version}: {one.text}"
    args = {"model": name, "version": one.good, "reason": reason}
    text = f"model {name} rolled back to {one.good}: {reason}"
    return [Fault("model", text, Detail("model_rolled_back", args))]


def export_active(metrics: Metrics, bundles: Mapping[str, BundleVersions]) -> None:
    """Update the gauge of the active versions."""
    metrics.model_info.clear()
    for bundle in bundles.values():
        model = bundle.active.model
        labels = model.manifest.name, model.manifest.version, model.provider, model.variant
        metrics.model_info.labels(*labels).set(1)


def log_active(model: Model) -> None:
    """Log which version is active."""
    extra = {
        "model": model.manifest.name,
        "version": model.manifest.version,
        "provider": model.provider,
        "variant": model.variant,
        "signer": model.signer or "unsigned",
    }
    log.info("model active", extra=extra)
