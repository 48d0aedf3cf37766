"""Reads the waveform files of a recording as one stream of blocks in order of time."""

from __future__ import annotations

import heapq
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import Kind
from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.labels import plain_name
from edge_agent.sources.replay.moments import iso_moment
from edge_agent.sources.replay.wave_files import open_wave
from edge_agent.sources.replay.zone import LocalTime, find_zone
from edge_agent.values import TensorBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from edge_agent.plant import Plant, PlantAsset, PlantSignal
    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Reject
    from edge_agent.sources.replay.wave_text import Piece, WaveFile

log = logging.getLogger("edge_agent.sources")

_NAMED_TIME: Final = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[T_ .-]?(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)"
    r"(?:[.,_](\d{1,6}))?(Z)?(?!\d)"
)
_NAMED_EPOCH: Final = re.compile(r"(?<!\d)(?:1\d{9}|1\d{12}|1\d{15})(?!\d)")
_TOKEN: Final = re.compile(r"[^\W_]+")
_DIGITS: Final = re.compile(r"(\d+)")
_RATE_TOLERANCE: Final = 0.005
_MAX_FILES: Final = 200_000
_HOW_TIMES: Final = "give the time of the first: --start 2026-11-26T18:00:00Z (start)"


@dataclass(frozen=True, slots=True)
class _Described:
    """A file whose head was read: the signal of each of its used channels, and its begin.

    begin_us: None if the previous file's end, or the time in its rows, is its begin.
    """

    path: Path
    channels: tuple[int, ...]
    signals: tuple[PlantSignal, ...]
    rate_hz: float
    begin_us: int | None


@dataclass(slots=True)
class _Cursor:
    """The time of the next sample of a stream, and the begin of its block; None if not known."""

    next_us: float | None
    block_us: float | None = None

    def begin(self, at_us: float | None, interval_s: float | None) -> float | None:
        """A block begins at this time; None: an interval after, or at the end of, the last one."""
        if at_us is not None:
            self.next_us = at_us
        elif interval_s is not None and self.block_us is not None:
            self.next_us = self.block_us + interval_s * US_PER_S
        self.block_us = self.next_us
        return self.block_us

    def advance(self, samples: int, rate_hz: float) -> float:
        """Samples of the block follow; returns the time of the last one."""
        first_us = self.next_us or 0.0
        self.next_us = first_us + samples * US_PER_S / rate_hz
        return first_us + (samples - 1) * US_PER_S / rate_hz


@dataclass(slots=True)
class WaveRecording:
    """The waveform files of a replay config. counter: counts what is refused in a file.

    Each file belongs to one or several signals. Files of the same signals follow each other by
    time; a few thousand samples of each signal are in memory at a time.
    """

    config: ReplayConfig
    plant: Plant
    source: str | None
    paths: Sequence[Path]
    counter: Callable[[Path], Reject]
    n_blocks: int = 0
    position: int = 0
    _files: list[_Described] = field(default_factory=list)

    def blocks(self) -> Generator[TensorBlock]:
        """All blocks in order of time; EdgeAgentError if no file can be read."""
        self._describe()
        streams: dict[tuple[int, ...], list[_Described]] = {}
        for one in self._files:
            streams.setdefault(tuple(s.index for s in one.signals), []).append(one)
        readers = [self._stream(sorted(files, key=_begin)) for files in streams.values()]
        yield from heapq.merge(*readers, key=lambda block: block.end_us)

    # -- what each file is ----------------------------------------------------------------------

    def _describe(self) -> None:
        """Read the heads of all files; one that is damaged is refused, unless all are."""
        if len(self.paths) > _MAX_FILES:
            raise EdgeAgentError(f"more than {_MAX_FILES} waveform files", hint="join some")
        failed: list[EdgeAgentError] = []
        for path in sorted(self.paths, key=_natural):
            try:
                with open_wave(path, self.config, _ignored) as file:
                    self._files.append(self._described(file))
            except _FileError as error:
                raise EdgeAgentError(error.message, where=error.where, hint=error.hint) from None
            except EdgeAgentError as error:
                failed.append(error)
                self.counter(path)("file", 1, 0, "", error.message)
        if failed and not self._files:
            raise failed[0]

    def _described(self, file: WaveFile) -> _Described:
        asset = self._asset_of(file.path)
        chosen = self._choose(file, asset)
        rates = {file.rate_hz or self.config.rate_hz or s.config.rate_hz for s in chosen.values()}
        rate_hz = next(iter(rates))
        if len(rates) > 1 or not rate_hz:
            raise _FileError(
                "its samples per second are not known", file.path, "--rate 12000 (rate_hz)"
            )
        for signal in chosen.values():
            _compare_rate(file, signal, rate_hz)
        begin_us = None if self.config.start else named_time_us(file.path, self.config.timezone)
        return _Described(file.path, tuple(chosen), tuple(chosen.values()), rate_hz, begin_us)

    def _asset_of(self, path: Path) -> PlantAsset:
        """The asset of a file: the config's, one that the path names, or the only one."""
        wanted = self.config.asset.replace("{stem}", path.name.split(".")[0])
        if wanted:
            found = self.plant.assets.get(wanted)
            if found is None and self.config.template:
                found = self.plant.discover(wanted, self.config.template)
            if found is None:
                hint = "name it in `assets`, or give the source a `template`"
                raise _FileError(f"the plant has no asset {wanted!r}", path, hint)
            return found
        able = [asset for asset in self.plant.assets.values() if self._waves_of(asset)]
        named = [one for one in able if one.id in path.parts or _names(path, one.id)]
        if len(named or able) != 1:
            raise _FileError(
                f"it may belong to {len(named or able)} assets", path, "--asset NAME (asset)"
            )
        return (named or able)[0]

    def _waves_of(self, asset: PlantAsset) -> dict[str, PlantSignal]:
        return {
            name: signal
            for name, signal in asset.signals.items()
            if signal.config.kind is Kind.WAVEFORM and self.source in {None, signal.source}
        }

    def _choose(self, file: WaveFile, asset: PlantAsset) -> dict[int, PlantSignal]:
        """The signal of each channel that is used, by the number of the channel."""
        waves = self._waves_of(asset)
        if not waves:
            hint = "give it one: `vibration: {kind: waveform, rate_hz: 12000}`"
            raise _FileError(f"{asset.id} has no waveform signal", file.path, hint)
        told = {s: self.config.columns[s] for s in self.config.columns if s in waves}
        if told:
            return {_channel(file, told[name]): waves[name] for name in told}
        plain = [plain_name(name) for name in file.channels]
        by_name = {
            plain.index(plain_name(n)): s for n, s in waves.items() if plain_name(n) in plain
        }
        if by_name:
            return by_name
        in_path = [signal for name, signal in waves.items() if _names(file.path, name)]
        fits = in_path or list(waves.values())
        if len(file.channels) == 1 and len(fits) == 1:
            return {0: fits[0]}
        example = ",".join(f"{name}={n}" for n, name in enumerate(list(waves)[:3], 1))
        raise _FileError(
            f"{len(file.channels)} channels and {len(fits)} waveforms of {asset.id} "
            f"({', '.join(waves)}): it is not clear which is which",
            file.path,
            f"--columns {example} (columns)",
        )

    # -- samples --------------------------------------------------------------------------------

    def _stream(self, files: Sequence[_Described]) -> Iterator[TensorBlock]:
        """The blocks of some files of the same signals, one after the other."""
        start = self.config.start
        cursor = _Cursor(time_of(start, self.config.timezone) if start else None)
        for one in files:
            seen, at_us = 0, one.begin_us
            with open_wave(one.path, self.config, self.counter(one.path)) as file:
                for piece in file.pieces:
                    self.position += file.position() - seen
                    seen = file.position()
                    if piece.begins:
                        self._begin(piece, one, cursor, at_us)
                        at_us = None
                    yield from self._blocks_of(piece, one, cursor)
            self.position += one.path.stat().st_size - seen

    def _begin(self, piece: Piece, one: _Described, cursor: _Cursor, at_us: float | None) -> None:
        """Begin a block at its own time, at `at_us`, or after the block before."""
        if piece.time and not self.config.start:
            try:
                at_us = time_of(piece.time, self.config.timezone)
            except (ValueError, OverflowError):
                cursor.block_us = None
                self.counter(one.path)("time", 1, piece.line, "", piece.time)
                return
        if cursor.begin(at_us, self.config.interval) is None:
            raise EdgeAgentError("it contains no time", where=str(one.path), hint=_HOW_TIMES)

    def _blocks_of(self, piece: Piece, one: _Described, cursor: _Cursor) -> Iterator[TensorBlock]:
        """A piece as one block of each signal; nothing if the time of its block is not known."""
        if cursor.block_us is None or not len(piece.samples):
            return
        end_us = round(cursor.advance(len(piece.samples), one.rate_hz))
        for channel, signal in zip(one.channels, one.signals, strict=True):
            samples = np.ascontiguousarray(piece.samples[:, channel])
            if np.isfinite(samples).all():
                self.n_blocks += 1
                yield TensorBlock(signal.index, end_us, one.rate_hz, samples)
            else:
                self.counter(one.path)("samples", 1, piece.line, signal.name, "")


class _FileError(EdgeAgentError):
    """A file does not match the config: no other file will."""

    def __init__(self, message: str, path: Path, hint: str) -> None:
        super().__init__(message, where=str(path), hint=hint)


def _ignored(reason: str, n: int, line: int, column: str, cell: str) -> None:
    """Heads are read twice; the second time counts."""


def _begin(one: _Described) -> int:
    return one.begin_us or 0


def _channel(file: WaveFile, wanted: str) -> int:
    if wanted in file.channels:
        return file.channels.index(wanted)
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(file.channels):
        return int(wanted) - 1
    known = ", ".join(file.channels[:20])
    raise _FileError(f"no channel {wanted!r}", file.path, f"its channels: {known}")


def _compare_rate(file: WaveFile, signal: PlantSignal, rate_hz: float) -> None:
    told = signal.config.rate_hz
    if told and abs(told - rate_hz) > _RATE_TOLERANCE * told:
        extra = {"file": str(file.path), "signal": signal.name, "file_hz": rate_hz}
        log.warning("a waveform has another rate than its signal", extra={**extra, "hz": told})


def _names(path: Path, name: str) -> bool:
    """True if a file or its folder has this name as a word."""
    words = [plain_name(word) for part in path.parts[-2:] for word in _TOKEN.findall(part)]
    wanted = [plain_name(word) for word in _TOKEN.findall(name)]
    pairs = range(len(words) - len(wanted) + 1)
    return bool(wanted) and any(words[at : at + len(wanted)] == wanted for at in pairs)


def _natural(path: Path) -> list[tuple[int, str]]:
    """The order of file names in which 10 follows 9."""
    parts = _DIGITS.split(str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def named_time_us(path: Path, timezone: str) -> int | None:
    """The time in a file's name, in microseconds; None if there is none, or several."""
    times = [found.groups() for found in _NAMED_TIME.finditer(path.name)]
    if len(times) == 1:
        year, month, day, hour, minute, second, fraction, utc = times[0]
        text = f"{year}-{month}-{day}T{hour}:{minute}:{second}.{(fraction or '0').ljust(6, '0')}"
        try:
            return time_of(text + (utc or ""), timezone)
        except ValueError:
            return None
    counts = _NAMED_EPOCH.findall(path.name)
    return time_of(counts[0], timezone) if len(counts) == 1 and not times else None


def time_of(text: str, timezone: str) -> int:
    """The time in a text: ISO 8601, or s, ms or µs since 1970; ValueError if it is none."""
    text = text.strip()
    if _NAMED_EPOCH.fullmatch(text.partition(".")[0]):
        number = float(text)
        whole = len(text.partition(".")[0])
        return round(number * 10.0 ** (16 - whole))
    moment = iso_moment(text)
    if moment & 1:
        return moment >> 1
    found, never = LocalTime(find_zone(timezone)).to_utc(np.array([moment >> 1], np.int64))
    if never[0]:
        raise ValueError(text)
    return int(found[0])
