"""Delivery: order, window, retries, refusals; a real store, and a sink that does as told."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_support import Rig, event
from support import until

from edge_agent.errors import StoreError
from edge_agent.messages import Link, Message
from edge_agent.ops.metrics import Metrics
from edge_agent.sinks.base import ALERT, EVENT, DeliveryError, Refusals, Sink
from edge_agent.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOWN = DeliveryError("down", reason="disconnected", retry=True)
REFUSED = DeliveryError("refused", reason="refused", retry=True, hold_s=60.0)
NEVER = DeliveryError("malformed", reason="http_4xx", retry=False)


class PuppetSink(Sink):
    """Confirms at once, unless told otherwise by `answer` (what to raise) or `gate` (when)."""

    kinds = frozenset({ALERT, EVENT})

    def __init__(self, window: int = 3) -> None:
        self.name = "plant"
        self.link = Link()
        self.window = window
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer: Callable[[Message], Exception | None] = lambda _: None
        self.tried: list[Message] = []
        self.delivered: list[Message] = []
        self.flying: list[Message] = []
        self.most_flying = 0
        self.stopped = False
        self.told: list[Refusals] = []

    def show_refusals(self, refusals: Refusals) -> None:
        self.told.append(refusals)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped = True

    async def deliver(self, message: Message) -> None:
        line = (message.kind, message.key)
        assert line not in [(m.kind, m.key) for m in self.flying], "one of a line at a time"
        self.tried.append(message)
        self.flying.append(message)
        self.most_flying = max(self.most_flying, len(self.flying))
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            error = self.answer(message)
            if error is not None:
                raise error
            self.delivered.append(message)
        finally:
            self.flying.remove(message)


class Naps:
    """A sleep that ends when told to; `wanted` holds the seconds that were asked for."""

    def are(self, number: int) -> bool:
        return len(self.wanted) == number

    def __init__(self) -> None:
        self.wanted: list[float] = []
        self._sleepers: list[asyncio.Event] = []

    async def __call__(self, seconds: float) -> None:
        self.wanted.append(seconds)
        end = asyncio.Event()
        self._sleepers.append(end)
        await end.wait()

    def end(self) -> None:
        sleepers, self._sleepers = self._sleepers, []
        for one in sleepers:
            one.set()


async def settled(rig: Rig) -> None:
    """Let everything come to rest: two round trips through the store's thread."""
    for _ in range(6):
        await rig.run(Store.outbox_stats)
        for _ in range(10):
            await asyncio.sleep(0)


def keys(messages: list[Message]) -> list[str]:
    return [f"{m.key}:{m.seq}" for m in messages]


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def sink() -> PuppetSink:
    return PuppetSink()


@pytest.fixture
def rig(tmp_path: Path, metrics: Metrics, naps: Naps, sink: PuppetSink) -> Rig:
    return Rig(tmp_path / "a.db", sink, metrics, naps)


async def test_what_waited_over_a_restart_is_delivered_and_deleted(
    tmp_path: Path, metrics: Metrics, rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    sink.answer = lambda _: DOWN
    async with rig:
        await rig.put(*(event(f"a{n}") for n in range(5)))
        await until(lambda: naps.wanted)
    again = PuppetSink()
    rig = Rig(tmp_path / "a.db", again, metrics, naps)
    async with rig:
        await rig.emptied()
    assert sorted(keys(again.delivered)) == [f"a{n}:1" for n in range(5)]
    assert keys(rig.confirmed) == keys(again.delivered)


async def test_a_row_stays_until_its_receiver_has_confirmed(rig: Rig, sink: PuppetSink) -> None:
    sink.gate.clear()
    async with rig:
        await rig.put(event())
        await until(lambda: sink.flying)
        await settled(rig)
        assert len(await rig.waiting()) == 1
        assert rig.confirmed == []
        sink.gate.set()
        await rig.emptied()


async def test_never_more_in_flight_than_the_window(rig: Rig, sink: PuppetSink) -> None:
    sink.window = 4
    sink.gate.clear()
    async with rig:
        await rig.put(*(event(f"a{n}") for n in range(20)))
        await until(lambda: len(sink.flying) == 4)
        await settled(rig)
        assert keys(sink.tried) == ["a0:1", "a1:1", "a2:1", "a3:1"], "the oldest first"
        sink.gate.set()
        await rig.emptied()
    assert sink.most_flying == 4


async def test_a_window_that_shrinks_counts_at_once(rig: Rig, sink: PuppetSink) -> None:
    """A broker may allow less after a reconnection."""
    sink.window = 4
    async with rig:
        await rig.put(event("first"))
        await rig.emptied()
        sink.window, sink.most_flying = 1, 0
        await rig.put(*(event(f"a{n}") for n in range(5)))
        await rig.emptied()
    assert sink.most_flying == 1


async def test_states_of_one_alarm_keep_their_order_and_others_pass_by(
    rig: Rig, sink: PuppetSink
) -> None:
    sink.window = 10
    async with rig:
        await rig.put(*(event("same", seq, kind="alert") for seq in range(10)), event("other"))
        await rig.emptied()
    assert keys([m for m in sink.delivered if m.key == "same"]) == [f"same:{n}" for n in range(10)]
    assert keys(sink.delivered).index("other:1") < 3


async def test_a_long_line_leaves_the_rest_of_the_window_to_others(
    rig: Rig, sink: PuppetSink
) -> None:
    """They are in flight beside its first message, not after it."""
    sink.window = 3
    sink.gate.clear()
    async with rig:
        await settled(rig)  # so that it is woken once
        await rig.put(*(event("same", seq) for seq in range(5)), event("other"))
        await until(lambda: keys(sink.flying) == ["same:0", "other:1"])
        sink.gate.set()
        await rig.emptied()


async def test_a_receiver_in_trouble_is_retried_ever_more_slowly_and_for_ever(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    """1 s doubling to 60 s, jittered; of a window that fails together one failure counts."""
    sink.answer = lambda _: DOWN
    async with rig:
        await rig.put(*(event(f"a{n}") for n in range(5)))
        for tries in range(1, 12):
            await until(partial(naps.are, tries))
            await settled(rig)
            naps.end()
        assert len(naps.wanted) >= 11
        sink.answer = lambda _: None
        await until(lambda: len(naps.wanted) == 12 or not sink.flying)
        naps.end()
        await rig.emptied()
    for number, slept in enumerate(naps.wanted[:11]):
        longest = min(60.0, 2.0**number)
        assert longest / 2 <= slept <= longest
    assert rig.failures("disconnected") >= 11
    assert Counter(keys(sink.delivered)) == Counter(f"a{n}:1" for n in range(5))


async def test_a_success_makes_the_next_wait_short_again(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    sink.answer = lambda _: DOWN if len(sink.tried) in {1, 2, 3, 5} else None
    async with rig:
        await rig.put(event("a"))
        for tries in (1, 2, 3):
            await until(partial(naps.are, tries))
            naps.end()
        await rig.emptied()
        await rig.put(event("b"))
        await until(lambda: len(naps.wanted) == 4)
        naps.end()
        await rig.emptied()
    assert naps.wanted[2] > 1.5
    assert naps.wanted[3] <= 1.0


async def test_a_sink_that_says_it_is_ready_is_not_kept_waiting(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    sink.answer = lambda _: DOWN
    async with rig:
        await rig.put(event())
        await until(lambda: naps.wanted)
        sink.answer = lambda _: None
        assert sink.on_ready is not None
        sink.on_ready()
        await rig.emptied()
    assert len(naps.wanted) == 1


async def test_new_messages_do_not_wake_a_receiver_that_rests(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    sink.answer = lambda _: DOWN
    async with rig:
        await rig.put(event("a"))
        await until(lambda: naps.wanted)
        await settled(rig)
        tried = len(sink.tried)
        await rig.put(event("b"))
        await settled(rig)
        assert len(sink.tried) == tried


async def test_a_refused_message_holds_back_its_own_line_only(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    sink.window = 2
    sink.answer = lambda m: REFUSED if m.key == "secret" else None
    async with rig:
        await rig.put(*(event("secret", seq) for seq in range(50)))
        await rig.put(*(event(f"open{n}") for n in range(20)))
        await until(lambda: len(sink.delivered) == 20)
        await settled(rig)
        assert len(naps.wanted) == 1
        assert naps.wanted[0] <= 1.0, "the first hold is short"
        assert rig.failures("refused") == 1
        sink.answer = lambda _: None
        naps.end()
        await rig.emptied()
    assert keys([m for m in sink.delivered if m.key == "secret"]) == [
        f"secret:{n}" for n in range(50)
    ]


async def test_when_everything_is_refused_it_stops_asking(
    rig: Rig, sink: PuppetSink, naps: Naps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.delivery.sender.MAX_HELD", 10)
    sink.window = 4
    sink.answer = lambda _: REFUSED
    async with rig:
        await rig.put(*(event(f"a{n}") for n in range(100)))
        await until(lambda: len(naps.wanted) >= 10)
        await settled(rig)
        assert 10 <= len(sink.tried) <= 13, "not beyond the last window"
        sink.answer = lambda _: None
        naps.end()
        await rig.emptied()


async def test_a_refused_message_is_tried_ever_more_slowly_and_shown_until_it_is_taken(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    """Each change is told to the sink, so that its link is degraded exactly while alarms wait."""
    sink.answer = lambda m: REFUSED if m.key == "secret" else None
    async with rig:
        await rig.put(event("secret"), event("open"))
        for tries in range(1, 10):
            await until(partial(naps.are, tries))
            naps.end()
        assert rig.delivery.refusals.waiting == 1
        (row,) = rig.delivery.refusals.rows(10)
        assert (row["key"], row["reason"]) == ("secret", "refused")
        assert rig.delivery.refusals.rows(0) == []
        assert rig.delivery.refusals.last_error == "refused"
        sink.answer = lambda _: None
        await until(lambda: len(naps.wanted) == 10 or not sink.flying)
        naps.end()
        await rig.emptied()
        await settled(rig)
    for number, slept in enumerate(naps.wanted[:9]):
        assert min(60.0, 2.0**number) / 2 <= slept <= min(60.0, 2.0**number)
    assert [one.waiting for one in sink.told[:3]] == [1, 1, 1]
    assert (sink.told[0].subject, sink.told[0].reason) == (event("secret").topic, "refused")
    assert sink.told[-1].waiting == 0


async def test_what_is_refused_long_enough_is_given_up_only_if_others_are_confirmed(
    rig: Rig, sink: PuppetSink, metrics: Metrics, naps: Naps
) -> None:
    """Who confirms nothing at all (a proxy, a wrong port) may be mended: nothing is deleted."""
    impatient = DeliveryError("no", reason="http_4xx", retry=True, hold_s=60.0, give_up_s=3.0)
    sink.answer = lambda m: impatient if m.key == "bad" else None
    async with rig:
        await rig.put(event("bad"))
        for tries in range(1, 9):
            await until(partial(naps.are, tries))
            naps.end()
        await settled(rig)
        assert len(await rig.waiting()) == 1, "kept: nothing was confirmed since"
        await rig.put(event("good"))
        await until(lambda: sink.delivered)
        naps.end()
        await until(lambda: not rig.delivery.refusals.waiting)
        await rig.emptied()
        assert (rig.delivery.refusals.given_up, sink.told[-1].given_up) == (1, 1)
    assert (
        metrics.registry.get_sample_value("edge_agent_sink_given_up_total", {"sink": "plant"}) == 1
    )


async def test_a_refused_message_that_the_store_dropped_is_refused_no_more(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    sink.answer = lambda _: REFUSED
    async with rig:
        await rig.put(event("secret"))
        await until(lambda: naps.wanted)
        await rig.run(Store.confirm, [one.row for one in await rig.waiting()])
        naps.end()
        await until(lambda: not rig.delivery.refusals.waiting)
    assert sink.told[-1].waiting == 0


async def test_a_receiver_that_asks_for_time_gets_it(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    """The longest wish of a window counts, and the end of the daemon is no reason to ask sooner."""
    waits = iter([0.0, 30.0, 9.0])
    sink.answer = lambda _: DeliveryError(
        "busy", reason="http_4xx", retry=True, wait_s=next(waits, 9.0)
    )
    async with rig:
        await rig.put(*(event(f"a{n}") for n in range(3)))
        await until(lambda: len(sink.tried) == 3)
        await settled(rig)
        assert naps.wanted[-1] == 30.0
        await rig.delivery.flush(0.05)
        assert len(sink.tried) == 3
        sink.answer = lambda _: None
        naps.end()
        await rig.emptied()


async def test_what_is_refused_for_good_is_counted_audited_and_gone(
    rig: Rig, sink: PuppetSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answer = lambda m: NEVER if m.key == "bad" else None
    async with rig:
        await rig.put(event("bad", 7), event("good"))
        await rig.emptied()
        (entry,) = await rig.run(Store.audit_log)
    assert keys(sink.delivered) == keys(rig.confirmed) == ["good:1"]
    assert rig.failures("http_4xx") == 1
    assert (entry["action"], entry["subject"]) == ("give up", "plant event bad:7")
    assert "message given up" in [one.message for one in caplog.records]


async def test_a_defect_of_the_sink_is_logged_and_does_not_end_the_delivery(
    rig: Rig, sink: PuppetSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answer = lambda m: RuntimeError("defect") if m.key == "odd" else None
    async with rig:
        await rig.put(event("odd"), event("good"))
        await until(lambda: keys(sink.delivered) == ["good:1"])
        assert rig.failures("error") == 1
    assert "delivery failed" in [one.message for one in caplog.records]


async def test_a_store_that_fails_is_asked_again_and_nothing_is_sent_twice(
    rig: Rig,
    sink: PuppetSink,
    naps: Naps,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message is confirmed while the disk refuses: its line is held until it could be deleted."""
    confirm, broken = Store.confirm, True

    def unwilling(store: Store, rows: list[int]) -> None:
        if broken:
            raise StoreError("disk")
        confirm(store, rows)

    monkeypatch.setattr(Store, "confirm", unwilling)
    async with rig:
        await rig.put(event("a", 1), event("a", 2))
        for tries in (1, 2, 3):
            await until(partial(naps.are, tries))
            naps.end()
        await until(lambda: len(naps.wanted) == 4)
        assert keys(sink.tried) == ["a:1"]
        broken = False
        naps.end()
        await rig.emptied()
    assert keys(sink.delivered) == ["a:1", "a:2"]
    assert [one.message for one in caplog.records] == ["outbox unreadable"], "once, not each time"
    assert (rig.metrics.registry.get_sample_value("edge_agent_store_errors_total") or 0) >= 4


async def test_flush_waits_for_the_last_confirmation(rig: Rig, sink: PuppetSink) -> None:
    sink.gate.clear()
    async with rig:
        await rig.put(*(event(f"a{n}") for n in range(10)))
        flushing = asyncio.create_task(rig.delivery.flush(30))
        await until(lambda: sink.flying)
        assert not flushing.done()
        sink.gate.set()
        await flushing
        assert await rig.waiting() == []


async def test_flush_gives_a_resting_receiver_one_more_chance_and_no_more(
    rig: Rig, sink: PuppetSink, naps: Naps
) -> None:
    sink.answer = lambda _: DOWN
    async with rig:
        await rig.put(event())
        await until(lambda: naps.wanted)
        await settled(rig)
        tried = len(sink.tried)
        await rig.delivery.flush(30)
        assert len(sink.tried) == tried + 1


async def test_flush_ends_at_its_deadline(rig: Rig, sink: PuppetSink) -> None:
    sink.gate.clear()
    async with rig:
        await rig.put(event())
        await rig.delivery.flush(0.01)
        assert sink.flying


async def test_stopped_it_leaves_rows_and_forgets_nothing_confirmed(
    rig: Rig, sink: PuppetSink
) -> None:
    async with rig:
        await rig.delivery.flush(1)
        sink.gate.clear()
        await rig.put(event("flying"))
        await until(lambda: sink.flying)
        await rig.delivery.stop()
        await rig.delivery.stop()
        assert sink.flying == []
        assert keys(await rig.waiting()) == ["flying:1"]
        await rig.delivery.flush(1)


answers = st.lists(st.sampled_from([None, DOWN, REFUSED, NEVER]), max_size=40)
messages = st.lists(
    st.tuples(st.sampled_from(["alert", "event"]), st.integers(0, 3)), min_size=1, max_size=25
)


@settings(deadline=None, max_examples=30)
@given(messages, answers, st.integers(1, 5))
def test_whatever_a_receiver_answers_each_message_ends_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[str, int]],
    said: list[DeliveryError | None],
    window: int,
) -> None:
    asyncio.run(_random_answers(tmp_path_factory.mktemp("s"), wanted, said, window))


async def _random_answers(
    path: Path, wanted: list[tuple[str, int]], said: list[DeliveryError | None], window: int
) -> None:
    script = iter(said)
    given_up: list[Message] = []

    def answer(message: Message) -> DeliveryError | None:
        error = next(script, None)
        if error is NEVER:
            given_up.append(message)
        return error

    sink = PuppetSink(window)
    sink.answer = answer
    rig = Rig(path / "a.db", sink, Metrics(), lambda _: asyncio.sleep(0))
    put = [event(f"k{key}", seq, kind=kind) for seq, (kind, key) in enumerate(wanted)]
    async with rig:
        await rig.put(*put)
        await rig.emptied()
    assert sorted(keys(sink.delivered + given_up)) == sorted(keys(put)), "once each"
    for kind, key in set(wanted):
        seqs = [m.seq for m in sink.delivered if (m.kind, m.key) == (kind, f"k{key}")]
        assert seqs == sorted(seqs)
