"""Opens waveform files: WAV, NPY, and text with blocks of samples, which `wave_text` reads.

A WAV's whole numbers are parts of full scale, -1 to 1; numbers of NPY and text are used unchanged.
"""

from __future__ import annotations

import struct
import tokenize
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.wave_text import (
    MAX_BLOCK,
    PIECE,
    Piece,
    WaveFile,
    as_floats,
    open_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Reject

    Floats = NDArray[np.float32]

_LEAST_BLOCK: Final = 16
_MAX_CHANNELS: Final = 256
_MAX_CHUNK: Final = 1 << 16  # bytes of a WAV's format
_NO_SIZE: Final = 0xFFFF_FFFF
_ALL: Final = 1 << 60
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_NPY: Final = b"\x93NUMPY"
_RIFF: Final = (b"RIFF", b"RF64")
# What numpy raises on a damaged header.
_BROKEN_NPY: Final = (
    ValueError,
    TypeError,
    EOFError,
    OSError,
    OverflowError,
    SyntaxError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)


def is_wave_file(path: Path) -> bool:
    """True for a WAV or NPY file, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_NPY) or (head[:4] in _RIFF and head[8:] == b"WAVE")


@contextmanager
def open_wave(path: Path, config: ReplayConfig, reject: Reject) -> Iterator[WaveFile]:
    """Open a waveform file; EdgeAgentError if it is none, with the reason."""
    if not is_wave_file(path):
        with open_text(path, config, reject) as found:
            yield found
        return
    try:
        raw = path.open("rb")
    except OSError as error:
        raise EdgeAgentError(f"cannot read: {error.strerror}", where=str(path)) from error
    with raw:
        is_array = raw.read(len(_NPY)) == _NPY
        yield _npy(path) if is_array else _wav(path, raw)


# -- WAV ---------------------------------------------------------------------------------------


class _Format(NamedTuple):
    tag: int
    channels: int
    rate_hz: int
    align: int
    bits: int


def _wav(path: Path, raw: IO[bytes]) -> WaveFile:
    """RIFF chunks up to the data: Multimedia Programming Interface and Data Specifications 1.0."""
    raw.seek(12)
    form: _Format | None = None
    while len(head := raw.read(8)) == 8:  # noqa: PLR2004 (a chunk's name and size)
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data":
            break
        if name == b"fmt " and size <= _MAX_CHUNK:
            form = _format(path, raw.read(size))
            raw.seek(size & 1, 1)
        else:
            raw.seek(size + (size & 1), 1)
    else:
        raise EdgeAgentError("the WAV file has no data", where=str(path), hint="record it again")
    if form is None:
        raise EdgeAgentError("the WAV file has no format before its data", where=str(path))
    # A recorder that was switched off leaves 0 or the largest number as size.
    frames = size // form.align if 0 < size < _NO_SIZE else _ALL
    names = tuple(str(number) for number in range(1, form.channels + 1))
    return WaveFile(path, form.rate_hz, names, _wav_pieces(raw, form, frames), raw.tell)


def _format(path: Path, raw: bytes) -> _Format:
    try:
        tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", raw)
    except struct.error as error:
        raise EdgeAgentError("the WAV file has a damaged format", where=str(path)) from error
    if tag == _EXTENSIBLE and len(raw) >= 26:  # noqa: PLR2004 (up to the sub-format)
        tag = int.from_bytes(raw[24:26], "little")
    if (tag, bits) not in _SAMPLES:
        raise EdgeAgentError(
            f"WAV format {tag} with {bits} bits is not supported",
            where=str(path),
            hint="save it as PCM of 8, 16, 24 or 32 bits, or as float",
        )
    if not 1 <= channels <= _MAX_CHANNELS or align != channels * bits // 8 or not rate:
        raise EdgeAgentError(
            f"the WAV file has a damaged format: {channels} channels, {rate} Hz", where=str(path)
        )
    return _Format(tag, channels, rate, align, bits)


def _wav_pieces(raw: IO[bytes], form: _Format, frames: int) -> Iterator[Piece]:
    begins = True
    while frames > 0:
        data = raw.read(min(PIECE, frames) * form.align)
        data = data[: len(data) - len(data) % form.align]
        if not data:
            return
        samples = _SAMPLES[form.tag, form.bits](data).reshape(-1, form.channels)
        frames -= len(samples)
        yield Piece(samples, begins)
        begins = False


def _of_24_bits(data: bytes) -> Floats:
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return _of_ints(wide.tobytes(), "<i4", 31)


def _of_ints(data: bytes, dtype: str, bits: int) -> Floats:
    return (np.frombuffer(data, dtype) / float(1 << bits)).astype(np.float32)


def _of_bytes(data: bytes) -> Floats:
    return (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / 128.0


_SAMPLES: Final[dict[tuple[int, int], Callable[[bytes], Floats]]] = {
    (_PCM, 8): _of_bytes,
    (_PCM, 16): lambda data: _of_ints(data, "<i2", 15),
    (_PCM, 24): _of_24_bits,
    (_PCM, 32): lambda data: _of_ints(data, "<i4", 31),
    (_FLOAT, 32): lambda data: np.frombuffer(data, "<f4").astype(np.float32),
    (_FLOAT, 64): lambda data: as_floats(np.frombuffer(data, "<f8")),
}


# -- NPY ---------------------------------------------------------------------------------------


def _npy(path: Path) -> WaveFile:
    """An array [samples], or [blocks, samples]; it stays on the disk."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN_NPY as error:
        reason = " ".join(str(error).split())[:200]
        hint = "save it with numpy.save, as numbers"
        raise EdgeAgentError(
            f"cannot read the array: {reason}", where=str(path), hint=hint
        ) from error
    if array.dtype.kind not in "iuf":
        raise EdgeAgentError(
            f"an array of {array.dtype} is no waveform", where=str(path), hint="save real numbers"
        )
    is_block = array.ndim == 2 and _LEAST_BLOCK <= array.shape[1] <= MAX_BLOCK  # noqa: PLR2004
    if array.ndim != 1 and not is_block:
        raise EdgeAgentError(
            f"an array of shape {list(array.shape)} is no waveform",
            where=str(path),
            hint="save [samples] or [blocks, samples], and each sensor in its own file",
        )
    done = [0]
    return WaveFile(path, 0.0, ("1",), _npy_pieces(array, done), lambda: done[0])


def _npy_pieces(array: NDArray[np.generic], done: list[int]) -> Iterator[Piece]:
    step = PIECE if array.ndim == 1 else 1
    for start in range(0, len(array), step):
        part = array[start : start + step]
        done[0] += part.nbytes
        yield Piece(as_floats(part).reshape(-1, 1), start == 0 or array.ndim > 1)
