"""Dashboards of what a gateway is connected to: sources, and the delivery of alarms."""

from __future__ import annotations

from typing import Final

from scripts.grafana.panels import Board, Query, Row, Variable
from scripts.grafana.words import (
    BAD,
    GATEWAYS,
    WATCH,
    bars,
    events,
    figure,
    optional,
    plot,
    quiet,
    timeline,
)

_CONNECTIONS: Final = Row(
    "Connections",
    (
        timeline(
            "Connected",
            "Of each source.",
            Query('edge_agent_source_up{$here, source=~"$source"}', "{{instance}} {{source}}"),
        ),
        plot(
            "Connections lost",
            "An hour. A source that flaps has a network or a licence problem.",
            Query(
                "3600 * sum by (instance, source)"
                ' (rate(edge_agent_source_reconnects_total{$here, source=~"$source"}[$every]))',
                "{{instance}} {{source}}",
            ),
            width=12,
        ),
    ),
)

_VALUES: Final = Row(
    "Values",
    (
        plot(
            "Received",
            "Decoded values a second.",
            Query(
                "sum by (instance, source)"
                ' (rate(edge_agent_values_received_total{$here, source=~"$source"}[$every]))',
                "{{instance}} {{source}}",
            ),
            unit="cps",
        ),
        plot(
            "Rejected",
            "Payloads or values a second, by reason (docs/metrics.md lists them).",
            quiet(
                "sum by (source, reason)"
                ' (rate(edge_agent_values_rejected_total{$here, source=~"$source"}[$every]))',
                "{{source}}: {{reason}}",
            ),
            unit="cps",
        ),
        plot(
            "Dropped and late",
            "Dropped: the intake was full. Late: the window was closed already.",
            quiet(
                "sum by (source)"
                ' (rate(edge_agent_values_dropped_total{$here, source=~"$source"}[$every]))',
                "dropped, {{source}}",
            ),
            quiet(
                "sum by (source)"
                ' (rate(edge_agent_values_late_total{$here, source=~"$source"}[$every]))',
                "late, {{source}}",
            ),
            unit="cps",
        ),
    ),
)

_TIME_AND_TRUST: Final = Row(
    "Time and trust",
    (
        plot(
            "Clock of the source",
            "How far it is ahead of the gateway; with the time of transmission.",
            Query(
                'edge_agent_source_clock_offset_seconds{$here, source=~"$source"}',
                "{{instance}} {{source}}",
            ),
            unit="s",
            width=12,
        ),
        bars(
            "Certificates: days left",
            "The ten that end first, with the key of the config.",
            optional(
                "bottomk(10, edge_agent_certificate_expiry_seconds{$here} / 86400)",
                "{{instance}} {{link}} {{key}}",
            ),
            steps=((3, "orange"), (30, "green")),
            low="red",
        ),
    ),
)

_INPUTS: Final = Row(
    "Inputs",
    (
        bars(
            "Stale or bad inputs",
            "The ten machines with the most of them.",
            Query("topk(10, sum by (asset) (edge_agent_inputs_stale{$here}))", "{{asset}}"),
            steps=WATCH,
        ),
        plot(
            "Machines without a score",
            "Because inputs are missing.",
            Query("sum by (instance) (edge_agent_assets_unjudged{$here})", "{{instance}}"),
            width=12,
        ),
        plot(
            "Machines that run",
            "Of those with a condition (`when`): 1 while it is true.",
            optional("sum by (instance) (edge_agent_asset_running{$here})", "{{instance}}"),
            width=12,
        ),
        plot(
            "Stale after",
            "How long the slowest input of a machine may be silent: the ten longest.",
            Query("topk(10, max by (asset) (edge_agent_stale_after_seconds{$here}))", "{{asset}}"),
            unit="s",
            width=12,
        ),
    ),
)

SOURCES: Final = Board(
    "edge-agent-sources",
    "edge-agent: sources",
    "What comes in: connections, rates, refusals by reason, clocks and certificates.",
    (*GATEWAYS, Variable("source", "edge_agent_source_up", everywhere=False)),
    (_CONNECTIONS, _VALUES, _TIME_AND_TRUST, _INPUTS),
)

_GIVEN_UP: Final = 'edge_agent_sink_given_up_total{$here, sink=~"$sink"}'
_DROPPED: Final = 'edge_agent_outbox_dropped_total{$here, sink=~"$sink"}'

_RECEIVERS: Final = Row(
    "Receivers",
    (
        figure(
            "Oldest message",
            "How long it waits.",
            Query('max(edge_agent_outbox_oldest_seconds{$here, sink=~"$sink"})'),
            unit="s",
            steps=((60, "orange"), (300, "red")),
        ),
        figure(
            "Waiting",
            "Messages in the outbox.",
            Query('sum(edge_agent_outbox_rows{$here, sink=~"$sink"})'),
        ),
        figure(
            "Refused alarms",
            "The receiver refuses them; they are kept and offered again.",
            Query('sum(edge_agent_sink_refused{$here, sink=~"$sink"})'),
            steps=BAD,
        ),
        figure(
            "Lost, 24 h",
            "Given up, or dropped because the store was full.",
            Query(
                f"({events(_GIVEN_UP)} or on () vector(0))"
                f" + ({events(_DROPPED)} or on () vector(0))"
            ),
            steps=BAD,
        ),
        timeline(
            "Confirms deliveries",
            "0 also if the receiver answers and refuses.",
            Query('edge_agent_sink_up{$here, sink=~"$sink"}', "{{instance}} {{sink}}"),
        ),
    ),
)

_OUTBOX: Final = Row(
    "Outbox",
    (
        plot(
            "Waiting messages",
            "They are sent in their order when the receiver is back.",
            Query(
                'sum by (instance, sink) (edge_agent_outbox_rows{$here, sink=~"$sink"})',
                "{{instance}} {{sink}}",
            ),
        ),
        plot(
            "Age of the oldest",
            "It grows while a receiver is away.",
            Query(
                'max by (instance, sink) (edge_agent_outbox_oldest_seconds{$here, sink=~"$sink"})',
                "{{instance}} {{sink}}",
            ),
            unit="s",
        ),
        plot(
            "Bytes",
            "Of the waiting messages; `store.max_bytes` is the limit.",
            Query(
                'sum by (instance, sink) (edge_agent_outbox_bytes{$here, sink=~"$sink"})',
                "{{instance}} {{sink}}",
            ),
            unit="bytes",
        ),
    ),
)

_DELIVERY: Final = Row(
    "Delivery",
    (
        plot(
            "From the last value to the confirmed alarm",
            "99 of 100 take less, by receiver.",
            Query(
                "histogram_quantile(0.99, sum by (sink, le)"
                ' (rate(edge_agent_end_to_end_seconds_bucket{$here, sink=~"$sink"}[$every])))',
                "{{sink}}",
            ),
            unit="s",
        ),
        plot(
            "Deliveries refused",
            "A minute, by reason. The message stays in the outbox.",
            quiet(
                "60 * sum by (sink, reason)"
                ' (rate(edge_agent_sink_failures_total{$here, sink=~"$sink"}[$every]))',
                "{{sink}}: {{reason}}",
            ),
        ),
        plot(
            "Commands",
            "A minute: acknowledgements and shelvings from the bus, by outcome.",
            quiet(
                "60 * sum by (outcome)"
                ' (rate(edge_agent_commands_total{$here, sink=~"$sink"}[$every]))',
                "{{outcome}}",
            ),
        ),
        plot(
            "Transitions",
            "A minute, by kind.",
            Query(
                "60 * sum by (kind) (rate(edge_agent_alarm_transitions_total{$here}[$every]))",
                "{{kind}}",
            ),
        ),
        plot(
            "Held back by the flood limit",
            "Raises a minute, by machine: the ten most.",
            quiet(
                "topk(10, 60 * sum by (asset)"
                " (rate(edge_agent_alarms_flooded_total{$here}[$every])))",
                "{{asset}}",
            ),
        ),
        plot(
            "Store",
            "Failures of its file a minute, and 0 while it is in memory.",
            Query("60 * sum(rate(edge_agent_store_errors_total{$here}[$every]))", "failures"),
            Query("min(edge_agent_store_up{$here})", "in its file"),
        ),
    ),
)

DELIVERY: Final = Board(
    "edge-agent-delivery",
    "edge-agent: delivery",
    "What goes out: receivers, the outbox, how long an alarm takes, and commands.",
    (*GATEWAYS, Variable("sink", "edge_agent_sink_up", everywhere=False)),
    (_RECEIVERS, _OUTBOX, _DELIVERY),
)
