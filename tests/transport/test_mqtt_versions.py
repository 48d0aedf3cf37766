"""Which version of MQTT a broker gets, and after which answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from edge_agent.transport.mqtt import BrokerSession, Protocol, VersionChoice, VersionError

if TYPE_CHECKING:
    from collections.abc import Callable

V5, V311 = Protocol.V5, Protocol.V311
REFUSED = VersionError("Unsupported protocol version", where="mqtt://h")
SILENT = VersionError("no CONNACK within 5 s", where="mqtt://h", silent=True)
CLOSED = VersionError("no CONNACK: closed", where="mqtt://h", silent=True, closed=True)


class Broker:
    """Answers a CONNECT of 5 with `answer`, None to accept it; versions: those it was asked."""

    def __init__(self, answer: VersionError | None) -> None:
        self.answer = answer
        self.answer_311: VersionError | None = None
        self.versions: list[Protocol] = []

    def session(self, version: Protocol) -> BrokerSession:
        self.versions.append(version)
        return cast("BrokerSession", _Session(self, version))


class _Session:
    def __init__(self, broker: Broker, version: Protocol) -> None:
        self._broker, self._version = broker, version

    async def open(self, _timeout_s: float) -> None:
        error = self._broker.answer if self._version is V5 else self._broker.answer_311
        if error is not None:
            raise error


async def versions_of(choice: VersionChoice, broker: Broker, connections: int) -> list[Protocol]:
    for _ in range(connections):
        try:
            await choice.connect(broker.session)
        except VersionError:
            continue
    return broker.versions


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (None, [V5, V5]),
        (REFUSED, [V5, V311, V311]),
        (SILENT, [V5, V311, V311]),
        (CLOSED, [V5, V311, V5, V311]),
    ],
)
async def test_a_source_falls_back_at_once_and_remembers_an_old_broker(
    answer: VersionError | None, asked: list[Protocol]
) -> None:
    """A broker that closes the connection may only be going down: 5 is tried again."""
    choice = VersionChoice(Protocol.AUTO, wary=False)
    assert await versions_of(choice, Broker(answer), 2) == asked


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (REFUSED, [V5, V311, V5, V311, V5, V311]),
        (SILENT, [V5, V5, V5, V311]),
        (CLOSED, [V5, V5, V5, V311]),
    ],
)
async def test_a_sink_needs_a_refusal_or_three_silences(
    answer: VersionError, asked: list[Protocol]
) -> None:
    """With 3.1.1 an alarm that the broker refuses looks delivered."""
    choice = VersionChoice(Protocol.AUTO)
    assert await versions_of(choice, Broker(answer), 3) == asked
    assert choice.guessed is answer.silent


async def test_silence_of_a_broker_that_has_spoken_5_is_never_a_reason() -> None:
    choice, broker = VersionChoice(Protocol.AUTO), Broker(None)
    await choice.connect(broker.session)
    broker.answer = SILENT
    assert set(await versions_of(choice, broker, 6)) == {V5}


@pytest.mark.parametrize("wary", [True, False])
@pytest.mark.parametrize("protocol", [V5, V311])
async def test_a_configured_version_is_the_only_one(protocol: Protocol, *, wary: bool) -> None:
    choice, broker = VersionChoice(protocol, wary=wary), Broker(REFUSED)
    broker.answer_311 = REFUSED
    assert await versions_of(choice, broker, 4) == [protocol] * 4


async def test_the_reason_is_that_of_the_first_version() -> None:
    """If the broker accepts neither, the answer to 5 says more."""
    choice, broker = VersionChoice(Protocol.AUTO, wary=False), Broker(SILENT)
    broker.answer_311 = REFUSED
    make: Callable[[Protocol], BrokerSession] = broker.session
    with pytest.raises(VersionError, match="no CONNACK"):
        await choice.connect(make)
