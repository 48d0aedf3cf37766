"""Fine-tuning: the packaged backbone is trained on, with a user's labelled pictures.

It needs torch (extra `compress`), and uses a GPU if torch sees one: minutes there, hours on a CPU.
The normalization stays folded into the convolutions: the result has the same layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edge_agent.factory.pictures.features import TAPS
from edge_agent.learning.pictures import backbone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.pictures.backbone import Block

    Floats = NDArray[np.float32]

_BATCH: Final = 64
_PIECES: Final = 4  # of a batch, each with a symmetry of its own
_RATE: Final = 3e-4  # of the backbone at the start of its cycle; it rises to five times that
_HEAD_RATE: Final = 5.0  # times that of the backbone
_RISE: Final = 5.0
_WARM: Final = 0.15  # of all steps
_DECAY: Final = 0.05
_DROP: Final = 0.3
_MOST_GRADIENT: Final = 1.0
_CONTRAST, _BRIGHTNESS = 0.15, 0.1  # standard deviations; of a picture in [-1, 1]


class _Block(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        self.layers = nn.ModuleList(_convolution(one) for one in block.layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for layer, known in zip(self.layers, self.block.layers, strict=True):
            size, kernel = y.shape[-1], known.weight.shape[2]
            before, _, after, _ = backbone.same_pads(size, kernel, known.stride)
            y = layer(functional.pad(y, (before, after, before, after)))
            y = functional.relu6(y) if known.is_clipped else y
        return x + y if self.block.skips else y

    def trained(self) -> Block:
        """The block with the weights of now."""
        layers = [
            known._replace(weight=_array(layer.weight), bias=_array(layer.bias))
            for layer, known in zip(self.layers, self.block.layers, strict=True)
        ]
        return backbone.Block(tuple(layers), self.block.skips)


class _Network(nn.Module):
    """The backbone, the mean and spread of its taps, and one layer for the classes."""

    def __init__(self, blocks: Sequence[Block], classes: int) -> None:
        super().__init__()
        blocks = blocks[: max(TAPS) + 2]
        self.blocks = nn.ModuleList(_Block(one) for one in blocks)
        columns = 2 * sum(len(blocks[tap + 1].layers[-1].bias) for tap in TAPS)
        self.head = nn.Sequential(
            nn.LayerNorm(columns), nn.Dropout(_DROP), nn.Linear(columns, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = []
        for tap, block in enumerate(self.blocks, -1):
            x = block(x)
            if tap in TAPS:
                places = x.float()
                seen += [places.mean((2, 3)), places.std((2, 3))]
        found: torch.Tensor = self.head(torch.cat(seen, 1))
        return found


def fine_tuned(  # noqa: PLR0913 (what a training consists of)
    blocks: Sequence[Block],
    pictures: NDArray[np.uint8],
    targets: Floats,
    weights: Floats,
    *,
    views: int,
    epochs: int,
    seed: int,
    progress: Callable[[Iterable[int], str], Iterable[int]],
) -> tuple[Block, ...]:
    """The blocks of a backbone after so many passes over pictures [N, side, side, 3].

    targets: the share of each class [N, K]; weights: how much each picture counts [N]; views: how
    many of the eight symmetries of a square leave the class as it is.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = _Network(blocks, targets.shape[1]).to(device, memory_format=torch.channels_last)
    steps = max(1, len(pictures) // _BATCH)
    optimizer = _optimizer(network)
    rates = [_RATE * _RISE, _RATE * _RISE * _HEAD_RATE]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=epochs * steps, pct_start=_WARM
    )
    wanted, counts = (torch.from_numpy(one).to(device) for one in (targets, weights))
    network.train()
    for _ in progress(range(epochs), "fine-tuning"):
        for rows in _batches(len(pictures), random):
            x = _changed(torch.from_numpy(pictures[rows]).to(device), views, random)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = network(x)
            losses = -(functional.log_softmax(logits.float(), 1) * wanted[rows]).sum(1)
            optimizer.zero_grad()
            (losses * counts[rows]).mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), _MOST_GRADIENT)
            optimizer.step()
            schedule.step()
    return tuple(block.trained() for block in network.blocks)


def _optimizer(network: _Network) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": network.blocks.parameters(), "lr": _RATE},
        {"params": network.head.parameters(), "lr": _RATE * _HEAD_RATE},
    ]
    return torch.optim.AdamW(groups, weight_decay=_DECAY)


def _batches(count: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Whole batches of all rows in a new order; fewer rows than a batch are one."""
    order = random.permutation(count)
    for at in range(max(1, count // _BATCH)):
        yield order[at * _BATCH : (at + 1) * _BATCH]


def _changed(x: torch.Tensor, views: int, random: np.random.Generator) -> torch.Tensor:
    """A batch [n, side, side, 3] as the network takes it, turned, lighter or darker."""
    pieces = [_turned(piece, int(random.integers(views))) for piece in x.chunk(_PIECES)]
    scaled = ((torch.cat(pieces).float() - backbone.MIDDLE) * backbone.SCALE).permute(0, 3, 1, 2)
    one = torch.randn(2, len(x), 1, 1, 1, device=x.device)
    return scaled * (1 + _CONTRAST * one[0]) + _BRIGHTNESS * one[1]


def _turned(x: torch.Tensor, view: int) -> torch.Tensor:
    """As `features.turned`."""
    x = x.flip(2) if view & 1 else x
    x = x.flip(1) if view & 2 else x
    return x.transpose(1, 2) if view & 4 else x


def _convolution(layer: backbone.Layer) -> nn.Conv2d:
    out, inner, kernel, _ = layer.weight.shape
    made = nn.Conv2d(inner * layer.groups, out, kernel, layer.stride, groups=layer.groups)
    made.weight.data = torch.from_numpy(layer.weight.copy())
    made.bias.data = torch.from_numpy(layer.bias.copy())
    return made


def _array(parameter: Any) -> Floats:  # noqa: ANN401 (a parameter of torch)
    return np.asarray(parameter.detach().float().cpu().contiguous().numpy(), np.float32)
