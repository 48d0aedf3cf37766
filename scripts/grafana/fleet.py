"""The dashboard of the whole fleet."""

from __future__ import annotations

from typing import Final

from scripts.grafana.panels import Board, Query, Row
from scripts.grafana.words import BAD, CPU, JOB, MEMORY, WATCH, figure, plot, quiet, table

_NOW: Final = Row(
    "Now",
    (
        figure("Gateways up", "Gateways that answer Prometheus.", Query("sum(up{$here})")),
        figure(
            "Gateways down",
            "They do not answer: no power, no network, or a service that is stopped.",
            quiet("count(up{$here} == 0)"),
            steps=BAD,
        ),
        figure(
            "Links down",
            "Sources and sinks without a connection.",
            quiet("count(edge_agent_source_up{$here} == 0 or edge_agent_sink_up{$here} == 0)"),
            steps=BAD,
        ),
        figure(
            "Alarms to acknowledge",
            "Of all priorities.",
            quiet('sum(edge_agent_alarms{$here, state=~"unack|rtn_unack"})'),
            steps=WATCH,
        ),
        figure(
            "High and critical",
            "Alarms of severity 667 and more that nobody has acknowledged.",
            quiet(
                'sum(edge_agent_alarms{$here, state=~"unack|rtn_unack", priority=~"high|critical"})'
            ),
            steps=BAD,
        ),
        figure(
            "Machines", "In the configs, and discovered.", Query("sum(edge_agent_assets{$here})")
        ),
        figure(
            "Without a score",
            "Machines that nobody watches now, because their inputs are missing.",
            Query("sum(edge_agent_assets_unjudged{$here})"),
            steps=WATCH,
        ),
        figure(
            "Oldest message",
            "How long the oldest message waits for its receiver.",
            Query("max(edge_agent_outbox_oldest_seconds{$here})"),
            unit="s",
            steps=((60, "orange"), (300, "red")),
        ),
    ),
)

_LIST: Final = Row(
    "Gateways",
    (
        table(
            "Gateways",
            "`active` is 0 on the standby of a pair; `links up` is 0 if a source or sink is down.",
            Query("max by (instance, version) (edge_agent_build_info{$here})", "build"),
            Query("max by (instance) (edge_agent_active{$here})", "active"),
            Query("max by (instance) (time() - process_start_time_seconds{$here})", "uptime (s)"),
            Query("max by (instance) (edge_agent_assets{$here})", "machines"),
            Query(
                "min by (instance) (edge_agent_source_up{$here} or edge_agent_sink_up{$here})",
                "links up",
            ),
            Query("sum by (instance) (edge_agent_outbox_rows{$here})", "waiting"),
            Query('sum by (instance) (edge_agent_alarms{$here, state!="normal"})', "alarms"),
        ),
    ),
)

_TRENDS: Final = Row(
    "Over time",
    (
        plot(
            "Alarms to acknowledge, by priority",
            "low to 333, medium to 666, high and critical (the top fifth) above.",
            quiet(
                'sum by (priority) (edge_agent_alarms{$here, state=~"unack|rtn_unack"})',
                "{{priority}}",
            ),
        ),
        plot(
            "Values",
            "Decoded values a second.",
            Query(
                "sum by (instance) (rate(edge_agent_values_received_total{$here}[$every]))",
                "{{instance}}",
            ),
            unit="cps",
        ),
        plot(
            "Values lost",
            "The intake was full: the gateway is too slow for its values, or was stopped.",
            quiet(
                "sum by (instance) (rate(edge_agent_values_dropped_total{$here}[$every]))",
                "{{instance}}",
            ),
            unit="cps",
        ),
        plot(
            "Lowest health",
            "Of the worst machine of each gateway.",
            Query("min by (instance) (edge_agent_health{$here})", "{{instance}}"),
            unit="percentunit",
            top=1,
        ),
        plot("Processor", "100 % is one core.", CPU, unit="percentunit"),
        plot("Memory", "Of the daemon itself, without its children.", MEMORY, unit="bytes"),
    ),
)

FLEET: Final = Board(
    "edge-agent-fleet",
    "edge-agent: fleet",
    "All gateways: which are away, which wait for a person, which lose values.",
    JOB,
    (_NOW, _LIST, _TRENDS),
)
