"""The messages of alarms: CloudEvents 1.0 in structured JSON, their topics, and their JSON view.

Numbers that are not finite become null, and everything else is limited to the bounds of
alert.schema.json, so that no model output can produce an invalid alert.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from edge_agent.alarms.experience import last_time
from edge_agent.alarms.texts import load_texts, printable
from edge_agent.clock import US_PER_MS
from edge_agent.config.schema import AlarmRule
from edge_agent.messages import AlarmState, Message, Transition, TransitionKind, plain_alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from edge_agent.alarms.catalogue import AlarmCatalogue
    from edge_agent.alarms.texts import Texts
    from edge_agent.config import schema

    SaidOf: TypeAlias = Callable[[Sequence[str]], list[dict[str, Any]]]

    from edge_agent.messages import (
        Alarm,
        Contributor,
        Detail,
        ModelInfo,
        PictureInfo,
        WindowInfo,
    )

CONTENT_TYPE: Final = "application/cloudevents+json"
DATA_SCHEMA: Final = "urn:edge-agent:schema:alert:1"
TYPE_PREFIX: Final = "io.edge-agent.alarm."
MAX_CONTRIBUTORS: Final = 5
MAX_BOXES: Final = 8
PICTURES: Final = "/api/pictures/"  # before the id of a thumbnail
ALERT: Final = "alert"
EVENT: Final = "event"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US: Final = 253_402_300_799_000_000  # the year 9999, where RFC 3339 ends
_MAX_VALUE: Final = 200
_RUL: Final = ("p10", "p50", "p90")
_NO_RULE: Final = AlarmRule()


def _nothing(_: Sequence[str]) -> list[dict[str, Any]]:
    """Stand in for an audit."""
    return []


class AlarmMessages:
    """Makes the messages of transitions.

    catalogue: None until the plant is known; places: ISA-95 path by asset, for alarms of assets
    that are no longer in the plant.
    """

    def __init__(self, config: schema.Config) -> None:
        self.catalogue: AlarmCatalogue | None = None
        self.places: dict[str, str] = {}
        self._config = config
        self._texts = load_texts(config.alarms)

    def replace_config(self, config: schema.Config, texts: Texts) -> None:
        """Make messages with this config from now on."""
        self._config, self._texts = config, texts

    def make(
        self,
        transitions: Iterable[Transition],
        sinks: Sequence[tuple[str, Collection[str]]],
        now_us: int,
        said_of: SaidOf = _nothing,
    ) -> list[Message]:
        """Make the messages of transitions; sinks: (name, kinds) each.

        said_of: entries of the audit about any of some subjects, the newest first. An alarm whose
        asset has no path makes none.
        """
        found: list[Message] = []
        for transition in transitions:
            alarm = transition.alarm
            policy = self.catalogue.policy_of(alarm.alarm_id) if self.catalogue else None
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
                    with_record=self._config.standby.enabled,
                    last=_last_time(alarm, said_of),
                )
        return found

    @property
    def texts(self) -> Texts:
        """The texts of the config."""
        return self._texts

    def make_states(
        self, alarms: Iterable[Alarm], now_us: int, said_of: SaidOf = _nothing
    ) -> list[bytes]:
        """Make an event of each alarm as it stands."""
        updates = [Transition(TransitionKind.UPDATE, now_us, alarm) for alarm in alarms]
        return [one.body for one in self.make(updates, [("", {EVENT})], now_us, said_of)]

    def texts_of(self, alarm: Alarm) -> dict[str, dict[str, str]]:
        """Return an alarm's message and advice by language."""
        policy = self.catalogue.policy_of(alarm.alarm_id) if self.catalogue else None
        if policy is None:
            return {"message": {}, "advice": {}}
        return self._texts.render(alarm, policy.rule)


def alert_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the whole envelope."""
    text = resources.files("edge_agent.alarms").joinpath("alert.schema.json").read_text("utf-8")
    schema_: dict[str, Any] = json.loads(text)
    return schema_


def envelope(  # noqa: PLR0913 (each names a different thing)
    transition: Transition,
    *,
    gateway: schema.Gateway,
    path: str,
    texts: Texts,
    rule: AlarmRule,
    with_record: bool = False,
    last: dict[str, Any] | None = None,
) -> bytes:
    """Encode a transition of an alarm of the asset at ISA-95 `path`.

    with_record: also the whole alarm as it is stored, which the other gateway of a pair follows.
    last: what was written about its last occurrence.
    """
    alarm = transition.alarm
    record = {"record": plain_alarm(alarm)} if with_record else {}
    event = {
        "specversion": "1.0",
        "id": f"{alarm.alarm_id}:{alarm.seq}",
        "source": event_source(gateway),
        "type": f"{TYPE_PREFIX}{transition.kind}",
        "subject": path,
        "time": rfc3339(transition.at_us),
        "datacontenttype": "application/json",
        "dataschema": DATA_SCHEMA,
        "data": _data(transition, texts, rule, last) | record,
    }
    return orjson.dumps(event, default=_plain)


def event_source(gateway: schema.Gateway) -> str:
    """Return the `source` of its events; both gateways of a pair have the same."""
    return f"/{gateway.enterprise}/{gateway.site}/edge-agent/{gateway.id}"


def topics(alarm_id: str, root: str, path: str) -> tuple[str, str]:
    """Return the topics of an alarm's retained alert and of its events."""
    base = f"{root}/{path}/_pdm"
    return f"{base}/alert/{alarm_id}", f"{base}/event"


def messages(  # noqa: PLR0913 (each names a different thing)
    transition: Transition,
    *,
    gateway: schema.Gateway,
    root: str,
    path: str,
    texts: Texts,
    rule: AlarmRule,
    sinks: Sequence[tuple[str, Collection[str]]],
    now_us: int,
    with_record: bool = False,
    last: dict[str, Any] | None = None,
) -> list[Message]:
    """Make the outbox messages of a transition: for each sink the kinds (alert, event) it takes.

    The alert of an alarm that is normal (ISA-18.2: cleared and acknowledged) is empty, so that a
    broker forgets it.
    """
    alarm = transition.alarm
    alert_topic, event_topic = topics(alarm.alarm_id, root, path)
    body = envelope(
        transition,
        gateway=gateway,
        path=path,
        texts=texts,
        rule=rule,
        with_record=with_record,
        last=last,
    )
    alert_body = b"" if alarm.state is AlarmState.NORMAL else body
    made = {ALERT: (alert_topic, alert_body), EVENT: (event_topic, body)}
    return [
        Message(0, sink, kind, alarm.alarm_id, alarm.seq, *made[kind], now_us)
        for sink, kinds in sinks
        for kind in made
        if kind in kinds
    ]


def to_json(alarm: Alarm) -> dict[str, Any]:
    """Show an alarm with all its fields as plain JSON types; times in ms since the epoch."""
    view = {field.name: getattr(alarm, field.name) for field in fields(alarm)}
    for name in ("first_seen", "changed", "shelved_until"):
        view[f"{name}_ms"] = view.pop(f"{name}_us") // US_PER_MS or None
    view |= {"state": alarm.state.value, "ne107": alarm.ne107.value}
    view["detail"] = None if alarm.detail is None else detail_json(alarm.detail)
    return view


def transition_json(transition: Transition) -> dict[str, Any]:
    """Show a transition, and its alarm after it, as plain JSON types."""
    kind, time = transition.kind, rfc3339(transition.at_us)
    return {"time": time, "transition": kind, **to_json(transition.alarm)}


def audit_detail(alarm: Alarm) -> str:
    """Return the detail of an audit entry: until when the alarm is shelved, and the comment."""
    until_us = alarm.shelved_until_us
    until = f"until {rfc3339(until_us)[:19]}Z" if until_us else ""
    return ": ".join(filter(None, (until, alarm.comment)))


def rfc3339(time_us: int) -> str:
    """Write microseconds since the epoch as RFC 3339 in UTC; years outside 1970-9999 are cut."""
    moment = _EPOCH + timedelta(microseconds=min(max(time_us, 0), _LAST_US))
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _data(
    transition: Transition, texts: Texts, rule: AlarmRule, last: dict[str, Any] | None
) -> dict[str, Any]:
    alarm, detail = transition.alarm, transition.alarm.detail
    until_us = alarm.shelved_until_us
    data = {
        "alarm_id": alarm.alarm_id,
        "asset": alarm.asset,
        "transition": transition.kind,
        "actor": transition.actor,
        "comment": alarm.comment,
        "state": alarm.state,
        "active": alarm.active,
        "severity": alarm.severity,
        "priority": alarm.priority,
        "ne107": alarm.ne107,
        "stage": alarm.stage,
        **texts.render(alarm, rule),
        "guidance": texts.guidance(alarm) if alarm.active else None,
        "last_time": last,
        "first_seen": rfc3339(alarm.first_seen_us) if alarm.count or alarm.active else None,
        "count": alarm.count,
        "shelved_until": rfc3339(until_us) if until_us else None,
        "stored": transition.stored,
    }
    return data | _finding(detail)


def _last_time(alarm: Alarm, said_of: SaidOf) -> dict[str, Any] | None:
    """What was written about the last occurrence of an active alarm; None if nothing was."""
    if not alarm.active:
        return None
    found = last_time(alarm, said_of((alarm.alarm_id, alarm.asset)))
    if found is None:
        return None
    written = {"time": rfc3339(found.pop("time_us")), **found}
    return {key: _plain(value) if key == "comment" else value for key, value in written.items()}


def _finding(detail: Detail | None) -> dict[str, Any]:
    """Return the finding; every key is always present, except `picture`: of cameras only."""
    none = dict.fromkeys(("score", "probability", "rul_h", "window", "model"))
    if detail is None:
        return {"failure_mode": "", "contributors": [], **none}
    window, model = detail.window, detail.model
    return {
        "failure_mode": detail.failure_mode,
        "score": _finite(detail.score),
        "probability": _share(detail.probability),
        "rul_h": _rul(detail.rul_h),
        "contributors": _contributors(detail.contributors),
        "window": None if window is None else _window(window),
        "model": None if model is None else _model(model),
        **({} if detail.picture is None else {"picture": _picture(detail.picture)}),
    }


def _picture(picture: PictureInfo) -> dict[str, Any]:
    """Show a picture: where its thumbnail is, relative to the gateway's HTTP address."""
    boxes = [
        {**asdict(one), "share": _share(one.share) or 0.0} for one in picture.boxes[:MAX_BOXES]
    ]
    return {
        "id": picture.picture_id,
        "url": f"{PICTURES}{picture.picture_id}",
        "camera": picture.camera,
        "width": picture.width,
        "height": picture.height,
        "boxes": boxes,
    }


def detail_json(detail: Detail) -> dict[str, Any]:
    """Show a finding as plain JSON types; times in ms since the epoch."""
    view = _finding(detail)
    view["message_key"] = detail.message_key
    view["message_args"] = {key: _plain(value) for key, value in detail.message_args.items()}
    if detail.window is not None:
        for name in ("start", "end"):
            view["window"][f"{name}_ms"] = getattr(detail.window, f"{name}_us") // US_PER_MS
            del view["window"][name]
    return view


def _window(window: WindowInfo) -> dict[str, Any]:
    return {
        "start": rfc3339(window.start_us),
        "end": rfc3339(window.end_us),
        "coverage": _share(window.coverage),
        "quality": window.quality,
        "replayed": window.replayed,
    }


def _model(model: ModelInfo) -> dict[str, str]:
    return {
        "name": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "mode": model.mode,
    }


def _contributors(all_of_them: Sequence[Contributor]) -> list[dict[str, Any]]:
    """Choose the first five by weight; one without a finite weight contributes nothing."""
    finite = [each for each in all_of_them if math.isfinite(each.weight)]
    finite.sort(key=lambda each: -abs(each.weight))
    return [
        {
            "input": each.input,
            "weight": _finite(each.weight),
            "value": _finite(each.value),
            "unit": each.unit,
            "normal": _normal(each),
        }
        for each in finite[:MAX_CONTRIBUTORS]
    ]


def _normal(each: Contributor) -> dict[str, float | None] | None:
    low, high = _finite(each.low), _finite(each.high)
    return None if low is None or high is None else {"low": low, "high": high}


def _rul(hours: dict[str, float] | None) -> dict[str, float] | None:
    if hours is None:
        return None
    known = {name: _finite(hours.get(name)) for name in _RUL}
    return {name: max(0.0, value) for name, value in known.items() if value is not None} or None


def _finite(value: float | None) -> float | None:
    """Round to the seven digits that a float32 has; None for NaN and infinities."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.7g}")


def _share(value: float | None) -> float | None:
    share = _finite(value)
    return None if share is None else min(max(share, 0.0), 1.0)


def _plain(value: object) -> str | float | None:
    if value is None:
        return None
    if isinstance(value, str):
        return printable(value, _MAX_VALUE)
    try:
        return _finite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return printable(str(value), _MAX_VALUE)
