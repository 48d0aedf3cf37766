"""The unit under a real systemd, booted in a container: its sandbox lets the daemon live."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROOT = Path(__file__).parents[2]
INIT = Path("/usr/lib/systemd/systemd")
LIMIT_S = 120

# Runs inside; what it prints is compared below. `show` prints one property's value.
PROBE = r"""
show() { systemctl show edge-agent --property "$1" --value; }
state=/var/lib/edge-agent
systemctl start edge-agent
echo "started $(show ActiveState)"
echo "status $(show StatusText)"
echo "seccomp $(grep Seccomp: /proc/$(show MainPID)/status | cut -f2)"
echo "http $(/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/9460
printf "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" >&3
head -c 15 <&3')"
echo "command $(/opt/edge-agent/bin/edge-agent command)"
systemctl reload edge-agent; code=$?
for i in $(seq 40); do [ -e $state/reloaded ] && break; sleep 0.25; done
echo "reload $code $(ls $state | grep -c reloaded)"
rm $state/reloaded; touch $state/broken
systemctl reload edge-agent 2>/dev/null; echo "reload-broken $? $(ls $state | grep -c reloaded)"
systemctl kill --signal=KILL edge-agent
for i in $(seq 80); do
  sleep 0.5; [ "$(show NRestarts)/$(show ActiveState)" = 1/active ] && break
done
echo "killed $(show NRestarts) $(show ActiveState)"
systemctl stop edge-agent; echo "stopped $(show ActiveState) $(show Result)"
echo 78 > $state/exit; systemctl start edge-agent 2>/dev/null; sleep 9
echo "config-wrong $(show ActiveState) $(show ExecMainStatus) $(show NRestarts)"
journalctl --boot --unit edge-agent --output cat --no-pager | sed 's/^/log /'
"""

WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH={libraries} PYTHONPATH={path}
exec {python} /opt/rig/systemd/boot_program.py "$@"
"""

SERVICE = """[Unit]
After=basic.target
Wants=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/sh /opt/out/probe.sh > /opt/out/probe.txt 2>&1'
ExecStopPost=/bin/systemctl exit 0
"""


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the probe saw: first word -> rest of its line; `log` holds the whole journal."""
    nspawn = shutil.which("systemd-nspawn")
    if nspawn is None or not INIT.exists():
        pytest.skip("systemd-nspawn is not installed (Debian package systemd-container)")
    if os.geteuid() != 0:
        pytest.skip("only root may boot a container")
    out = tmp_path_factory.mktemp("boot")
    done = subprocess.run(
        [nspawn, *_arguments(out)],
        env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    result = out / "probe.txt"
    if not result.exists():
        pytest.skip(f"no container boots here: {done.stderr.strip()[-300:]}")
    found: dict[str, str] = {}
    for line in result.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        found[word] = f"{found[word]}\n{rest}" if word in found else rest
    return found


def _arguments(out: Path) -> list[str]:
    """The host's /usr under an empty root, the venv and the tree beside it, all read-only."""
    packages = sysconfig.get_path("purelib")
    wrapper = WRAPPER.format(
        libraries=f"/opt/python/{Path(sysconfig.get_config_var('LIBDIR')).name}",
        path="/opt/packages:/opt/tree:/opt/rig",
        python=f"/opt/python/bin/python{sysconfig.get_python_version()}",
    )
    for name, text, mode in (
        ("edge-agent", wrapper, 0o755),
        ("probe.sh", PROBE, 0o644),
        ("probe.service", SERVICE, 0o644),
    ):
        (out / name).write_text(text, encoding="utf-8")
        (out / name).chmod(mode)
    mounts = {
        Path(sys.base_prefix): "/opt/python",
        Path(packages): "/opt/packages",
        ROOT / "edge_agent": "/opt/tree/edge_agent",
        ROOT / "tests": "/opt/rig",
        out / "edge-agent": "/opt/edge-agent/bin/edge-agent",
        out / "probe.service": "/etc/systemd/system/probe.service",
        ROOT / "systemd" / "edge-agent.service": "/etc/systemd/system/edge-agent.service",
        ROOT / "systemd" / "edge-agent.sysusers.conf": "/etc/sysusers.d/edge-agent.conf",
    }
    return [
        *("--quiet", "--directory=/", "--volatile=yes", "--boot", "--private-network"),
        *("--register=no", "--keep-unit", "--console=pipe", "--link-journal=no"),
        f"--machine=edge-agent-{os.getpid()}",
        *(f"--bind-ro={source}:{target}" for source, target in mounts.items()),
        f"--bind={out}:/opt/out",
        "systemd.unit=probe.service",
        "systemd.mask=systemd-networkd-wait-online.service",
    ]


def test_it_becomes_ready_with_every_library_a_model_and_the_store(probed: dict[str, str]) -> None:
    assert probed["started"] == "active", probed.get("log")
    assert probed["status"].endswith("watchdog every 3.5 s")
    assert not probed["status"].startswith("uid 0,")


def test_its_filter_is_on_and_it_serves(probed: dict[str, str]) -> None:
    assert probed["seccomp"] == "2"
    assert probed["http"] == "HTTP/1.1 200 OK"


def test_the_kernel_names_users_over_its_socket(probed: dict[str, str]) -> None:
    """In its user namespace it tells root, its own user and its group from all others."""
    assert probed["command"] == "root 200 service 200 member 200 other 403"


def test_a_reload_reaches_it_only_with_a_config_that_is_sound(probed: dict[str, str]) -> None:
    assert probed["reload"] == "0 1"
    assert probed["reload-broken"] == "1 0"


def test_it_comes_back_when_killed_and_stays_away_when_stopped(probed: dict[str, str]) -> None:
    assert probed["killed"] == "1 active"
    assert probed["stopped"] == "inactive success"


def test_a_wrong_config_is_not_restarted(probed: dict[str, str]) -> None:
    assert probed["config-wrong"] == "failed 78 0"


def test_its_log_lines_reach_the_journal_without_a_time_of_their_own(
    probed: dict[str, str],
) -> None:
    line = "ops: http serves host=127.0.0.1 port=9460 "
    assert any(one.startswith(line) for one in probed["log"].splitlines())
