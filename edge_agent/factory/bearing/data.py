"""The bearing recordings of Case Western Reserve University, drive end, 12 kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.factory.bearing.features import LENGTH
from edge_agent.factory.bearing.sim import CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PATTERN: Final = "cwru/*.npz"
SIZES: Final = (7, 14, 21, 28)  # mils; of 28 there are balls and inner races only
NONE: Final = -1  # a size of no recording: all recordings are learned from
HOP: Final = LENGTH // 2
_KINDS: Final = {"normal": 0, "b": 1, "ir": 2, "or": 3}
# The files of 28 mils do not contain the speed; these are the loads' nominal speeds.
_NOMINAL_RPM: Final = (1797, 1772, 1750, 1730)
# Window starts in the one healthy recording; a window's length lies between the two.
_HEALTHY_TRAIN: Final = 0.45
_HEALTHY_TEST: Final = 0.55


class Windows(NamedTuple):
    """Windows of recordings, side by side [N].

    rpm; waveforms float32 [N, LENGTH]; label (number of CLASSES); size in mils (0: healthy); load
    in horsepower; recording (its number); at: start of the window in it, 0..1.
    """

    rpm: NDArray[np.float32]
    waveforms: NDArray[np.float32]
    label: NDArray[np.int64]
    size: NDArray[np.int64]
    load: NDArray[np.int64]
    recording: NDArray[np.int64]
    at: NDArray[np.float64]

    def select(self, mask: NDArray[np.generic]) -> Windows:
        """These windows."""
        return Windows(*(column[mask] for column in self))


def read_windows(folder: Path) -> Windows:
    """All recordings below `folder`, in windows that overlap by half."""
    parts = [_windows_of(number, path) for number, path in enumerate(sorted(folder.glob(PATTERN)))]
    return Windows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _windows_of(number: int, path: Path) -> Windows:
    kind, size, *_, load_text = path.stem.split("_")
    load = int(load_text.removeprefix("load"))
    with np.load(path, allow_pickle=False) as archive:
        wave = np.asarray(archive["drive_end"], np.float32).ravel()
        rpm = int(archive["rpm"]) or _NOMINAL_RPM[load]
    begins = np.arange(0, len(wave) - LENGTH + 1, HOP)
    same = [rpm, _KINDS[kind], int(size), load, number]
    rpms, label, sizes, loads, numbers = (np.full(len(begins), value) for value in same)
    waves = np.stack([wave[begin : begin + LENGTH] for begin in begins])
    at = begins / len(wave)
    return Windows(rpms.astype(np.float32), waves, label, sizes, loads, numbers, at)


def without_size(windows: Windows, size: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of training and test windows: one size of damage is left out.

    The only healthy recording is split: its first half for training, the rest for the test.
    """
    return _masks(windows, windows.size == size)


def without_load(windows: Windows, load: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of training and test windows: one motor load is left out."""
    return _masks(windows, windows.load == load)


def at_random(
    windows: Windows, random: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Windows drawn one by one: their neighbours overlap, so this leaks; for comparison only."""
    judged = random.random(len(windows.label)) < 1 / 4
    return ~judged, judged


def _masks(
    windows: Windows, left_out: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    healthy = windows.label == 0
    learned = np.where(healthy, windows.at < _HEALTHY_TRAIN, ~left_out)
    judged = np.where(healthy, windows.at >= _HEALTHY_TEST, left_out)
    return learned, judged


def one_hot(label: NDArray[np.int64]) -> NDArray[np.float32]:
    """[N, classes]."""
    return np.eye(len(CLASSES), dtype=np.float32)[label]
