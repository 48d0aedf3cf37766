"""The configs in config/: sound, complete, and right in what they only show in comments."""

from __future__ import annotations

import re
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import pytest
from config_tables import PASSWORD

from edge_agent.cli import main
from edge_agent.config.conditions import Condition
from edge_agent.config.limits import Deadband, Level
from edge_agent.config.problem import ConfigErrors
from edge_agent.config.schema import Config
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.daemon.tables import load_config
from edge_agent.plant import Plant
from edge_agent.sinks import SINKS
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
COMPLETE = FOLDER / "edge-agent.yaml"
TEXTS = (Condition, Level, Deadband)
STRUCTS = [row.config for table in (SOURCES, SINKS) for row in table.values()]


def structs_in(kind: Any) -> Iterator[type]:
    """The structs that a type is made of, but for those that are written as one text."""
    if kind in TEXTS:
        return
    if isinstance(kind, type) and is_dataclass(kind) and get_origin(kind) is not types.UnionType:
        yield kind
        for hint in get_type_hints(kind, include_extras=True).values():
            yield from structs_in(hint)
    for inner in get_args(kind):
        yield from structs_in(inner)


def uncommented(text: str) -> str:
    """The example with every `#key:` in force."""
    return re.sub(r"^( *)#(?=[A-Za-z_]+:)", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_sound(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the daemon's own sources and sinks; only secrets and certificates may be missing."""
    assert main(["check", "-c", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("config ok: ")
    warnings = captured.err.splitlines()
    absent = re.compile(
        r"cannot read the secret|\.(ca|cert|\w*certificate|trusted): .* No such file"
    )
    assert all(absent.search(line) for line in warnings), warnings


def test_what_the_complete_example_shows_in_comments_is_right(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(uncommented(COMPLETE.read_text()))
    config = load_config(file, files=False)
    assert config.alarms.texts == tmp_path / "texts.yaml"


def test_a_default_in_a_comment_is_the_default(tmp_path: Path) -> None:
    """Where the example shows a default as such, putting it in force changes nothing."""
    file = tmp_path / "edge.yaml"
    file.write_text(uncommented(COMPLETE.read_text()))
    full, plain = load_config(file, files=False), load_config(COMPLETE)
    assert full.runtime == plain.runtime
    scadas: list[Any] = [one.sources[Name("scada")] for one in (full, plain)]
    assert scadas[0].url == scadas[1].url
    for name in ("keepalive", "session_expiry", "protocol", "max_payload", "coalesce"):
        assert getattr(full.sources[Name("bus")], name) == getattr(plain.sources[Name("bus")], name)
    for name in ("queue_size", "batch", "timeout", "session_timeout", "node_retry"):
        assert getattr(full.sources[Name("plc")], name) == getattr(plain.sources[Name("plc")], name)
    assert full.templates[Name("pump")].signals[Name("pressure")].resample == "last"


@pytest.mark.parametrize(
    ("kind", "name"),
    sorted(
        {
            (struct.__name__, spec.name)
            for kind in (Config, *STRUCTS)
            for struct in structs_in(kind)
            if struct.__name__ != "Secret"
            for spec in fields(struct)
        }
    ),
)
def test_the_complete_example_has_every_key(kind: str, name: str) -> None:
    assert re.search(rf"(^|[\s#{{,]){name}:", COMPLETE.read_text(), re.MULTILINE), kind


def test_the_fleet_is_four_thousand_signals_in_a_few_lines() -> None:
    text = (FOLDER / "fleet.yaml").read_text()
    plant = Plant(load_config(FOLDER / "fleet.yaml"))
    assert (len(plant.assets), len(plant.signals)) == (500, 4000)
    assert len(text.splitlines()) < 30


BAD_PARTS = [
    ("url: mqtts://broker.plant.example:8883 # mqtt", "url: broker # mqtt", "url"),
    ("qos: 1", "qos: 5", "qos"),
    ("topic: plant/{line}/{asset}/{signal}", "topic: plant/#/{asset}", "topic"),
    ("format: int16", "format: int24", "did you mean 'int16'?"),
    ("rate_hz: 12000\n          scale", "scale", "rate_hz"),
    ("policy: Basic256Sha256 #", "policy: Basic256 #", "did you mean 'Basic256Sha256'?"),
    ("mode: SignAndEncrypt", "mode: None", "security.mode"),
    ("password: {credential: plc-password}", f"password: {PASSWORD}", "never written"),
    ("url: https://cmms", "url: ftp://cmms", "url"),
    ("events: [raise, clear]", "events: [rise]", "did you mean 'raise'?"),
    ("template: pump # assets", "template: pmp # assets", "did you mean 'pump'?"),
    ("user_private_key: /etc", "usr_private_key: /etc", "did you mean 'user_private_key'?"),
    ("asset_column: machine", "asset_column: machine\n    asset: x", "either asset or"),
    ("type: webhook", "type: webhok", "did you mean 'webhook'?"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD_PARTS)
def test_the_daemons_own_structs_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    """Exit 78, the line, and never a secret: also for the real sources and sinks."""
    text = COMPLETE.read_text()
    assert old in text
    file = tmp_path / "edge.yaml"
    file.write_text(text.replace(old, new, 1))
    assert main(["check", "-c", str(file)]) == 78
    err = capsys.readouterr().err
    first = text[: text.index(old)].count("\n") + 1
    lines = [int(line.removeprefix(f"{file}:").split(":")[0]) for line in err.splitlines()]
    assert min(abs(line - first) for line in lines) <= 3
    assert said in err
    assert PASSWORD not in err


@pytest.mark.parametrize(
    "kind", {s: None for kind in (Config, *STRUCTS) for s in structs_in(kind)}, ids=str
)
def test_every_type_of_a_field_is_known_to_the_loader(tmp_path: Path, kind: type) -> None:
    """A field of a type that the loader cannot read would fail at a user's, with a traceback."""
    keys = "".join(f"{spec.name}: [[x]]\n" for spec in fields(kind) if spec.type != "Any")
    with pytest.raises(ConfigErrors) as caught:
        parse_struct(keys, tmp_path / "struct.yaml", kind)
    assert caught.value.problems
