"""The unix socket: who is at its other end, and what it may do."""

from __future__ import annotations

import grp
import os
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from status_support import BEARER, commanding, plant_of, serving

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http
from edge_agent.ops import local_socket
from edge_agent.ops.http import HttpServer
from edge_agent.ops.local_socket import Peer, may_command

if TYPE_CHECKING:
    from pathlib import Path

ACK = "/api/alarms/P-042.model/ack"
ANNA, OPERATORS = 1000, 4711


async def post(path: Path | None, **more: Any) -> tuple[int, Any]:
    """Acknowledge over the socket; the status and the answer."""
    connector = aiohttp.UnixConnector(str(path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"http://localhost{ACK}", json={"by": "Lena"}, **more) as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        (Peer(0, frozenset({0})), True),
        (Peer(ANNA, frozenset({ANNA})), True),
        (Peer(1001, frozenset({1001, OPERATORS})), True),
        (Peer(1001, frozenset({1001})), False),
        (Peer(local_socket.NOBODY, frozenset()), False),
    ],
)
def test_root_our_own_user_and_the_group_may_command(peer: Peer, *, allowed: bool) -> None:
    assert may_command(peer, ANNA, OPERATORS) == allowed


def test_who_is_unknown_in_a_user_namespace_is_nobodys_user() -> None:
    """PrivateUsers= of systemd shows all other users as 65534, even to a daemon of that user."""
    assert not may_command(Peer(local_socket.NOBODY, frozenset()), local_socket.NOBODY, None)


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = local_socket.peer_of(one)
    assert peer.uid == os.geteuid()
    assert {os.getegid(), *os.getgroups()} - {local_socket.NOBODY} <= peer.gids


async def test_our_own_user_commands_over_the_socket_without_a_token() -> None:
    plant = plant_of(50)
    async with serving(plant) as server:
        assert (await post(server.socket_path))[0] == 200
    assert len(plant.commands) == 1


async def test_another_user_may_not_but_with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer names the user and says what to do."""
    monkeypatch.setattr("edge_agent.ops.guard.peer_of", lambda _: Peer(1001, frozenset({1001})))
    plant = plant_of(50)
    async with serving(plant) as server:
        status, answer = await post(server.socket_path)
    assert (status, answer["error"]) == (403, "user 1001 may not do this (command)")
    assert "http.group" in answer["hint"]
    async with commanding(plant) as server:
        assert (await post(server.socket_path))[0] == 401
        assert plant.commands == []
        assert (await post(server.socket_path, headers=BEARER))[0] == 200


async def test_a_member_of_the_group_may(monkeypatch: pytest.MonkeyPatch) -> None:
    group = grp.getgrgid(os.getegid())
    monkeypatch.setattr(
        "edge_agent.ops.guard.peer_of", lambda _: Peer(1001, frozenset({group.gr_gid}))
    )
    async with serving(plant_of(50), group=group.gr_name) as server:
        assert (await post(server.socket_path))[0] == 200
    async with serving(plant_of(50)) as server:
        assert (await post(server.socket_path))[0] == 403


async def test_a_group_that_does_not_exist_is_a_fault() -> None:
    async with serving(group="no-such-group") as server:
        [fault] = server.faults()
    assert "no-such-group" in fault.text


async def test_a_socket_of_a_killed_daemon_is_replaced_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(plant_of(50), socket=path):
        async with serving(socket=path) as second:
            assert "another edge-agent" in second.faults()[0].text
        assert (await post(path))[0] == 200
    assert not path.exists()


async def test_a_file_is_not_replaced_by_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    async with serving(socket=path) as server:
        assert "is not a socket" in server.faults()[0].text
    assert path.read_text() == "mine"


async def test_a_folder_that_others_may_write_holds_no_socket(tmp_path: Path) -> None:
    """Its owner could replace the socket by one of his own."""
    os.chmod(tmp_path, 0o777)  # noqa: PTH101, S103 (what is tested)
    async with serving(socket=tmp_path / "s") as server:
        assert "only this user" in server.faults()[0].text


async def test_without_a_place_for_the_default_socket_nothing_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may have no writable folder; nobody asked for a socket."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("")
    async with serving() as server:
        assert server.faults() == []


def test_the_owner_of_a_port_is_found() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert local_socket.port_owners(port) == set()  # it does not listen yet
        server.listen()
        assert local_socket.port_owners(port) == {os.geteuid()}


async def test_a_client_finds_the_daemon_by_its_port() -> None:
    async with serving() as server:
        assert local_socket.find_daemon(server.port) == server.socket_path
        assert server.socket_path is not None
    assert local_socket.find_daemon(server.port) is None


async def test_a_client_does_not_use_the_socket_of_a_stranger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as server:
        monkeypatch.setattr(local_socket, "trusted_users", set)
        assert local_socket.find_daemon(server.port) is None


def test_a_disabled_server_has_no_socket() -> None:
    assert HttpServer(Http(enabled=False), [], FakeClock()).socket_path is None
