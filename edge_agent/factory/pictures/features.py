"""Features of pictures by the packaged backbone: of each channel mean, spread and largest value."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import helper

from edge_agent.errors import DecodeError, UsageError
from edge_agent.learning.pictures import backbone, graph
from edge_agent.models import open_session
from edge_agent.models.runtime import picture_decode
from edge_agent.signals import cut, to_square

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from edge_agent.config.cameras import View
    from edge_agent.learning.pictures.backbone import Block

    Pixels = NDArray[np.uint8]
    Floats = NDArray[np.float32]

# The last blocks of stages whose places stand for 4, 8, 16, 16 and 32 pixels of the picture.
TAPS: Final = (2, 4, 7, 10, 15)
FEATURES: Final = "features"
_TINY: Final = 1e-6
_BATCH: Final = 8


class Symmetry(StrEnum):
    """What may be done to a picture without changing its class."""

    NONE = "none"
    MIRROR = "mirror"  # left and right
    FLIPS = "flips"  # left and right, up and down
    ALL = "all"  # flips, and turns by a right angle


VIEWS: Final = {Symmetry.NONE: 1, Symmetry.MIRROR: 2, Symmetry.FLIPS: 4, Symmetry.ALL: 8}


class PictureReader:
    """Reads the files of pictures as the daemon does: decoded within limits, cut, scaled."""

    def __init__(self, view: View, folder: Path, side: int) -> None:
        self._view = view
        self._side = side
        mask = view.mask_file and folder / view.mask_file
        self._mask = picture_decode.decode_mask(_bytes(mask)) if mask else None

    def read(self, file: Path) -> Pixels:
        """[side, side, 3]; UsageError names a file that is no picture."""
        try:
            pixels, _ = cut(picture_decode.decode(_bytes(file)), self._view, self._mask)
        except DecodeError as error:
            raise UsageError(str(error), where=str(file)) from error
        return to_square(pixels, self._side)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(file)) from error


def features_of(
    reader: PictureReader,
    files: Sequence[Path],
    side: int,
    symmetry: Symmetry,
    blocks: Sequence[Block] | None = None,
) -> Iterator[Floats]:
    """Features [V, D] of each picture: of the picture itself, and of its V - 1 symmetries."""
    nodes, values, columns = features_part(side, blocks)
    session = open_session(graph.picture_model(nodes, values, side, {FEATURES: ["N", columns]}))
    views = VIEWS[symmetry]
    for file in files:
        pixels = reader.read(file)
        yield run(session, np.stack([turned(pixels, view) for view in range(views)]))


def run(session: Any, pictures: Pixels) -> Floats:  # noqa: ANN401 (the runtime is not typed)
    """The first output for pictures [N, side, side, 3], some at a time."""
    parts = [
        session.run(None, {graph.PICTURE: pictures[i : i + _BATCH]})[0]
        for i in range(0, len(pictures), _BATCH)
    ]
    return np.asarray(np.concatenate(parts), np.float32)


def turned(pixels: Pixels, view: int) -> Pixels:
    """One of the eight symmetries of a square [side, side, 3]; 0 is the picture itself."""
    if view & 1:
        pixels = pixels[:, ::-1]
    if view & 2:
        pixels = pixels[::-1]
    if view & 4:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels)


def features_part(
    side: int, blocks: Sequence[Block] | None = None
) -> tuple[list[onnx.NodeProto], dict[str, Any], int]:
    """Nodes and constants from the picture to `features` [N, D], and D.

    blocks: of the backbone, if they were fine-tuned.
    """
    part = backbone.backbone_part(TAPS, side, blocks=blocks)
    nodes, names = list(part.nodes), []
    for tap in part.returned:
        names += [f"{tap}_mean", f"{tap}_spread", f"{tap}_largest"]
        nodes += _statistics(tap)
    nodes.append(helper.make_node("Concat", names, [FEATURES], axis=1))
    channels = [len(backbone.backbone_blocks()[tap + 1].layers[-1].bias) for tap in TAPS]
    values = {**part.values, "tiny": np.array(_TINY, np.float32)}
    return nodes, values, 3 * sum(channels)


def _statistics(tap: str) -> list[onnx.NodeProto]:
    """Of each channel over all places: the mean, the standard deviation and the largest value."""
    mean, square = f"{tap}_mean", f"{tap}_square"

    def over_places(source: str, target: str) -> onnx.NodeProto:
        return helper.make_node("ReduceMean", [source], [target], axes=[2, 3], keepdims=0)

    return [
        over_places(tap, mean),
        helper.make_node("Mul", [tap, tap], [square]),
        over_places(square, f"{square}_mean"),
        helper.make_node("Mul", [mean, mean], [f"{mean}_square"]),
        helper.make_node("Sub", [f"{square}_mean", f"{mean}_square"], [f"{tap}_variance"]),
        helper.make_node("Max", [f"{tap}_variance", "tiny"], [f"{tap}_positive"]),
        helper.make_node("Sqrt", [f"{tap}_positive"], [f"{tap}_spread"]),
        helper.make_node("ReduceMax", [tap], [f"{tap}_largest"], axes=[2, 3], keepdims=0),
    ]
