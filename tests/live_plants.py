"""A pipeline as the daemon drives it: live, by a clock that the test moves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import plants
from plants import S

from edge_agent.alarms.envelope import alert_schema, envelope
from edge_agent.alarms.texts import load_texts
from edge_agent.clock import FakeClock
from edge_agent.config.schema import AlarmRule, Alarms, Asset, Gateway, ModelUse, Signal, Template
from edge_agent.config.types import Name
from edge_agent.daemon.runtime import monitor_plant
from edge_agent.ops.metrics import Metrics
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.config.schema import Config
    from edge_agent.messages import Alarm, Transition
    from edge_agent.models.runtime.model import Model
    from edge_agent.pipeline import Step
    from edge_agent.values import Columns, TensorBlock

NOTHING = columns([], [], [])
BEGIN_S = 1000


class Live:
    """`turn` is one turn of the daemon, `t` seconds after BEGIN_S by all clocks."""

    def __init__(self, config: Config, restored: Iterable[Alarm] = (), **tables: Any) -> None:
        self.metrics = Metrics()
        clock = FakeClock(BEGIN_S * S)
        made = monitor_plant(config, self.metrics, clock, live=True, alarms=restored, **tables)
        made.add_assets(lambda _: None)
        self.plant, self.alarms, self.pipeline = made.plant, made.alarms, made.pipeline
        self.transitions: list[Transition] = []

    def use(self, model: Model, **changes: Any) -> list[str]:
        """Put a model to work on every asset; gives what each lacks."""
        use = ModelUse(model.manifest.name, **changes)
        self.pipeline.deployments.add_model(model)
        return [self.pipeline.use_model(asset, use) for asset in self.plant.assets.values()]

    def turn(self, t: float, values: Columns = NOTHING, blocks: Sequence[TensorBlock] = ()) -> Step:
        pipeline = self.pipeline
        now_us, ordered = BEGIN_S * S + round(t * S), values.sorted_by_time()
        due = pipeline.close_windows(ordered, blocks, now_us=now_us, monotonic_s=t)
        step = pipeline.update_alarms(pipeline.score_windows(due))
        self.transitions += step.transitions
        return step

    def told(self) -> list[tuple[str, str]]:
        """(kind, message key) of all transitions."""
        return [
            (str(t.kind), t.alarm.detail.message_key)
            for t in self.transitions
            if t.alarm.detail is not None
        ]


def of(*models: str, **signals: Signal) -> Config:
    """One asset with these signals, all of the source `bus`, and the rules of these models."""
    named = {Name(name): signal for name, signal in signals.items()}
    template = Template(named, tuple(ModelUse(Name(name)) for name in models))
    return plants.config(templates={"pump": template}, assets={"any": Asset(Name("pump"))})


def sent(transition: Transition) -> dict[str, Any]:
    """What goes out for a transition: `data` of an envelope that validates."""
    limits = Alarms()
    raw = envelope(
        transition, gateway=Gateway(), path="a/b", texts=load_texts(limits), rule=AlarmRule()
    )
    body = json.loads(raw)
    jsonschema.validate(body, alert_schema())
    data: dict[str, Any] = body["data"]
    return data
