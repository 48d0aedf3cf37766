"""From transitions to messages: where an alarm belongs, and what its rule and the texts say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.alarms import load_texts, messages
from edge_agent.config.schema import AlarmRule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edge_agent.alarms import AlarmCatalogue, Texts
    from edge_agent.config.schema import Config
    from edge_agent.messages import Alarm, Message, Transition

_NO_RULE = AlarmRule()


class Messages:
    """Makes the messages of transitions.

    policies: rules by alarm id, None until the plant is known; places: ISA-95 path by asset, for
    alarms of assets that are no longer in the plant.
    """

    def __init__(self, config: Config) -> None:
        self.policies: AlarmCatalogue | None = None
        self.places: dict[str, str] = {}
        self._config = config
        self._texts = load_texts(config.alarms)

    def adopt(self, config: Config, texts: Texts) -> None:
        """From now on as this config says."""
        self._config, self._texts = config, texts

    def of(
        self,
        transition: Transition,
        sinks: Sequence[tuple[str, Collection[str]]],
        now_us: int,
    ) -> list[Message]:
        """The messages of a transition; sinks: (name, kinds) each. None where it has no place."""
        alarm = transition.alarm
        policy = self.policies(alarm.alarm_id) if self.policies else None
        path = policy.path if policy else self.places.get(alarm.asset)
        if path is None:
            return []
        return messages(
            transition,
            gateway=self._config.gateway,
            root=self._config.topic_root,
            path=path,
            texts=self._texts,
            rule=policy.rule if policy else _NO_RULE,
            sinks=sinks,
            now_us=now_us,
        )

    def texts_of(self, alarm: Alarm) -> dict[str, dict[str, str]]:
        """An alarm's message and advice by language."""
        policy = self.policies(alarm.alarm_id) if self.policies else None
        if policy is None:
            return {"message": {}, "advice": {}}
        return self._texts.render(alarm, policy.rule)
