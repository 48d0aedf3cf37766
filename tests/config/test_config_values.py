"""What a text in the file becomes, by the type of its field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from config_tables import PASSWORD, VALID, BusConfig, LogConfig, Mode, Tls, Topic, load
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.problem import ConfigErrors, Wrong
from edge_agent.config.scalars import (
    MAX_DURATION_S,
    MAX_SIZE,
    SIZES,
    is_name,
    to_duration,
    to_float,
    to_int,
    to_size,
)
from edge_agent.config.schema import AlarmRule, Config, Learn, Uncertain
from edge_agent.config.types import DURATIONS, Duration, Name, Secret, Size
from edge_agent.errors import ConfigError
from edge_agent.messages import Ne107
from edge_agent.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = [unit for unit in DURATIONS if unit]


@pytest.fixture
def of(tmp_path: Path) -> Callable[[str], Config]:
    """Call it with YAML for its Config; a source is there already."""

    def read(text: str) -> Config:
        file = tmp_path / "edge.yaml"
        file.write_text(f"sources: {{s: {{type: bus, host: h}}}}\n{text}")
        return load(file, files=False)

    return read


def test_every_field_of_the_valid_config(tmp_path: Path) -> None:
    """A struct is built to the last field, and relative paths start at their file."""
    file = tmp_path / "edge.yaml"
    file.write_text(VALID)
    config = load(file)
    north: object = config.sources[Name("north-bus")]
    assert north == BusConfig(
        host="broker.plant",
        port=8883,
        topics=(Topic("plant/{line}/{asset}/{signal}", 2), Topic("aux/#", 1)),
        mode=Mode.CAREFUL,
        tls=Tls(tmp_path / "ca.pem", verify=False),
        user="reader",
        password=Secret(env="BUS_PASSWORD"),
        headers={"X-Key": Secret(file=tmp_path / "key.txt")},
        keep_alive=Duration(30.0),
        buffer=Size(2 << 20),
        gain=2.5,
        band=(0.5, 1.5),
        weights={Name("a"): 1.0, Name("b"): 0.5},
        session=Name("edge-1"),
    )
    assert config.sinks == {"back": BusConfig("broker.plant"), "console": LogConfig()}
    pump = config.templates[Name("pump")]
    assert pump.signals[Name("pressure")].valid == (0.0, 16.0)
    assert pump.signals[Name("pressure")].uncertain is Uncertain.HOLD
    assert pump.models[0].alarm.message == {"en": "Pump wears"}
    assert config.alarms.flood_window == 600.0
    assert config.models_dir == tmp_path / "models"
    plant = Plant(config)
    assert list(plant.assets)[:2] == ["P-001", "P-002"]
    assert len(plant.assets) == 21
    assert plant.assets["P-007"].signals["pressure"].address == "l1/P-007/pressure/b7"


@pytest.mark.parametrize("text", ["no", "yes", "on", "1:30", "0123", "1e3", "0x1F", "2026-01-01"])
def test_text_stays_as_written(of: Callable[[str], Config], text: str) -> None:
    """What YAML 1.1 makes of it (false, 90, 83, a date), a text field never sees."""
    assert of(f"templates: {{t: {{signals: {{x: {{unit: {text}}}}}}}}}").templates[
        Name("t")
    ].signals[Name("x")].unit == (text)


@pytest.mark.parametrize("text", ["''", '""', "'~'", '"null"'])
def test_quoted_text_is_text_even_where_it_looks_like_nothing(
    of: Callable[[str], Config], text: str
) -> None:
    signal = of(f"templates: {{t: {{signals: {{x: {{unit: {text}}}}}}}}}").templates[Name("t")]
    assert signal.signals[Name("x")].unit == text[1:-1]


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_nothing_is_none_or_empty(of: Callable[[str], Config], nothing: str) -> None:
    """A section whose keys are all commented out is a section of defaults."""
    config = of(f"http: {nothing}\nsinks: {nothing}\nalarms: {{texts: {nothing}}}\n")
    assert config.http == Config().http
    assert config.sinks == {}
    assert config.alarms.texts is None


def test_learn_auto_is_a_word(of: Callable[[str], Config]) -> None:
    assert of("templates: {t: {learn: auto}}").templates[Name("t")].learn == Learn(auto=True)


def test_a_part_of_a_nested_struct_keeps_its_parents_defaults(
    of: Callable[[str], Config],
) -> None:
    """`quality_alarm` has defaults of its own, other than those of every other AlarmRule."""
    rule = of("templates: {t: {quality_alarm: {on_delay: 5s}}}").templates[Name("t")].quality_alarm
    assert rule == AlarmRule(severity=300, ne107=Ne107.CHECK_FUNCTION, on_delay=5.0)  # type: ignore[arg-type]


def test_aliases_and_merges_save_typing(of: Callable[[str], Config]) -> None:
    """An explicit key wins over a merged one, and the first of several merged maps wins."""
    config = of("""
templates:
  t:
    signals:
      a: &a {unit: bar, deadband: 1}
      b: *a
      c: {<<: *a, unit: mbar}
      d: &d {unit: K, stale_after: 5s}
      e: {<<: [*d, *a]}
""")
    signals = config.templates[Name("t")].signals
    assert signals[Name("b")] == signals[Name("a")]
    assert (signals[Name("c")].unit, signals[Name("c")].deadband) == ("mbar", 1.0)
    assert (
        signals[Name("e")].unit,
        signals[Name("e")].deadband,
        signals[Name("e")].stale_after,
    ) == (
        "K",
        1.0,
        5.0,
    )


def test_a_hosts_token_may_open_it(of: Callable[[str], Config]) -> None:
    config = of("http: {host: 0.0.0.0, token: {credential: http-token}}")
    assert config.http.token == Secret(credential="http-token")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_token(of: Callable[[str], Config], host: str) -> None:
    assert of(f"http: {{host: '{host}'}}").http.host == host


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    """Windows editors write one."""
    file = tmp_path / "edge.yaml"
    file.write_text(VALID, encoding="utf-8-sig")
    assert load(file).gateway.id == "gw-1"


def test_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_bytes(VALID.replace("\n", "\r\n").replace("port: 8883", "port: x").encode())
    with pytest.raises(ConfigErrors, match=r":9: sources\.north-bus\.port: "):
        load(file)


def test_errors_carry_their_problems(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(VALID.replace("port: 8883", "port: x").replace("[en, de]", "[]"))
    with pytest.raises(ConfigErrors) as caught:
        load(file)
    first, second = caught.value.problems
    assert (first.file, first.line) == (str(file), 9)
    assert first.key_path == "sources.north-bus.port"
    assert first.message == "'x' is not a whole number"
    assert second.hint == "alerts need at least one language: [en]"
    assert str(caught.value) == f"{first}\n{second}"
    assert caught.value.exit_code == 78


def test_a_secret_is_shown_by_its_place_only(
    of: Callable[[str], Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", PASSWORD)
    config = of("http: {token: {env: TOKEN}}")
    assert config.http.token is not None
    assert config.http.token.reveal() == PASSWORD
    assert PASSWORD not in repr(config)


@given(st.integers(0, 10**6), st.sampled_from(UNITS), st.sampled_from(["", " "]))
def test_durations_round_trip(count: int, unit: str, gap: str) -> None:
    seconds = count * DURATIONS[unit]
    if seconds > MAX_DURATION_S:
        with pytest.raises(Wrong):
            to_duration(f"{count}{gap}{unit}")
    else:
        assert to_duration(f"{count}{gap}{unit}") == pytest.approx(seconds)


@given(st.floats(0, MAX_DURATION_S, allow_subnormal=False).filter(lambda s: "e" not in repr(s)))
def test_plain_seconds_round_trip(seconds: float) -> None:
    assert to_duration(repr(seconds)) == seconds


def test_durations_by_hand() -> None:
    wanted = {"10s": 10, "500ms": 0.5, "5m": 300, "2h": 7200, "1d": 86400, "1.5h": 5400, "7": 7}
    assert {text: to_duration(text) for text in wanted} == wanted


@given(st.integers(0, MAX_SIZE))
def test_plain_bytes_round_trip(size: int) -> None:
    assert to_size(str(size)) == size


@given(st.integers(0, 1023), st.sampled_from(["KiB", "MiB", "GiB", "TiB", "kB", "MB", "GB", "TB"]))
def test_sizes_round_trip(count: int, unit: str) -> None:
    assert to_size(f"{count}{unit}") == count * SIZES[unit.lower()]


def test_sizes_by_hand() -> None:
    wanted = {"64MiB": 64 << 20, "1GB": 10**9, "1.5KiB": 1536, "512 kib": 512 << 10, "0": 0}
    assert {text: to_size(text) for text in wanted} == wanted


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_whole_numbers_round_trip(number: int) -> None:
    assert to_int(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_trip(number: float) -> None:
    assert to_float(repr(number)) == number


@given(st.text(max_size=70))
def test_a_name_is_safe_wherever_it_goes(text: str) -> None:
    """A topic level, a file name, a metric label: no separator, no wildcard, no dot first."""
    if is_name(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set("/\\#+ \"'{}$*:")
        assert text[0].isalnum()
        assert Path(text).name == text


def test_a_name_ends_where_it_ends() -> None:
    """A regular expression's `$` would let a line feed through."""
    assert not is_name("a\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"s3cret",
        b"s3cret\r\n",
        b"\xef\xbb\xbfs3cret\r\n",
        "s3cret\r\n".encode("utf-16"),
        b"\xfe\xff" + "s3cret\n".encode("utf-16-be"),
    ],
)
def test_a_secret_from_a_windows_editor_is_the_same_secret(tmp_path: Path, raw: bytes) -> None:
    """A byte order mark in a password is "not authorized", and no human eye can see it."""
    file = tmp_path / "secret.txt"
    file.write_bytes(raw)
    assert Secret(file=file).reveal() == "s3cret"


@pytest.mark.parametrize("raw", [b"s3cr\xe9t", b"\xff\xfes"])
def test_a_secret_that_is_no_text_is_refused_without_showing_it(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "secret.txt"
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match="not UTF-8 text") as caught:
        Secret(file=file).reveal()
    assert "s3cr" not in str(caught.value)


def test_a_byte_order_mark_in_an_environment_variable_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "\ufeffs3cret")
    assert Secret(env="TOKEN").reveal() == "s3cret"
