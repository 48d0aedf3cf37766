"""From transitions to messages, and the known plant before the last stop of the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import orjson

from edge_agent.alarms import load_texts, messages, rfc3339
from edge_agent.config.schema import AlarmRule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from edge_agent.alarms import AlarmCatalogue, Texts
    from edge_agent.config.schema import Config
    from edge_agent.messages import Alarm, Message, Transition
    from edge_agent.plant import Plant

_NO_RULE = AlarmRule()


class Messages:
    """Makes the messages of transitions.

    catalogue: None until the plant is known; places: ISA-95 path by asset, for alarms of assets
    that are no longer in the plant.
    """

    def __init__(self, config: Config) -> None:
        self.catalogue: AlarmCatalogue | None = None
        self.places: dict[str, str] = {}
        self._config = config
        self._texts = load_texts(config.alarms)

    def replace_config(self, config: Config, texts: Texts) -> None:
        """Make messages with this config from now on."""
        self._config, self._texts = config, texts

    def make(
        self,
        transitions: Iterable[Transition],
        sinks: Sequence[tuple[str, Collection[str]]],
        now_us: int,
    ) -> list[Message]:
        """Make the messages of transitions; sinks: (name, kinds) each.

        An alarm whose asset has no path makes none.
        """
        found: list[Message] = []
        for transition in transitions:
            alarm = transition.alarm
            policy = self.catalogue(alarm.alarm_id) if self.catalogue else None
            path = policy.path if policy else self.places.get(alarm.asset)
            if path is not None:
                found += messages(
                    transition,
                    gateway=self._config.gateway,
                    root=self._config.topic_root,
                    path=path,
                    texts=self._texts,
                    rule=policy.rule if policy else _NO_RULE,
                    sinks=sinks,
                    now_us=now_us,
                )
        return found

    def texts_of(self, alarm: Alarm) -> dict[str, dict[str, str]]:
        """Return an alarm's message and advice by language."""
        policy = self.catalogue(alarm.alarm_id) if self.catalogue else None
        if policy is None:
            return {"message": {}, "advice": {}}
        return self._texts.render(alarm, policy.rule)


@dataclass(frozen=True, slots=True)
class Memory:
    """The discovered assets, and the path of every asset on the plant bus.

    Without the first, a restart would lose an alarm of a discovered asset; without the second, the
    retained alert of an asset that left the config could not be withdrawn.
    """

    discovered: tuple[tuple[str, str, str], ...] = ()  # asset id, template, line
    paths: dict[str, str] = field(default_factory=dict)  # asset id -> ISA-95 path

    @classmethod
    def of(cls, plant: Plant) -> Self:
        """Return the data of a plant that a restart needs."""
        return cls(
            tuple(
                (a.id, a.template_name, a.line if a.has_own_line else "") for a in plant.discovered
            ),
            {asset.id: asset.path for asset in plant.assets.values()},
        )

    def without(self, assets: Collection[str]) -> Memory:
        """Return it without these discovered assets; their paths stay, to withdraw their alarms."""
        kept = tuple(one for one in self.discovered if one[0] not in assets)
        return Memory(kept, self.paths)

    def dump(self) -> bytes:
        """Encode as JSON."""
        return orjson.dumps({"discovered": self.discovered, "paths": self.paths})

    @classmethod
    def parse(cls, raw: bytes | None) -> Self:
        """Decode JSON; empty if another version wrote it differently."""
        try:
            data = orjson.loads(raw or b"{}")
            found = tuple((str(a), str(t), str(line)) for a, t, line in data["discovered"])
            return cls(found, {str(k): str(v) for k, v in data["paths"].items()})
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return cls()


def audit_detail(alarm: Alarm) -> str:
    """Return the detail of an audit entry: until when the alarm is shelved, and the comment."""
    until_us = alarm.shelved_until_us
    until = f"until {rfc3339(until_us)[:19]}Z" if until_us else ""
    return ": ".join(filter(None, (until, alarm.comment)))
