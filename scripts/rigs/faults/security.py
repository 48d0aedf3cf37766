"""Promises that nobody is let in and nothing leaks: docs/security.md.

After a change: `scripts/faults --write-docs`, or tests/test_faults.py fails.
"""

from __future__ import annotations

from typing import Final

from scripts.rigs.faults import systemd_boot
from scripts.rigs.faults.http_load import http_load
from scripts.rigs.faults.promises import MOSQUITTO, NSPAWN, ROOT_USER, Control, Promise

_LATER: Final = "no rig yet"

SECURITY: Final = (
    Promise(
        11,
        "systemd",
        "under a real systemd: install, watchdog, reload, config error, upgrade",
        tests=("systemd/test_unit_file.py", "systemd/test_unit_boots.py"),
        rig=systemd_boot.life,
        control=Control("no watchdog"),
        needs=(NSPAWN, ROOT_USER, MOSQUITTO),
        page="security",
    ),
    Promise(
        12,
        "no-egress",
        "no byte goes but to configured endpoints",
        page="security",
        unmeasured=_LATER,
    ),
    Promise(
        13,
        "no-downgrade",
        "no downgrade of TLS or OPC UA, and no credential to the wrong server",
        page="security",
        unmeasured=_LATER,
    ),
    Promise(
        14,
        "read-only",
        "nothing is written to the plant, whatever the config",
        page="security",
        unmeasured=_LATER,
    ),
    Promise(
        16,
        "hostile-bundles",
        "a hostile or damaged bundle is never loaded",
        tests=("models/test_archive.py", "models/test_bundle_verify.py"),
        page="security",
    ),
    Promise(
        17,
        "commands",
        "a command acts once, on the machine of its topic, until it expires",
        tests=(
            "daemon/test_daemon_commands.py",
            "daemon/test_bus_commands.py",
            "sinks/test_mqtt_commands.py",
        ),
        page="security",
    ),
    Promise(
        18,
        "http",
        "slow clients, readers and floods leave a scrape below 1 s and alarms within 5 %",
        tests=(
            "ops/test_http_guard.py",
            "store/test_store_reader.py",
            "service/test_status_api.py",
        ),
        rig=http_load,
        control=Control("no limits for clients"),
        needs=(MOSQUITTO,),
        page="security",
    ),
    Promise(
        19,
        "secrets",
        "a secret is in no log, page, store or core dump",
        page="security",
        unmeasured=_LATER,
    ),
    Promise(
        20,
        "exposure",
        "systemd's exposure is at most 1.2, with inference inside the sandbox",
        rig=systemd_boot.sandbox,
        control=Control("no filter of system calls"),
        needs=(NSPAWN, ROOT_USER, MOSQUITTO),
        page="security",
    ),
    Promise(
        21,
        "supply-chain",
        "locked packages with hashes, known licences, a wheel that can be made again",
        tests=("test_packaging.py",),
        page="security",
    ),
)
