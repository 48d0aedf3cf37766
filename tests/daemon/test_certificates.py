"""Certificates of the config: how long they hold, what is a fault, and what `check` says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from opcua_support import make_pair
from support import value_of

from edge_agent.clock import US_PER_S, FakeClock
from edge_agent.config.cameras import Snapshot
from edge_agent.config.schema import Config, PlantCamera
from edge_agent.config.settings import OpcuaServer
from edge_agent.config.types import Name
from edge_agent.daemon.certificates import Certificates, certificate_problems
from edge_agent.ops.metrics import Metrics
from edge_agent.sinks.mqtt_config import MqttSinkConfig
from edge_agent.sources.opcua.config import OpcUaSourceConfig, Security, SecurityPolicy
from edge_agent.transport.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opcua_support import Pair

DAY_S = 86_400


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Pair]:
    return lambda name, begin, end: make_pair(tmp_path, name, "urn:x", days=(begin, end))


class Rig:
    """The watch over a config with one source and one sink, and the clock of today."""

    def __init__(self, *, security: Security | None = None, tls: Tls | None = None) -> None:
        plc = OpcUaSourceConfig("opc.tcp://plc", security=security or Security())
        bus = MqttSinkConfig("mqtts://bus", tls=tls or Tls())
        self.metrics = Metrics()
        self.clock = FakeClock(round(datetime.now(UTC).timestamp() * US_PER_S))
        self.config = Config(sources={Name("plc"): plc}, sinks={Name("bus"): bus})
        self.watch = Certificates(lambda: self.config, self.metrics, self.clock)

    def left_days(self, link: str, key: str) -> float:
        seconds: float = value_of(self.metrics.certificate_expiry_seconds.labels(link, key))
        return seconds / DAY_S


def security(own: Pair, pinned: Pair) -> Security:
    policy = SecurityPolicy.BASIC256SHA256
    return Security(policy, None, own.certificate, own.key, server_certificate=pinned.certificate)


async def test_a_certificate_that_holds_is_a_metric_and_no_fault(
    pair: Callable[..., Pair],
) -> None:
    rig = Rig(security=security(pair("own", -1, 100), pair("plc", -1, 200)))
    await rig.watch.read_files()
    assert rig.left_days("source.plc", "security.certificate") == pytest.approx(100, abs=0.01)
    assert rig.left_days("source.plc", "security.server_certificate") == pytest.approx(
        200, abs=0.01
    )
    assert rig.watch.faults() == []


async def test_certificates_of_our_opcua_server_are_watched_when_it_is_on(
    pair: Callable[..., Pair],
) -> None:
    rig = Rig()
    own = pair("own", -1, 10)
    for is_on in (True, False):
        served = OpcuaServer(enabled=is_on, certificate=own.certificate, private_key=own.key)
        rig.config = Config(opcua_server=served)
        await rig.watch.read_files()
        assert [fault.what for fault in rig.watch.faults()] == (
            ["certificate_expires.opcua_server"] if is_on else []
        )
        _, warned = certificate_problems(rig.config)
        assert [line.partition(": ")[0] for line in warned] == (
            ["opcua_server.certificate"] if is_on else []
        )


async def test_certificates_of_a_camera_are_watched_and_named_by_their_key(
    pair: Callable[..., Pair],
) -> None:
    """Its authority and our own one: as metrics, as faults of the camera, and in `check`."""
    rig = Rig()
    old, soon = pair("old", -20, -10), pair("soon", -1, 20)
    seam = Snapshot("https://camera", ca=old.certificate, cert=soon.certificate, cert_key=soon.key)
    rig.config = Config(cameras={Name("seam"): PlantCamera("P-1", http=seam)})
    await rig.watch.read_files()
    assert rig.left_days("camera.seam", "http.ca") == pytest.approx(-10, abs=0.01)
    assert rig.left_days("camera.seam", "http.cert") == pytest.approx(20, abs=0.01)
    assert [fault.what for fault in rig.watch.faults()] == ["certificate.seam"]
    errors, warned = certificate_problems(rig.config)
    assert [line.partition(": ")[0] for line in errors] == ["cameras.seam.http.ca"]
    assert [line.partition(": ")[0] for line in warned] == ["cameras.seam.http.cert"]
    pair("old", -1, 100)
    await rig.watch.read_files()
    assert [fault.what for fault in rig.watch.faults()] == ["certificate_expires.seam"]


async def test_thirty_days_before_its_end_it_is_a_fault_of_lower_rank(
    pair: Callable[..., Pair],
) -> None:
    own = pair("own", -1, 40)
    rig = Rig(tls=Tls(None, own.certificate, own.key))
    await rig.watch.read_files()
    assert rig.watch.faults() == []
    rig.clock.advance(11 * DAY_S)
    (fault,) = rig.watch.faults()
    assert fault.what == "certificate_expires.bus"
    assert fault.text.startswith(f"bus: {own.certificate} expires on ")
    assert fault.text.endswith("in 28 days")


@pytest.mark.parametrize("which", ["own", "pinned"])
async def test_an_expired_one_is_a_fault_that_names_the_file(
    pair: Callable[..., Pair], which: str
) -> None:
    old, new = pair("old", -20, -10), pair("new", -1, 100)
    rig = Rig(security=security(old, new) if which == "own" else security(new, old))
    await rig.watch.read_files()
    (fault,) = rig.watch.faults()
    assert fault.what == "certificate.plc"
    assert "old.pem expired on" in fault.text
    key = "security.certificate" if which == "own" else "security.server_certificate"
    assert rig.left_days("source.plc", key) == pytest.approx(-10, abs=0.01)


async def test_a_renewed_file_ends_the_fault(pair: Callable[..., Pair]) -> None:
    old = pair("own", -20, -10)
    rig = Rig(tls=Tls(old.certificate))
    await rig.watch.read_files()
    assert [fault.what for fault in rig.watch.faults()] == ["certificate.bus"]
    pair("own", -1, 100)
    await rig.watch.read_files()
    assert rig.watch.faults() == []


async def test_a_gateway_whose_clock_stands_in_the_past_is_told_so(
    pair: Callable[..., Pair],
) -> None:
    rig = Rig(tls=Tls(pair("own", -1, 100).certificate))
    await rig.watch.read_files()
    rig.clock.advance(-365 * DAY_S)
    (fault,) = rig.watch.faults()
    assert "is the clock right?" in fault.text


async def test_of_several_authorities_one_that_is_valid_does(
    pair: Callable[..., Pair], tmp_path: Path
) -> None:
    """When an authority is replaced, both stand in the file for a while."""
    old, new = pair("old", -20, -10), pair("new", -1, 100)
    both = tmp_path / "both.pem"
    both.write_bytes(old.certificate.read_bytes() + new.certificate.read_bytes())
    rig = Rig(tls=Tls(ca=both))
    await rig.watch.read_files()
    assert rig.watch.faults() == []


async def test_what_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "not.pem").write_text("nothing")
    cases = ((tmp_path / "none.pem", "No such file"), (tmp_path / "not.pem", "contains no"))
    for path, said in cases:
        rig = Rig(tls=Tls(ca=path))
        await rig.watch.read_files()
        (fault,) = rig.watch.faults()
        assert said in fault.text


async def test_the_metric_of_what_left_the_config_goes(pair: Callable[..., Pair]) -> None:
    rig = Rig(tls=Tls(pair("own", -1, 100).certificate))
    await rig.watch.read_files()
    rig.config.sinks.clear()
    await rig.watch.read_files()
    assert 'link="sink.bus"' not in rig.metrics.render().decode()


def test_check_calls_an_expired_certificate_an_error_and_warns_in_time(
    pair: Callable[..., Pair],
) -> None:
    old, soon = pair("old", -20, -10), pair("soon", -1, 20)
    rig = Rig(security=security(old, soon))
    errors, warnings = certificate_problems(rig.config)
    assert errors == [f"sources.plc.security.certificate: {errors[0].partition(': ')[2]}"]
    assert "old.pem expired on" in errors[0]
    assert warnings[0].startswith("sources.plc.security.server_certificate: ")


def test_check_finds_a_key_that_does_not_belong_to_its_certificate(
    pair: Callable[..., Pair],
) -> None:
    one, other = pair("one", -1, 100), pair("other", -1, 100)
    rig = Rig(tls=Tls(None, one.certificate, other.key))
    errors, _ = certificate_problems(rig.config)
    assert "the key does not belong to" in errors[0]
