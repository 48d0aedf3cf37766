"""`golden.npz`: inputs with their expected outputs. The reader trusts no length in the file.

Arrays are named `in.<tensor>` and `out.<tensor>`, float32, int64 or uint8, the batch first; the
optional
`anomalous`, int64 [N], marks with 1 the rows that are not healthy.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

Tensors = dict[str, NDArray[np.generic]]

MAX_BYTES: Final = 64 << 20  # unpacked, all arrays together
_MAX_ARRAYS: Final = 64
_DTYPES: Final = {np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.uint8)}
_RELATIVE: Final = 1e-3
_ABSOLUTE: Final = 1e-4  # of the tensor's largest value: near 0, large terms have cancelled
# The exceptions of zipfile, zlib and numpy's header parser on invalid data.
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
)
_IN: Final = "in."
_OUT: Final = "out."
_ANOMALOUS: Final = "anomalous"


class Golden(NamedTuple):
    """Golden vectors: N rows of every input and output tensor; which of them are anomalous."""

    inputs: Tensors
    outputs: Tensors
    anomalous: NDArray[np.generic] | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.inputs.values())))


def dump_golden(
    inputs: Mapping[str, NDArray[np.generic]],
    outputs: Tensors,
    anomalous: NDArray[np.generic] | None = None,
) -> bytes:
    """The file's bytes; the same arrays always result in the same bytes."""
    named = {f"{_IN}{name}": array for name, array in inputs.items()}
    named |= {f"{_OUT}{name}": array for name, array in outputs.items()}
    if anomalous is not None:
        named[_ANOMALOUS] = anomalous.astype(np.int64)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in sorted(named.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return target.getvalue()


def parse_golden(raw: bytes) -> Golden:
    """The golden vectors in `raw`; ModelError if the file is not valid."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            arrays = {info.filename[:-4]: _member(archive, info) for info in _members(archive)}
    except _UNREADABLE as error:
        raise ModelError(f"golden vectors do not decode: {error}") from error
    sizes = {len(array) for array in arrays.values()}
    anomalous = arrays.pop(_ANOMALOUS, None)
    inputs = {name[len(_IN) :]: a for name, a in arrays.items() if name.startswith(_IN)}
    outputs = {name[len(_OUT) :]: a for name, a in arrays.items() if name.startswith(_OUT)}
    if not inputs or not outputs or len(inputs) + len(outputs) != len(arrays):
        raise ModelError("golden vectors need arrays named in.<tensor> and out.<tensor>")
    if len(sizes) != 1 or 0 in sizes:
        raise ModelError("golden vectors differ in their number, or there are none")
    if anomalous is not None and not _is_mark(anomalous):
        raise ModelError("golden vectors: anomalous is not int64 [N] of 0 and 1")
    return Golden(inputs, outputs, anomalous)


def not_finite(outputs: Tensors) -> list[str]:
    """Outputs with NaN or infinity, and in how many rows: a sound model returns neither."""
    problems = []
    for name, array in outputs.items():
        sound = np.isfinite(array.reshape(len(array), -1).astype(np.float64)).all(axis=1)
        bad = len(array) - int(np.count_nonzero(sound))
        if bad:
            count = f"{bad} of {len(array)} golden rows"
            problems.append(f"{name} is not a number (NaN) or is infinite for {count}")
    return problems


def _is_mark(array: NDArray[np.generic]) -> bool:
    return array.ndim == 1 and array.dtype == np.int64 and bool(np.isin(array, (0, 1)).all())


def differences(expected: Tensors, found: Tensors) -> list[str]:
    """Outputs that are not reproduced (relative 1e-3), and by how much."""
    problems = []
    for name, wanted in expected.items():
        got = found.get(name)
        if got is None or got.shape != wanted.shape:
            shape = "nothing" if got is None else f"shape {got.shape}"
            problems.append(f"golden vectors: {name} gives {shape}, not {wanted.shape}")
            continue
        finite = np.abs(wanted[np.isfinite(wanted)])
        slack = _ABSOLUTE * float(finite.max(initial=0.0))
        if not np.allclose(got, wanted, rtol=_RELATIVE, atol=slack, equal_nan=True):
            worst = float(np.nanmax(np.abs(got.astype(float) - wanted.astype(float)), initial=0.0))
            problems.append(f"golden vectors are not reproduced: {name} is off by {worst:.3g}")
    return problems


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > _MAX_ARRAYS or len({m.filename for m in members}) != len(members):
        raise ModelError(f"golden vectors: more than {_MAX_ARRAYS} arrays, or one twice")
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise ModelError(f"golden vectors unpack to more than {MAX_BYTES >> 20} MiB")
    return members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[np.generic]:
    """One array. The sizes in the archive and in the array's header may both be wrong."""
    with archive.open(info) as packed:
        raw = packed.read(info.file_size + 1)
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ModelError(f"golden vectors: {info.filename} is not in NPY format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype not in _DTYPES or fortran or not shape:
        raise ModelError(
            f"golden vectors: {info.filename} is {dtype}, not float32, int64 or uint8 [N, ..]"
        )
    begin = stream.tell()
    if math.prod(shape) * dtype.itemsize != len(raw) - begin:
        raise ModelError(
            f"golden vectors: {info.filename} is shorter or longer than its header says"
        )
    return np.frombuffer(raw, dtype, offset=begin).reshape(shape)
