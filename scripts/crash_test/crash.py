"""The crash test: a run with kills at random moments, and the verdict on what arrived."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.learning import Recipe, learn
from edge_agent.models import InputSpec
from edge_agent.sinks.mqtt_config import MAX_WINDOW
from edge_agent.testing import Mosquitto, find_free_port, wait_until
from scripts.crash_test.peers import HIGH, LOW, Daemon, Plant, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTLE_TIMEOUT_S = 120.0
READY_TIMEOUT_S = 30.0
LAST_LIFE_S = 8.0
CALM_S = 5.0  # the end: no new message for this long
# Of each life: as many events may be in flight, and as many confirmed that no mark tells of.
IN_FLIGHT = 2 * MAX_WINDOW
FILE_DOUBT_S = 1.0  # mosquitto's clock, and events that the subscriber has not confirmed yet
# mosquitto saves its file periodically; a kill loses what it confirmed after the last save.
PERSISTENCE = {True: "persistence true\nautosave_interval 1", False: "persistence false"}

CONFIG = """
gateway: {{id: crash, enterprise: acme, site: north, area: water, line: line-1}}
models_dir: models
store: {{path: store.db, max_bytes: 1GiB}}
http: {{port: {http}}}
log: {{level: info}}
tuning: {{drain_deadline: 5s}}
alarms: {{flood_limit: 10000}}
sources:
  plant:
    type: mqtt
    url: mqtt://127.0.0.1:{port}
    stale_after: 2s
    subscribe:
      - {{topic: "plant/{{line}}/{{asset}}", template: machine, payload: {{time: ts}}}}
sinks:
  bus: {{type: mqtt, url: "mqtt://127.0.0.1:{port}"}}
templates:
  machine:
    signals: {{flow: {{}}, pressure: {{}}, temperature: {{valid: [{low:g}, {high:g}]}}}}
    quality_alarm: {{off_delay: 300ms}}
    models:
      - {{bundle: baseline, lateness: 200ms, alarm: {{off_delay: 300ms}}}}
assets:
  A-{{1..{pairs}}}: {{template: machine}}
"""
PAIRS = 4


def assets_of(pairs: int = PAIRS) -> list[str]:
    """Assets of the config (A) and as many that are discovered (D)."""
    return [f"{kind}-{number}" for kind in "AD" for number in range(1, pairs + 1)]


@dataclass(frozen=True)
class Plan:
    """The number of kills of each program; the same seed gives the same plan.

    pairs: half the number of assets.
    """

    daemon_kills: int
    broker_kills: int
    persistence: bool = True
    seed: int = 1
    pairs: int = PAIRS


@dataclass
class Verdict:
    """The committed transitions, and the errors found.

    in_doubt: how many events may be heard twice, because nobody can know that they were received;
    None if a broker without a file was killed, which forgets all.
    """

    transitions: int = 0
    alarms: int = 0
    duplicates: int = 0
    in_doubt: int | None = None
    seconds: float = 0.0
    unheard: list[str] = field(default_factory=list)  # ids of events that never arrived
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        doubt = "" if self.in_doubt is None else f" of {self.in_doubt} in doubt"
        return (
            f"{self.transitions} transitions of {self.alarms} alarms, {len(self.unheard)} lost, "
            f"{self.duplicates} heard twice{doubt}, {len(self.problems)} problems, "
            f"{self.seconds:.0f} s"
        )


def broker_of(folder: Path, *, persistence: bool) -> Mosquitto:
    """A mosquitto that drops nothing if a subscriber is slow, not yet started."""
    return Mosquitto(folder, f"max_queued_messages 0\n{PERSISTENCE[persistence]}")


def write_config(folder: Path, port: int, pairs: int = PAIRS) -> Path:
    """A config with a model for every asset."""
    numbers = np.random.default_rng(0)
    rows = {
        asset: numbers.normal([10, 4], 0.1, (400, 2)).astype(np.float32)
        for asset in assets_of(pairs)
    }
    inputs = (InputSpec("flow"), InputSpec("pressure"))
    recipe = Recipe("baseline", inputs, step_s=0.2, length=8, hop=1)
    learn(rows, recipe, now_us=0).write(folder / "models" / "baseline")
    path = folder / "edge-agent.yaml"
    text = CONFIG.format(port=port, http=find_free_port(), low=LOW, high=HIGH, pairs=pairs)
    path.write_text(text)
    return path


def crash(plan: Plan, folder: Path, daemon_of: Callable[[Path], Daemon] = Daemon) -> Verdict:
    """Run the plan in `folder`; its logs and store stay there for analysis.

    daemon_of: makes the daemon from its config.
    """
    begin = time.monotonic()
    broker = broker_of(folder, persistence=plan.persistence)
    daemon = daemon_of(write_config(folder, broker.port, plan.pairs))
    verdict = Verdict()
    broker.start()
    with ExitStack() as stack:
        stack.callback(broker.stop)
        heard = stack.enter_context(Subscriber(broker.port))
        plant = stack.enter_context(Plant(broker.port, assets_of(plan.pairs), plan.seed, heard))
        stack.callback(daemon.kill)
        daemon.start(wait=False)
        verdict.in_doubt = _kill(plan, daemon, broker, heard, folder / "mosquitto.db")
        plant.frozen = True
        try:
            wait_until(lambda: _calm(daemon, heard), SETTLE_TIMEOUT_S, "calm")
        except TimeoutError as error:
            verdict.problems.append(str(error))
        code, took_s = daemon.stop()
        time.sleep(0.5)
        if code != 0:
            verdict.problems.append(f"the daemon ended with {code} after {took_s:.1f} s")
        retained = _retained(broker.port)
    verdict.problems += [f"ended by itself: {c}" for c in daemon.unexpected + broker.unexpected]
    _judge(verdict, folder / "store.db", heard, retained, plant.faults)
    verdict.seconds = time.monotonic() - begin
    return verdict


def _kill(
    plan: Plan, daemon: Daemon, broker: Mosquitto, heard: Subscriber, file: Path
) -> int | None:
    """Kill both at random moments, and each also while the other is down; returns `in_doubt`."""
    moments = random.Random(plan.seed)  # noqa: S311 (a plan, not a secret)
    lives = [moments.uniform(0.2, 8.0) for _ in range(plan.daemon_kills)]
    pauses = [moments.uniform(0.0, 1.0) for _ in range(plan.daemon_kills)]
    span = sum(lives) + sum(pauses) + 1.0
    between = span / (plan.broker_kills + 1)
    waits = [moments.uniform(0.4, 1.6) * between for _ in range(plan.broker_kills)]
    outages = [moments.uniform(0.0, 3.0) for _ in range(plan.broker_kills)]
    doubts: list[int] = []

    def doubt() -> None:
        """Count events heard since the broker's file, which it has forgotten."""
        saved_s = file.stat().st_mtime if file.exists() else 0.0
        doubts.append(sum(at_s > saved_s - FILE_DOUBT_S for at_s in heard.event_times_s))

    killer = threading.Thread(target=_kill_broker, args=(broker, waits, outages, doubt))
    killer.start()
    for number, (life, pause) in enumerate(zip(lives, pauses, strict=True)):
        if number % 2:  # each second life begins when it is ready, however slow the machine is
            with contextlib.suppress(TimeoutError):
                wait_until(daemon.is_ready, READY_TIMEOUT_S)
        time.sleep(life)
        daemon.kill()
        time.sleep(pause)
        daemon.start(wait=False)
    time.sleep(LAST_LIFE_S)
    killer.join()
    kills = plan.daemon_kills + plan.broker_kills
    return sum(doubts) + IN_FLIGHT * kills if plan.persistence else None


def _kill_broker(
    broker: Mosquitto, waits: list[float], outages: list[float], doubt: Callable[[], None]
) -> None:
    """Kill it again and again; doubt is called while it is down."""
    for wait, outage in zip(waits, outages, strict=True):
        time.sleep(wait)
        broker.kill()
        time.sleep(outage)
        doubt()
        broker.start()


def _calm(daemon: Daemon, heard: Subscriber) -> bool:
    return time.monotonic() - heard.received_s > CALM_S and daemon.quiet()


def _retained(port: int) -> dict[str, dict[str, Any]]:
    """The retained alerts that a new subscriber receives."""
    with Subscriber(port, "newcomer") as newcomer:
        time.sleep(2.0)
    return {alert["data"]["alarm_id"]: alert for alert in newcomer.alerts.values()}


def _judge(
    verdict: Verdict,
    store: Path,
    heard: Subscriber,
    retained: dict[str, dict[str, Any]],
    faults: dict[str, set[str]],
) -> None:
    with closing(sqlite3.connect(store)) as db:
        rows = db.execute("SELECT alarm_id, kind, body FROM history ORDER BY row").fetchall()
        bodies = db.execute("SELECT body FROM alarms").fetchall()
        waiting = db.execute("SELECT COUNT(*) FROM outbox").fetchone()[0]
    states = {one["alarm_id"]: one for one in (json.loads(body) for (body,) in bodies)}
    committed = [f"{name}:{json.loads(body)['seq']}" for name, _, body in rows]
    verdict.transitions, verdict.alarms = len(committed), len({name for name, _, _ in rows})
    verdict.duplicates = heard.duplicates
    verdict.unheard = sorted(set(committed) - set(heard.events))
    verdict.problems += [
        *([f"{waiting} rows still in the outbox"] if waiting else []),
        *_too_often(verdict),
        *_wrong_ids(committed, heard),
        *_wrong_states(states, retained),
        *_wrong_conditions(states, faults),
    ]


def _too_often(verdict: Verdict) -> list[str]:
    """A problem if more was sent again than could be in doubt."""
    if verdict.in_doubt is None or verdict.duplicates <= verdict.in_doubt:
        return []
    return [f"{verdict.duplicates} heard twice, only {verdict.in_doubt} were in doubt"]


def _wrong_ids(committed: list[str], heard: Subscriber) -> list[str]:
    """Ids of two different events, or of an event that was not committed."""
    found = [f"{name} was committed twice" for name in set(committed) if committed.count(name) > 1]
    found += [f"{name} was heard but never committed" for name in heard.events.keys() - committed]
    found += [f"{name} was heard but never committed" for name in heard.alert_ids - set(committed)]
    found += [f"{name} was heard with different contents" for name in heard.differing]
    return found


def _wrong_states(
    states: dict[str, dict[str, Any]], retained: dict[str, dict[str, Any]]
) -> list[str]:
    """Retained alerts that differ from the state in the store."""
    wanted = {
        name: (f"{name}:{alarm['seq']}", alarm["state"])
        for name, alarm in states.items()
        if alarm["state"] != "normal"
    }
    there = {name: (alert["id"], alert["data"]["state"]) for name, alert in retained.items()}
    return [
        f"{name} is {wanted.get(name, 'normal')} but retained is {there.get(name, 'nothing')}"
        for name in sorted(wanted.keys() | there.keys())
        if wanted.get(name) != there.get(name)
    ]


def _wrong_conditions(states: dict[str, dict[str, Any]], faults: dict[str, set[str]]) -> list[str]:
    """Alarms that are active without a fault, or faults without an active alarm."""
    found = []
    for asset, kinds in faults.items():
        for kind, what in (("range", "temperature.quality"), ("shift", "baseline")):
            name = f"{asset}.{what}"
            active = states.get(name, {"active": False})["active"]
            if active != (kind in kinds):
                found.append(f"{name} is {'' if active else 'not '}active at the end")
    return found
