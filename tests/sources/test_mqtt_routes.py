"""From messages to the intake: routing, discovery, refusals, and that all memory is bounded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from mqtt_support import SOURCE, make_plant, rejected, subscription
from support import value_of

from edge_agent.config import schema
from edge_agent.ops.metrics import Metrics
from edge_agent.sources.mqtt import refusals
from edge_agent.sources.mqtt import routes as _mqtt_routes
from edge_agent.sources.mqtt.decode import Decoder
from edge_agent.sources.mqtt.paho_client import Messages
from edge_agent.sources.mqtt.payload_spec import Format, Payload
from edge_agent.sources.mqtt.refusals import Refusals
from edge_agent.sources.mqtt.routes import Routes
from edge_agent.testing import ListIntake
from edge_agent.values import BAD, GOOD, RETAINED

if TYPE_CHECKING:
    from edge_agent.messages import Fault
    from edge_agent.plant import Plant
    from edge_agent.sources.mqtt.config import Subscription

NOW_US = 1_767_225_600_000_000
TS_MS = 1_767_000_000_123


class Path:
    """A decoder with all it needs."""

    def __init__(self, plant: Plant, *subscriptions: Subscription) -> None:
        self.plant = plant
        self.intake = ListIntake()
        self.metrics = Metrics()
        refusals = Refusals(SOURCE, self.metrics)
        self.routes = Routes(SOURCE, subscriptions, plant, self.metrics, refusals)
        received = self.metrics.values_received.labels(SOURCE)
        self.decoder = Decoder(self.routes, refusals, self.intake, received)

    def take(self, *messages: tuple[str, str], retained: tuple[int, ...] = ()) -> None:
        topics = [topic.encode() for topic, _ in messages]
        payloads = [payload.encode() for _, payload in messages]
        self.decoder.decode_messages(Messages(topics, payloads, retained=list(retained)), NOW_US)

    def rows(self) -> list[tuple[str, float]]:
        """(asset.signal, value) of all that arrived; forgets it."""
        columns = self.intake.columns
        self.intake.packets.clear()
        signals = [self.plant.signals[n] for n in columns.signal]
        names = [f"{signal.asset.id}.{signal.name}" for signal in signals]
        return list(zip(names, columns.value.tolist(), strict=True))

    def rejected(self) -> dict[str, float]:
        return rejected(self.metrics)


def doc(value: object) -> str:
    return f'{{"ts": {TS_MS}, "value": {value}}}'


def test_a_topic_names_asset_and_signal() -> None:
    path = Path(make_plant("P1", "P2"), subscription())
    path.take(("plant/l/P2/s1", doc(1)), ("plant/l/P1/s0", "2"))
    assert path.rows() == [("P2.s1", 1.0), ("P1.s0", 2.0)]


def test_asset_and_signal_may_be_fixed_or_composed() -> None:
    path = Path(
        make_plant("P1", "l-7"),
        subscription("x/{signal}", asset="P1"),
        subscription("y/{line}/{n}", asset="{line}-{n}", signal="s2"),
        subscription("z/{line}/{n}/#", asset="{line}-{n}"),
    )
    path.take(("x/s0", "1"), ("y/l/7", "2"), ("z/l/7/any", '{"s0": 3}'))
    assert path.rows() == [("P1.s0", 1.0), ("l-7.s2", 2.0), ("l-7.s0", 3.0)]


def test_an_address_stands_for_the_name() -> None:
    signals = {"flow": schema.Signal(address="q.{asset}"), "temp": schema.Signal()}
    path = Path(make_plant("P1", signals=signals), subscription(), subscription("all/{asset}"))
    path.take(
        ("plant/l/P1/q.P1", "1"), ("plant/l/P1/flow", "2"), ("all/P1", '{"q.P1": 3, "temp": 4}')
    )
    assert path.rows() == [("P1.flow", v) for v in (1.0, 2.0, 3.0)] + [("P1.temp", 4.0)]


def test_signals_of_another_source_are_not_ours() -> None:
    signals = {"ours": schema.Signal(source=SOURCE), "theirs": schema.Signal(source="plc")}
    plant = make_plant("P1", signals=signals, sources=(SOURCE, "plc"))
    path = Path(plant, subscription(), subscription("all/{asset}"))
    path.take(("plant/l/P1/theirs", "1"), ("all/P1", '{"ours": 1, "theirs": 2}'))
    assert path.rows() == [("P1.ours", 1.0)]


def test_unknown_signals_are_counted_once_a_topic(caplog: pytest.LogCaptureFixture) -> None:
    """Keys beside those that are taken are no refusal: they are named once, and not counted."""
    caplog.set_level(logging.INFO, "edge_agent")
    path = Path(make_plant("P1"), subscription(), subscription("all/{asset}"))
    for _ in range(3):
        path.take(("plant/l/P1/other", "1"), ("all/P1", '{"s0": 1, "x": 2}'))
    assert path.rejected() == {"unknown_signal": 1}
    assert len(path.rows()) == 3
    unused = [
        record for record in caplog.records if record.message.startswith("unused keys in a payload")
    ]
    assert [record.detail for record in unused] == ["the first is 'x'"]  # type: ignore[attr-defined]
    path.take(("all/P1", '{"x": 2}'))
    assert path.rejected() == {"unknown_signal": 2}


def test_unknown_assets_and_topics_are_counted_and_ignored() -> None:
    path = Path(make_plant("P1"), subscription())
    for _ in range(2):
        path.take(("plant/l/P9/s0", "1"), ("elsewhere", "1"), ("plant/l/P1/s0", "1"))
    assert path.rejected() == {"unknown_asset": 2, "unknown_topic": 2}
    assert len(path.rows()) == 2


def test_an_asset_found_by_another_source_is_known_from_then_on() -> None:
    path = Path(make_plant("P1"), subscription())
    path.take(("plant/l/P9/s0", "1"))
    path.plant.discover("P9", "pump")
    path.take(("plant/l/P9/s0", "2"))
    assert path.rows() == [("P9.s0", 2.0)]


def test_assets_are_discovered_up_to_the_maximum(caplog: pytest.LogCaptureFixture) -> None:
    path = Path(make_plant(max_assets=2), subscription(template="pump"))
    for n in (1, 2, 3, 4, 1):
        path.take((f"plant/north/N{n}/s0", str(n)))
    assert path.rows() == [("N1.s0", 1.0), ("N2.s0", 2.0), ("N1.s0", 1.0)]
    assert path.plant.assets["N1"].line == "north"
    assert value_of(path.metrics.assets_refused) == 2
    assert [record.message for record in caplog.records].count("payload refused") == 1


@pytest.mark.parametrize("topic", ["plant/l/a b/s0", "plant/l/.x/s0", "plant/l b/P1/s0"])
def test_no_asset_is_made_of_an_unsafe_name(topic: str) -> None:
    path = Path(make_plant(), subscription(template="pump"))
    path.take((topic, "1"))
    assert path.rejected() == {"asset_name": 1}
    assert path.plant.assets == {}
    faults: dict[str, Fault] = {}
    path.routes.machines.conflicts.report(faults, 0.0)
    (fault,) = faults.values()  # a machine that nobody watches is no mere counter
    assert (fault.what, fault.detail.message_key) == ("machines.bus", "asset_name")


def test_a_topic_that_is_no_signal_of_the_template_makes_no_machine() -> None:
    """A gateway's own topics would else be a machine that never has a value."""
    path = Path(make_plant(), subscription(template="pump"))
    path.take(("plant/l/gateway/uptime", "1"), ("plant/l/P1/s0", "1"))
    assert path.rejected() == {"unknown_signal": 1}
    assert list(path.plant.assets) == ["P1"]


def test_a_template_that_is_not_there_is_counted() -> None:
    path = Path(make_plant(), subscription(template="fan"))
    path.take(("plant/l/P1/s0", "1"))
    assert path.rejected() == {"template": 1}


def test_garbage_is_counted_by_reason_and_logged_once_a_topic(
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = Path(make_plant("P1"), subscription())
    with caplog.at_level(logging.WARNING, "edge_agent"):
        for _ in range(5):
            path.take(("plant/l/P1/s0", "{"), ("plant/l/P1/s1", '"x"'), ("plant/l/P1/s2", doc(1)))
    assert path.rejected() == {"json": 5, "type": 5}
    assert [record.topic for record in caplog.records] == ["plant/l/P1/s0", "plant/l/P1/s1"]  # type: ignore[attr-defined]
    assert [row for row in path.rows() if row[0] != "P1.s1"] == [("P1.s2", 1.0)] * 5


def test_a_sensor_that_sends_garbage_does_not_slow_the_others() -> None:
    """Its topic leaves the batch of the good ones, and comes back when it is good again."""
    path = Path(make_plant("P1"), subscription())
    good, broken = b"plant/l/P1/s0", b"plant/l/P1/s1"

    def batched(topic: bytes) -> bool:
        route = path.routes.find(topic)
        return route is not None and route.batch is not None

    for value in ("1", "1", "null"):
        path.take((good.decode(), doc(1)), (broken.decode(), doc(value)))
    assert (batched(good), batched(broken)) == (True, False)
    for n in range(200):
        path.take((good.decode(), doc(1)), (broken.decode(), doc(2)))
        assert batched(broken) == (n >= 128)
    rows = path.rows()
    assert rows.count(("P1.s0", 1.0)) == 203
    assert rows.count(("P1.s1", 2.0)) == 200


def test_mixed_shapes_in_one_read_all_arrive() -> None:
    signals: dict[str, Any] = {
        "s0": schema.Signal(),
        "vib": schema.Signal(kind=schema.Kind.WAVEFORM),
    }
    csv = Payload(format=Format.CSV)
    path = Path(
        make_plant("P1", signals=signals),
        subscription(payload=Payload(rate_hz=10)),
        subscription("all/{asset}"),
        subscription("csv/{asset}/{signal}", payload=csv),
    )
    read = (
        ("plant/l/P1/s0", doc(1)),
        ("all/P1", '{"s0": 2}'),
        ("csv/P1/s0", "3"),
        ("plant/l/P1/vib", "[1, 2, 3]"),
        ("plant/l/P1/s0", "4"),
    )
    for _ in range(3):
        path.take(*read)
        assert sorted(path.rows()) == [("P1.s0", v) for v in (1.0, 2.0, 3.0, 4.0)]
    assert [len(block.samples) for block in path.intake.blocks] == [3, 3, 3]
    assert value_of(path.metrics.values_received.labels(SOURCE)) == 3 * (4 + 3)


def test_retained_messages_are_marked_unless_their_own_time_is_fresh() -> None:
    path = Path(make_plant("P1"), subscription())
    for _ in range(2):  # from the second on together
        path.take(("plant/l/P1/s0", "1"))
    path.rows()
    for _ in range(3):
        fresh = f'{{"ts": {NOW_US // 1000 - 5000}, "value": 1}}'
        path.take(("plant/l/P1/s0", "1"), ("plant/l/P1/s1", fresh), retained=(0, 1))
        path.take(("plant/l/P1/s0", doc(1)), retained=(0,))
    assert path.intake.columns.status.tolist() == [RETAINED, 0, RETAINED] * 3


def test_values_of_one_signal_keep_their_order() -> None:
    path = Path(make_plant("P1"), subscription())
    for first in range(0, 30, 10):
        path.take(*(("plant/l/P1/s0", str(first + n)) for n in range(10)))
    assert [value for _, value in path.rows()] == list(range(30))


def test_messages_too_large_are_counted() -> None:
    path = Path(make_plant("P1"), subscription())
    path.decoder.decode_messages(Messages(too_large=[b"plant/l/P1/s0"]), NOW_US)
    assert path.rejected() == {"too_large": 1}


def test_topics_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may publish may invent topics; a stream of new ones must not fill the memory."""
    monkeypatch.setattr(_mqtt_routes, "MAX_ROUTES", 50)
    monkeypatch.setattr(_mqtt_routes, "MAX_IGNORED", 50)
    path = Path(make_plant("P1"), subscription("plant/{asset}/{signal}/#"))
    for n in range(500):
        for _ in range(2):
            path.take((f"plant/P1/s0/{n}", "1"), (f"no/{n}", "1"), (f"plant/P9/s0/{n}", "1"))
    routes = path.routes
    assert len(routes._routes) <= 50
    assert len(routes._ignored) + len(routes._orphans) <= 50
    assert sum(len(batch.rows) for batch in routes._batches.values()) <= 50
    assert len(path.rows()) == 1000


def test_logged_topics_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusals, "_MAX_LINES_ELSE", 3)
    found = Refusals(SOURCE, Metrics())
    for n in range(10):
        found.refuse_payload("json", b"t%d\n\xff" % n, "broken")
    assert len(caplog.records) == 4
    assert caplog.records[-1].message == "further topics are only counted"
    assert caplog.records[0].topic == r"t0\n\xff"  # type: ignore[attr-defined]


def test_a_topic_that_shows_a_classic_quality_is_classic_from_then_on() -> None:
    """Under `StatusCode` 0 is good in OPC UA, but not beside a 192: that sensor is dead."""
    path = Path(make_plant("P1"), subscription())

    def status_of(code: object) -> int:
        path.take(("plant/l/P1/s0", f'{{"value": 1, "StatusCode": {code}}}'))
        return int(path.intake.columns.status[-1])

    assert [status_of(code) for code in (0, 192, 0, '"192"', 192, 0)] == [GOOD, 0, BAD, 0, 0, BAD]


def test_the_log_says_which_keys_would_read_a_payload(caplog: pytest.LogCaptureFixture) -> None:
    """In plain words, once for each topic."""
    path = Path(make_plant("P1"), subscription(), subscription("all/{asset}"))
    path.take(
        ("plant/l/P1/s0", '{"v": 1.5}'),
        ("all/P1", '{"values": [{"id": "s0", "v": 1}]}'),
        ("plant/l/P1/s1", '{"value": 1, "q": 0}'),
        ("plant/l/P1/s2", '"21,5"'),
    )
    first, second, third, fourth = (str(one.detail) for one in caplog.records)  # type: ignore[attr-defined]
    assert "payload: {value: v} takes that" in first
    assert "Kepware IoT Gateway: payload: {items: values, name: id" in second
    assert "good in OPC UA, bad in OPC Classic" in third
    assert 'decimal: ","' in fourth


def test_a_clock_that_was_never_set_is_counted_and_named_once() -> None:
    """Its values are taken, by whatever clock the source goes by."""
    path = Path(make_plant("P1"), subscription())
    for _ in range(3):
        path.take(("plant/l/P1/s0", '{"value": 1, "ts": 5}'))
    assert path.rejected() == {"mended": 1}
    assert path.rows() == [("P1.s0", 1.0)] * 3
