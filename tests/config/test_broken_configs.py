"""Broken configs by the hundred: exit 78, one clear line each with its place, never a traceback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from config_tables import PASSWORD, VALID, find_problems, install_daemon

from edge_agent.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIST, MAP = "[a, b]", "{a: b}"

# What no value of a type may look like.
BAD = {
    "text": [LIST, MAP, "", "~", "null"],
    "name": ["a/b", "'a b'", "-a", "é", "''", "a" * 65, "..", "a#", LIST, MAP, ""],
    "int": ["x", "1.5", "0x10", "1_000", "010", "1e3", "'1 '", "9" * 30, "true", LIST, MAP, ""],
    "float": ["x", ".nan", ".inf", "nan", "1e999", "1_0", "1,5", "true", LIST, MAP, ""],
    "bool": ["yes", "no", "on", "off", "True", "0", "1", "y", LIST, MAP, ""],
    "duration": ["fast", "10 parsecs", "-1s", "1h30m", "5min", "inf", "1:30", "9999d", LIST, ""],
    "size": ["big", "64Mb/s", "-1", "64M", "1e9", "9999999999GiB", LIST, MAP, ""],
    "list": ["en", MAP],
    "map": ["text", LIST, "1"],
}

# (line of VALID, how it begins, type of its value, key path in the message)
FIELDS = [
    ("  id: gw-1", "name", "gateway.id"),
    ("topic_root: edge", "name", "topic_root"),
    ("    host: broker.plant", "text", "sources.north-bus.host"),
    ("    port: 8883", "int", "sources.north-bus.port"),
    ("    mode: careful", "text", "sources.north-bus.mode"),
    ("      ca: ca.pem", "text", "sources.north-bus.tls.ca"),
    ("      verify: false", "bool", "sources.north-bus.tls.verify"),
    ("    keep_alive: 30s", "duration", "sources.north-bus.keep_alive"),
    ("    buffer: 2MiB", "size", "sources.north-bus.buffer"),
    ("    gain: 2.5", "float", "sources.north-bus.gain"),
    ("    session: edge-1", "name", "sources.north-bus.session"),
    ("    weights: {a: 1, b: 0.5}", "map", "sources.north-bus.weights"),
    ("    type: log", "text", "sinks.console"),
    ("        unit: bar", "text", "templates.pump.signals.pressure.unit"),
    ("        kind: scalar", "text", "templates.pump.signals.pressure.kind"),
    ("        deadband: 0.1", "float", "templates.pump.signals.pressure.deadband"),
    ("        inputs: {p: pressure}", "map", "templates.pump.models[0].inputs"),
    ("          severity: 700", "int", "templates.pump.models[0].alarm.severity"),
    ("          enabled: true", "bool", "templates.pump.models[0].alarm.enabled"),
    ("      inputs: [pressure, current]", "list", "templates.pump.learn.inputs"),
    ("  max_batch: 32", "int", "runtime.max_batch"),
    ("  languages: [en, de]", "list", "alarms.languages"),
    ("  flood_window: 10m", "duration", "alarms.flood_window"),
    ("  max_bytes: 64MiB", "size", "store.max_bytes"),
    ("  json: false", "bool", "log.json"),
    ("  level: info", "text", "log.level"),
]

# (text in VALID, what it becomes, words of the message): the line is that of the replacement's
# first line, moved by `+n` at the end of the words where another line is to blame.
EDITS = [
    # Keys
    ("  site: north", "  siet: north", "gateway.siet: unknown key 'siet' (did you mean 'site'?)"),
    ("  site: north", "  site: north\n  site: x", "written twice: first on line 3 +1"),
    ("runtime:", "runtimes:", "unknown key 'runtimes' (did you mean 'runtime'?)"),
    ("models_dir: models", "gateway: {}", "gateway: written twice: first on line 1"),
    ("models_dir: models", '"a\\nb": 1', r"unknown key 'a\nb'"),
    ("models_dir: models", "? [a]\n: 1", "a key must be text +0"),
    ("models_dir: models", "models_dir: {{ x }}", "a key must be text"),
    ("models_dir: models", ": 1", "not valid YAML"),
    ("models_dir: models", "? ~\n: 1", "a key is missing"),
    ("    host: broker.plant\n    port", "    port", "missing key 'host' -2"),
    ("    template: pump\n    line: l1", "    line: l1", "missing key 'template' -1"),
    ("      - bundle: pump-baseline", "      - lateness: 5s", "missing key 'bundle'"),
    ("    type: log", "    prefix: x", "sinks.console: missing key 'type' -1"),
    ("    type: log", "    type: syslog", "sinks.console.type: unknown type 'syslog'"),
    ("    type: bus", "    type: buss", "unknown type 'buss' (did you mean 'bus'?)"),
    # Values
    ("    port: 8883", "    port: 0", "sources.north-bus.port: must be between 1 and 65535"),
    ("    port: 8883", "    port: 65536", "must be between 1 and 65535"),
    ("    gain: 2.5", "    gain: 0", "sources.north-bus.gain: must not be 0"),
    ("    band: [0.5, 1.5]", "    band: [1.5, 0.5]", "the first value is above the second"),
    ("    band: [0.5, 1.5]", "    band: [1]", "takes 2 values, not 1"),
    ("    band: [0.5, 1.5]", "    band: [1, x]", "sources.north-bus.band[1]: 'x' is not a number"),
    ("    weights: {a: 1, b: 0.5}", "    weights: {a/b: 1}", "'a/b' is not a name"),
    ("    mode: careful", "    mode: carefull", "(did you mean 'careful'?)"),
    ("    mode: careful", "    mode: Fast", "'Fast' is not allowed"),
    ('aux/#"}', 'aux/{signal"}', "topics[1].pattern: has an open brace"),
    ("qos: 2", "qos: 3", "sources.north-bus.topics[0].qos: must be between 0 and 2"),
    ("        valid: [0, 16]", "        valid: [16, 0]", "the first value is above the second"),
    ("        valid: [0, 16]", "        valid: [3, 3]", "the range is empty"),
    ("        valid: [0, 16]", "        valid: 16", "takes a list"),
    ("        min_coverage: 0.9", "        min_coverage: 90", "must be between 0 and 1"),
    ("          severity: 700", "          severity: 0", "must be between 1 and 1000"),
    ("          severity: 700", "          severity: 1001", "must be between 1 and 1000"),
    (
        "    learn:\n      auto: true\n      length: 64\n      inputs: [pressure, current]",
        "    learn: perhaps",
        "takes a map of keys",
    ),
    (
        "      length: 64",
        "      length: 64\n      duration: 24",
        "is 24 rows of 1s; 256 are needed +1",
    ),
    ("      length: 64", "      step: 1s\n      duration: 3m", "180 rows of 1s; 256 are needed +1"),
    (
        "      length: 64",
        "      duration: 1d\n      step: 10m",
        "is 144 rows of 10m; 256 are needed",
    ),
    ("  max_bytes: 64MiB", "  max_bytes: 64", "store.max_bytes: must be between 1048576 and"),
    ("  keys: []", "  keys: [a.pub, b.pub]", "trust.keys[1]: there is no file"),
    ("  keys: []", "  keys: plant.pub", "trust.keys: takes a list"),
    ("  keys: []", "  keys: [~]", "trust.keys[0]: has no value"),
    ("  tick: 20ms", "  tick: 0", "tuning.tick: must be between 0.001 and 10"),
    ("      ca: ca.pem", "      ca: ''", "tls.ca: is empty"),
    # Secrets
    ("    password: {env: BUS_PASSWORD}", f"    password: {PASSWORD}", "a secret is never written"),
    ("    password: {env: BUS_PASSWORD}", f"    password: '{PASSWORD}'", "write {file: PATH}"),
    ("{env: BUS_PASSWORD}", f"{{env: A, file: {PASSWORD}}}", "exactly one of the keys"),
    ("{env: BUS_PASSWORD}", f"{{value: {PASSWORD}}}", "exactly one of the keys"),
    ("{env: BUS_PASSWORD}", f"{{{PASSWORD}}}", "exactly one of the keys"),
    ("{env: BUS_PASSWORD}", f"{{env: {PASSWORD}}}", "not the name of an environment variable"),
    ("{env: BUS_PASSWORD}", f"{{credential: ../{PASSWORD}}}", "not the name of a systemd"),
    ("{env: BUS_PASSWORD}", f"[{PASSWORD}]", "a secret is never written"),
    ("{env: BUS_PASSWORD}", "{}", "exactly one of the keys"),
    ("X-Key: {file: key.txt}", f"X-Key: {PASSWORD}", "headers.X-Key: a secret is never written"),
    # References
    ("        source: north-bus", "        source: north-buss", "(did you mean 'north-bus'?)"),
    ("        source: north-bus\n        addr", "        addr", "has no source -1"),
    ("    template: pump\n    line", "    template: pumb\n    line", "(did you mean 'pump'?)"),
    ("    session: edge-1", "    template: valve", "north-bus.template: there is no template"),
    ("        inputs: {p: pressure}", "        inputs: {p: presure}", "(did you mean 'pressure'?)"),
    ("      inputs: [pressure, current]", "      inputs: [speed]", "learn.inputs[0]"),
    ('/{signal}/{bay}"', '/{signal}/{bey}"', "for {bey} of asset 'P-{001..020}' (did you mean"),
    ("    variables: {bay: b8}", "    variables: {bay: b8, line: x}", "variables.line: 'line' is"),
    ("  V-1:", "  P-007:", "asset P-007 is defined twice"),
    ("  V-1:", "  V/1:", "'V/1' is not a name"),
    ("  V-1:", "  'V-{1..0}':", "the range is empty"),
    ("  V-1:", "  'V-{1..1000000000}':", "more than 100000 assets"),
    ("  V-1:", "  'V-{1..99999}{1..99999}{1..99999}':", "more than 100000 assets"),
    ("  V-1:", "  'V-{a..c}':", "is not a name"),
    ("  V-1:", f"  'V-{{1..{'9' * 300}}}':", "is longer than 256 characters"),
    ("  V-1:", f"  '{'V' * 61}{{1..1000}}':", "is not a name"),
    # The rest
    ("  providers: [cuda, cpu]", "  providers: [cudda]", "'cudda' is not a provider (did you mean"),
    ("  providers: [cuda, cpu]", "  providers: []", "runtime.providers: is empty"),
    ("  languages: [en, de]", "  languages: []", "alarms.languages: is empty"),
    (
        "  languages: [en, de]",
        "  languages: [en, ../x]",
        "languages[1]: '../x' is not a language tag",
    ),
    (
        "  languages: [en, de]",
        "  languages: [english]",
        "languages[0]: 'english' is not a language tag",
    ),
    ("  languages: [en, de]", "  texts: none.yaml", "alarms.texts: there is no file"),
    ("  level: info", "  level: verbose", "'verbose' is not a level"),
    ("  host: 127.0.0.1", "  host: 0.0.0.0", "a key is needed"),
    ("  host: 127.0.0.1", "  host: gateway.local", "a key is needed"),
    ("  host: 127.0.0.1", "  host: '::'", "a key is needed"),
    ("      auto: true", "      auto: false", "there is no bundle -12"),
    # YAML itself
    ("  site: north", "\tsite: north", "indent with spaces, never with tabs"),
    ("  site: north", "  site: [north", "not valid YAML +1"),
    ("  site: north", "  site: 'north", "not valid YAML +0"),
    ("  site: north", "   site: north", "not valid YAML"),
    ("  site: north", "  site: a: b", "not valid YAML"),
    ("  site: north", "  site: @north", "not valid YAML"),
    ("  site: north", '  site: "\\q"', "not valid YAML"),
    ("  site: north", "  site: !!python/object:os.system x", "tag 'tag:yaml.org,2002:python"),
    ("  site: north", "  site: !secret x", "tag '!secret' is not allowed"),
    ("  site: north", "  site: !!int 1", "is not allowed"),
    ("  site: north", "  site: *north", "alias '*north' has no anchor before it"),
    ("  site: north", "  site: &a [*a]", "alias '*a' contains itself"),
    ("  site: north", "  <<: north", "'<<' takes an alias of a map"),
    ("topic_root: edge", "---\ntopic_root: edge", "a second document begins here"),
    ("topic_root: edge", "...\ntopic_root: edge", "not valid YAML +1"),
    ("  site: north", "  site: n\0rth", "NUL in the text"),
    ("  site: north", "  site: n\x07rth", "control character U+0007"),
    ("topic_root: edge", f"topic_root: {'[' * 60}", "nested more than 50 deep"),
    ("topic_root: edge", "include: [nowhere.yaml]", "there is no file"),
    ("topic_root: edge", "include: .", "is not a regular file"),
    ("topic_root: edge", "include: [{a: b}]", "include: not a file name"),
    ("topic_root: edge", "include: ['*/*/*/x.yaml']", "wildcards in more than 2 levels"),
    ("topic_root: edge", "include: [broken.yaml]", "includes itself"),
]

WHOLE = {
    "empty": b"",
    "comment": b"# nothing\n",
    "null": b"~",
    "list": b"- a\n- b\n",
    "text": b"hello",
    "latin-1": "gateway:\n  site: K\u00f6ln\n".encode("latin-1"),
    "utf-16": VALID.encode("utf-16"),
    "binary": bytes(range(256)),
    "gzip": bytes.fromhex("1f8b0800000000000003"),
    "too-large": b"# " + b"x" * (4 << 20),
    "only-gateway": b"gateway: {id: a}\n",
    "billion-laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(97, 110)
    ),
    "many-values": b"a: [" + b"x," * 250_000 + b"]",
    "many-unknown-keys": b"".join(b"gatewy%d: 1\n" % n for n in range(5000)),
    "deep-block": b"".join(b" " * n + b"a:\n" for n in range(2000)),
    "deep-flow": b"{a: " * 100_000,
    "many-anchors": b"".join(b"a%d: &a%d x\n" % (n, n) for n in range(20_000)),
}


def bad_values() -> Iterator[tuple[str, str, str, str]]:
    for line, kind, path in FIELDS:
        key = line[: line.index(":") + 1]
        for number, bad in enumerate(BAD[kind]):
            yield f"{path}-{number}", line, f"{key} {bad}", path


def edits() -> Iterator[tuple[str, str, str, str]]:
    for number, (old, new, said) in enumerate(EDITS):
        yield f"edit-{number}", old, new, said


CASES = [*bad_values(), *edits()]


@pytest.fixture(autouse=True)
def _daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    install_daemon(monkeypatch)


def check(file: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines `check` prints for a broken config, after the demands that hold for all."""
    assert main(["check", "-c", str(file)]) == 78
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines
    for line in lines:
        assert re.match(rf"{re.escape(str(file))}:[1-9][0-9]*: \S", line), line
        assert len(line) < 600 + len(str(file))
    assert "Traceback" not in captured.err
    assert "internal error" not in captured.err
    assert PASSWORD not in captured.err
    return lines


def test_there_are_at_least_200_broken_configs() -> None:
    assert len(CASES) + len(WHOLE) >= 200
    assert len({name for name, *_ in CASES}) == len(CASES)


def test_the_config_that_is_broken_below_is_sound(tmp_path: Path) -> None:
    file = tmp_path / "sound.yaml"
    file.write_text(VALID)
    config, problems = find_problems(file)
    assert problems == []
    assert config is not None


@pytest.mark.parametrize(("old", "new", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_broken_config_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    """The message names the key and the very line that was broken."""
    assert VALID.count(old) >= 1
    words, _, shift = re.fullmatch(r"(.*?)( ([+-][0-9]+))?", said).groups()  # type: ignore[union-attr]
    line = VALID[: VALID.index(old)].count("\n") + 1 + int(shift or 0)
    file = tmp_path / "broken.yaml"
    file.write_text(VALID.replace(old, new, 1))
    lines = check(file, capsys)
    assert any(text.startswith(f"{file}:{line}: ") and words in text for text in lines), lines


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_no_config_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / f"{name}.yaml"
    file.write_bytes(WHOLE[name])
    assert check(file, capsys)


def test_a_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no file" in check(tmp_path / "absent.yaml", capsys)[0]


def test_all_problems_are_listed_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values, references and ids in one run, in the order of the lines."""
    text = VALID
    broken = [
        ("  site: north", "  siet: north"),
        ("    port: 8883", "    port: none"),
        ("        source: north-bus", "        source: nowhere"),
        ("  V-1:", "  P-001: {template: pump, variables: {bay: b7}}\n  V-1:"),
        ("  languages: [en, de]", "  languages: []"),
    ]
    for old, new in broken:
        text = text.replace(old, new, 1)
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    lines = check(file, capsys)
    numbers = [int(line.removeprefix(f"{file}:").partition(":")[0]) for line in lines]
    assert len(lines) == len(broken)
    assert numbers == sorted(numbers)


def test_one_mistake_is_one_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What refers to a thing that is there but broken is not blamed as well."""
    file = tmp_path / "broken.yaml"
    for old, new in [
        ("    host: broker.plant\n    port", "    port"),
        ("        unit: bar", "        unti: bar"),
        ("    signals:\n      pressure:", "    signals: 3\n    x:\n      pressure:"),
        ("sources:", "sources: 3\nsauces:"),
        ("templates:", "templates: 3\ntemplats:"),
    ]:
        file.write_text(VALID.replace(old, new, 1))
        lines = check(file, capsys)
        unknown = [line for line in lines if "unknown key" not in line]
        assert len(unknown) <= 1, lines


@pytest.mark.parametrize("wrong", ["3", "[a]", "text"])
def test_a_wrong_value_within_a_map_is_a_problem_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """A map of maps: the wrong one is read by the checks that follow, and must not end them."""
    file = tmp_path / "broken.yaml"
    file.write_text(
        "sources: {p: {type: mqtt, url: 'mqtt://127.0.0.1', subscribe: [{topic: 'a/{signal}'}]}}\n"
        "templates: {t: {signals: {x: {}}}}\n"
        f"assets: {{A: {{template: t, limits: {{x: {wrong}}}}}}}\n"
    )
    (line,) = [one for one in check(file, capsys) if "limits" in one]
    assert "takes a map of keys" in line
