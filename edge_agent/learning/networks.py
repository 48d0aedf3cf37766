"""Relations between inputs that no matrix describes: a small network beside the linear map.

A network predicts the scaled readings of each row from the newest rows, and the form of a baseline
judges what it leaves over, as it does after a linear regression. Past rows enter as a few means
(`taps`), so that a network is a few matrix products a window. Training needs packages that are not
on the gateway (`edge_agent.factory`); a trained network is numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_SPANS: Final = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16))  # ages in rows, of one mean each
_CONTEXT: Final = 4  # windows hold at least so many times the rows that a prediction reads
_ROWS_PER_FEATURE: Final = 8
_BLOCK: Final = 2048  # rows at a time
_EXPLAINED: Final = 0.5  # R² of held-out rows
_RIDGE: Final = 1e-3
_SHIFT: Final = 0.5  # spreads


@dataclass(frozen=True, slots=True)
class Network:
    """Predicted rows from features f: f @ linear + a(a(f @ first + bias) @ second + turn) @ last.

    a: ReLU; offset [C] is added. taps: [M, K], weights over the newest K rows, oldest first; a
    feature is one tap of one input, [M C]. linear: [M C, C]; first: [M C, H]; second: [H, H]; bias,
    turn: [H]; last: [H, C]. response: [C, C], the change of the prediction when an input shifts (a
    row for each), in the mean of healthy rows.
    """

    taps: Floats
    linear: Floats
    first: Floats
    bias: Floats
    second: Floats
    turn: Floats
    last: Floats
    offset: Floats
    response: Floats

    @property
    def context(self) -> int:
        """Rows at the begin of a window whose prediction lacks rows."""
        return int(self.taps.shape[1]) - 1

    def predict(self, z: Floats) -> Floats:
        """The prediction of rows [..., T, C] of one stretch; missing rows before it are 0."""
        found = np.empty_like(z)
        for begin in range(0, z.shape[-2], _BLOCK):
            end = begin + _BLOCK
            part = z[..., max(0, begin - self.context) : end, :]
            predicted = self.of_features(features(part, self.taps))
            found[..., begin:end, :] = predicted[..., min(begin, self.context) :, :]
        return found

    def of_features(self, given: Floats) -> Floats:
        """The prediction [..., C] of features [..., M C]."""
        hidden = np.maximum(given @ self.first + self.bias, 0.0)
        hidden = np.maximum(hidden @ self.second + self.turn, 0.0)
        return np.asarray(given @ self.linear + hidden @ self.last + self.offset)

    def without(self, channels: Mask) -> Network:
        """The same network that predicts 0 of these inputs [C]."""
        kept = ~channels
        return replace(
            self,
            linear=self.linear * kept,
            last=self.last * kept,
            offset=self.offset * kept,
            response=self.response * kept,
        )


class Student(Protocol):
    """What trains networks. Its name describes a form on the card of a bundle."""

    @property
    def name(self) -> str:
        """Such as "a network of the other inputs"."""

    def train(self, z: Floats, judged: Mask, length: int) -> Network:
        """A network for windows of `length` rows, from scaled healthy rows [T, C]; NaN is a gap.

        judged: [C], false for conditions, which are not predicted.
        """


def apart(z: Floats, at: NDArray[np.intp]) -> Floats:
    """Rows [n, C] with rows of NaN where numbers are missing in `at` [n]."""
    found = np.full((at[-1] - at[0] + 1, z.shape[1]), np.nan)
    found[at - at[0]] = z
    return found


def taps_for(length: int) -> Floats:
    """The taps [M, K] for windows of `length` rows: the newest row, and means of those before."""
    spans = [span for span in _SPANS if span[1] <= max(1, length // _CONTEXT)]
    taps = np.zeros((len(spans), spans[-1][1]))
    for tap, (begin, end) in zip(taps, spans, strict=True):
        tap[len(tap) - end : len(tap) - begin] = 1 / (end - begin)
    return taps


def least_rows(channels: int, length: int) -> int:
    """Rows from which a network may be learned: some for each of its features."""
    return _ROWS_PER_FEATURE * channels * len(taps_for(length))


def features(z: Floats, taps: Floats) -> Floats:
    """The features [..., T, M C] of rows [..., T, C]; rows before the first are 0."""
    before = np.zeros((*z.shape[:-2], taps.shape[1] - 1, z.shape[-1]))
    padded = np.concatenate([before, z], axis=-2)
    newest = np.lib.stride_tricks.sliding_window_view(padded, taps.shape[1], axis=-2)
    found = np.swapaxes(newest @ taps.T, -1, -2)
    return np.asarray(found.reshape(*z.shape[:-1], -1))


def toeplitz(taps: Floats, length: int) -> Floats:
    """Matrices [M, W, W] by which rows of a window become features."""
    age = np.arange(length)[:, None] - np.arange(length)
    reaches = (age >= 0) & (age < taps.shape[1])
    newest_last = taps.shape[1] - 1 - np.where(reaches, age, 0)
    return np.where(reaches, taps[:, newest_last], 0.0)


def sees_others(taps: int, channels: int) -> Mask:
    """The features [M C, C] from which each input may be predicted: of all the other inputs."""
    return np.tile(~np.eye(channels, dtype=bool), (taps, 1))


def sees_past(taps: int, channels: int) -> Mask:
    """The features [M C, C] from which each input may be predicted: of the rows before."""
    return np.repeat(np.arange(taps * channels) >= channels, channels).reshape(-1, channels)


def linear_map(given: Floats, target: Floats, sees: Mask) -> tuple[Floats, Floats]:
    """Ridge regression of targets [n, C] on the features [n, M C] that each sees: map, offset."""
    middle, wanted = given.mean(axis=0), target.mean(axis=0)
    products = (given - middle).T @ (given - middle) / len(given)
    products += _RIDGE * np.eye(len(products))
    both = (given - middle).T @ (target - wanted) / len(given)
    found = np.zeros(sees.shape)
    for channel, seen in enumerate(sees.T):
        found[seen, channel] = np.linalg.solve(products[np.ix_(seen, seen)], both[seen, channel])
    return found, wanted - middle @ found


def lasting_response(network: Network, given: Floats) -> Floats:
    """The mean change of the prediction per spread by which an input shifts for good: [C, C]."""
    channels = len(network.offset)
    inputs = np.arange(given.shape[1]) % channels
    shifts = [_SHIFT * (inputs == channel) for channel in range(channels)]
    changes = [network.of_features(given + s) - network.of_features(given - s) for s in shifts]
    return np.stack([change.mean(axis=0) for change in changes]) / (2 * _SHIFT)


def unexplained(network: Network, given: Floats, target: Floats) -> Mask:
    """True for inputs of which the network explains less than half in these rows: [C]."""
    left = (target - network.of_features(given)).var(axis=0)
    return np.asarray(left >= (1 - _EXPLAINED) * target.var(axis=0))
