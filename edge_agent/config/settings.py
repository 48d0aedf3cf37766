"""The settings of the service itself: store, ONNX Runtime, trust, HTTP server, logs, limits.

Units as in `schema`: seconds and bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final
from urllib.parse import urlsplit

from edge_agent.config.types import Between, Duration, Name, Secret, Size

if TYPE_CHECKING:
    from collections.abc import Iterator


ENCODERS: Final = ("auto", "none", "use", "e5", "both")


@dataclass(frozen=True, slots=True)
class Store:
    """The SQLite file."""

    path: Path = Path("edge-agent.db")
    max_bytes: Annotated[Size, Between(1 << 20, 1 << 50)] = Size(
        64 << 20
    )  # of the whole file; see docs for the drop order
    history_days: Annotated[float, Between(0, 3650)] = 90


@dataclass(frozen=True, slots=True)
class Trends:
    """Aggregates of signals and scores for trends, in an SQLite file of their own."""

    enabled: bool = True
    path: Path | None = None  # default: that of the store, with `.trends`
    # Of the file. It also bounds the writing: at most about twice that a day.
    max_bytes: Annotated[Size, Between(4 << 20, 1 << 50)] = Size(256 << 20)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The thumbnails of pictures that raised alarms, with what was found on them."""

    folder: Path | None = None  # default: beside the store, its name with `.pictures`
    max_pictures: Annotated[int, Between(1, 100_000)] = 2000
    max_bytes: Annotated[Size, Between(1 << 20, 1 << 40)] = Size(64 << 20)  # of all of them
    days: Annotated[float, Between(0.01, 3650)] = 90  # older ones are removed


class Isolated(StrEnum):
    """Which models run in processes of their own."""

    FOREIGN = "foreign"  # all but the baselines that were learned here
    YOUNG = "young"  # those until they are proven: saves their processes' memory
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Runtime:
    """ONNX Runtime."""

    providers: tuple[str, ...] = ("cpu",)  # in order of preference: tensorrt, cuda, cpu
    required: bool = False  # exit instead of falling back
    max_batch: Annotated[int, Between(1, 4096)] = 64
    # Of a run of max_batch windows: a version that exceeds it too often is rolled back.
    latency_budget: Annotated[Duration, Between(1e-4, 60)] = Duration(0.5)
    # Which models run in processes of their own: see docs/models.md.
    isolation: Isolated = Isolated.FOREIGN
    model_memory: Annotated[Size, Between(16 << 20, 1 << 40)] = Size(256 << 20)  # of such a process


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """An inference server (Open Inference Protocol v2) to which windows may go; no other gets any.

    The key of `remote` is its name. A bundle names URLs in its manifest, or `bundles` names it.
    """

    urls: tuple[str, ...] = ()  # of REST (http, https) or gRPC (grpc, grpcs); several: same models
    bundles: tuple[str, ...] = ()  # names or patterns that run here, whatever URLs they name
    timeout: Annotated[Duration, Between(0.001, 10)] | None = None  # default: the bundle's
    ca: Path | None = None  # PEM; default: the system's authorities
    cert: Path | None = None  # ours, if the server asks for one
    cert_key: Path | None = None  # default: it is in the file of `cert`
    key: Secret | None = None  # sent as `Authorization: Bearer ...`
    allow_insecure_key: bool = False  # sends it without encryption

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong, as (key, message)."""
        if not self.urls:
            yield "urls", f"a server needs a URL: {_REMOTE_URL}"
        for number, url in enumerate(self.urls):
            if problem := remote_url_problem(url):
                yield f"urls.{number}", problem
            elif self.key and not self.allow_insecure_key and _is_open(url):
                hint = "use https or grpcs, or set allow_insecure_key"
                yield f"urls.{number}", f"would send the key without encryption: {hint}"
        if self.cert_key is not None and self.cert is None:
            yield "cert_key", "needs its certificate: cert"


def remote_url_problem(url: str) -> str:
    """Why a text is not the URL of an inference server; empty if it is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if "@" in parts.netloc:
        return "a login never belongs into a URL: use key"
    is_bare = not (parts.query or parts.fragment) and url.isascii() and url.isprintable()
    if parts.scheme not in _REMOTE_PORTS or not parts.hostname or port == 0 or not is_bare:
        return f"must be a URL: {_REMOTE_URL}"
    if parts.scheme.startswith("grpc") and (parts.path.strip("/") or port is None):
        return "a URL of gRPC has a port, and nothing after it"
    return ""


def _is_open(url: str) -> bool:
    """True if what is sent to a valid URL leaves this machine without encryption."""
    parts = urlsplit(url)
    local = parts.hostname == "localhost" or str(parts.hostname).startswith("127.")
    return parts.scheme in {"http", "grpc"} and not local and parts.hostname != "::1"


_REMOTE_PORTS: Final = {"http": 80, "https": 443, "grpc": None, "grpcs": None}
_REMOTE_URL: Final = "https://triton.plant:8000, or grpcs://triton.plant:8001"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose model bundles are loaded. Without any key, all in models_dir are loaded."""

    keys: tuple[Path, ...] = ()  # Ed25519 public keys, PEM
    allow_unsigned: tuple[str, ...] = ("learned-*",)  # names or patterns; made on this gateway


class LocalScope(StrEnum):
    """What programs of this machine may do without a key: what changes nothing."""

    READ = "read"
    INFER = "infer"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Http:
    """The daemon's own HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Between(0, 65535)] = 9460
    enabled: bool = True
    names: tuple[str, ...] = ()  # for browsers and Prometheus, in addition to host's own
    # For commands over TCP, and for reading from other machines.
    token: Secret | None = None
    # For clients of this machine; by default http-PORT.sock in the folder of `local_socket`.
    socket: Path | None = None
    group: str | None = None  # its members may command over the socket, as root and our user
    # Of `edge-agent keys`; by default keys.json beside the store. Named here, keys are required
    # also before the first is made.
    keys: Path | None = None
    # Without a key; by default all three while there is no key, then `read`.
    local_scopes: tuple[LocalScope, ...] | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """The bundles of models_dir for other programs, by the Open Inference Protocol v2."""

    enabled: bool = False
    models: Annotated[int, Between(1, 64)] = 4  # in memory; the one unused for longest gives way
    idle: Duration = Duration(600)  # unused for this long: it leaves memory
    queue: Annotated[int, Between(1, 10_000)] = 64  # waiting requests of a model; more: 429
    deadline: Annotated[Duration, Between(0.01, 60)] = Duration(5)  # of a request; then 504
    grpc_port: Annotated[int, Between(0, 65535)] = 0  # 0: no gRPC; on the address of `http.host`


class AnonymousMay(StrEnum):
    """What OPC UA clients of this machine may do without a login."""

    NOTHING = "nothing"
    READ = "read"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class OpcuaServer:
    """The daemon's own OPC UA server: assets as variables, alarms as conditions of Part 9.

    On loopback without encryption. With a certificate it is encrypted, too, and may listen on
    other addresses: then always encrypted, for users with a password or trusted certificates.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, Between(0, 65535)] = 4840
    certificate: Path | None = None
    private_key: Path | None = None
    private_key_password: Secret | None = None
    users: dict[str, Secret] = field(default_factory=dict)  # name -> password
    trusted: Path | None = None  # a folder of client certificates; others are refused then
    anonymous: AnonymousMay = AnonymousMay.READ  # without a login, on loopback only
    clients: Annotated[int, Between(1, 200)] = 32  # sessions at a time

    @property
    def is_loopback(self) -> bool:
        """True if only programs of this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong, as (key, message)."""
        if (self.certificate is None) != (self.private_key is None):
            yield "certificate", "needs its private_key, and the key its certificate"
        if self.is_loopback:
            return
        if self.certificate is None:
            yield "host", "beyond loopback all is encrypted: set certificate and private_key"
        if not self.users and self.trusted is None:
            yield "host", "beyond loopback nobody is anonymous: set users or trusted"


@dataclass(frozen=True, slots=True)
class Manuals:
    """The plant's manuals, which `edge-agent ask` quotes."""

    folder: Path | None = None  # PDF, HTML, Markdown and text files, also in its folders
    encoder: str = "auto"  # auto, none, use, e5, both, or the URL of a server with /v1/embeddings
    encoder_model: str = ""  # of that server
    encoder_key: Secret | None = None  # of that server
    every: Annotated[Duration, Between(10, 86_400)] = Duration(300)  # between looks at the folder
    memory: Annotated[Size, Between(64 << 20, 1 << 40)] = Size(512 << 20)  # of each child
    file_time: Annotated[Duration, Between(1, 3600)] = Duration(120)  # of processor, for a file
    max_pages: Annotated[int, Between(1, 100_000)] = 5000  # of a document

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong, as (key, message)."""
        is_url = self.encoder.startswith(("http://", "https://"))
        if self.encoder not in ENCODERS and not is_url:
            yield "encoder", f"one of {', '.join(ENCODERS)}, or the URL of a server"
        if is_url and not self.encoder_model:
            yield "encoder_model", "a server needs the name of its model"


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labelled set: rows around alarms of models, with what people said the alarms were.

    The rows need the extra `parquet`; pictures of cameras' alarms need none.
    """

    enabled: bool | None = (
        None  # default: rows if the extra is installed; false: no pictures either
    )
    folder: Path | None = None  # default: `labelled` beside the store
    max_bytes: Annotated[Size, Between(1 << 16, 1 << 40)] = Size(64 << 20)  # of all files
    picture_bytes: Annotated[Size, Between(1 << 16, 1 << 40)] = Size(256 << 20)  # of all pictures
    days: Annotated[float, Between(0.01, 36_500)] = 730  # older files are removed


@dataclass(frozen=True, slots=True)
class Standby:
    """A pair of gateways with the same id: one is active, the other takes over.

    `standby: true` for all defaults, in both gateways.
    """

    shorthand: ClassVar = {
        **{word: {"enabled": True} for word in ("true", "True", "yes", "Yes", "on")},
        **{word: {"enabled": False} for word in ("false", "False", "no", "No", "off")},
    }
    implied: ClassVar = {"enabled": (("lease", "sink"), True)}
    enabled: bool = False  # default: true if one of the others is given
    # The active gateway renews it four times in this time. If it cannot, it stops to send when the
    # time is over, and the other one takes over a fifth of it later.
    lease: Annotated[Duration, Between(0.5, 600)] = Duration(5)
    sink: Name = Name("")  # whose broker keeps the lease; default: the only MQTT sink


@dataclass(frozen=True, slots=True)
class Log:
    """Logs to stderr, which journald reads."""

    level: str = "info"
    json: bool = False


@dataclass(frozen=True, slots=True)
class Tuning:
    """Limits of the hot path."""

    intake_values: Annotated[int, Between(1000, 100_000_000)] = 200_000
    intake_bytes: Size = Size(64 << 20)  # of blocks: waveforms
    # The longest pause of the pipeline between two drains; it depends on the load.
    tick: Annotated[Duration, Between(1e-3, 10)] = Duration(0.04)
    max_future: Duration = Duration(300)  # a source clock further ahead is refused
    drain_deadline: Duration = Duration(10)
    score_interval: Duration = Duration(1)  # per asset and model; 0 = every window
