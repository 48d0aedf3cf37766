"""All possible alarms and their rules, by alarm id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from edge_agent.config.limit_rules import rules_of
from edge_agent.config.schema import AlarmRule, Drift, Learn
from edge_agent.config.schema import Kind as SignalKind
from edge_agent.config.types import Duration, Name
from edge_agent.messages import Ne107

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from edge_agent.config.control_charts import ControlChart
    from edge_agent.config.limits import Limit
    from edge_agent.config.schema import Gateway, ModelUse
    from edge_agent.messages import Alarm
    from edge_agent.plant import PlantAsset, PlantSignal

# Topic levels, file names and metric labels are made of alarm ids.
ALARM_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")

Kind: TypeAlias = Literal["model", "limit", "quality", "flood", "service"]
Stage: TypeAlias = Literal[
    "data_acquisition",
    "data_manipulation",
    "state_detection",
    "health_assessment",
    "prognostics_assessment",
    "advisory_generation",
    "presentation",
]

# The use names of models that were learned on the gateway, from numbers and from waveforms.
BASELINE: Final = "baseline"
WAVEFORMS: Final = "waveforms"
NO_CHARTS: Final[Mapping[Name, ControlChart]] = {}
# A look at a line comes every few minutes and has its own test for chance.
_CYCLE_RULE: Final = AlarmRule(
    severity=300,
    ne107=Ne107.MAINTENANCE_REQUIRED,
    off_delay=Duration(0),
    deadband=0.0,
    recovery=0.0,
)
_SERVICE_RULE: Final = AlarmRule(severity=800, ne107=Ne107.FAILURE)
# By the first part of `Fault.what`, if it differs from the rule of all service alarms.
_SERVICE_RULES: Final[dict[str, AlarmRule]] = {
    # Shown at once as a trouble; an alarm if it is still there then, within a minute in total.
    "clock": AlarmRule(severity=600, ne107=Ne107.CHECK_FUNCTION, on_delay=Duration(20)),
    "config": AlarmRule(severity=400, ne107=Ne107.CHECK_FUNCTION),
    "discovery": AlarmRule(severity=500, ne107=Ne107.CHECK_FUNCTION),
    "learning": AlarmRule(severity=500, ne107=Ne107.CHECK_FUNCTION),
    "lines": AlarmRule(severity=400, ne107=Ne107.CHECK_FUNCTION),
    "log": AlarmRule(severity=400, ne107=Ne107.CHECK_FUNCTION),
    "parts": AlarmRule(severity=400, ne107=Ne107.CHECK_FUNCTION),
    "maintenance": AlarmRule(severity=400, ne107=Ne107.CHECK_FUNCTION),
    "machines": AlarmRule(severity=500, ne107=Ne107.CHECK_FUNCTION),
    "model_remote": AlarmRule(severity=400, ne107=Ne107.CHECK_FUNCTION),
    "certificate_expires": AlarmRule(severity=400, ne107=Ne107.MAINTENANCE_REQUIRED),
    # These end when their condition has been over for some time (daemon/links.py).
    "source": AlarmRule(severity=800, ne107=Ne107.FAILURE, off_delay=Duration(0)),
    "sink": AlarmRule(severity=700, ne107=Ne107.FAILURE, off_delay=Duration(0)),
    "nodes": AlarmRule(severity=500, ne107=Ne107.CHECK_FUNCTION, off_delay=Duration(0)),
}


@dataclass(frozen=True, slots=True)
class AlarmPolicy:
    """The place of an alarm and the rule of its raises.

    path: ISA-95 path enterprise/site/area/line/asset; kind: flood and service are never held by
    the flood limit; stage: the block of ISO 13374 it comes from
    (`presentation`, the last layer of OSA-CBM, for the delivery of alarms).
    """

    asset: str
    path: str
    rule: AlarmRule
    kind: Kind = "model"
    stage: Stage = "state_detection"


def quality_alarm_id(signal: PlantSignal) -> str:
    """The id of a signal's data-quality alarm."""
    return f"{signal.asset.id}.{signal.name}.quality"


def silent_alarm_id(asset: str) -> str:
    """The id of the alarm that no signal of an asset has a value."""
    return f"{asset}.silent"


def baseline_alarm_ids(asset: str, name: str) -> tuple[str, str]:
    """The ids of the alarms that depend on what was learned of an asset; name: BASELINE, ..."""
    return model_alarm_id(asset, name), drift_alarm_id(asset, name)


def baselines_of(asset: PlantAsset) -> list[str]:
    """The baselines that an asset can learn: BASELINE, WAVEFORMS or both."""
    learn = asset.template.learn or Learn()
    named = [asset.signals[n] for n in learn.inputs or asset.signals if n in asset.signals]
    kinds = {signal.config.kind for signal in named}
    waves = SignalKind.WAVEFORM in kinds
    return [BASELINE] * (SignalKind.SCALAR in kinds or not waves) + [WAVEFORMS] * waves


def model_alarm_id(asset: str, place: str) -> str:
    """The id of the alarm of one use of a model."""
    return f"{asset}.{place}"


def drift_alarm_id(asset: str, place: str) -> str:
    """The id of the drift alarm of a use of a model."""
    return f"{asset}.{place}.drift"


def limit_alarm_id(signal: PlantSignal, limit: str) -> str:
    """The id of the alarm of a limit of a signal."""
    return f"{signal.asset.id}.{signal.name}.{limit}"


def chart_alarm_id(asset: str, chart: str) -> str:
    """The id of the alarm of a control chart."""
    return f"{asset}.{chart}.chart"


def cycle_alarm_id(asset: str) -> str:
    """The id of the alarm that the cycle of a machine of a line becomes longer."""
    return f"{asset}.cycle"


def flood_alarm_id(asset: str) -> str:
    """The id of the service alarm for held-back alarms of `asset`."""
    return f"{asset}.flood"


def service_alarm_id(gateway: str, what: str) -> str:
    """The id of an alarm of this service itself; what: `Fault.what`."""
    return f"{gateway}.service.{what}"


def use_name_of(use: ModelUse) -> str:
    """The name of a use of a model within its template."""
    return use.name or use.bundle


def _decided_before(config: Limit | ControlChart, severity: int) -> AlarmRule:
    """The rule of an alarm of a limit or chart; how long it stays is decided before the table."""
    return AlarmRule(
        off_delay=Duration(0),
        deadband=0.0,
        recovery=0.0,
        severity=severity,
        ne107=config.ne107,
        failure_mode=config.failure_mode,
        message=config.message,
        advice=config.advice,
    )


def flood_policy(asset: str, path: str) -> AlarmPolicy:
    """Return the policy of `flood_alarm_id(asset)`, for the table's `rules`."""
    rule = AlarmRule(severity=700, ne107=Ne107.CHECK_FUNCTION)
    return AlarmPolicy(asset, path, rule, kind="flood", stage="advisory_generation")


class AlarmCatalogue:
    """The policies of all possible alarms.

    policy_of: returns the policy of an alarm id; None for an impossible id (its asset left the
    config). Every observation of an open alarm asks it, so it is no call of ours.
    """

    def __init__(
        self,
        gateway: Gateway,
        drift: Drift | None = None,
        charts: Mapping[Name, ControlChart] = NO_CHARTS,
        cycles: Collection[str] = (),
    ) -> None:
        drift = drift or Drift()
        self._charts = charts
        self._cycles = cycles  # assets whose cycle is watched
        self._drift = AlarmRule(
            severity=drift.severity, ne107=Ne107.CHECK_FUNCTION, enabled=drift.enabled
        )
        self._known: dict[str, AlarmPolicy] = {}
        self._gateway = gateway
        self.policy_of: Callable[[str], AlarmPolicy | None] = self._known.get

    def add_service(self, what: str) -> None:
        """Add the alarm of a fault of the service itself; what: `Fault.what`.

        Only real faults are added, so that a received id never is.
        """
        gateway = self._gateway
        alarm_id = service_alarm_id(gateway.id, what)
        if alarm_id not in self._known:
            rule = _SERVICE_RULES.get(what.partition(".")[0], _SERVICE_RULE)
            self._known[alarm_id] = AlarmPolicy(
                gateway.id, gateway.path, rule, kind="service", stage="presentation"
            )

    def restore(self, alarms: Iterable[Alarm]) -> None:
        """Add service alarms from the store: their faults may occur again."""
        prefix = service_alarm_id(self._gateway.id, "")
        for alarm in alarms:
            if alarm.alarm_id.startswith(prefix):
                self.add_service(alarm.alarm_id.removeprefix(prefix))

    def rule(self, alarm_id: str) -> AlarmRule:
        """The rule of an alarm; that of a service alarm for an unknown id."""
        policy = self._known.get(alarm_id)
        return _SERVICE_RULE if policy is None else policy.rule

    def add_asset(self, asset: PlantAsset) -> None:
        """Add all alarms that an asset can have."""
        known, template = self._known, asset.template
        for signal in asset.signals.values():
            known[quality_alarm_id(signal)] = AlarmPolicy(
                asset.id, asset.path, template.quality_alarm, "quality", "data_manipulation"
            )
            for rule in rules_of(signal.config):
                known[limit_alarm_id(signal, rule.name)] = AlarmPolicy(
                    asset.id, asset.path, _decided_before(rule.config, rule.severity), "limit"
                )
        known[silent_alarm_id(asset.id)] = AlarmPolicy(
            asset.id, asset.path, template.quality_alarm, "quality", "data_manipulation"
        )
        learn = template.learn or Learn()
        for name in (BASELINE, WAVEFORMS):
            known[model_alarm_id(asset.id, name)] = AlarmPolicy(asset.id, asset.path, learn.alarm)
        for use in template.models:  # after it: a bundle that is called so itself has its own rule
            known[model_alarm_id(asset.id, use_name_of(use))] = AlarmPolicy(
                asset.id, asset.path, use.alarm
            )
        for name, camera in asset.cameras.items():
            known[model_alarm_id(asset.id, name)] = AlarmPolicy(asset.id, asset.path, camera.alarm)
        for place in (BASELINE, *(use_name_of(use) for use in template.models)):
            known[drift_alarm_id(asset.id, place)] = AlarmPolicy(
                asset.id, asset.path, self._drift, "quality", "data_manipulation"
            )
        for name, chart in self._charts.items():
            if chart.covers(asset.id):
                known[chart_alarm_id(asset.id, name)] = AlarmPolicy(
                    asset.id, asset.path, _decided_before(chart, chart.severity), "limit"
                )
        if asset.id in self._cycles:
            known[cycle_alarm_id(asset.id)] = AlarmPolicy(asset.id, asset.path, _CYCLE_RULE)
        known[flood_alarm_id(asset.id)] = flood_policy(asset.id, asset.path)
