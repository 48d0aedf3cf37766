"""The dashboard of one gateway."""

from __future__ import annotations

from typing import Final

from scripts.grafana.panels import Board, Panel, Query, Row
from scripts.grafana.words import (
    BAD,
    CPU,
    GATEWAYS,
    GOOD_ABOVE,
    MEMORY,
    WATCH,
    bars,
    events,
    figure,
    plot,
    quiet,
)

_STATE: Final = Row(
    "Now",
    (
        figure(
            "Role",
            "Of a pair one gateway is active; a single one always is.",
            Query("min(edge_agent_active{$here})"),
            names={0: ("standby", "blue"), 1: ("active", "green")},
        ),
        figure(
            "Store",
            "While it is in memory, a restart loses alarms and messages.",
            Query("min(edge_agent_store_up{$here})"),
            names={0: ("in memory", "red"), 1: ("in its file", "green")},
        ),
        figure(
            "Uptime",
            "Since the last start.",
            Query("min(time() - process_start_time_seconds{$here})"),
            unit="s",
        ),
        figure(
            "Machines", "In the config, and discovered.", Query("sum(edge_agent_assets{$here})")
        ),
        figure(
            "Without a score",
            "Machines that nobody watches now, because their inputs are missing.",
            Query("sum(edge_agent_assets_unjudged{$here})"),
            steps=WATCH,
        ),
        figure(
            "Defects, 24 h",
            "Unexpected errors that were caught; the log has a traceback of each.",
            quiet(events("edge_agent_defects_total{$here}")),
            steps=BAD,
        ),
        figure(
            "Refused configs, 24 h",
            "Reloads whose new config was wrong: the old one stays in use.",
            quiet(events('edge_agent_config_reloads_total{$here, outcome="refused"}')),
            steps=BAD,
        ),
        figure(
            "Take-overs, 24 h",
            "How often this gateway of a pair became the active one.",
            Query("sum(increase(edge_agent_takeovers_total{$here}[24h]))"),
            steps=((2, "orange"),),
        ),
    ),
)

_PATH: Final = Row(
    "From value to alarm",
    (
        plot(
            "Values",
            "Decoded values a second, by source.",
            Query(
                "sum by (source) (rate(edge_agent_values_received_total{$here}[$every]))",
                "{{source}}",
            ),
            unit="cps",
        ),
        plot(
            "Windows",
            "By outcome. `skipped_quality`: inputs were bad; `busy`: a model run was late.",
            Query(
                "sum by (outcome) (rate(edge_agent_windows_total{$here}[$every]))", "{{outcome}}"
            ),
            unit="cps",
        ),
        plot(
            "Model run",
            "95 of 100 batched runs take less.",
            Query(
                "histogram_quantile(0.95, sum by (model, le)"
                " (rate(edge_agent_inference_seconds_bucket{$here}[$every])))",
                "{{model}}",
            ),
            unit="s",
        ),
        plot(
            "From the last value to the confirmed alarm",
            "With the way to the receiver and back; only alarms that were sent.",
            Query(
                "histogram_quantile(0.5, sum by (le)"
                " (rate(edge_agent_end_to_end_seconds_bucket{$here}[$every])))",
                "half of them",
            ),
            Query(
                "histogram_quantile(0.99, sum by (le)"
                " (rate(edge_agent_end_to_end_seconds_bucket{$here}[$every])))",
                "99 of 100",
            ),
            unit="s",
        ),
        plot(
            "Alarms by state",
            "The states of ISA-18.2.",
            quiet('sum by (state) (edge_agent_alarms{$here, state!="normal"})', "{{state}}"),
        ),
        plot(
            "Transitions",
            "A minute, by kind. Many raises at once are a flood.",
            Query(
                "60 * sum by (kind) (rate(edge_agent_alarm_transitions_total{$here}[$every]))",
                "{{kind}}",
            ),
        ),
    ),
)

_MACHINES: Final = Row(
    "Machines",
    (
        Panel(
            "Lowest health",
            "The ten worst machines.",
            (Query("bottomk(10, min by (asset) (edge_agent_health{$here}))", "{{asset}}"),),
            "bargauge",
            "percentunit",
            12,
            steps=GOOD_ABOVE,
            low="red",
            top=1,
        ),
        bars(
            "Stale inputs",
            "The ten machines with the most inputs that are stale or bad.",
            Query("topk(10, max by (asset) (edge_agent_inputs_stale{$here}))", "{{asset}}"),
            steps=WATCH,
        ),
    ),
)

_SERVICE: Final = Row(
    "The service",
    (
        plot("Processor", "100 % is one core.", CPU, unit="percentunit"),
        plot("Memory", "Of the daemon itself, without its children.", MEMORY, unit="bytes"),
        plot(
            "Open files",
            "With the limit of the process.",
            Query("process_open_fds{$here}", "open, {{instance}}"),
            Query("process_max_fds{$here}", "limit, {{instance}}"),
        ),
        plot(
            "Other programs",
            "Requests a second for models and for texts, by outcome.",
            quiet(
                "sum by (outcome) (rate(edge_agent_served_requests_total{$here}[$every]))",
                "models, {{outcome}}",
            ),
            quiet(
                "sum by (outcome) (rate(edge_agent_text_requests_total{$here}[$every]))",
                "texts, {{outcome}}",
            ),
            unit="reqps",
        ),
        plot(
            "Refused clients",
            "A minute: wrong keys by reason, and commands without the right.",
            quiet(
                "60 * sum by (reason) (rate(edge_agent_http_wrong_keys_total{$here}[$every]))",
                "{{reason}}",
            ),
            Query("60 * sum(rate(edge_agent_http_denied_total{$here}[$every]))", "denied"),
        ),
        plot(
            "Log lines dropped",
            "Nothing read them fast enough.",
            Query("sum(rate(edge_agent_log_dropped_total{$here}[$every]))", "lines"),
            unit="cps",
        ),
    ),
)

ONE_GATEWAY: Final = Board(
    "edge-agent-gateway",
    "edge-agent: one gateway",
    "One gateway: the way of its values, its machines, and the service itself.",
    GATEWAYS,
    (_STATE, _PATH, _MACHINES, _SERVICE),
)
