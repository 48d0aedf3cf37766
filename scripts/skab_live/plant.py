"""The recordings of SKAB as assets of a plant, for `scripts/skab-live`."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_agent.daemon import Replay, load_config
from edge_agent.sources.replay import Recording, ReplayConfig
from edge_agent.testing import Mosquitto, find_free_port
from scripts.rigs import ROOT, find_data

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = ("valve1", "valve2", "other")
FIT_ROWS = 400
# Silence is measured by the gateway's clock: gaps of a faster run are too short for silence.
NEVER_STALE = "1d"
# OPC UA gets the channels that often do not change, which a server then does not report.
OPCUA = ("Accelerometer1RMS", "Current", "Pressure", "Thermocouple")
MQTT = {
    "Accelerometer2RMS": "Accelerometer2RMS",
    "Temperature": "Temperature",
    "Voltage": "Voltage",
    "VolumeFlowRateRMS": "Volume Flow RateRMS",
}
CONFIG = """
gateway: {{id: skab}}
models_dir: {folder}/models
store: {{path: {folder}/store.db}}
http: {{port: {http}}}
tuning: {{score_interval: 0s}}
sources:
  plc:
    type: opcua
    url: opc.tcp://127.0.0.1:{opcua}
    node: "nsu=urn:skab;s={{asset}}.{{signal}}"
    publishing_interval: 50ms
    sampling_interval: 0s # every change
    queue_size: 1000
  bus:
    type: mqtt
    url: mqtt://127.0.0.1:{mqtt}
    subscribe: [{{topic: "skab/{{asset}}/{{signal}}", qos: 1}}]
    stale_after: {stale_after}
sinks:
  alarms: {{type: mqtt, url: "mqtt://127.0.0.1:{mqtt}"}}
templates:
  rig:
    signals:
{signals}
    # Live, the rows that were learned are scored, too: a baseline would have followed them.
    learn: {{lateness: {lateness}s, follow: {{budget: 0, settle_after: 0s}}}}
alarms: {{flood_limit: {flood_limit}}}
assets: {{{assets}}}
"""


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    speed: float = 25.0
    lateness_s: float = 120.0
    flood_limit: int = 10
    halted: str = ""  # the program that is suspended periodically ...
    halt_s: float = 0.0  # ... for this time


@dataclass(frozen=True)
class Recorded:
    """One recording: its asset's id, its file, and its rows as (epoch ms, value by channel)."""

    asset: str
    path: Path
    rows: list[tuple[int, dict[str, float]]]

    @property
    def first_ms(self) -> int:
        """Time of the first row."""
        return self.rows[0][0]

    @property
    def last_ms(self) -> int:
        """Time of the last row."""
        return self.rows[-1][0]

    @property
    def span_ms(self) -> int:
        """Time from the first row to the last."""
        return self.last_ms - self.first_ms


# -- the recordings -------------------------------------------------------------------------------


def find_recordings(only: list[str]) -> list[Path]:
    """The files: all 34, or those that `only` names (`valve1`, `other/13`)."""
    folder = find_data("skab")
    if folder is None:
        return []
    files = [file for group in GROUPS for file in sorted((folder / group).glob("*.csv"), key=_key)]
    return [f for f in files if not only or {f.parent.name, f"{f.parent.name}/{f.stem}"} & {*only}]


def _key(file: Path) -> tuple[int, str]:
    return len(file.stem), file.stem


def read(path: Path) -> Recorded:
    """One file."""
    columns = {name: name for name in OPCUA} | MQTT
    with path.open(newline="") as file:
        rows = [
            (
                round(
                    datetime.fromisoformat(row["datetime"]).replace(tzinfo=UTC).timestamp() * 1e3
                ),
                {name: float(row[column]) for name, column in columns.items()},
            )
            for row in csv.DictReader(file, delimiter=";")
        ]
    return Recorded(f"{path.parent.name}-{path.stem}", path, rows)


# -- the daemon's commands ------------------------------------------------------------------------


class Plant:
    """A folder with a config of all recordings as assets, and links to their files."""

    def __init__(
        self, folder: Path, recorded: list[Recorded], broker: Mosquitto, options: Options
    ) -> None:
        self.folder = folder
        self.recordings = recorded
        self.opcua_port = find_free_port()
        self.config = folder / "edge-agent.yaml"
        self._links = folder / "recordings"
        self._links.mkdir()
        for one in recorded:
            (self._links / f"{one.asset}.csv").symlink_to(one.path.resolve())
        self._write(broker.port, options)

    def _write(self, mqtt_port: int, options: Options) -> None:
        signals = [f"      {name}: {{source: plc}}" for name in OPCUA]
        signals += [f'      {name}: {{source: bus, address: "{a}"}}' for name, a in MQTT.items()]
        text = CONFIG.format(
            folder=self.folder,
            http=find_free_port(),
            opcua=self.opcua_port,
            mqtt=mqtt_port,
            signals="\n".join(signals),
            assets=", ".join(f"{one.asset}: {{template: rig}}" for one in self.recordings),
            lateness=options.lateness_s,
            stale_after="30s" if options.speed == 1 else NEVER_STALE,
            flood_limit=options.flood_limit,
        )
        self.config.write_text(text)

    def learn(self) -> None:
        """Learn one bundle for all assets, from rows 0-399 of each recording."""
        folder = self.folder / "first"
        folder.mkdir()
        signal_of = {column: name for name, column in MQTT.items()}
        for one in self.recordings:
            lines = one.path.read_text().splitlines()[: FIT_ROWS + 1]
            time_name, *names = lines[0].split(";")
            header = [time_name, *(f"{one.asset}.{signal_of.get(name, name)}" for name in names)]
            (folder / f"{one.asset}.csv").write_text("\n".join([";".join(header), *lines[1:]]))
        self._run("learn", "--asset", "*", "--input", str(folder / "*.csv"))

    def replay(self) -> list[bytes]:
        """The transitions of `edge-agent replay --json`, one per line."""
        files = str(self._links / "*.csv")
        return self._run("replay", "--input", files, "--asset", "{stem}", "--json").splitlines()

    async def replay_scores(self) -> list[bytes]:
        """The score messages of the same replay; the command does not print them."""
        replay = await Replay.load(load_config(self.config))
        source = ReplayConfig(path=self._links / "*.csv", asset="{stem}")
        blocks = Recording(source, replay.runtime.plant).blocks()
        bodies = [body for step in replay.walk(blocks) for _, body in step.scores]
        replay.close()
        return bodies

    def _run(self, name: str, *arguments: str) -> bytes:
        command = [sys.executable, "-m", "edge_agent", name, "-c", str(self.config), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"edge-agent {name} failed:\n{done.stderr.decode()}")
        return done.stdout
