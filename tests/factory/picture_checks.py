"""Checks of fine-tuning, which needs torch; run_checks.py runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch

from edge_agent.factory.pictures.features import TAPS
from edge_agent.factory.pictures.fine_tune import _Network, fine_tuned
from edge_agent.learning.pictures import backbone, graph

if TYPE_CHECKING:
    from collections.abc import Iterable

SIDE = 62  # not a multiple of every stride: the padding has a larger half
RANDOM = np.random.default_rng(3)


def small_blocks() -> tuple[backbone.Block, ...]:
    """As many blocks as the packaged backbone has, with few channels."""
    stem = backbone.Block((layer(3, 4, 3, 2),), skips=False)
    return (stem, *(block(1 + (n in {1, 3, 5, 11})) for n in range(max(TAPS) + 1)))


def block(stride: int) -> backbone.Block:
    deep = backbone.Layer(*weights(4, 1, 5), stride, 4, is_clipped=True)
    return backbone.Block((layer(4, 4, 1, 1), deep), skips=stride == 1)


def layer(before: int, after: int, kernel: int, stride: int) -> backbone.Layer:
    return backbone.Layer(*weights(after, before, kernel), stride, 1, is_clipped=True)


def weights(out: int, inner: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    found = RANDOM.normal(0, 0.5 / kernel, (out, inner, kernel, kernel)).astype(np.float32)
    return found, np.full(out, 0.1, np.float32)


def some(count: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def counted(rows: Iterable[int], _: str) -> Iterable[int]:
    return rows


def the_network_is_the_graph() -> None:
    """The same weights give the same places in torch and in ONNX."""
    blocks, pictures = small_blocks(), some(2)
    part = backbone.backbone_part([2, 15], SIDE, blocks=blocks)
    outputs: dict[str, list[str | int]] = {name: ["N", 4, "H", "W"] for name in part.returned}
    raw = graph.picture_model(list(part.nodes), part.values, SIDE, outputs)
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    wanted = session.run(None, {graph.PICTURE: pictures})
    x = (torch.from_numpy(pictures).float() - backbone.MIDDLE) * backbone.SCALE
    x, found = x.permute(0, 3, 1, 2), []
    with torch.no_grad():
        for tap, one in enumerate(_Network(blocks, 2).blocks, -1):
            x = one(x)
            found += [x.numpy()] if tap in {2, 15} else []
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def it_learns_what_the_backbone_did_not_see() -> None:
    """Blocks of the same shapes come back, changed, and are the same for the same seed."""
    pictures, truth = some(64), np.arange(64) % 2
    pictures[truth == 1, 10:30, 10:30] //= 2
    blocks = small_blocks()
    targets, ones = np.eye(2, dtype=np.float32)[truth], np.ones(64, np.float32)
    first, second = (
        fine_tuned(blocks, pictures, targets, ones, views=8, epochs=2, seed=4, progress=counted)
        for _ in range(2)
    )
    for old, new, again in zip(blocks, first, second, strict=True):
        assert [one.weight.shape for one in new.layers] == [one.weight.shape for one in old.layers]
        assert (new.layers[0].weight != old.layers[0].weight).any()
        np.testing.assert_array_equal(new.layers[0].weight, again.layers[0].weight)
