"""Every metric of the daemon; docs/metrics.md lists the same rows (a test compares them).

The config bounds the label values: no label ever has a value that was received.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

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
    from collections.abc import Callable, Iterable

M = TypeVar("M", bound=MetricWrapperBase)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RUN_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class _Row(Generic[M]):
    """A row of the table below; each `Metrics` has its own metric of it under the same name."""

    def __init__(
        self, make: Callable[..., M], text: str, labels: tuple[str, ...], name: str = ""
    ) -> None:
        self._make, self._text, self._labels, self._name = make, text, labels, name

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    def __get__(self, instance: Metrics, owner: type) -> M:
        raise AttributeError(f"edge_agent_{self._name} belongs to an instance")

    def made_in(self, registry: CollectorRegistry) -> M:
        """The metric of one registry."""
        name = f"edge_agent_{self._name}"
        return self._make(name, self._text, self._labels, registry=registry)


def counter(text: str, *labels: str, name: str = "") -> _Row[Counter]:
    """A row of a counter; name: after `edge_agent_`, if it is not that of the field."""
    return _Row(Counter, text, labels, name)


def gauge(text: str, *labels: str, name: str = "") -> _Row[Gauge]:
    """The same of a gauge."""
    return _Row(Gauge, text, labels, name)


def histogram(text: str, *labels: str, buckets: tuple[float, ...]) -> _Row[Histogram]:
    """The same of a histogram."""
    return _Row(partial(Histogram, buckets=buckets), text, labels)


class Metrics:
    """One registry with all metrics; tests make a fresh one each."""

    values_received = counter("Values decoded.", "source")
    values_dropped = counter("Values lost because the intake was full.", "source")
    values_late = counter("Values that arrived too late for their window.", "source")
    values_rejected = counter("Payloads or values refused.", "source", "reason")
    pictures = counter(
        "Pictures by camera: received, inspected, dropped, or why not judged.", "camera", "outcome"
    )
    picture_seconds = histogram(
        "Seconds to decode and judge a picture.", "camera", buckets=_SECONDS
    )
    source_up = gauge("1 while the source is connected.", "source")
    source_reconnects = counter("Connections lost.", "source")
    source_clock_offset_seconds = gauge(
        "How far the source clock is ahead (negative: behind).", "source"
    )
    certificate_expiry_seconds = gauge(
        "Seconds until a certificate of the config expires; negative: expired.", "link", "key"
    )
    sink_up = gauge("1 while the sink confirms deliveries.", "sink")
    sink_failures = counter("Deliveries refused.", "sink", "reason")
    sink_refused = gauge("Alarms that the receiver refuses and that are kept.", "sink")
    sink_given_up = counter("Messages deleted because the receiver never accepted them.", "sink")
    commands = counter("Commands from the bus.", "sink", "outcome")
    http_denied = counter("Commands over HTTP of clients without the right.")
    http_wrong_keys = counter("Requests with a key that opens nothing.", "reason")
    inputs_stale = gauge("Inputs that are stale or bad now.", "asset")
    stale_after_seconds = gauge("After how long the slowest input is stale.", "asset")
    windows = counter("Windows by outcome.", "model", "outcome")
    inference_seconds = histogram("One batched model run.", "model", buckets=_RUN_SECONDS)
    batch_size = histogram("Windows in one model run.", "model", buckets=(1, 4, 16, 64, 256))
    end_to_end_seconds = histogram(
        "From the window's last value to the confirmed alert.", "sink", buckets=_SECONDS
    )
    score = gauge("Latest score.", "asset", "model")
    health = gauge("Latest health index, 0..1.", "asset", "model")
    remaining_life = gauge(
        "Remaining life as reported.", "asset", "model", "p", name="remaining_life_seconds"
    )
    rul_coverage = gauge("Fraction of intervals that contained the true remaining life.", "model")
    rul_lives = gauge("Lives that have ended and were reported.", "model")
    rul_interval_scale = gauge("Factor of the model's own half-width.", "model", "side")
    learning_progress = gauge(
        "Fraction of the rows of the full baseline, 0..1, while learning.", "asset"
    )
    learning_step_seconds = gauge("Seconds between two rows that are learned.", "asset")
    learning_stopped = gauge("1 while learning is stopped or fails.", "asset")
    baseline_provisional_seconds = gauge("Seconds of data in a provisional baseline.", "asset")
    baseline_followed_sigmas = gauge(
        "How far the middle of a baseline has moved: of its input that moved most.",
        "asset",
        "model",
    )
    model_judged_seconds = gauge("Seconds of assets judged by the active version.", "model")
    model_alarms = gauge("Alarms of the active version, and those called so.", "model", "called")
    model_promised_alarms = gauge(
        "False alarms a day and asset that are promised at most.", "model"
    )
    limit_factor = gauge("Factor on a model's limit by feedback, if raised.", "asset", "model")
    alarm_precision = gauge(
        "Share of true ones of the alarms that were called true or false.", "asset", "model"
    )
    false_alarms_per_day = gauge("Alarms that were called false in a day.", "asset", "model")
    labelled_windows = counter("Windows for the labelled set.", "outcome")
    labelled_bytes = gauge("Bytes of the labelled windows.")
    labelled_pictures = counter("Pictures for the labelled set.", "outcome")
    labelled_picture_bytes = gauge("Bytes of the labelled pictures.")
    uncertain_assets = gauge("Assets whose inputs are outside of the training data.", "model")
    drift_psi = gauge("PSI of the asset with the largest drift.", "model", "input")
    drift_ks = gauge("KS distance of the asset with the largest drift.", "model", "input")
    control_chart_state = gauge(
        "0 while limits are learned, 1 in control, 2 out of control.", "asset", "chart"
    )
    control_chart_cpk = gauge("Cpk of the last values.", "asset", "chart")
    control_chart_points = counter("Points of control charts.", "asset", "chart", "outcome")
    alarms = gauge("Alarms by state and priority.", "state", "priority")
    transitions = counter("Alarm transitions.", "kind", name="alarm_transitions")
    alarms_flooded = counter("Raises that the flood limit held back.", "asset")
    outbox_rows = gauge("Messages waiting.", "sink")
    outbox_bytes = gauge("Bytes waiting.", "sink")
    outbox_oldest_seconds = gauge("Age of the oldest waiting message.", "sink")
    outbox_dropped = counter("Messages dropped because the store was full.", "sink")
    error_boundary = counter("Unexpected errors that were caught.", "part", name="defects")
    store_errors = counter("Failures of the store's file, and failed transactions.")
    store_up = gauge("1 while the store is in its file, 0 while it is in memory.")
    log_dropped = counter("Log lines dropped because nothing read them.")
    model_info = gauge("1 for each active model.", "model", "version", "provider", "variant")
    model_rejected = counter("Bundles refused.", "model", "reason")
    model_rollbacks = counter("Versions rolled back to the previous version.", "model", "reason")
    model_process_ends = counter(
        "Processes of isolated models that died or had to be killed.", "model"
    )
    model_remote_up = gauge("1 while a server runs the model, 0 while its own graph does.", "model")
    model_remote_windows = counter(
        "Windows of models that have servers, by where they were scored.", "model", "place"
    )
    model_remote_failures = counter("Failures of servers of models.", "model", "reason")
    model_remote_seconds = histogram("One run at the servers.", "model", buckets=_RUN_SECONDS)
    shadow_windows = counter("Windows of a candidate by outcome.", "model", "outcome")
    shadow_alarms = counter("Alarms that each version would raise.", "model", "mode")
    shadow_seconds = histogram("One batched run of a candidate.", "model", buckets=_RUN_SECONDS)
    served_models = gauge("Models in memory for other programs.")
    served_requests = counter("Requests of other programs to models.", "outcome")
    text_requests = counter("Requests for text of other programs.", "outcome")
    text_tokens = counter("Tokens of the language model.", "kind")
    text_seconds = histogram("One request of the language model.", buckets=_SECONDS)
    text_waiting = gauge("Requests that wait for the language model.")
    text_process_up = gauge("1 while the process of the language model is there.")
    text_process_ends = counter("Processes of the language model that ended by themselves.")
    machine_state = gauge("1 for the state of a machine of a line, 0 for others.", "asset", "state")
    machine_oee = gauge("OEE of the running shift and its parts, 0..1.", "asset", "part")
    machine_parts = gauge("Parts of the running shift.", "asset", "kind")
    machine_coverage = gauge("Share of the running shift of which the state is known.", "asset")
    provider_missing = gauge("1 if a configured execution provider is missing.", "provider")
    assets = gauge("Assets of the config and discovered assets.")
    asset_running = gauge(
        "1 while the condition (`when`) is true, 0 while the machine is stopped.", "asset"
    )
    assets_unjudged = gauge("Assets without a score now because inputs are missing.")
    line_bottleneck = gauge(
        "1 if the machine is surely the bottleneck of its line.", "line", "asset"
    )
    line_bottleneck_confidence = gauge("Of the likeliest bottleneck, 0..1.", "line")
    line_gain = gauge(
        "Share of output that a line gains if the machine works 10 % faster.", "line", "asset"
    )
    assets_refused = counter("Discovered assets refused because of the maximum.")
    maintenance_plans = counter("Maintenance plans made, by what made them, or failed.", "by")
    maintenance_plan_seconds = gauge("How long the last maintenance plan took.")
    maintenance_plan_time = gauge(
        "When it was made, since the epoch.", name="maintenance_plan_time_seconds"
    )
    maintenance_jobs = gauge("Jobs of the maintenance plan.", "status")
    maintenance_expected_cost = gauge("What failures before their stops are expected to cost.")
    active = gauge("1 while this gateway sends alarms; 0 on standby, or without a valid lease.")
    lease_epoch = gauge("Of the lease of a pair of gateways; it grows by 1 with each new holder.")
    takeovers = counter("How often this gateway of a pair became the active one.")
    config_reloads = counter("Config reloads by outcome.", "outcome")
    build_info = gauge("1; the version is its label.", "version")

    def __init__(self) -> None:
        # Without this each counter also has a `_created` series, which nobody needs.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # process_*: CPU, memory, open files, start
        for field, row in vars(Metrics).items():
            if isinstance(row, _Row):
                setattr(self, field, row.made_in(self.registry))

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
