"""Helpers of the OPC UA tests: certificates, a node-opcua server in a process, a source."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from certificates import write_certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from support import NO_SOURCE, until, value_of

from edge_agent.clock import SystemClock
from edge_agent.config import schema
from edge_agent.config.types import Name
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.opcua.config import OpcUaSourceConfig
from edge_agent.sources.opcua.source import OpcUaSource
from edge_agent.testing import ListIntake, find_free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.messages import LinkState

SCRIPT = "opcua_server.js"
CLIENT_URI = "urn:test:client"
SERVER_URI = "urn:test:server"
READY_S = 40


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files and in memory."""

    certificate: Path
    key: Path
    x509: x509.Certificate
    private: rsa.RSAPrivateKey


def make_pair(
    folder: Path,
    name: str,
    uri: str,
    *,
    issuer: Pair | None = None,
    ca: bool = False,
    days: tuple[int, int] = (-1, 30),
    host: str = "127.0.0.1",
    bits: int = 2048,
) -> Pair:
    """A certificate as OPC UA Part 6, 6.2.2 wants it, self-signed or signed by `issuer`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    names = [
        x509.UniformResourceIdentifier(uri),
        x509.IPAddress(ipaddress.ip_address(host)),
    ]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=ca, path_length=None), True),
        (x509.SubjectAlternativeName(names), False),
        (_usage(ca=ca), True),
        (x509.ExtendedKeyUsage(purposes), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    paths = folder / f"{name}.pem", folder / f"{name}_key.pem"
    signer = (issuer.x509, issuer.private) if issuer else None
    certificate = write_certificate(paths, name, key, extensions, issuer=signer, days=days)
    return Pair(*paths, certificate, key)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # self-signed ones sign themselves
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


class NodeServer:
    """tests/integration/opcua_server.js in a process of its own; its options are in that file.

    script: another server; plain_port: which takes a port instead of options.
    """

    def __init__(
        self,
        modules: Path,
        folder: Path,
        *,
        script: Path | None = None,
        plain_port: bool = False,
        **options: Any,
    ) -> None:
        program = script or __file__.replace("opcua_support.py", f"integration/{SCRIPT}")
        self.port = find_free_port()
        given = {"port": self.port, "folder": str(folder / "pki"), **options}
        words = str(self.port) if plain_port else json.dumps(given, default=str)
        self._command = ["node", str(program), words]
        self._folder = folder
        self._env = {**os.environ, "NODE_PATH": str(modules)}
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        reader = (self._process.stdout, self._lines)
        threading.Thread(target=_read_lines, args=reader, daemon=True).start()
        while self._line() != "READY":
            pass
        return self

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send one command and give the answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._line()
        while not line.startswith("{"):
            line = self._line()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def _line(self) -> str:
        try:
            return self._lines.get(timeout=READY_S)
        except queue.Empty:
            raise TimeoutError("the node-opcua server does not answer") from None


class PeerServer(NodeServer):
    """tests/integration/opcua_peer.py in a process of its own; maker: see there."""

    def __init__(self, maker: str, folder: Path) -> None:
        self.port = find_free_port()
        self._command = [
            sys.executable,
            str(Path(__file__).with_name("integration") / "opcua_peer.py"),
        ]
        self._command += [maker, str(self.port)]
        self._folder = folder
        self._env = dict(os.environ)
        self._process = None


class CutProxy:
    """A TCP proxy before a server, which can be cut; it counts the services that were asked for.

    requests: by the number of the request's encoding (Part 6, annex A), without security only.
    """

    def __init__(self, url: str) -> None:
        self._target = int(url.rsplit(":", 1)[1])
        self.url = f"opc.tcp://127.0.0.1:{find_free_port()}"
        self.requests: Counter[int] = Counter()
        self.on_request: Callable[[int], None] = lambda _: None
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        port = int(self.url.rsplit(":", 1)[1])
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def cut(self) -> None:
        """Close all connections and refuse others."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.drop()

    def drop(self) -> None:
        """Close all connections."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(forth)
        await asyncio.gather(
            self._pump(reader, forth, counted=True),
            self._pump(back, writer, counted=False),
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(8)
                data = head + await reader.readexactly(int.from_bytes(head[4:], "little") - 8)
                if counted and head[:3] == b"MSG":
                    number = int.from_bytes(data[26:28], "little")
                    self.requests[number] += 1
                    self.on_request(number)
                writer.write(data)
                await writer.drain()
        writer.close()


def named(signals: dict[str, schema.Signal]) -> dict[Name, schema.Signal]:
    """The same signals by Name."""
    return {Name(name): signal for name, signal in signals.items()}


def _read_lines(pipe: IO[str], lines: queue.Queue[str]) -> None:
    with pipe:
        for line in pipe:
            lines.put(line.strip())


class Rig:
    """A source on a plant of its own, with a recording intake; `async with` runs it."""

    def __init__(
        self,
        url: str,
        signals: dict[str, schema.Signal] | None = None,
        *,
        assets: str = "a000",
        **options: Any,
    ) -> None:
        signals = signals or {f"s{q}": schema.Signal() for q in range(8)}
        config = schema.Config(
            sources={Name("plc"): NO_SOURCE},
            templates={Name("t"): schema.Template(signals=named(signals))},
            assets={assets: schema.Asset(template=Name("t"))},
        )
        options.setdefault("node", "nsu=urn:plant;s={asset}.{signal}")
        options.setdefault("publishing_interval", 0.1)
        options.setdefault("timeout", 3.0)
        self.config = OpcUaSourceConfig(url=url, **options)
        self.plant = Plant(config)
        self.intake = ListIntake()
        self.metrics = Metrics()
        self.source = OpcUaSource(
            "plc",
            self.config,
            self.plant,
            self.intake,
            self.metrics,
            SystemClock(),
            schema.Gateway(),
        )

    async def __aenter__(self) -> Self:
        await self.source.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.source.stop()

    async def until(
        self, done: Callable[[], object], timeout_s: float = 15, what: str = ""
    ) -> None:
        """Wait for something that the other process or the loop has to do."""
        await until(done, lambda: f"{what or done}, {self.source.link}", timeout_s)

    async def until_state(self, state: LinkState, timeout_s: float = 15) -> None:
        await self.until(lambda: self.source.link.state is state, timeout_s, f"state {state}")

    def rejected(self, reason: str) -> float:
        return value_of(self.metrics.values_rejected.labels("plc", reason))

    def of(self, signal: str, asset: str = "a000") -> list[tuple[int, float, int]]:
        """(time_us, value, status) of all that one signal brought."""
        index = self.plant.assets[asset].signals[signal].index
        columns = self.intake.columns
        mine = columns.signal == index
        return list(
            zip(
                columns.time_us[mine].tolist(),
                columns.value[mine].tolist(),
                columns.status[mine].tolist(),
                strict=True,
            )
        )
