"""The models in service for the page, the API and the service alarm, as plain data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.messages import Detail, Fault
from edge_agent.models import StoppedError
from edge_agent.serving.evaluation import promise_of
from edge_agent.serving.lifecycle import State
from edge_agent.serving.window_layout import why_unjudged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.errors import ModelError
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving.shadow import Shadows
    from edge_agent.serving.versions import BundleVersions, Version

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


class Reports:
    """What the service says of its models: rows for the page and the API, and faults.

    refused: by name of the bundle, the version that should be active and is not; not_loaded:
    bundles of which no version could be loaded, and why; stopped: those of them whose runs ended
    processes again and again; awaited: bundles that are still to be loaded.
    """

    def __init__(
        self,
        bundles: Mapping[str, BundleVersions],
        shadows: Shadows,
        metrics: Metrics,
    ) -> None:
        self.refused: dict[str, Refusal] = {}
        self.not_loaded: dict[str, str] = {}
        self.awaited: set[str] = set()
        self.stopped: dict[str, StoppedError] = {}
        self._bundles = bundles
        self._shadows = shadows
        self._metrics = metrics

    def add_not_loaded(self, name: str, error: ModelError) -> None:
        """No version of a bundle could be loaded."""
        self.not_loaded[name] = str(error)
        self.awaited.discard(name)
        if isinstance(error, StoppedError):
            self.stopped[name] = error

    def loaded(self, name: str) -> None:
        """A version of a bundle was loaded."""
        self.not_loaded.pop(name, None)
        self.awaited.discard(name)
        self.stopped.pop(name, None)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each bundle in service or refused, and one for each shadow."""
        found = [_active_row(name, bundle) for name, bundle in self._bundles.items()]
        found += [_refused_row(name, why) for name, why in self.not_loaded.items()]
        for row in found:
            if row["name"] in self.refused:
                row.update(self.refused[row["name"]].as_dict())
        return found + [_shadow_row(report) for report in self._shadows.reports()]

    def shadow_report(self, name: str) -> dict[str, Any] | None:
        """The comparison of a bundle's shadow with the active version; None if there was none."""
        return self._shadows.report(name)

    def first_windows(self) -> dict[str, tuple[int, int]]:
        """For assets without a score: the rows in the first window, and how many it needs."""
        found: dict[str, tuple[int, int]] = {}
        scored: set[str] = set()
        for one in (each for bundle in self._bundles.values() for each in bundle.deployments):
            for row, asset in enumerate(one.assets):
                if not np.isnan(one.health[row]):
                    scored.add(asset.id)
                elif one.windows is not None and not one.disabled[row]:
                    found[asset.id] = one.windows.filled(row)
        return {asset: rows for asset, rows in found.items() if asset not in scored}

    def unjudged(self) -> dict[str, str]:
        """By asset, why the last window of its waveforms was not judged."""
        found: dict[str, str] = {}
        for one in (each for bundle in self._bundles.values() for each in bundle.deployments):
            newest = {} if one.block_rows is None else one.block_rows.newest
            for row, values in newest.items():
                why = why_unjudged(one.model.manifest, values)
                if why and not one.disabled[row]:
                    found[one.assets[row].id] = f"waveforms are not judged: {why}"
        return found

    def faults(self, now_us: int) -> list[Fault]:
        """The present faults of models: failing ones, else the last one that was rolled back.

        Also those of the servers that should run them.
        """
        bundles = self._bundles.items()
        failing = {n: b.active for n, b in bundles if b.active.state is State.FAILING}
        found = _failing(failing) or _stopped(self.stopped) or _rolled_back(self.refused, now_us)
        return found + [fault for name, one in bundles for fault in _of_servers(name, one.active)]

    def export(self) -> None:
        """Update the gauge of the active versions."""
        self._metrics.model_info.clear()
        for bundle in self._bundles.values():
            model = bundle.active.model
            labels = model.manifest.name, model.manifest.version, model.provider, model.variant
            self._metrics.model_info.labels(*labels).set(1)
            if model.remote is not None:
                model.remote.export()


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
    promise = promise_of(model.manifest)
    return {
        "sha256": model.sha256,
        "variant": model.variant,
        "provider": model.provider,
        "isolated": model.is_isolated,
        "remote": model.remote and model.remote.as_dict(),
        "task": str(model.manifest.task),
        "provisional_s": model.manifest.provisional_s,
        "false_alarms_per_day": promise.rate,
        "false_alarms_at_most": promise.at_most,
        "held_out_days": promise.held_out_days,
        "season_zone": model.manifest.season_zone,
    }


def _of_servers(name: str, version: Version) -> list[Fault]:
    """The fault that none of a model's servers can be used, so that its own graph scores."""
    reason = "" if version.model.remote is None else version.model.remote.trouble
    if not reason:
        return []
    args = {"model": name, "version": version.number, "reason": reason}
    text = f"model {name} runs here and not on its server: {reason}"
    return [Fault(f"model_remote.{name}", text, Detail("model_remote", args))]


def _failing(versions: Mapping[str, Version]) -> list[Fault]:
    if not versions:
        return []
    name, version = next(iter(versions.items()))
    args = {"model": name, "version": version.number, "reason": version.reason}
    text = "; ".join(f"model {name}: {one.reason}" for name, one in versions.items())
    return [Fault("model", text, Detail("model_failed", args))]


def _stopped(stopped: Mapping[str, StoppedError]) -> list[Fault]:
    if not stopped:
        return []
    name, error = next(iter(stopped.items()))
    args = {"model": name, "version": error.version, "reason": error.message}
    text = "; ".join(f"model {name}: {one.message}" for name, one in stopped.items())
    return [Fault("model", text, Detail("model_failed", args))]


def _rolled_back(refused: Mapping[str, Refusal], now_us: int) -> list[Fault]:
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
