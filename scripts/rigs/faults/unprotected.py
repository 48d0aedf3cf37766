"""Protections switched off, for negative controls: each function changes the product in place.

Tests run with one through `Control.without`; a rig's daemon is started with one by
`python -m scripts.rigs.faults.unprotected NAME run -c FILE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli import main
from edge_agent.cli import run as cli_run
from edge_agent.clock import StepWatch
from edge_agent.config.types import Secret
from edge_agent.daemon import Daemon
from edge_agent.daemon.pipeline_loop import PipelineLoop
from edge_agent.delivery import republish
from edge_agent.models.bundle import sandbox
from edge_agent.ops import guard
from edge_agent.service import status_api
from edge_agent.signals.acceptance import Acceptance
from edge_agent.sinks.mqtt import MqttSink
from edge_agent.sinks.mqtt_connection import Connection
from edge_agent.store import Store, reader, schema
from edge_agent.transport import tls
from edge_agent.transport.mqtt import BrokerSession
from edge_agent.values import BoundedIntake

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Coroutine

SLOW_VALUES_S: Final = 4000.0
TASKS_FILE: Final = "EDGE_AGENT_FAULTS_TASKS"


def unsynced_commits() -> None:
    """A commit is reported as done before the disk has it."""
    check = schema.quick_check

    def then_unsync(db: sqlite3.Connection) -> None:
        check(db)
        db.execute("PRAGMA synchronous = NORMAL")

    schema.quick_check = then_unsync


def forgotten_messages() -> None:
    """A start forgets which messages are not confirmed, and a new connection repeats no event.

    Each of the two alone covers most losses of the other.
    """
    open_store = Store.open

    def then_forget(*args: Any, **options: Any) -> Store:  # noqa: ANN401 (handed on)
        store = open_store(*args, **options)
        store.db.execute("DELETE FROM outbox")
        return store

    Store.open = then_forget  # type: ignore[method-assign]
    republish.recent_events = lambda store, lost: []  # noqa: ARG005 (as the original is called)


def nothing_repeated() -> None:
    """A broker that may have lost messages is sent none of them again."""
    republish.enqueue = lambda store, lost, messages, now_us: (0, [])  # noqa: ARG005


def unmarked_events() -> None:
    """The broker keeps no mark of how far it has received."""
    MqttSink.mark = lambda self, position: False  # type: ignore[method-assign]  # noqa: ARG005


def sent_is_delivered() -> None:
    """A message is delivered when it is written, whether or not the broker confirms it."""

    async def publish(connection: Connection, topic: str, body: bytes, **options: Any) -> int:  # noqa: ANN401
        connection._client.publish(topic, body, 1, options["retain"])  # noqa: SLF001
        options.get("on_sent", lambda: None)()
        return 0

    Connection.publish = publish  # type: ignore[method-assign, assignment]


def writes_to_the_plant() -> None:
    """Each subscription is followed by a write: at a server to its node, at a broker to a topic."""
    subscribe = BrokerSession.subscribe
    module = importlib.import_module("edge_agent.sources.opcua.subscribe")
    add = module.Subscriptions.add

    async def then_publish(session: BrokerSession, *topics: Any, **options: Any) -> list[str]:  # noqa: ANN401
        session._client.publish("plant/valve", b"1", 1)  # noqa: SLF001
        return await subscribe(session, *topics, **options)

    async def then_write(subscriptions: Any, items: Any) -> Any:  # noqa: ANN401
        client = subscriptions._connection.client  # noqa: SLF001
        with contextlib.suppress(Exception):
            await client.get_node(items[0].node).write_value(1.0)
        return await add(subscriptions, items)

    BrokerSession.subscribe = then_publish  # type: ignore[method-assign, assignment]
    module.Subscriptions.add = then_write


def unnoticed_outages() -> None:
    """The windows do not know that a source is disconnected."""
    Acceptance.follow_links = lambda self, down, kept, monotonic_s: []  # type: ignore[method-assign]  # noqa: ARG005


def unnoticed_clock_steps() -> None:
    """Nothing notices that the gateway's clock was set."""
    StepWatch.step_us = lambda self, now_us, monotonic_s: 0  # type: ignore[method-assign]  # noqa: ARG005


def slow_pipeline() -> None:
    """A machine that is slower than its sources."""
    process = PipelineLoop._process_chunk  # noqa: SLF001 (where values enter the pipeline)

    async def then_slowly(loop: PipelineLoop, runtime: Any, values: Any, *rest: Any) -> None:  # noqa: ANN401
        await asyncio.sleep(values.signal.size / SLOW_VALUES_S)
        await process(loop, runtime, values, *rest)

    PipelineLoop._process_chunk = then_slowly  # type: ignore[method-assign, assignment]  # noqa: SLF001


def unbounded_intake() -> None:
    """Sources never wait, and nothing is dropped."""
    make = BoundedIntake.__init__

    def without_bound(intake: BoundedIntake, _capacity: int, *rest: Any) -> None:  # noqa: ANN401
        make(intake, 10**9, *rest)

    BoundedIntake.__init__ = without_bound  # type: ignore[method-assign, assignment]
    BoundedIntake.backpressured = lambda self: False  # type: ignore[method-assign] # noqa: ARG005


def unlimited_clients() -> None:
    """Any number of connections; a page of any size is read by the store's own thread, at once."""
    guard.MAX_CONNECTIONS = 1_000_000  # type: ignore[misc]
    status_api._REST_FACTOR = 0.0  # type: ignore[misc]  # noqa: SLF001 (what this module is for)
    reader.PAGE_ROWS, reader.PAGE_BYTES = 10_000, 1 << 30  # type: ignore[misc]

    async def read(self: reader.JournalReader, _: str, query: Any, shape: Any) -> Any:  # noqa: ANN401
        return await self._store.run(lambda store: [shape(row) for row in query(store.db)])

    reader.JournalReader._read = read  # type: ignore[assignment, method-assign]  # noqa: SLF001


def any_server() -> None:
    """Any certificate of a broker is accepted, and a password goes over any OPC UA channel."""
    make = tls.tls_context

    def then_trust(config: tls.Tls) -> ssl.SSLContext:
        context = make(config)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def pass_all(*_: object, **__: object) -> None:
        return None

    changes: dict[str, dict[str, Any]] = {
        "edge_agent.transport.dialling": {"tls_context": then_trust},
        "edge_agent.sinks.webhook": {"tls_context": then_trust},
        "edge_agent.sources.opcua.endpoints": dict.fromkeys(
            ("check_pinned", "check_trusted"), pass_all
        ),
        "edge_agent.sources.opcua.connector": {"_check_password": pass_all},
    }
    for name, functions in changes.items():  # imported here: asyncua takes memory
        vars(importlib.import_module(name)).update(functions)


def core_dumps() -> None:
    """A crash leaves a core dump, if the limits of the process allow one."""
    cli_run.forbid_core_dumps = lambda: None


def logged_secrets() -> None:
    """Each use of a secret is logged with its text."""
    reveal = Secret.reveal

    def then_log(secret: Secret) -> str:
        text = reveal(secret)
        logging.getLogger("edge_agent.faults").warning("secret %s", text)
        return text

    Secret.reveal = then_log  # type: ignore[method-assign, assignment]


def children_call_home() -> None:
    """The processes of models begin with a datagram to an address that nobody has configured."""
    sandbox._RUN = (  # type: ignore[misc]  # noqa: SLF001 (what this module is for)
        "import contextlib, socket\n"
        "with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as out:\n"
        "    out.sendto(b'used', ('203.0.113.9', 53))\n" + sandbox._RUN  # noqa: SLF001
    )


def count_tasks() -> None:
    """Changes nothing: writes the number of tasks into a file once a second."""
    write = Path(os.environ[TASKS_FILE]).write_text

    async def count() -> None:
        while True:
            write(str(len(asyncio.all_tasks())))
            await asyncio.sleep(1.0)

    _beside(count)


def leaking() -> None:
    """Every second 20 KiB stay in memory; every ten seconds a descriptor and a task stay."""
    kept: list[object] = []

    async def leak() -> None:
        while True:
            kept.append(os.urandom(20 << 10))
            if len(kept) % 10 == 0:
                kept.append(Path(os.devnull).open())  # noqa: ASYNC230, SIM115
                kept.append(asyncio.create_task(asyncio.sleep(1e6)))
            await asyncio.sleep(1.0)

    _beside(leak)


def _beside(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run this beside the daemon, as long as it runs."""
    run = Daemon.run

    async def then_beside(daemon: Daemon, **options: Any) -> None:  # noqa: ANN401 (handed on)
        task = asyncio.create_task(work())
        try:
            await run(daemon, **options)
        finally:
            task.cancel()

    Daemon.run = then_beside  # type: ignore[method-assign, assignment]


def switch_off(names: str) -> None:
    """Call the functions of this module with these names, separated by commas."""
    for name in names.split(","):
        globals()[name]()


if __name__ == "__main__":
    switch_off(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
