"""Recordings of waveforms: WAV, NPY and text become blocks in order of time, or our error."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_replay_recording import NOON_US, make_plant

from edge_agent.config.schema import Kind, Signal
from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.config import ReplayConfig
from edge_agent.sources.replay.playback import Playback
from edge_agent.sources.replay.wave_recording import named_time_us
from edge_agent.sources.replay.wave_text import PIECE
from edge_agent.values import Columns, TensorBlock

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.plant import Plant

NOON = "2026-01-01T12:00:00Z"
RATE = 1000.0
WAVE = Signal(kind=Kind.WAVEFORM, rate_hz=RATE)
SAMPLES = (0.5 * np.sin(np.arange(400) / 7)).astype(np.float32)
_SIZE = {8: 1, 16: 2, 24: 3, 32: 4}


def wav(samples: np.ndarray, bits: int = 16, *, rate: int = 1000, tag: int = 1) -> bytes:
    """A WAV file of samples [n] or [n, channels] between -1 and 1; tag 3: float."""
    table = samples.reshape(len(samples), -1)
    if tag == 3:
        data = table.astype("<f4" if bits == 32 else "<f8").tobytes()
    elif bits == 8:
        data = (np.round(table * 128) + 128).clip(0, 255).astype(np.uint8).tobytes()
    else:
        whole = np.round(table.astype(float) * (1 << (bits - 1)))
        wide = np.clip(whole, -(1 << (bits - 1)), (1 << (bits - 1)) - 1).astype("<i4")
        data = wide.view(np.uint8).reshape(-1, 4)[:, : _SIZE[bits]].tobytes()
    channels = table.shape[1]
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    body = b"fmt " + struct.pack("<I", len(form)) + form
    body += b"LIST" + struct.pack("<I", 3) + b"odd\0"
    body += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def one_wave() -> Plant:
    return make_plant("P1", vibration=WAVE)


def play(path: Path, plant: Plant | None = None, **options: Any) -> tuple[Playback, list[Any]]:
    playback = Playback(ReplayConfig(path, **options), plant or one_wave(), quiet=True)
    return playback, list(playback.readings())


def joined(blocks: list[TensorBlock]) -> np.ndarray:
    return np.concatenate([block.samples for block in blocks])


def ends(blocks: list[TensorBlock]) -> list[float]:
    """The times of the blocks' last samples, in seconds after noon."""
    return [round((block.end_us - NOON_US) / 1e6, 6) for block in blocks]


@pytest.mark.parametrize(
    ("bits", "tag", "off"),
    [(8, 1, 1 / 128), (16, 1, 1e-4), (24, 1, 1e-6), (32, 1, 1e-7), (32, 3, 0), (64, 3, 0)],
)
def test_a_wav_of_any_format_has_its_rate_and_full_scale_one(
    tmp_path: Path, bits: int, tag: int, off: float
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(SAMPLES, bits, rate=2000, tag=tag))
    playback, (block,) = play(path, start=NOON)
    assert block.rate_hz == 2000
    assert np.abs(block.samples - SAMPLES).max() <= off
    assert ends([block]) == [0.1995]
    assert (playback.n_values, playback.rejected) == (1, {})
    assert playback.position == playback.total_bytes


def test_a_long_file_is_read_in_pieces_without_a_gap(tmp_path: Path) -> None:
    """A day of samples does not fit in memory."""
    samples = np.arange(3 * PIECE + 5, dtype=np.float32) / (4 * PIECE)
    (tmp_path / "a.wav").write_bytes(wav(samples, 32, tag=3))
    np.save(tmp_path / "a.npy", samples)
    for name in ("a.wav", "a.npy"):
        _, blocks = play(tmp_path / name, start=NOON)
        assert [len(block.samples) for block in blocks] == [PIECE, PIECE, PIECE, 5]
        assert joined(blocks).tolist() == samples.tolist()
        begins = [block.end_us - (len(block.samples) - 1) * 1000 for block in blocks]
        assert begins[1:] == [block.end_us + 1000 for block in blocks[:-1]]


def test_channels_are_signals_by_number(tmp_path: Path) -> None:
    plant = make_plant("P1", x=WAVE, y=WAVE)
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.stack([SAMPLES, -SAMPLES], axis=1), 32, tag=3))
    with pytest.raises(EdgeAgentError, match=r"not clear which is which \(--columns x=1,y=2"):
        play(path, plant, start=NOON)
    _, blocks = play(path, plant, start=NOON, columns={"x": "2", "y": "1"})
    assert [block.signal for block in blocks] == [0, 1]
    assert np.array_equal(blocks[0].samples, -SAMPLES)
    with pytest.raises(EdgeAgentError, match="no channel '3'"):
        play(path, plant, start=NOON, columns={"x": "3"})


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("P1_20260101T120003Z.wav", 3),
        ("2026.01.01.12.00.03", 3),
        ("vib_2026-01-01_12-00-03.250.npy", 3.25),
        ("1767268803.wav", 3),
        ("x-1767268803500.wav", 3.5),
        ("run7.wav", None),
        ("20260101T120000Z-20260101T120003Z.wav", None),
        ("20269901T120003Z.wav", None),
    ],
)
def test_the_time_of_a_file_is_in_its_name(
    tmp_path: Path, name: str, seconds: float | None
) -> None:
    found = named_time_us(tmp_path / name, "UTC")
    assert found == (None if seconds is None else NOON_US + round(seconds * 1e6))


def test_a_time_in_a_name_without_zone_is_in_the_zone_of_the_recording(tmp_path: Path) -> None:
    found = named_time_us(tmp_path / "20260101_130003.wav", "Europe/Berlin")
    assert found == NOON_US + 3_000_000


def test_files_of_a_folder_follow_by_time_and_several_sensors_alternate(tmp_path: Path) -> None:
    """The names of the files, or of their folders, contain the signals."""
    plant = make_plant("P1", drive_end=WAVE, fan_end=WAVE)
    for second in (2, 0, 1):
        for at, name in enumerate(("drive_end", "fan-end")):
            path = tmp_path / f"{name} 2026-01-01 12.00.0{second}.npy"
            np.save(path, SAMPLES + second + 10 * at)
    _, blocks = play(tmp_path, plant)
    assert [(b.signal, round(float(b.samples[0]))) for b in blocks] == [
        (0, 0), (1, 10), (0, 1), (1, 11), (0, 2), (1, 12)
    ]  # fmt: skip
    assert ends(blocks) == [0.399, 0.399, 1.399, 1.399, 2.399, 2.399]


def test_without_times_files_follow_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """`--interval` sets the time from one to the next; without one there is no gap."""
    for n in (10, 9, 8):
        np.save(tmp_path / f"run{n}.npy", SAMPLES + n)
    with pytest.raises(EdgeAgentError, match=r"contains no time \(give the time of the first"):
        play(tmp_path)
    _, blocks = play(tmp_path, start=NOON, interval=600.0)
    assert [round(float(b.samples[0])) for b in blocks] == [8, 9, 10]
    assert ends(blocks) == [0.399, 600.399, 1200.399]
    _, blocks = play(tmp_path, start=NOON)
    assert ends(blocks) == [0.399, 0.799, 1.199]


def test_an_array_of_blocks_is_a_block_a_row(tmp_path: Path) -> None:
    np.save(tmp_path / "1767268800.npy", np.stack([SAMPLES, SAMPLES * 2]).astype(np.float64))
    _, blocks = play(tmp_path / "1767268800.npy", interval=60.0)
    assert ends(blocks) == [0.399, 60.399]
    assert np.array_equal(blocks[1].samples, 2 * SAMPLES)
    np.save(tmp_path / "a.npy", (SAMPLES * 1000).astype(np.int16))
    _, (block,) = play(tmp_path / "a.npy", start=NOON, rate_hz=50.0)
    assert (block.rate_hz, block.samples[3]) == (50.0, (SAMPLES * 1000).astype(np.int16)[3])


ROWS_ = "\n".join(",".join(f"{v:.6f}" for v in SAMPLES[n : n + 100]) for n in (0, 100, 200, 300))


def test_a_row_of_a_text_is_a_block(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# from the logger\n" + ROWS_ + "\n")
    _, blocks = play(path, waves="rows", start=NOON, interval=1.0)
    assert ends(blocks) == [0.099, 1.099, 2.099, 3.099]
    assert np.allclose(joined(blocks), SAMPLES, atol=1e-6)


def test_rows_may_have_a_time_and_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"2026-01-01T12:00:0{n}Z;{row.replace(',', ';').replace('.', ',')}"
             for n, row in enumerate(ROWS_.split("\n"))]  # fmt: skip
    path.write_text("time;" + ";".join(map(str, range(100))) + "\n" + "\n".join(lines))
    _, blocks = play(path, waves="rows")
    assert ends(blocks) == [0.099, 1.099, 2.099, 3.099]
    assert np.allclose(joined(blocks), SAMPLES, atol=1e-6)


def test_a_column_of_a_text_is_a_signal(tmp_path: Path) -> None:
    """Also without header, by number, as the bearing sets of NASA are written."""
    plant = make_plant("P1", x=WAVE, y=WAVE)
    path = tmp_path / "2026.01.01.12.00.00"
    path.write_text("".join(f"{a:.4f}\t{-a:.4f}\n" for a in SAMPLES))
    _, blocks = play(path, plant, waves="columns", columns={"y": "2"})
    assert [b.signal for b in blocks] == [1]
    assert np.allclose(joined(blocks), -SAMPLES, atol=1e-4)
    path.write_text("t,X [g],Y [g]\n" + "".join(f"{NOON},{a},{-a}\n" for a in SAMPLES))
    _, blocks = play(path, plant, waves="columns", start=NOON)
    assert [b.signal for b in blocks] == [0, 1]


def said(playback: Playback) -> str:
    return " ".join(map(str, playback.report.findings()))


def test_a_sample_that_is_no_number_costs_its_block_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = ROWS_.split("\n")
    rows[2] = rows[2].replace(",", ",bad,", 1)
    path.write_text("\n".join(rows))
    playback, blocks = play(path, waves="rows", start=NOON)
    assert ends(blocks) == [0.099, 0.199, 0.4]
    assert "not a number in 1 of 1 rows, such as 'bad' in a.csv, line 3" in said(playback)
    assert playback.rejected == {"number": 1, "samples": 1}


def test_a_damaged_file_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a1.npy", SAMPLES)
    (tmp_path / "a2.wav").write_bytes(wav(SAMPLES)[:30])
    playback, blocks = play(tmp_path, start=NOON)
    assert len(blocks) == 1
    assert "a2.wav: the WAV file has" in said(playback)
    assert playback.rejected == {"file": 1}
    (tmp_path / "a1.npy").unlink()
    with pytest.raises(EdgeAgentError, match=r"a2.wav: the WAV file has"):
        play(tmp_path, start=NOON)


def test_a_file_cut_short_is_read_up_to_its_end(tmp_path: Path) -> None:
    """A recorder that lost power never wrote the size."""
    whole = wav(SAMPLES, 16)
    at = whole.index(b"data") + 4
    for size in (b"\0\0\0\0", b"\xff\xff\xff\xff", whole[at : at + 4]):
        (tmp_path / "a.wav").write_bytes(whole[:at] + size + whole[at + 4 : -101])
        _, (block,) = play(tmp_path / "a.wav", start=NOON)
        assert np.allclose(block.samples, SAMPLES[:349], atol=1e-4)


def test_values_and_waveforms_come_in_one_order_of_time(tmp_path: Path) -> None:
    plant = make_plant("P1", speed=Signal(), vibration=WAVE)
    stamps = "".join(f"{1767268800 + n},{1000 + n}\n" for n in range(4))
    (tmp_path / "speed.csv").write_text("time,speed\n" + stamps)
    np.save(tmp_path / "1767268800.npy", np.stack([SAMPLES] * 3))
    _, found = play(tmp_path / "*", plant, interval=1.0, asset="P1")
    order = [one.value.tolist() if isinstance(one, Columns) else "block" for one in found]
    assert order == [[1000], "block", [1001], "block", [1002], "block", [1003]]


@pytest.mark.parametrize(
    ("plant", "options", "says"),
    [
        (make_plant("P1", flow=Signal()), {"asset": "P1"}, "P1 has no waveform signal"),
        (make_plant("P1", "P2", vibration=WAVE), {}, r"it may belong to 2 assets \(--asset NAME"),
        (one_wave(), {"asset": "P9"}, "the plant has no asset 'P9'"),
        (make_plant("P1", vibration=Signal(kind=Kind.WAVEFORM)), {}, r"not known \(--rate 12000"),
    ],
)
def test_what_a_file_belongs_to_is_never_guessed(
    tmp_path: Path, plant: Plant, options: dict[str, Any], says: str
) -> None:
    np.save(tmp_path / "a.npy", SAMPLES)
    with pytest.raises(EdgeAgentError, match=says):
        play(tmp_path / "a.npy", plant, start=NOON, **options)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.zeros((3, 4, 5)), "shape"),
        (np.zeros((500, 2)), "each sensor in its own file"),
        (np.zeros(40, complex), "complex128 is no waveform"),
        (np.array([{}], object), "cannot read the array"),
    ],
)
def test_an_array_that_is_no_waveform_is_refused(
    tmp_path: Path, content: np.ndarray, says: str
) -> None:
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    with pytest.raises(EdgeAgentError, match=says):
        play(tmp_path / "a.npy", start=NOON)


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(
        [b"", b"RIFF....WAVE", wav(SAMPLES[:20]), b"\x93NUMPY\x01\x00v\x00{'descr"]
    ),
    at=st.integers(0, 120),
    tail=st.binary(max_size=200),
    waves=st.sampled_from(["", "rows", "columns"]),
)
def test_any_bytes_become_samples_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, at: int, tail: bytes, waves: str
) -> None:
    """Whatever a file contains: blocks of finite numbers in order, refusals, or EdgeAgentError."""
    path = tmp_path_factory.mktemp("any") / "1767268800.wav"
    path.write_bytes(start[:at] + tail)
    try:
        _, found = play(path, waves=waves)
    except EdgeAgentError:
        return
    for block in found:
        assert isinstance(block, TensorBlock)
        assert block.samples.dtype == np.float32
        assert np.isfinite(block.samples).all()
    assert [b.end_us for b in found] == sorted(b.end_us for b in found)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60),
    flips=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_array_becomes_samples_or_our_error(
    tmp_path_factory: pytest.TempPathFactory,
    samples: list[float],
    flips: list[tuple[int, int]],
) -> None:
    """A few bytes of a sound NPY file are changed."""
    path = tmp_path_factory.mktemp("any") / "1767268800.npy"
    np.save(path, np.array(samples, np.float32))
    raw = bytearray(path.read_bytes())
    for at, byte in flips:
        raw[at % len(raw)] = byte
    path.write_bytes(raw)
    try:
        _, found = play(path)
    except EdgeAgentError:
        return
    assert all(np.isfinite(block.samples).all() for block in found)
