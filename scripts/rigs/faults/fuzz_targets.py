"""What is fuzzed: every decoder of bytes that come from outside, as a function of bytes.

A decoder may refuse with `REFUSALS`; any other exception is a crash, as is a value that is no
number and counts as good.
"""

from __future__ import annotations

import json
import math
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.daemon import load_config
from edge_agent.errors import EdgeAgentError
from edge_agent.models import Signature
from edge_agent.models.bundle.archive import unpack
from edge_agent.models.bundle.card import card_problems
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.bundle.manifest_text import parse_manifest
from edge_agent.models.bundle.trust import parse_signature
from edge_agent.ops.routes import Refusal
from edge_agent.service.command_body import parse_command as parse_http_command
from edge_agent.service.command_body import parse_selection
from edge_agent.service.oip_tensors import RequestError, read_request
from edge_agent.sinks.mqtt_commands import parse_command
from edge_agent.sources.mqtt.columns import UNFIT, make_batch
from edge_agent.sources.mqtt.paho_client import FrameCutter
from edge_agent.sources.mqtt.payload import decode
from edge_agent.sources.mqtt.payload_spec import Format, Payload, Target, Wanted
from edge_agent.sources.mqtt.readings import Readings
from edge_agent.sources.mqtt.sparkplug_wire import metrics_of, parse_payload, read_value
from edge_agent.sources.opcua.decode import decode_publish_response
from edge_agent.values import BAD, RETAINED
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REFUSALS: Final = (EdgeAgentError, Refusal, RequestError)
_ARRIVAL_US: Final = 1_767_225_600_000_000
_FIRST_US: Final = 0
_LAST_US: Final = 10_000_000_000_000_000  # 2286: what is later than 2100 is told as a wrong clock
_SPECS: Final = (
    Payload(),
    Payload(quality="q", value="data.value"),
    Payload(items="list", name="n"),
    Payload(format=Format.CSV),
    Payload(format=Format.CSV, columns=("ts", "a", "b")),
    Payload(format=Format.INFLUX),
    Payload(format=Format.FLOAT32, rate_hz=10),
    Payload(format=Format.INT16, rate_hz=10, header=3),
)
_TARGETS: Final = (
    Target(Wanted(0, waveform=False)),
    Target(Wanted(1, waveform=True)),
    Target(
        None,
        {
            "a": Wanted(0, waveform=False),
            "b.c": Wanted(1, waveform=False),
            "w": Wanted(2, waveform=True),
        },
    ),
)
_FLAT: Final = Target(None, {name: Wanted(n, waveform=False) for n, name in enumerate("ab")})
_SIGNATURE: Final = Signature(
    {"x": ("float32", (4, 2)), "unit": ("int64", ())}, {"score": ("float32", ())}
)
_SCRATCH: Final = Path(tempfile.mkdtemp(prefix="edge-agent-fuzz."))
_FILE: Final = _SCRATCH / "file"
_UNIFORM: Final = bytes.fromhex("01003d03") + bytes(24)  # the head of a PublishResponse


def payload(data: bytes) -> None:
    """Two bytes choose the target and the format."""
    target, spec = _TARGETS[data[0] % len(_TARGETS)], _SPECS[data[1] % len(_SPECS)]
    out = Readings(_ARRIVAL_US)
    decode(data[2:], out, target, spec, retained=bool(data[0] & 64))
    for value, status in zip(out.value, out.status, strict=True):
        if not (math.isfinite(value) or status >= BAD or status == RETAINED):
            raise AssertionError(f"{value} counts as good")
    if not all(np.isfinite(one.samples).all() or one.status >= BAD for one in out.blocks):
        raise AssertionError("samples that are no numbers count as good")
    if not all(_FIRST_US <= time < _LAST_US for time in out.time_us):
        raise AssertionError("a time outside of all plausible ones")


def columns(data: bytes) -> None:
    """The fast way for plain messages and names (`batch_key`) gives what the slow way gives."""
    target, spec = (_TARGETS[0], _FLAT)[data[0] % 2], _SPECS[0]
    batch = make_batch(target, spec, timed=bool(data[0] & 32))
    batch.add(b"t", target)
    try:
        found = batch.decode([0], [data[1:]], _ARRIVAL_US)
    except UNFIT:
        return
    out = Readings(_ARRIVAL_US)
    decode(data[1:], out, target, spec)
    slow = sorted(zip(out.signal, out.time_us, out.value, strict=True))
    fast = sorted(zip(found.signal, found.time_us, found.value, strict=True))
    if out.timed == bool(data[0] & 32) and not out.refused and slow != fast:
        raise AssertionError(f"{fast} is not {slow}")


def frames(data: bytes) -> None:
    """A byte stream of MQTT, in pieces of a length that the second byte chooses."""
    cutter = FrameCutter(4096, v5=bool(data[0] & 1), held=set())
    size = max(1, data[1])
    for start in range(2, len(data), size):
        found = cutter.cut(data[start : start + size])
        if len(found.topics) != len(found.payloads):
            raise AssertionError("topics without payloads")
        if found.malformed:
            return


def opcua(data: bytes) -> None:
    """A PublishResponse; also one whose head is right."""
    for body in (data, _UNIFORM + data):
        found = decode_publish_response(body)
        if sum(len(rows) for rows in found.rows) > len(body):
            raise AssertionError("more rows than bytes")


def sparkplug(data: bytes) -> None:
    """A Sparkplug B payload."""
    for metric in metrics_of(parse_payload(data)):
        read_value(metric.raw, metric.datatype)


def bus_command(data: bytes) -> None:
    """A command from the plant bus."""
    parse_command("edge/e/s/a/l/P/_pdm/cmd/shelve", data, 0)


def http_command(data: bytes) -> None:
    """A body of the API, for each command."""
    body = json.loads(data)
    for kind in ("ack", "shelve"):
        parse_http_command(body, kind)
        parse_selection(body, kind)


def tensors(data: bytes) -> None:
    """A request for an inference, as JSON, and with binary tensors after two bytes of length."""
    read_request(data, None, _SIGNATURE)


def binary_tensors(data: bytes) -> None:
    """A request with binary tensors; its first two bytes are the length of the JSON."""
    read_request(data[2:], int.from_bytes(data[:2], "big"), _SIGNATURE)


def manifest(data: bytes) -> None:
    """A model.yaml."""
    parse_manifest(data, _FILE)


def archive(data: bytes) -> None:
    """A packed bundle."""
    _FILE.write_bytes(data)
    unpack(_FILE, _SCRATCH / "out")


def card(data: bytes) -> None:
    """Texts and pictures of a model card."""
    for name in ("card.md", "a.png"):
        list(card_problems(name, data))


def config(data: bytes) -> None:
    """A config."""
    _FILE.write_bytes(data)
    load_config(_FILE)


def seeds_of(name: str) -> list[bytes]:
    """Inputs to begin with: files of this repository, and short ones by hand."""
    files = [one for pattern in SEED_FILES.get(name, ()) for one in sorted(ROOT.glob(pattern))]
    return [*SEEDS.get(name, ()), *(one.read_bytes() for one in files)]


TARGETS: Final[Mapping[str, Callable[[bytes], object]]] = {
    "payload": payload,
    "columns": columns,
    "frames": frames,
    "opcua": opcua,
    "sparkplug": sparkplug,
    "bus_command": bus_command,
    "http_command": http_command,
    "tensors": tensors,
    "binary_tensors": binary_tensors,
    "manifest": manifest,
    "golden": parse_golden,
    "archive": archive,
    "signature": partial(parse_signature, where="fuzz"),
    "card": card,
    "config": config,
}
FEW_BYTES: Final = {"payload": 2, "columns": 1, "frames": 2, "binary_tensors": 2}  # at least
SEED_FILES: Final = {
    "manifest": ("models/*/model.yaml",),
    "golden": ("models/*/golden.npz",),
    "config": ("config/*.yaml",),
}
_COMMAND: Final = {"id": "a", "alarm_id": "b", "expires": 1000, "duration_s": 1, "by": "x"}
_INPUT: Final = {"name": "unit", "shape": [1], "datatype": "INT64", "data": [1]}
SEEDS: Final = {
    "payload": (
        b'\0\0{"ts": 1767225600000, "value": 4.2}',
        b'\2\0{"ts": 1, "a": 1, "b": {"c": 2}, "w": [1, 2]}',
        b"\0\3ts;1;2",
        b"\2\5m,t=x a=1,b=2i 1767225600000000000",
    ),
    "columns": (b'\x20{"ts": 1767225600000, "value": 4.2}', b'\1{"a": 1, "b": 2}'),
    "frames": (b"\1\5\x32\x0a\0\3abc\0\1\0hi",),
    "sparkplug": (b"\x08\x80\xc0\xb8\x96\xb3\x33\x12\x0b\n\1a\x20\x0a\x69" + bytes(8),),
    "bus_command": (json.dumps(_COMMAND).encode(),),
    "http_command": (b'{"by": "anna", "duration_s": 60, "pattern": "P-*", "comment": "x"}',),
    "tensors": (json.dumps({"id": "1", "inputs": [_INPUT]}).encode(),),
    "signature": (b'{"algorithm":"ed25519","key_id":"00","signature":"' + b"A" * 86 + b'=="}',),
}
