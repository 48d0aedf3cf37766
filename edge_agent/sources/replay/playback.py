"""Plays a recording of any files as one stream in order of time: values and waveforms."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.mqtt_recording import MqttRecording, is_mqtt_file
from edge_agent.sources.replay.recording import Recording, find_files
from edge_agent.sources.replay.wave_files import is_wave_file
from edge_agent.sources.replay.wave_recording import WaveRecording
from edge_agent.values import Columns, TensorBlock

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from edge_agent.config.types import Name
    from edge_agent.plant import Plant
    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.report import Report

_WAVE_ENDINGS: Final = (".wav", ".npy")


class Playback:
    """All files of a replay config; those with values and those with waveforms may be mixed.

    source: only signals of this source; None for any source. quiet: refused rows are not logged:
    the caller reports `report`. sources: of the config, which decode recorded MQTT messages.
    """

    def __init__(
        self,
        config: ReplayConfig,
        plant: Plant,
        source: str | None = None,
        *,
        quiet: bool = False,
        sources: Mapping[Name, object] | None = None,
    ) -> None:
        waves, tables = split_files(config)
        messages = [path for path in tables if is_mqtt_file(path)]
        if messages and len(messages) < len(tables) + len(waves):
            hint = f"replay them separately from {messages[0].name}"
            raise EdgeAgentError("other files than MQTT", where=str(config.path), hint=hint)
        tables = [] if messages else tables
        self._tables = Recording(config, plant, source, quiet=quiet, paths=tables)
        self._waves = WaveRecording(config, plant, source, waves, self._tables.counter)
        count = self._tables.counter
        self._messages = MqttRecording(plant, sources or {}, messages, count)
        self.total_bytes = sum(path.stat().st_size for path in (*waves, *messages))
        self.total_bytes += self._tables.total_bytes

    @property
    def position(self) -> int:
        """Bytes read so far, of `total_bytes`."""
        return self._tables.position + self._waves.position + self._messages.position

    @property
    def n_values(self) -> int:
        """Values and blocks read so far."""
        return self._tables.n_values + self._waves.n_blocks + self._messages.n_values

    @property
    def report(self) -> Report:
        """What the files hold that is no data, by column and cause."""
        return self._tables.report

    @property
    def n_rows(self) -> int:
        """Rows of tables read so far."""
        return self._tables.n_rows

    def causes(self) -> dict[int, str]:
        """Why signals have no value; see `Recording`."""
        return self._tables.causes()

    def without_column(self) -> list[str]:
        """Signals of the recorded assets without a column; see `Recording`."""
        return self._tables.without_column()

    @property
    def rejected(self) -> dict[str, int]:
        """Rows, cells or blocks refused, by reason."""
        return self.report.by_reason()

    def readings(self) -> Iterator[Columns | TensorBlock]:
        """Values, at most 4096 together, and blocks, in order of time; see `Recording.blocks`."""
        with closing(self.steps()) as steps:
            yield from (one for one in steps if isinstance(one, TensorBlock) or len(one))

    def steps(self) -> Generator[Columns | TensorBlock]:
        """Like `readings`, with empty values at which the caller may do other work."""
        with closing(self._waves.blocks()) as blocks, closing(self._tables.steps()) as tables:
            block = next(blocks, None)
            for found in tables:
                values = found
                while block is not None and len(values) and block.end_us <= values.time_us[-1]:
                    n = int(np.searchsorted(values.time_us, block.end_us, "right"))
                    yield values.slice(0, n)
                    yield block
                    values, block = values.slice(n), next(blocks, None)
                yield values
            if block is not None:
                yield block
            yield from blocks
            yield from self._messages.readings()


def split_files(config: ReplayConfig) -> tuple[list[Path], list[Path]]:
    """The files with waveforms, and those with tables of values; EdgeAgentError if none."""
    if config.path.is_dir():
        found = [path for path in config.path.iterdir() if path.suffix.lower() in _WAVE_ENDINGS]
        if config.waves:
            found = [path for path in config.path.iterdir() if path.is_file()]
        if not found:
            hint = f"write {config.path / '*.csv'}"
            raise EdgeAgentError(
                "is a folder without .wav or .npy", where=str(config.path), hint=hint
            )
        return sorted(found), []
    files = find_files(config.path)
    waves = [path for path in files if config.waves or is_wave_file(path)]
    return waves, [path for path in files if path not in set(waves)]
