"""Runs inside the container of `systemd_boot.py`, as root, beside the daemon in its unit.

What it finds is written to /opt/out/found.json: by name, figures and what systemd says.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from scripts.rigs.faults.power_guest import bring_loopback_up

if TYPE_CHECKING:
    from collections.abc import Callable

OUT: Final = Path("/opt/out")
CONFIG: Final = Path("/etc/edge-agent/edge-agent.yaml")
STATE: Final = Path("/var/lib/edge-agent")
PLANT, BUS, HTTP = 1883, 1884, 9460
FAULTY, GOOD = 90.0, 10.0
UNWATCHED: Final = "[Service]\nWatchdogSec=0\n"
_HANG_S: Final = 25.0  # until a process that hangs counts as never replaced
_POLL_S: Final = 0.05


class Broker:
    """A mosquitto, which can be stopped and started again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.log = Path(f"/tmp/mosquitto-{port}.log")  # noqa: S108 (of a container)
        self._config = Path(f"/tmp/mosquitto-{port}.conf")  # noqa: S108
        self._config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            "persistence true\npersistence_location /tmp/\n"
            f"persistence_file {port}.db\n"
        )
        self.start()

    def start(self) -> None:
        """Start it; it knows what it knew."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/mosquitto", "-c", str(self._config)], stdout=log, stderr=log
            )
        time.sleep(1.0)

    def stop(self) -> None:
        """End it; it keeps sessions and messages."""
        self._process.terminate()
        self._process.wait()

    def connections(self) -> int:
        """How many were opened so far."""
        return self.log.read_text().count("New client connected")


class Plant:
    """Sends values, and hears events as a subscriber with a persistent session."""

    def __init__(self) -> None:
        self.heard: dict[str, str] = {}  # the alarm's transition by event id
        self._values = self._client(PLANT, "plant")
        self._bus = self._client(BUS, "subscriber")
        self._bus.on_message = self._hear
        self._bus.on_connect = lambda client, *_: client.subscribe(
            "edge/+/+/+/+/+/_pdm/event", qos=1
        )
        for client, port in ((self._values, PLANT), (self._bus, BUS)):
            lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            lasting.SessionExpiryInterval = 3600
            client.reconnect_delay_set(1, 1)
            client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
            client.loop_start()

    @staticmethod
    def _client(port: int, name: str) -> mqtt.Client:
        version = CallbackAPIVersion.VERSION2
        return mqtt.Client(version, f"{name}-{port}", protocol=mqtt.MQTTv5)

    def _hear(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        event = orjson.loads(message.payload)
        data = event["data"]
        self.heard[event["id"]] = f"{data['alarm_id']} {data['transition']}"

    def send(self, asset: str, value: float) -> None:
        """Send a value of a machine."""
        body = orjson.dumps({"ts": time.time_ns() // 1_000_000, "x": value})
        self._values.publish(f"plant/{asset}", body, qos=1).wait_for_publish(10)

    def has_raised(self, asset: str) -> bool:
        """True if the subscriber has heard its alarm."""
        return f"{asset}.watch raise" in self.heard.values()


def install() -> None:
    """As docs/install.md says, with copies instead of pip."""
    program = Path("/opt/edge-agent")
    (program / "bin").mkdir(parents=True)
    shutil.copy2(OUT / "edge-agent", program / "bin" / "edge-agent")
    shutil.copytree(OUT / "now", program / "tree")
    unit = Path("/opt/tree/systemd")
    place = ("install", "-D", "-m", "644")
    call(*place, unit / "edge-agent.sysusers.conf", "/etc/sysusers.d/edge-agent.conf")
    call("systemd-sysusers")
    call(*place, unit / "edge-agent.service", "/etc/systemd/system/edge-agent.service")
    call("install", "-d", "-m", "750", "-g", "edge-agent", CONFIG.parent)
    write_config()
    owner = ("-o", "edge-agent", "-g", "edge-agent")
    call("install", "-d", "-m", "750", *owner, STATE)
    shutil.copytree(OUT / "models", STATE / "models")
    call("chown", "-R", "edge-agent:edge-agent", STATE)
    call("systemctl", "daemon-reload")


def write_config(models: int = 0) -> None:
    """A plant of machines with a model; models: more of them, which watch nothing."""
    topic = {"topic": "plant/{asset}", "payload": {"time": "ts"}}
    alarm = {"on_delay": "0s", "off_delay": "0s"}
    used = [{"bundle": "watch", "alarm": alarm}]
    used += [{"bundle": f"m{number:02d}"} for number in range(models)]
    url = "mqtt://127.0.0.1:{}"
    config = {
        "gateway": {"id": "guest"},
        "models_dir": str(STATE / "models"),
        "store": {"path": str(STATE / "edge-agent.db")},
        "http": {"port": HTTP},
        "alarms": {"flood_limit": 10_000},
        "sources": {"plant": {"type": "mqtt", "url": url.format(PLANT), "subscribe": [topic]}},
        "sinks": {"bus": {"type": "mqtt", "url": url.format(BUS)}},
        "templates": {"pump": {"signals": {"x": {"stale_after": "1h"}}, "models": used}},
        "assets": {"P-{1..40}": {"template": "pump"}},
    }
    CONFIG.write_text(yaml.safe_dump(config))
    call("chgrp", "edge-agent", CONFIG)
    CONFIG.chmod(0o640)


def call(*words: object) -> int:
    """Run a command; returns its exit code."""
    return subprocess.run([str(word) for word in words], check=False).returncode


def show(name: str) -> str:
    """A property of the unit."""
    words = ["systemctl", "show", "edge-agent", "--property", name, "--value"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def wait_for(condition: Callable[[], object], limit_s: float) -> float:
    """Seconds until it is true; the limit if it never is."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < limit_s:
        if condition():
            break
        time.sleep(_POLL_S)
    return time.monotonic() - began_s


def get(path: str) -> Any:  # noqa: ANN401 (whatever JSON holds)
    """What the daemon answers; None if it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}{path}", timeout=5) as answer:
            return json.loads(answer.read())
    except (OSError, ValueError):
        return None


def state_of(alarm: str) -> str:
    """The state of an alarm, by the daemon."""
    found = [one["state"] for one in get("/api/alarms") or () if one["alarm_id"] == alarm]
    return found[0] if found else "none"


def version() -> str:
    """The version that the daemon reports."""
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/metrics", timeout=5) as answer:
        found = re.search(r'edge_agent_build_info{[^}]*version="([^"]+)"', answer.read().decode())
    return found[1] if found else "none"


# Steps --------------------------------------------------------------------------------------------


def start(found: dict[str, Any], plant: Plant) -> None:
    """READY, and an alarm of a model inside the sandbox."""
    began_s = time.monotonic()
    call("systemctl", "start", "edge-agent")
    found["start_s"], found["started"] = time.monotonic() - began_s, show("ActiveState")
    status = Path(f"/proc/{show('MainPID')}/status").read_text()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    found["seccomp"], found["capabilities"] = lines["Seccomp"], lines["CapEff"]
    user = ["stat", "-c", "%U", f"/proc/{show('MainPID')}"]
    found["user"] = subprocess.run(user, capture_output=True, text=True, check=True).stdout.strip()
    wait_for(lambda: get("/health/ready"), 20)
    plant.send("P-1", GOOD)
    plant.send("P-1", FAULTY)
    wait_for(lambda: state_of("P-1.watch") == "unack", 20)
    found["alarm"] = state_of("P-1.watch")


def hang(found: dict[str, Any], plant: Plant, times: int) -> None:
    """SIGSTOP at moments anywhere between two feeds of the watchdog."""
    found["killed_s"], found["hung_s"], found["heard_after_hang"] = [], [], True
    for number in range(times):
        time.sleep(1.0 + 1.3 * number)
        process = show("MainPID")
        os.kill(int(process), signal.SIGSTOP)

        def is_gone(old: str = process) -> bool:
            return show("MainPID") != old

        killed_s = wait_for(is_gone, _HANG_S)
        rest_s = wait_for(
            lambda: show("ActiveState") == "active" and show("MainPID") not in {"0", process},  # noqa: B023
            _HANG_S,
        )
        found["killed_s"].append(killed_s)
        found["hung_s"].append(killed_s + rest_s)
        asset = f"P-{10 + number}"
        wait_for(lambda: get("/health/ready"), 10)
        plant.send(asset, FAULTY)
        wait_for(lambda asset=asset: plant.has_raised(asset), 20)  # type: ignore[misc]
        found["heard_after_hang"] &= plant.has_raised(asset)


def reload(found: dict[str, Any], broker: Broker, bus: Broker) -> None:
    """One with a sound config, one with a wrong one."""
    before, process = broker.connections() + bus.connections(), show("MainPID")
    call("systemctl", "reload", "edge-agent")
    time.sleep(3.0)
    found["reload_opens"] = broker.connections() + bus.connections() - before
    sound = CONFIG.read_text()
    CONFIG.write_text(sound + "broken: [\n")
    failed = call("systemctl", "reload", "edge-agent") != 0
    same = (show("MainPID"), show("ActiveState")) == (process, "active")
    found["bad_reload"] = ["failed" if failed else "done", "same" if same else "other"]
    CONFIG.write_text(sound)


def stop_during_start(found: dict[str, Any]) -> None:
    """SIGTERM while many bundles are being verified."""
    call("systemctl", "stop", "edge-agent")
    for folder in (OUT / "many").iterdir():
        shutil.copytree(folder, STATE / "models" / folder.name)
    call("chown", "-R", "edge-agent:edge-agent", STATE / "models")
    write_config(models=len(list((OUT / "many").iterdir())))
    call("systemctl", "start", "--no-block", "edge-agent")
    time.sleep(2.0)
    began_s = time.monotonic()
    call("systemctl", "stop", "edge-agent")
    found["stopped_s"], found["stopped"] = time.monotonic() - began_s, show("Result")
    write_config()
    call("systemctl", "start", "edge-agent")


def upgrade(found: dict[str, Any], plant: Plant, bus: Broker) -> None:
    """To the next version, as docs/install.md says, while messages wait for the broker."""
    wait_for(lambda: get("/health/ready"), 20)
    bus.stop()
    assets = [f"P-{number}" for number in range(20, 40)]
    for asset in assets:
        plant.send(asset, FAULTY)
    wait_for(lambda: all(state_of(f"{asset}.watch") == "unack" for asset in assets), 30)
    shutil.copytree("/opt/edge-agent", "/opt/edge-agent.before")
    shutil.rmtree("/opt/edge-agent/tree")
    shutil.copytree(OUT / "next", "/opt/edge-agent/tree")
    call("systemctl", "daemon-reload")
    call("systemctl", "restart", "edge-agent")
    bus.start()
    wait_for(lambda: all(map(plant.has_raised, assets)), 60)
    lost = [asset for asset in assets if not plant.has_raised(asset)]
    lost += [one for one in (*assets, "P-1") if state_of(f"{one}.watch") != "unack"]
    found["raised"], found["lost"] = len(assets), len(set(lost))
    found["upgraded"] = version()


def break_config(found: dict[str, Any]) -> None:
    """A start with a wrong config."""
    call("systemctl", "stop", "edge-agent")
    CONFIG.write_text("broken: [\n")
    call("systemctl", "start", "edge-agent")
    time.sleep(8.0)
    found["bad_start"] = [show("ActiveState"), show("ExecMainStatus"), show("NRestarts")]


def main(steps: str, times: int) -> None:
    """Go through these steps: all, sandbox or hang-unwatched."""
    found: dict[str, Any] = {}
    bring_loopback_up()
    install()
    broker, bus = Broker(PLANT), Broker(BUS)
    plant = Plant()
    if steps == "hang-unwatched":
        drop_in = Path("/etc/systemd/system/edge-agent.service.d/site.conf")
        drop_in.parent.mkdir()
        drop_in.write_text(UNWATCHED)
        call("systemctl", "daemon-reload")
    start(found, plant)
    if steps != "sandbox":
        hang(found, plant, times)
    if steps == "all":
        reload(found, broker, bus)
        stop_during_start(found)
        upgrade(found, plant, bus)
        break_config(found)
    (OUT / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    finally:
        call("journalctl", "--boot", "--unit", "edge-agent", "--output", "cat", "--no-pager")
