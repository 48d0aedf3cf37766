"""Who a caller is, what slows those who guess, and what each key may use."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_key_file import add

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http, LocalScope
from edge_agent.config.types import Secret
from edge_agent.ops.access import MAX_ADDRESSES, WRONG, WRONG_AT_ONCE, WRONG_EVERY_S, Access, Caller
from edge_agent.ops.key_file import changed_keys, new_key
from edge_agent.ops.keys import SAVE_EVERY_S, KeyRing, read_last_uses
from edge_agent.ops.local_socket import Peer
from edge_agent.ops.routes import Client, Refusal

if TYPE_CHECKING:
    from pathlib import Path

WORDS = "correct-horse-battery"
LONG = "0123456789abcdef" * 3
STRANGER = Peer(4711, frozenset({4711}))


class Gateway:
    """An `Access` with a file of keys."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.clock = FakeClock()
        self.path = folder / "keys.json"
        self.ring = KeyRing(self.path, self.clock, is_required=config.get("keys") is not None)
        self.access = Access(Http(**config), self.ring, self.clock)

    def add(self, name: str = "mes", *scopes: str, **more: Any) -> str:
        """Make a key, and return its secret."""
        return add(self.path, name, *scopes, **more)[1]

    def ask(self, secret: str = "", address: str = "10.0.0.9", **more: Any) -> Client:
        """Ask from another machine, unless `more` says otherwise."""
        given = f"Bearer {secret}" if secret else ""
        return self.access.client_of(Caller(given, address, **{"is_local": False} | more))

    def refused(self, secret: str = "", address: str = "10.0.0.9", **more: Any) -> Refusal:
        """Ask in vain."""
        with pytest.raises(Refusal) as refusal:
            self.ask(secret, address, **more)
        return refusal.value


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway with a token that could be guessed."""
    monkeypatch.setenv("HTTP_TOKEN", WORDS)
    return Gateway(tmp_path, token=Secret(env="HTTP_TOKEN"))


def wrong(number: int = 0) -> str:
    """A secret of the right form that no gateway has."""
    return new_key(f"k{number}", ["admin"], 0)[1]


# -- without a key --------------------------------------------------------------------------------


def test_programs_of_this_machine_may_infer_until_there_are_keys(gateway: Gateway) -> None:
    """The first example works with nothing set up; who makes keys wants them used."""
    assert gateway.ask(is_local=True).scopes == {"read", "infer", "text"}
    assert gateway.ask(is_local=True, peer=STRANGER).scopes == {"read", "infer", "text"}
    gateway.add()
    assert gateway.ask(is_local=True).scopes == {"read"}
    assert gateway.ask(is_local=True, peer=STRANGER).scopes == {"read"}


@pytest.mark.parametrize("scopes", [(), ("read",), ("read", "infer")])
def test_the_config_says_what_local_programs_may_do(
    tmp_path: Path, scopes: tuple[str, ...]
) -> None:
    """Never what changes anything: there is no word for it."""
    gateway = Gateway(tmp_path, local_scopes=tuple(map(LocalScope, scopes)))
    gateway.add()
    assert gateway.ask(is_local=True).scopes == set(scopes)
    assert {"command", "models", "admin"}.isdisjoint(LocalScope)


def test_from_elsewhere_one_reads_until_there_are_keys(gateway: Gateway) -> None:
    assert gateway.ask().scopes == {"read"}
    gateway.add()
    assert gateway.ask().scopes == frozenset()


def test_keys_that_the_config_names_are_required_before_the_first_is_made(tmp_path: Path) -> None:
    assert Gateway(tmp_path, keys=tmp_path / "keys.json").ask().scopes == frozenset()


def test_where_there_are_no_keys_any_key_says_nothing(gateway: Gateway) -> None:
    """Clients of OpenAI's API must send one."""
    assert gateway.ask("sk-none", is_local=True).scopes == {"read", "infer", "text"}


# -- with a key -----------------------------------------------------------------------------------


def test_a_key_adds_its_scopes(gateway: Gateway) -> None:
    """To what its place has without one; who commands must see, and an admin may do all."""
    infer, panel, admin = (gateway.add(name, name) for name in ("infer", "command", "admin"))
    assert gateway.ask(infer).scopes == {"infer"}
    assert gateway.ask(infer, is_local=True).scopes == {"infer", "read"}
    assert gateway.ask(panel).scopes == {"read", "command"}
    assert len(gateway.ask(admin).scopes) == 6
    assert gateway.ask(panel).name == "command"


@pytest.mark.parametrize("is_local", [False, True])
def test_expired_revoked_and_unknown_keys_are_401_and_say_so(
    gateway: Gateway, *, is_local: bool
) -> None:
    """Also on the gateway, where none is needed to read: it would hide that the key is useless."""
    now_ms = gateway.ring.now_ms()
    answers = {
        gateway.add("old", expires_ms=now_ms): "old has expired",
        gateway.add("gone", revoked_ms=now_ms): "gone was revoked",
        wrong(): "wrong",
        gateway.add()[:-1]: "cut or mistyped",
    }
    for secret, text in answers.items():
        refusal = gateway.refused(secret, is_local=is_local)
        assert refusal.status == 401
        assert text in refusal.error
        assert "edge-agent keys" in refusal.hint or "copy" in refusal.hint
        assert refusal.headers["WWW-Authenticate"].endswith('error="invalid_token"')
        assert secret not in f"{refusal.error}{refusal.hint}{refusal.headers}"


def test_wrong_keys_are_counted_by_reason(gateway: Gateway) -> None:
    """The reasons are fixed words, never what was sent."""
    counted: list[str] = []
    gateway.access.on_wrong = counted.append
    now_ms = gateway.ring.now_ms()
    gateway.refused(gateway.add("old", expires_ms=now_ms))
    gateway.refused(gateway.add("gone", revoked_ms=now_ms))
    good = gateway.add()
    gateway.ask(good)
    gateway.refused(good[:-1])
    for number in range(WRONG_AT_ONCE):
        gateway.refused(wrong(number))
    gateway.path.write_text("{")
    gateway.refused(wrong(), "10.0.0.10")
    assert counted[:4] == ["expired", "revoked", "mistyped", "unknown"]
    assert counted[-2:] == ["throttled", "unreadable"]
    assert {*counted} == {*WRONG}


def test_keys_that_end_soon_are_told(gateway: Gateway) -> None:
    """Two weeks before, the first to end first; not those that have ended, or were revoked."""
    day_ms, now_ms = 86_400_000, gateway.ring.now_ms()
    ends = {"late": 15, "second": 13.9, "first": 1, "over": 0}
    for name, days in ends.items():
        gateway.add(name, expires_ms=round(now_ms + days * day_ms))
    gateway.add("gone", expires_ms=now_ms + day_ms, revoked_ms=now_ms)
    gateway.add("ever")
    assert [key.name for key in gateway.ring.ending()] == ["first", "second"]


def test_a_key_ends_when_it_is_said(gateway: Gateway) -> None:
    secret = gateway.add(expires_ms=gateway.ring.now_ms() + 1000)
    assert gateway.ask(secret).name == "mes"
    gateway.clock.advance(1.0)
    assert gateway.refused(secret).status == 401


def test_a_revoked_key_ends_with_the_file_and_not_with_a_restart(gateway: Gateway) -> None:
    secret = gateway.add()
    client = gateway.ask(secret)
    with changed_keys(gateway.path) as keys:
        keys.clear()
    assert not gateway.access.is_still_valid(client)
    assert gateway.refused(secret).status == 401
    assert gateway.ask(is_local=True).scopes == {"read"}, "without any key it stays closed"


def test_the_token_is_an_admin_key_and_needs_no_file(guarded: Gateway) -> None:
    assert guarded.ask(WORDS).scopes >= {"admin", "models", "command"}
    assert guarded.ask(WORDS).actor("anna") == "anna"
    assert guarded.ask(is_local=True).scopes == {"read", "infer", "text"}


def test_the_audit_names_the_key_besides_who_is_said_to_command(gateway: Gateway) -> None:
    client = gateway.ask(gateway.add("panel", "command"))
    assert client.actor("anna") == "anna (key panel)"
    assert client.actor("panel") == client.actor() == "panel"


# -- a damaged file -------------------------------------------------------------------------------


def test_a_damaged_file_refuses_all_keys_is_a_fault_and_opens_nothing(guarded: Gateway) -> None:
    """It is mended without a restart; the token does not depend on it."""
    secret = guarded.add("mes", "admin")
    good = guarded.path.read_bytes()
    for damaged in (b"", good[:-9], b"{}"):
        guarded.path.write_bytes(damaged)
        assert guarded.refused(secret).status == 503
        assert guarded.ask().scopes == frozenset()
        assert guarded.ask(is_local=True).scopes == {"read"}
        assert guarded.ask(WORDS).name == "token"
        [fault] = guarded.ring.faults()
        assert str(guarded.path) in fault.text
    guarded.path.write_bytes(good)
    assert guarded.ask(secret).name == "mes"
    assert guarded.ring.faults() == []


@pytest.mark.parametrize("break_it", ["unlink", "chmod", "folder"])
def test_a_file_that_is_gone_or_unreadable_opens_nothing(gateway: Gateway, break_it: str) -> None:
    secret = gateway.add()
    gateway.ask(secret)
    if break_it == "chmod":
        gateway.path.chmod(0o644)
    else:
        gateway.path.unlink()
    if break_it == "folder":
        gateway.path.mkdir()
    assert gateway.refused(secret).status == 503
    assert gateway.ask().scopes == frozenset()
    assert gateway.ring.faults()


def test_a_damaged_file_is_said_once_in_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.path.write_bytes(b"{")
    gateway.path.chmod(0o600)
    for _ in range(5):
        gateway.ask()
    assert [one.getMessage() for one in caplog.records] == ["all keys refused"]


# -- guessing -------------------------------------------------------------------------------------


def test_guessing_is_slowed_and_a_token_of_words_is_not_found_meanwhile(
    guarded: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten at once, then ten a minute; the right one is not even looked at."""
    statuses = [guarded.refused(f"guess-{number}").status for number in range(1000)]
    assert statuses == [401] * WRONG_AT_ONCE + [429] * (1000 - WRONG_AT_ONCE)
    refusal = guarded.refused(WORDS)
    assert 0 < int(refusal.headers["Retry-After"]) <= WRONG_EVERY_S
    guarded.clock.advance(WRONG_EVERY_S)
    assert guarded.ask(WORDS).name == "token"
    assert len(caplog.records) == 1
    assert "guess" not in caplog.text


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.9"])
def test_who_guesses_locks_nobody_out(guarded: Gateway, address: str) -> None:
    """Not even from the same address: all users of the gateway share the loopback."""
    secret = guarded.add("mes", "infer")
    expired = guarded.add("old", "infer", expires_ms=0)
    for number in range(50):
        guarded.refused(wrong(number), address)
    assert guarded.ask(secret, address).name == "mes"
    assert "expired" in guarded.refused(expired, address).error
    assert guarded.ask(WORDS, "10.0.0.77").name == "token"
    assert guarded.ask(is_local=True, address=address).scopes == {"read"}


def test_a_token_that_nobody_guesses_is_always_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_TOKEN", LONG)
    gateway = Gateway(tmp_path, token=Secret(env="HTTP_TOKEN"))
    for number in range(50):
        gateway.refused(wrong(number))
    assert gateway.ask(LONG).name == "token"


def test_an_expired_key_that_asks_again_and_again_is_no_guess(guarded: Gateway) -> None:
    expired = guarded.add("old", "infer", expires_ms=0)
    assert {guarded.refused(expired).status for _ in range(50)} == {401}
    assert guarded.ask(WORDS).name == "token"


def test_guesses_count_by_network_in_ipv6_and_by_user_on_the_socket(guarded: Gateway) -> None:
    for number in range(WRONG_AT_ONCE):
        guarded.refused("x", f"2001:db8::{number}")
    assert guarded.refused("x", "2001:db8::ffff").status == 429
    assert guarded.refused("x", "2001:db8:1::1").status == 401
    for _ in range(WRONG_AT_ONCE):
        guarded.refused("x", "", is_local=True, peer=STRANGER)
    assert guarded.refused("x", "", is_local=True, peer=STRANGER).status == 429
    other = Peer(4712, frozenset())
    assert guarded.ask(WORDS, "", is_local=True, peer=other).name == "token"


def test_the_memory_of_guesses_is_bounded(guarded: Gateway) -> None:
    for number in range(MAX_ADDRESSES + 100):
        guarded.refused("x", f"10.1.{number >> 8}.{number & 255}")
    assert len(guarded.access._wrong._left) == MAX_ADDRESSES


def test_keys_are_compared_in_constant_time(
    guarded: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is given, equally long digests are compared by `hmac.compare_digest`."""
    compared: list[tuple[int, int]] = []

    def spy(one: Any, other: Any) -> bool:
        compared.append((len(one), len(other)))
        return bool(one == other)

    monkeypatch.setattr("hmac.compare_digest", spy)
    for secret in ("x", WORDS[:-1], WORDS + "x" * 100):
        guarded.refused(secret)
    assert compared == [(32, 32)] * 3


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=st.binary(max_size=80), bearer=st.booleans())
def test_no_header_that_is_no_key_opens_anything(
    guarded: Gateway, raw: bytes, *, bearer: bool
) -> None:
    """Whatever bytes stand in it; and no other error comes of them."""
    guarded.add() if not guarded.path.exists() else None
    guarded.clock.advance(WRONG_EVERY_S)
    given = raw.decode("utf-8", "surrogateescape")
    caller = Caller(f"Bearer {given}" if bearer else given, "10.0.0.9", is_local=False)
    try:
        outcome: object = guarded.access.client_of(caller)
    except Refusal as refusal:
        outcome = refusal.status
    assert outcome in {401, 429} or outcome == Client(has_keys=True)


def test_a_caller_is_shown_without_what_it_sent() -> None:
    assert "secret" not in repr(Caller("Bearer secret", "10.0.0.9", is_local=False))


# -- limits ---------------------------------------------------------------------------------------


def test_a_key_has_a_rate(gateway: Gateway) -> None:
    """Of its own: others are not slowed."""
    secret, other = gateway.add("mes", rate=2.0), gateway.add("other")
    for _ in range(2):
        gateway.ask(secret)
    refusal = gateway.refused(secret)
    assert (refusal.status, refusal.headers["Retry-After"]) == (429, "1")
    assert "mes" in refusal.error
    assert gateway.ask(other).name == "other"
    gateway.clock.advance(0.5)
    gateway.ask(secret)
    assert gateway.refused(secret).status == 429


def test_a_slow_rate_says_when(gateway: Gateway) -> None:
    secret = gateway.add(rate=0.1)
    gateway.ask(secret)
    assert gateway.refused(secret).headers["Retry-After"] == "10"


def test_a_key_has_so_many_requests_at_a_time(gateway: Gateway) -> None:
    client = gateway.ask(gateway.add(concurrency=2))
    with gateway.access.running(client):
        with gateway.access.running(client):
            with pytest.raises(Refusal) as refusal, gateway.access.running(client):
                pass
            assert (refusal.value.status, refusal.value.headers["Retry-After"]) == (429, "1")
        with gateway.access.running(client):
            pass


# -- last use -------------------------------------------------------------------------------------


async def test_the_last_use_is_kept_without_a_write_for_each_request(gateway: Gateway) -> None:
    """Once a minute, and at the end; a restarted daemon goes on from there."""
    secret = gateway.add()
    gateway.ask(secret)
    used_ms = gateway.ring.now_ms()
    await gateway.ring.save_last_uses()
    assert read_last_uses(gateway.path) == {}
    gateway.clock.advance(SAVE_EVERY_S)
    await gateway.ring.save_last_uses()
    assert list(read_last_uses(gateway.path).values()) == [used_ms]
    gateway.ask(secret)
    await gateway.ring.save_last_uses(at_once=True)
    assert list(read_last_uses(gateway.path).values()) == [gateway.ring.now_ms()]
    again = KeyRing(gateway.path, gateway.clock)
    again.find(gateway.add("other"))
    await again.save_last_uses(at_once=True)
    assert len(read_last_uses(gateway.path)) == 2


async def test_a_folder_that_cannot_be_written_costs_only_the_last_use(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_agent.ops.keys.write_whole", full)
    gateway.ask(gateway.add())
    await gateway.ring.save_last_uses(at_once=True)
    await asyncio.sleep(0)


def test_nothing_of_a_key_is_logged(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = gateway.add()
    for sent in (secret, secret[:-1], wrong(), "sk-" + secret):
        try:
            shown = repr(gateway.ask(sent))
        except Refusal as refusal:
            shown = f"{refusal!r} {refusal.hint} {refusal.headers}"
        assert secret[20:40] not in shown
    assert "edgeagent_" not in caplog.text
