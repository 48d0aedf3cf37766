"""Promises that no alarm is lost: docs/reliability.md.

After a change: `scripts/faults --write-docs`, or tests/test_faults.py fails.
"""

from __future__ import annotations

from typing import Final

from scripts.rigs.faults.fuzz import fuzz
from scripts.rigs.faults.http_fuzz import http_fuzz
from scripts.rigs.faults.kills import forgetful_broker, kills
from scripts.rigs.faults.links import broken_links
from scripts.rigs.faults.power_cut import power_cut
from scripts.rigs.faults.promises import (
    ATHERIS,
    EXT4_TOOLS,
    MOSQUITTO,
    NODE_OPCUA,
    OPEN62541,
    ROOT_USER,
    SCHEMATHESIS,
    USER_MODE_LINUX,
    Control,
    Promise,
)
from scripts.rigs.faults.rate import rate
from scripts.rigs.faults.soak import soak

_SINK: Final = "integration/test_mqtt_sink.py::test_"
_STORE: Final = "integration/test_store_failures.py::test_"
_FALLBACK: Final = "store/test_store_fallback.py::test_"
_BULKHEADS: Final = "serving/test_bulkheads.py::test_"
_VERSIONS: Final = "integration/test_model_versions.py::test_"
_OPCUA: Final = "integration/test_opcua_source.py::test_"
_STALLS: Final = (
    "integration/test_opcua_outages.py::test_a_server_that_stalls_and_dies_is_told_found_again_"
    "and_holds_no_old_session"
)
_OUTAGES: Final = "signals/test_outages.py::test_"
_CLOCK: Final = "signals/test_gateway_clock.py::test_"

RELIABILITY: Final = (
    Promise(
        5,
        "store-fails",
        "a store that is damaged, unreadable, full, locked or gone holds up no alarm, and is "
        "replaced within 10 s",
        tests=("store/test_store_fallback.py", "integration/test_store_failures.py"),
        control=Control(
            "the store without its memory",
            tests=(
                f"{_STORE}damage_under_the_running_daemon_is_set_aside[control]",
                f"{_STORE}a_file_system_that_goes_and_comes_back[control]",
                f"{_STORE}a_disk_with_io_errors_holds_up_no_alarm[control]",
                f"{_FALLBACK}a_disk_that_hangs_holds_up_nothing[control]",
            ),
        ),
        needs=(MOSQUITTO, ROOT_USER),
    ),
    Promise(
        3,
        "broken-links",
        "broken and silent connections lose nothing and keep the order; only what was in doubt is "
        "sent again",
        tests=(
            f"{_SINK}after_a_broken_link_only_what_is_in_doubt_is_sent_again",
            f"{_SINK}all_that_was_raised_in_an_outage_arrives_after_it",
            f"{_SINK}a_broker_that_hangs_is_given_up_and_found_again",
            f"{_SINK}a_broker_that_confirms_no_more_is_given_up",
        ),
        rig=broken_links,
        control=Control("no mark on the broker, and a message counts as delivered when it is sent"),
        needs=(MOSQUITTO,),
    ),
    Promise(
        4,
        "refused-by-the-broker",
        "what access rules refuse is kept and counted, over both versions of MQTT",
        tests=(
            f"{_SINK}what_access_rules_refuse_is_kept_and_holds_up_nothing_else",
            f"{_SINK}over_3_1_1_an_alarm_is_confirmed_when_it_came_back",
            f"{_SINK}a_slow_connack_is_no_proof_of_an_old_broker",
        ),
        control=Control(
            "3.1.1 without reading back",
            tests=(f"{_SINK}over_3_1_1_an_alarm_is_confirmed_when_it_came_back[control]",),
        ),
        needs=(MOSQUITTO,),
    ),
    Promise(
        4,
        "forgetful-broker",
        "a broker without memory gets all alarms again",
        tests=(
            f"{_SINK}a_broker_that_is_killed_again_and_again_gets_every_alarm",
            f"{_SINK}a_broker_without_our_session_is_told_all_again",
            "integration/test_mqtt_return.py",
        ),
        rig=forgetful_broker,
        control=Control("nothing is sent again to a broker that came back"),
        needs=(MOSQUITTO,),
    ),
    Promise(
        6,
        "opcua-outages",
        "an OPC UA server that stalls, is killed or has no session free is told within three "
        "keepalives, found again within 15 s, and holds no old session of ours (three makers)",
        tests=(
            "integration/test_opcua_outages.py",
            f"{_OPCUA}a_stalled_server_is_left_and_found_again",
            f"{_OPCUA}a_killed_server_is_found_again",
            f"{_OPCUA}stopping_while_the_server_is_stalled_takes_no_longer_than_its_deadline",
        ),
        control=Control(
            "nobody looks at a server's silence",
            tests=(f"{_STALLS}[control]",),
        ),
        needs=(NODE_OPCUA, OPEN62541),
    ),
    Promise(
        9,
        "bad-models",
        "a model that hangs, is slow, eats memory or dies holds up no other machine's alarm",
        tests=(
            "serving/test_bulkheads.py",
            f"{_VERSIONS}a_version_that_hangs_in_one_operator_gives_way",
        ),
        control=Control(
            "models in the daemon's own process",
            tests=(
                f"{_BULKHEADS}in_this_process_all_wait_for_a_model_that_hangs",
                f"{_BULKHEADS}a_shadow_in_this_process_is_waited_for",
            ),
        ),
        needs=(MOSQUITTO,),
    ),
    Promise(
        1,
        "power-cut",
        "a power cut of the whole machine loses no alarm that a subscriber has received",
        rig=power_cut,
        control=Control("commits are not synced (synchronous = NORMAL)"),
        needs=(USER_MODE_LINUX, EXT4_TOOLS, MOSQUITTO),
        quick=True,
    ),
    Promise(
        2,
        "kills",
        "100 kills of the daemon lose nothing, and ids stay right",
        tests=("store/test_store_disk.py::test_kill_9_at_20_moments_loses_no_committed_row",),
        rig=kills,
        control=Control("a start forgets unconfirmed messages, a new connection repeats none"),
        needs=(MOSQUITTO,),
    ),
    Promise(
        7,
        "gaps",
        "a gap is never scored as normal; what comes late raises what it would have raised",
        tests=("signals/test_outages.py", "integration/test_gaps.py"),
        control=Control(
            "the windows do not know that a source is disconnected",
            failing=(
                f"{_OUTAGES}no_row_is_closed_while_the_link_is_down",
                f"{_OUTAGES}a_gap_that_nothing_fills_is_not_good",
            ),
            without="unnoticed_outages",
        ),
        needs=(MOSQUITTO,),
        quick=True,
    ),
    Promise(
        8,
        "clocks",
        "a jump of the gateway's or a source's clock misses no alarm and doubles none",
        tests=(
            "signals/test_gateway_clock.py",
            "sources/test_source_clock.py",
            "daemon/test_gateway_clock_fault.py",
        ),
        control=Control(
            "steps of the gateway's clock are not noticed",
            failing=(
                f"{_CLOCK}windows_go_on_without_a_gap_and_a_fault_is_found_in_time",
                f"{_CLOCK}the_delays_of_alarms_end_when_they_would_have",
            ),
            without="unnoticed_clock_steps",
        ),
        quick=True,
    ),
    Promise(
        9,
        "rate",
        "ten times the rate for 60 s: memory is bounded, drops are counted, alarms go out",
        rig=rate,
        control=Control("an intake without a bound"),
        needs=(MOSQUITTO,),
        quick=True,
    ),
    Promise(
        10,
        "soak",
        "8,000 values/s with a disturbance a minute: memory, descriptors, threads and tasks stay",
        rig=soak,
        control=Control("a daemon that leaks memory, descriptors and tasks"),
        needs=(MOSQUITTO,),
    ),
    Promise(
        15,
        "fuzz",
        "no decoder crashes or hangs on ten minutes of fuzzed input",
        rig=fuzz,
        control=Control("a decoder's own refusals count as crashes, so that they must be found"),
        needs=(ATHERIS,),
    ),
    Promise(
        15,
        "http-fuzz",
        "no HTTP request that fits or misses openapi.json is answered 500, and the daemon lives",
        tests=("service/test_openapi.py",),
        rig=http_fuzz,
        needs=(MOSQUITTO, SCHEMATHESIS),
    ),
)
