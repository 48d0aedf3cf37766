"""Promises that nobody is let in and nothing leaks: docs/security.md.

After a change: `scripts/faults --write-docs`, or tests/test_faults.py fails.
"""

from __future__ import annotations

from typing import Final

from scripts.rigs.faults import systemd_boot
from scripts.rigs.faults.canary import canaries
from scripts.rigs.faults.egress import egress
from scripts.rigs.faults.http_load import http_load
from scripts.rigs.faults.promises import (
    CORE_FILES,
    MOSQUITTO,
    NAMESPACES,
    NODE_OPCUA,
    NSPAWN,
    ROOT_USER,
    STRACE,
    Control,
    Promise,
)

_READS: Final = "integration/test_read_only.py::test_whatever_the_config_the_plant_is_only_read"
_OPCUA: Final = "integration/test_opcua_source.py::test_"
_TLS: Final = "integration/test_mqtt_sink.py::test_tls_that_does_not_fit_is_refused_with_a_reason"
_WRONG_SERVERS: Final = (
    f"{_TLS}[unknown authority]",
    f"{_TLS}[another name]",
    f"{_OPCUA}a_server_that_nobody_vouches_for_is_refused",
    f"{_OPCUA}another_certificate_than_the_pinned_one_is_refused",
    f"{_OPCUA}a_password_never_goes_over_an_open_channel",
)

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
        "egress",
        "no byte goes but to configured endpoints",
        rig=egress,
        control=Control("processes of models that call home"),
        needs=(MOSQUITTO, ROOT_USER, STRACE, NAMESPACES),
        page="security",
    ),
    Promise(
        13,
        "no-downgrade",
        "no downgrade of TLS or OPC UA, and no credential to the wrong server",
        tests=(
            *_WRONG_SERVERS,
            "integration/test_mqtt_source.py::test_tls_that_fails_is_explained",
            f"{_OPCUA}a_policy_that_is_not_offered_is_explained",
            "sources/test_opcua_trust.py",
            "sources/test_opcua_config.py",
            "sinks/test_sink_config.py",
            "cli/test_alarms_cli.py::test_a_redirect_does_not_carry_the_token_away",
            "cli/test_alarms_cli.py::test_a_token_is_not_given_to_a_program_of_another_user",
            "client/test_transports.py::test_a_strange_certificate_is_refused_before_the_key_is_sent",
        ),
        control=Control(
            "any certificate is accepted, and a password goes over any channel",
            failing=_WRONG_SERVERS,
            without="any_server",
        ),
        needs=(MOSQUITTO, NODE_OPCUA),
        page="security",
    ),
    Promise(
        14,
        "read-only",
        "nothing is written to the plant, whatever the config",
        tests=(
            "integration/test_read_only.py",
            "integration/test_opcua_history.py::test_only_services_that_read_are_used",
        ),
        control=Control(
            "a daemon that writes to a node and to a topic",
            tests=(f"{_READS}[control]",),
        ),
        needs=(MOSQUITTO,),
        page="security",
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
        "canary",
        "a secret is in no log, page, store or core dump",
        tests=("cli/test_run_cli.py",),
        rig=canaries,
        control=Control("secrets are logged, and core dumps are allowed"),
        needs=(MOSQUITTO, ROOT_USER, CORE_FILES),
        page="security",
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
