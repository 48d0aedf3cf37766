"""Every metric of the daemon; docs/metrics.md lists the same rows (a test compares them).

The config bounds the label values: no label ever has a value that was received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RUN_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """One registry with all metrics; tests make a fresh one each."""

    def __init__(self) -> None:  # noqa: PLR0915 (a table)
        # Without this each counter also has a `_created` series, which nobody needs.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self.registry = registry
        ProcessCollector(registry=registry)  # process_*: CPU, memory, open files, start

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"edge_agent_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"edge_agent_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"edge_agent_{name}", text, labels, registry=registry, buckets=buckets)

        self.values_received = counter("values_received", "Values decoded.", "source")
        self.values_dropped = counter(
            "values_dropped", "Values lost because the intake was full.", "source"
        )
        self.values_late = counter(
            "values_late", "Values that arrived too late for their window.", "source"
        )
        self.values_rejected = counter(
            "values_rejected", "Payloads or values refused.", "source", "reason"
        )
        self.source_up = gauge("source_up", "1 while the source is connected.", "source")
        self.source_reconnects = counter("source_reconnects", "Connections lost.", "source")
        self.source_clock_offset_seconds = gauge(
            "source_clock_offset_seconds",
            "How far the source clock is ahead (negative: behind).",
            "source",
        )
        self.certificate_expiry_seconds = gauge(
            "certificate_expiry_seconds",
            "Seconds until a certificate of the config expires; negative: expired.",
            "link",
            "key",
        )
        self.sink_up = gauge("sink_up", "1 while the sink confirms deliveries.", "sink")
        self.sink_failures = counter("sink_failures", "Deliveries refused.", "sink", "reason")
        self.sink_refused = gauge(
            "sink_refused", "Alarms that the receiver refuses and that are kept.", "sink"
        )
        self.sink_given_up = counter(
            "sink_given_up", "Messages deleted because the receiver never accepted them.", "sink"
        )
        self.commands = counter("commands", "Commands from the bus.", "sink", "outcome")
        self.inputs_stale = gauge("inputs_stale", "Inputs that are stale or bad now.", "asset")
        self.stale_after_seconds = gauge(
            "stale_after_seconds", "After how long the slowest input is stale.", "asset"
        )
        self.windows = counter("windows", "Windows by outcome.", "model", "outcome")
        self.inference_seconds = histogram(
            "inference_seconds", "One batched model run.", "model", buckets=_RUN_SECONDS
        )
        self.batch_size = histogram(
            "batch_size", "Windows in one model run.", "model", buckets=(1, 4, 16, 64, 256)
        )
        self.end_to_end_seconds = histogram(
            "end_to_end_seconds",
            "From the window's last value to the confirmed alert.",
            "sink",
            buckets=_SECONDS,
        )
        self.score = gauge("score", "Latest score.", "asset", "model")
        self.health = gauge("health", "Latest health index, 0..1.", "asset", "model")
        self.remaining_life = gauge(
            "remaining_life_seconds", "Remaining life as reported.", "asset", "model", "p"
        )
        self.rul_coverage = gauge(
            "rul_coverage", "Fraction of intervals that contained the true remaining life.", "model"
        )
        self.rul_lives = gauge("rul_lives", "Lives that have ended and were reported.", "model")
        self.rul_interval_scale = gauge(
            "rul_interval_scale", "Factor of the model's own half-width.", "model", "side"
        )
        self.learning_progress = gauge(
            "learning_progress",
            "Fraction of the rows of the full baseline, 0..1, while learning.",
            "asset",
        )
        self.learning_step_seconds = gauge(
            "learning_step_seconds", "Seconds between two rows that are learned.", "asset"
        )
        self.learning_stopped = gauge(
            "learning_stopped", "1 while learning is stopped or fails.", "asset"
        )
        self.baseline_provisional_seconds = gauge(
            "baseline_provisional_seconds", "Seconds of data in a provisional baseline.", "asset"
        )
        self.baseline_followed_sigmas = gauge(
            "baseline_followed_sigmas",
            "How far the middle of a baseline has moved: of its input that moved most.",
            "asset",
            "model",
        )
        self.model_judged_seconds = gauge(
            "model_judged_seconds", "Seconds of assets judged by the active version.", "model"
        )
        self.model_alarms = gauge(
            "model_alarms", "Alarms of the active version, and those called so.", "model", "called"
        )
        self.limit_factor = gauge(
            "limit_factor", "Factor on a model's limit by feedback, if raised.", "asset", "model"
        )
        self.uncertain_assets = gauge(
            "uncertain_assets", "Assets whose inputs are outside of the training data.", "model"
        )
        self.drift_psi = gauge(
            "drift_psi", "PSI of the asset with the largest drift.", "model", "input"
        )
        self.drift_ks = gauge(
            "drift_ks", "KS distance of the asset with the largest drift.", "model", "input"
        )
        self.alarms = gauge("alarms", "Alarms by state and priority.", "state", "priority")
        self.transitions = counter("alarm_transitions", "Alarm transitions.", "kind")
        self.alarms_flooded = counter(
            "alarms_flooded", "Raises that the flood limit held back.", "asset"
        )
        self.outbox_rows = gauge("outbox_rows", "Messages waiting.", "sink")
        self.outbox_bytes = gauge("outbox_bytes", "Bytes waiting.", "sink")
        self.outbox_oldest_seconds = gauge(
            "outbox_oldest_seconds", "Age of the oldest waiting message.", "sink"
        )
        self.outbox_dropped = counter(
            "outbox_dropped", "Messages dropped because the store was full.", "sink"
        )
        self.error_boundary = counter("defects", "Unexpected errors that were caught.", "part")
        self.store_errors = counter("store_errors", "Failed transactions.")
        self.log_dropped = counter("log_dropped", "Log lines dropped because nothing read them.")
        self.model_info = gauge(
            "model_info", "1 for each active model.", "model", "version", "provider", "variant"
        )
        self.model_rejected = counter("model_rejected", "Bundles refused.", "model", "reason")
        self.model_rollbacks = counter(
            "model_rollbacks", "Versions rolled back to the previous version.", "model", "reason"
        )
        self.shadow_windows = counter(
            "shadow_windows", "Windows of a candidate by outcome.", "model", "outcome"
        )
        self.shadow_alarms = counter(
            "shadow_alarms", "Alarms that each version would raise.", "model", "mode"
        )
        self.shadow_seconds = histogram(
            "shadow_seconds", "One batched run of a candidate.", "model", buckets=_RUN_SECONDS
        )
        self.provider_missing = gauge(
            "provider_missing", "1 if a configured execution provider is missing.", "provider"
        )
        self.assets = gauge("assets", "Assets of the config and discovered assets.")
        self.asset_running = gauge(
            "asset_running",
            "1 while the condition (`when`) is true, 0 while the machine is stopped.",
            "asset",
        )
        self.assets_unjudged = gauge(
            "assets_unjudged", "Assets without a score now because inputs are missing."
        )
        self.assets_refused = counter(
            "assets_refused", "Discovered assets refused because of the maximum."
        )
        self.config_reloads = counter("config_reloads", "Config reloads by outcome.", "outcome")
        self.build_info = gauge("build_info", "1; the version is its label.", "version")

    def forget(self, label: str, names: Iterable[str]) -> None:
        """Remove every series whose `label` is one of these names; the named things are gone."""
        metrics = [
            one
            for one in vars(self).values()
            if isinstance(one, MetricWrapperBase) and label in one._labelnames  # noqa: SLF001
        ]
        for name in names:
            for metric in metrics:
                metric.remove_by_labels({label: name})

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)
