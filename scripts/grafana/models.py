"""The dashboard of models: what they say, whether they still fit, and how they are replaced."""

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
    table,
)

_MINE: Final = '$here, model=~"$model"'

_MODELS: Final = Row(
    "Models in service",
    (
        table(
            "Active models",
            "With the version and the execution provider that runs it.",
            Query(
                "max by (instance, model, version, provider, variant)"
                f" (edge_agent_model_info{{{_MINE}}})",
                "active",
            ),
        ),
        figure(
            "Refused bundles, 24 h",
            "Wrong signature, checksum, graph or golden data: the log has the reason.",
            quiet(events(f"edge_agent_model_rejected_total{{{_MINE}}}")),
            steps=BAD,
        ),
        figure(
            "Roll-backs, 24 h",
            "Versions that failed in service; the version before runs again.",
            quiet(events(f"edge_agent_model_rollbacks_total{{{_MINE}}}")),
            steps=BAD,
        ),
        figure(
            "Ended processes, 24 h",
            "Of isolated models: they died or had to be killed.",
            quiet(events(f"edge_agent_model_process_ends_total{{{_MINE}}}")),
            steps=BAD,
        ),
        figure(
            "Missing providers",
            "Configured, but not there: the models run on the processor.",
            quiet("sum(edge_agent_provider_missing{$here})"),
            steps=BAD,
        ),
        figure(
            "Out of domain",
            "Machines whose inputs are outside of the training data: their scores are unsure.",
            Query(f"sum(edge_agent_uncertain_assets{{{_MINE}}})"),
            steps=WATCH,
        ),
        figure(
            "Learning",
            "Machines that learn their baseline now.",
            quiet("count(edge_agent_learning_progress{$here} < 1)"),
        ),
        figure(
            "Learning stopped",
            "The note of the asset is the reason.",
            quiet("sum(edge_agent_learning_stopped{$here})"),
            steps=WATCH,
        ),
        figure(
            "On servers",
            "Models that have servers: 0 while their own graph runs instead.",
            optional(f"min(edge_agent_model_remote_up{{{_MINE}}})"),
        ),
    ),
)

_RUNS: Final = Row(
    "Runs",
    (
        plot(
            "Windows",
            "A second, by model and outcome.",
            Query(
                f"sum by (model, outcome) (rate(edge_agent_windows_total{{{_MINE}}}[$every]))",
                "{{model}} {{outcome}}",
            ),
            unit="cps",
        ),
        plot(
            "Time of a run",
            "95 of 100 batched runs take less.",
            Query(
                "histogram_quantile(0.95, sum by (model, le)"
                f" (rate(edge_agent_inference_seconds_bucket{{{_MINE}}}[$every])))",
                "{{model}}",
            ),
            unit="s",
        ),
        plot(
            "Windows in a run",
            "The mean.",
            Query(
                f"sum by (model) (rate(edge_agent_batch_size_sum{{{_MINE}}}[$every]))"
                f" / sum by (model) (rate(edge_agent_batch_size_count{{{_MINE}}}[$every]))",
                "{{model}}",
            ),
        ),
    ),
)

_ANSWERS: Final = Row(
    "What they say",
    (
        plot(
            "Score",
            "Of the ten machines with the highest; the limit belongs to the model.",
            Query(
                f"topk(10, max by (asset, model) (edge_agent_score{{{_MINE}}}))",
                "{{asset}} {{model}}",
            ),
        ),
        plot(
            "Health",
            "Of the ten worst machines.",
            Query(
                f"bottomk(10, min by (asset, model) (edge_agent_health{{{_MINE}}}))",
                "{{asset}} {{model}}",
            ),
            unit="percentunit",
            top=1,
        ),
        plot(
            "Remaining life",
            "The middle of the interval, of the ten shortest; only models that predict it.",
            optional(
                "bottomk(10, min by (asset, model)"
                f' (edge_agent_remaining_life_seconds{{{_MINE}, p="0.5"}}))',
                "{{asset}} {{model}}",
            ),
            unit="s",
        ),
    ),
)

_FIT: Final = Row(
    "Do they still fit",
    (
        plot(
            "Drift: PSI",
            "Of the machine with the largest; the drift alarm has its limit at 0.25.",
            optional(
                f"max by (model, input) (edge_agent_drift_psi{{{_MINE}}})", "{{model}} {{input}}"
            ),
        ),
        plot(
            "Drift: KS distance",
            "0 to 1, of the machine with the largest.",
            optional(
                f"max by (model, input) (edge_agent_drift_ks{{{_MINE}}})", "{{model}} {{input}}"
            ),
            top=1,
        ),
        plot(
            "Baselines that moved",
            "How far, in standard deviations of the healthy data; the ten farthest.",
            optional(
                f"topk(10, max by (asset) (edge_agent_baseline_followed_sigmas{{{_MINE}}}))",
                "{{asset}}",
            ),
        ),
        plot(
            "False alarms, a day and machine",
            "Alarms that people called false, and what the model promises at most.",
            Query(
                f'sum by (model) (edge_agent_model_alarms{{{_MINE}, called="false"}})'
                f" / (sum by (model) (edge_agent_model_judged_seconds{{{_MINE}}}) > 0) * 86400",
                "{{model}}",
            ),
            Query(
                f"max by (model) (edge_agent_model_promised_alarms{{{_MINE}}})",
                "promised, {{model}}",
            ),
        ),
        plot(
            "Limits raised by feedback",
            "The factor on the model's limit; the ten largest.",
            optional(
                f"topk(10, max by (asset, model) (edge_agent_limit_factor{{{_MINE}}}))",
                "{{asset}} {{model}}",
            ),
        ),
        plot(
            "Intervals of remaining life",
            "Fraction that contained the truth (0.8 is meant), and the factor on their width.",
            optional(f"min by (model) (edge_agent_rul_coverage{{{_MINE}}})", "held, {{model}}"),
            optional(
                f"max by (model, side) (edge_agent_rul_interval_scale{{{_MINE}}})",
                "factor {{side}}, {{model}}",
            ),
        ),
    ),
)

_CHANGE: Final = Row(
    "What comes next",
    (
        bars(
            "Learning",
            "Fraction of the full baseline, of the ten farthest behind.",
            optional(
                "bottomk(10, min by (asset) (edge_agent_learning_progress{$here}))", "{{asset}}"
            ),
            steps=((1, "green"),),
            low="blue",
        ),
        bars(
            "Provisional baselines",
            "Seconds of data in them; they are replaced by the full ones.",
            optional(
                "topk(10, max by (asset) (edge_agent_baseline_provisional_seconds{$here}))",
                "{{asset}}",
            ),
            steps=(),
        ),
        plot(
            "Shadow: agreement",
            "Windows a second by the versions whose alarm is active after the window.",
            optional(
                "sum by (model, outcome)"
                f" (rate(edge_agent_shadow_windows_total{{{_MINE}}}[$every]))",
                "{{model}} {{outcome}}",
            ),
            unit="cps",
        ),
        plot(
            "Shadow: alarms",
            "That each version would have raised since the candidate started.",
            optional(
                f"sum by (model, mode) (edge_agent_shadow_alarms_total{{{_MINE}}})",
                "{{model}} {{mode}}",
            ),
        ),
        plot(
            "Servers of models",
            "Windows a second by place, and failures by reason.",
            optional(
                "sum by (model, place)"
                f" (rate(edge_agent_model_remote_windows_total{{{_MINE}}}[$every]))",
                "{{model}} {{place}}",
            ),
            quiet(
                "sum by (model, reason)"
                f" (rate(edge_agent_model_remote_failures_total{{{_MINE}}}[$every]))",
                "{{model}}: {{reason}}",
            ),
            unit="cps",
        ),
    ),
)

MODELS: Final = Board(
    "edge-agent-models",
    "edge-agent: models and drift",
    "What the models say, whether they still fit their machines, and how they are replaced.",
    (*GATEWAYS, Variable("model", "edge_agent_model_info", everywhere=False)),
    (_MODELS, _RUNS, _ANSWERS, _FIT, _CHANGE),
)
