"""Answers of the Open Inference Protocol v2: metadata, statistics, outputs as JSON or bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from edge_agent.models import signature_of
from edge_agent.service.oip_tensors import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models import Manifest
    from edge_agent.service.admission import ModelQueue
    from edge_agent.service.oip_tensors import InferRequest, WantedOutput

_PLATFORM: Final = "onnxruntime_onnx"
_DATATYPE_OF: Final = {np.dtype(name): word for name, word in DATATYPES.items()}


# -- models ---------------------------------------------------------------------------------------


def metadata_of(manifest: Manifest, versions: Sequence[str]) -> dict[str, Any]:
    """The metadata of a model, from its manifest."""
    signature = signature_of(manifest)
    return {
        "name": manifest.name,
        "versions": list(versions),
        "platform": _PLATFORM,
        "inputs": [_tensor_row(name, *each) for name, each in signature.inputs.items()],
        "outputs": [_tensor_row(name, *each) for name, each in signature.outputs.items()],
        "parameters": {
            "version": manifest.version,
            "task": manifest.task,
            "threshold": manifest.threshold,
            "channels": [spec.name for spec in manifest.scalars],
            "units": [spec.unit for spec in manifest.scalars],
            "classes": list(manifest.classes),
            "assets": list(manifest.units),
            "step_s": manifest.window.step_s,
        },
    }


def _tensor_row(name: str, kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[kind], "shape": [-1, *shape]}


def config_of(manifest: Manifest) -> dict[str, Any]:
    """The configuration that Triton would show for the model."""
    signature = signature_of(manifest)
    return {
        "name": manifest.name,
        "platform": _PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [_config_row(name, *each) for name, each in signature.inputs.items()],
        "output": [_config_row(name, *each) for name, each in signature.outputs.items()],
    }


def _config_row(name: str, kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "data_type": f"TYPE_{DATATYPES[kind]}", "dims": [-1, *shape]}


def statistics_of(queue: ModelQueue) -> dict[str, Any]:
    """The statistics extension of the protocol, of a model in memory."""
    counts, manifest = queue.counts, queue.model.manifest
    nothing = {"count": 0, "ns": 0}
    infer = {"count": counts.requests, "ns": counts.infer_ns}
    queued = {"count": counts.requests, "ns": counts.queue_ns}
    return {
        "name": manifest.name,
        "version": manifest.version,
        "last_inference": counts.last_ms,
        "inference_count": counts.rows,
        "execution_count": counts.runs,
        "inference_stats": {
            "success": {"count": counts.requests, "ns": counts.queue_ns + counts.infer_ns},
            "fail": {"count": counts.failed, "ns": counts.failed_ns},
            "queue": queued,
            "compute_input": nothing,
            "compute_infer": infer,
            "compute_output": nothing,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": nothing,
                "compute_infer": {"count": runs, "ns": ns},
                "compute_output": nothing,
            }
            for rows, (runs, ns) in sorted(counts.by_batch.items())
        ],
    }


def answer_head(manifest: Manifest, asked: InferRequest) -> dict[str, Any]:
    """What an answer begins with."""
    head: dict[str, Any] = {"model_name": manifest.name, "model_version": manifest.version}
    if asked.id:
        head["id"] = asked.id
    if asked.parameters:
        head["parameters"] = asked.parameters
    return head


# -- outputs --------------------------------------------------------------------------------------


def write_answer(
    head: Mapping[str, Any],
    found: Mapping[str, NDArray[Any]],
    wanted: Sequence[WantedOutput],
    labels: Sequence[str],
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON if raw bytes follow.

    head: what comes before the outputs. labels: of the classes.
    """
    rows, raw = [], []
    for one in wanted:
        array, datatype = shown(found[one.name], one, labels)
        row: dict[str, Any] = {"name": one.name, "datatype": datatype, "shape": list(array.shape)}
        if one.is_binary:
            data = bytes_of(array)
            raw.append(data)
            row["parameters"] = {"binary_data_size": len(data)}
        else:
            flat = np.ascontiguousarray(array).reshape(-1)
            row["data"] = flat.tolist() if datatype == "BYTES" else flat
        rows.append(row)
    text = orjson.dumps({**head, "outputs": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([text, *raw]), len(text)) if raw else (text, None)


def shown(
    array: NDArray[Any], wanted: WantedOutput, labels: Sequence[str]
) -> tuple[NDArray[Any], str]:
    """An output as it was asked for, and its datatype."""
    if wanted.classes:
        return _classified(array, wanted.classes, labels), "BYTES"
    return array, _DATATYPE_OF[array.dtype]


def _classified(array: NDArray[Any], most: int, labels: Sequence[str]) -> NDArray[Any]:
    """The `most` largest values of each row as `value:index` or `value:index:label`."""
    flat = array.reshape(len(array), -1)
    best = np.argsort(-flat, axis=1, kind="stable")[:, :most]
    text = [
        [_class_text(row[index], int(index), labels) for index in order]
        for row, order in zip(flat, best, strict=True)
    ]
    return np.array(text, object).reshape(len(array), -1)


def _class_text(value: float, index: int, labels: Sequence[str]) -> str:
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{value:.6f}:{index}{label}"


def bytes_of(array: NDArray[Any]) -> bytes:
    """The bytes of a tensor: little-endian numbers, or texts each after its length."""
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).tobytes()
    texts = [str(one).encode() for one in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
