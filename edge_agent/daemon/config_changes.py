"""What a new config changes, and how it comes into force while everything runs.

The least that serves: new alarm rules come into force where they stand, and windows, timers and
connections stay; changed sinks are exchanged one by one; only changed sources, assets or models
rebuild the intake side, beside the old one, which serves until the new one is ready.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_agent.config.schema import AlarmRule, LearnedAlarm
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from edge_agent.config.schema import Config, Template
    from edge_agent.daemon.daemon import Daemon

_FIXED: Final = ("gateway", "topic_root", "store", "http", "log")
_INTAKE: Final = (
    "sources",
    "assets",
    "discovery",
    "models_dir",
    "runtime",
    "trust",
    "tuning",
    "drift",
)


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two configs, beside what is exchanged piece by piece anyway."""

    rules: bool  # of single alarms, within templates
    intake: bool


def compare(old: Config, new: Config) -> Change:
    """What a reload has to do; ConfigError for what only a restart can change."""
    fixed = [name for name in _FIXED if getattr(old, name) != getattr(new, name)]
    if fixed:
        raise ConfigError(
            f"{', '.join(fixed)} cannot change while running", hint="restart the service"
        )
    bare_old = {name: _without_rules(t) for name, t in old.templates.items()}
    bare_new = {name: _without_rules(t) for name, t in new.templates.items()}
    intake = bare_old != bare_new
    intake = intake or any(getattr(old, name) != getattr(new, name) for name in _INTAKE)
    return Change(
        rules=old.templates != new.templates,
        intake=intake,
    )


def _without_rules(template: Template) -> Template:
    """A template but for the rules that can change in place."""
    none = AlarmRule()
    learn = None if template.learn is None else replace(template.learn, alarm=LearnedAlarm())
    models = tuple(replace(use, alarm=none) for use in template.models)
    return replace(template, models=models, learn=learn, quality_alarm=none)


def labels_of(daemon: Daemon) -> dict[str, set[str]]:
    """By label of the metrics: the names in use. `several`, and the like, are none of them."""
    models = {group.title for group in daemon.pipeline.groups}
    models |= {str(group.model.manifest.name) for group in daemon.pipeline.groups}
    return {
        "asset": set(daemon.plant.assets),
        "source": set(daemon.sources),
        "sink": set(daemon.publisher.sinks),
        "model": models,
    }
