"""What a new config changes, and how it comes into force while everything runs.

The least that serves: new alarm rules come into force where they stand, and windows, timers and
connections stay; changed sinks are exchanged one by one; only changed sources, assets or models
rebuild the intake side, beside the old one, which serves until the new one is ready.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.config.schema import AlarmRule, LearnedAlarm
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from edge_agent.config.schema import Config, Template

_FIXED: Final = ("gateway", "topic_root", "store", "http", "log")
_REBUILT: Final = (
    "sources",
    "assets",
    "discovery",
    "models_dir",
    "runtime",
    "trust",
    "tuning",
    "drift",
)


def rebuilds(old: Config, new: Config) -> bool:
    """True if a change needs another runtime; ConfigError for what only a restart can change."""
    fixed = [name for name in _FIXED if getattr(old, name) != getattr(new, name)]
    if fixed:
        raise ConfigError(
            f"{', '.join(fixed)} cannot change while running", hint="restart the service"
        )
    bare_old = {name: _without_rules(t) for name, t in old.templates.items()}
    bare_new = {name: _without_rules(t) for name, t in new.templates.items()}
    return bare_old != bare_new or any(getattr(old, n) != getattr(new, n) for n in _REBUILT)


def _without_rules(template: Template) -> Template:
    """A template but for the rules that can change in place."""
    none = AlarmRule()
    learn = None if template.learn is None else replace(template.learn, alarm=LearnedAlarm())
    models = tuple(replace(use, alarm=none) for use in template.models)
    return replace(template, models=models, learn=learn, quality_alarm=none)
