"""Runs as root in the machine of `proof.py`, with Debian's Python alone.

Each step notes checks; the list goes to /opt/out/found.json.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from pathlib import Path
from typing import Any, Final

OUT: Final = Path("/opt/out")
CONFIG: Final = Path("/etc/edge-agent/edge-agent.yaml")
STATE: Final = Path("/var/lib/edge-agent")
PROGRAM: Final = Path("/opt/edge-agent")
DROP_IN: Final = Path("/etc/systemd/system/edge-agent.service.d/site.conf")
# What changes by itself, or keeps what dpkg and apt did.
APART: Final = ("/proc", "/sys", "/dev", "/run", "/tmp", "/opt/out", "/var/log", "/var/cache")  # noqa: S108 (paths to skip)
OF_DPKG: Final = ("/var/lib/dpkg", "/var/lib/apt", "/var/lib/systemd", "/var/lib/private")
WAIT_S: Final = 60.0
LIMIT_S: Final = 300.0  # of an upgrade
PLANT: Final = """\
gateway: {id: proof}
sources:
  bus:
    type: mqtt
    url: mqtt://127.0.0.1:1883
    subscribe: [{topic: "plant/{asset}/{signal}", template: machine}]
sinks:
  bus: {type: mqtt, url: "mqtt://127.0.0.1:1883"}
templates:
  machine: {signals: {pressure: {unit: bar, limits: {high: 12}}}}
"""

checks: list[dict[str, Any]] = []


def note(what: str, found: object, wanted: object) -> None:
    """Keep a check: what was found, and if it is what it must be."""
    holds = wanted(found) if callable(wanted) else found == wanted
    checks.append({"what": what, "found": found, "holds": bool(holds)})


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its output goes to the log."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    print("$", *command, f"-> {done.returncode}\n{done.stdout}{done.stderr}", flush=True)
    return done


def apt(*words: str) -> int:
    """apt-get as an unattended upgrade runs it: a config that was changed is kept."""
    kept = ("-o", "Dpkg::Options::=--force-confold")
    return call("apt-get", "-qq", "--yes", "--allow-downgrades", *kept, *words).returncode


def show(name: str) -> str:
    """A property of the unit."""
    return call("systemctl", "show", "edge-agent", "--property", name, "--value").stdout.strip()


def alarms() -> list[dict[str, Any]]:
    """The alarms of the plant's machine, as the running daemon names them."""
    done = call("edge-agent", "alarms", "list", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [row for row in rows if row["asset"] == "P-1"]


def alarm() -> list[object]:
    """Of the proof's one alarm: id, state and how often it was raised."""
    return [[one["alarm_id"], one["state"], one["count"]] for one in alarms()]


def wait_until(is_true: Any) -> float:  # noqa: ANN401 (any condition)
    """Seconds until a condition holds; `WAIT_S` if it never does."""
    started = time.monotonic()
    while not is_true() and time.monotonic() - started < WAIT_S:
        time.sleep(0.2)
    return round(time.monotonic() - started, 1)


def files() -> set[str]:
    """Every path of the machine, without what is APART."""
    found = set()
    for folder, folders, names in os.walk("/"):
        folders[:] = [x for x in folders if not os.path.join(folder, x).startswith(APART)]  # noqa: PTH118
        found |= {os.path.join(folder, name) for name in (*folders, *names)}  # noqa: PTH118
    return {path for path in found if not path.startswith(OF_DPKG)}


def accounts() -> list[str]:
    """The daemon's account, if it is there."""
    return [one.pw_name for one in pwd.getpwall() if one.pw_name == "edge-agent"]


def mode(path: Path) -> str:
    """Mode, owner and group of a path."""
    return call("stat", "-c", "%a %U:%G", str(path)).stdout.strip()


def install() -> None:
    """A fresh installation starts nothing: its config knows no plant yet."""
    note("install", apt("install", str(OUT / "now.deb")), 0)
    note("config", mode(CONFIG), "640 root:edge-agent")
    note("models", mode(STATE / "models"), "750 edge-agent:edge-agent")
    note(
        "service after install",
        [show("ActiveState"), show("UnitFileState")],
        ["inactive", "disabled"],
    )
    note(
        "command",
        call("edge-agent", "--version").stdout.strip(),
        lambda text: "edge-agent 0" in text,
    )
    note("default config", call("edge-agent", "check", "-c", str(CONFIG)).returncode, 0)
    note("shipped files", call("dpkg", "--verify", "edge-agent").stdout, "")


def run() -> None:
    """The plant's config, an alarm, and somebody who acknowledges it."""
    CONFIG.write_text(PLANT)
    DROP_IN.parent.mkdir(parents=True)
    DROP_IN.write_text("[Service]\nEnvironment=SITE=north\n")
    call("systemctl", "daemon-reload")
    note("enable --now", call("systemctl", "enable", "--now", "edge-agent").returncode, 0)
    wait_until(fault_is_told)
    call("edge-agent", "alarms", "ack", "P-1*", "--by", "anna", "--comment", "valve ordered")
    wait_until(lambda: [one["state"] for one in alarms()] == ["acked"])
    note(
        "an alarm, acknowledged",
        alarm(),
        lambda found: [one[1:] for one in found] == [["acked", 1]],
    )


def fault_is_told() -> list[object]:
    """A value over the limit (the source connects after the unit is ready), and the alarm of it."""
    call("mosquitto_pub", "-h", "127.0.0.1", "-t", "plant/P-1/pressure", "-m", "13", "-q", "1")
    return alarm()


def change(package: str, what: str) -> None:
    """Another version over the running one: same config, same alarm, a new process."""
    before, pid = alarm(), show("MainPID")
    started = time.monotonic()
    note(what, apt("install", str(OUT / f"{package}.deb")), 0)
    took = round(time.monotonic() - started, 1)
    note(f"{what}: process", [show("ActiveState"), show("MainPID") != pid], ["active", True])
    wait_until(alarm)
    note(f"{what}: alarm", alarm(), before)
    note(f"{what}: config", "kept" if CONFIG.read_text() == PLANT else "changed", "kept")
    stopped, ready = (
        int(show(f"{name}TimestampMonotonic")) / 1e6 for name in ("InactiveEnter", "ActiveEnter")
    )
    left = int(show("ActiveExitTimestampMonotonic")) / 1e6
    note(f"{what}: seconds in all", took, lambda s: s < LIMIT_S)
    note(
        f"{what}: seconds to stop, to be ready",
        [round(stopped - left, 1), round(ready - stopped, 1)],
        bool,
    )


def upgrade_and_back() -> None:
    """To a later version, and back to this one."""
    change("next", "upgrade")
    note("version", call("edge-agent", "--version").stdout.strip(), "edge-agent 9.9.9")
    change("now", "downgrade")


def upgrade_with_a_wrong_config() -> None:
    """The upgrade ends well, the unit says why it does not run, and a mended config is enough."""
    CONFIG.write_text("gateway: {idd: 1}\n")
    note("upgrade, config wrong", apt("install", str(OUT / "next.deb")), 0)
    note("unit, config wrong", [show("ActiveState"), show("ExecMainStatus")], ["failed", "78"])
    CONFIG.write_text(PLANT)
    note("config mended", call("systemctl", "restart", "edge-agent").returncode, 0)


def remove_and_return() -> None:
    """Program and unit go, config and state stay; a later installation finds its alarm again."""
    before = alarm()
    note("remove", apt("remove", "edge-agent"), 0)
    left = [
        PROGRAM,
        Path("/usr/bin/edge-agent"),
        Path("/usr/lib/systemd/system/edge-agent.service"),
    ]
    left += Path("/etc/systemd/system").rglob("*.wants/edge-agent.service")
    note("left of the program", [str(path) for path in left if os.path.lexists(path)], [])
    note("kept", [path.exists() for path in (CONFIG, STATE / "edge-agent.db")], [True, True])
    note("installed again", apt("install", str(OUT / "now.deb")), 0)
    call("systemctl", "enable", "--now", "edge-agent")
    wait_until(alarm)
    note("its alarm", alarm(), before)


def purge(before: set[str]) -> None:
    """Nothing is left: no file, no account."""
    note("purge", apt("purge", "edge-agent"), 0)
    note("left after purge", sorted(files() - before), [])
    note("gone after purge", sorted(before - files()), [])
    note("accounts after purge", accounts(), [])


def refuse_a_mix() -> None:
    """An installation by hand is not overwritten."""
    PROGRAM.mkdir()
    (PROGRAM / "pyvenv.cfg").write_text("by hand\n")
    note("over a hand-made one", apt("install", str(OUT / "now.deb")), lambda code: code != 0)
    note("it is whole", [path.name for path in PROGRAM.iterdir()], ["pyvenv.cfg"])


def main() -> None:
    """All steps; what was found is kept also if one of them fails."""
    before = files()
    try:
        install()
        run()
        upgrade_and_back()
        upgrade_with_a_wrong_config()
        remove_and_return()
        purge(before)
        refuse_a_mix()
    except Exception as error:  # noqa: BLE001 (the host prints it)
        note("the guest", repr(error), None)
    (OUT / "found.json").write_text(json.dumps(checks))


if __name__ == "__main__":
    main()
