"""What a server says in several parts, of one publishing cycle, reaches the intake at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from opcua_support import Rig

from edge_agent.sources.opcua.session import _MAX_PARTS, Session
from edge_agent.testing import find_free_port

SUBSCRIPTION = 7


def make_session(rig: Rig) -> Session:
    rig.source._add_signals()
    return Session(
        rig.config,
        "test",
        rig.source._feed,
        rig.source._clock,
        source="plc",
        discovered=asyncio.Event(),
        add_signals=lambda: None,
        on_up=lambda *_: None,
    )


def response(sequence: int, handle: int, *, more: bool) -> bytes:
    item = ua.MonitoredItemNotification(handle, ua.DataValue(ua.Variant(float(handle))))
    message = ua.NotificationMessage(
        sequence, NotificationData=[ua.DataChangeNotification(MonitoredItems=[item])]
    )
    result = ua.PublishResult(SUBSCRIPTION, [], more, message)
    return struct_to_binary(ua.PublishResponse(Parameters=result))


def test_nothing_is_handed_over_before_the_last_part() -> None:
    """A window would close on the values of the first node, and those of the others be late."""
    rig = Rig(f"opc.tcp://127.0.0.1:{find_free_port()}")
    session, watched = make_session(rig), cast("Any", SimpleNamespace)(ids=[SUBSCRIPTION])
    session._accept_answer(response(1, 0, more=True), watched, "")
    session._accept_answer(response(2, 1, more=True), watched, "")
    assert len(rig.intake) == 0
    session._accept_answer(response(3, 2, more=False), watched, "")
    assert rig.intake.columns.value.tolist() == [0.0, 1.0, 2.0]
    assert len(session._acks) == 3


def test_a_server_that_never_comes_to_an_end_is_not_waited_for() -> None:
    rig = Rig(f"opc.tcp://127.0.0.1:{find_free_port()}")
    session, watched = make_session(rig), cast("Any", SimpleNamespace)(ids=[SUBSCRIPTION])
    for number in range(_MAX_PARTS):
        session._accept_answer(response(number, 0, more=True), watched, "")
    assert len(rig.intake) == _MAX_PARTS
