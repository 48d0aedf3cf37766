"""The protobuf messages of the Open Inference Protocol v2, by their field numbers.

Made at run time from the table below, so that no generated code is in the tree. A map is on the
wire a repeated message of `key` and `value`, and is written here as such.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message: TypeAlias = Any  # classes that are made at run time

_PACKAGE: Final = "inference"
SERVICE: Final = f"{_PACKAGE}.GRPCInferenceService"
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint64": _Field.TYPE_UINT64,
}
# Message: number, name and type of each field; a type with [] is repeated.
_OF_MODEL: Final = "1 name string, 2 version string"
_MESSAGES: Final = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "1 live bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "1 ready bool",
    "ModelReadyRequest": _OF_MODEL,
    "ModelReadyResponse": "1 ready bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "1 name string, 2 version string, 3 extensions string[]",
    "ModelMetadataRequest": _OF_MODEL,
    "TensorMetadata": "1 name string, 2 datatype string, 3 shape int64[]",
    "ModelMetadataResponse": (
        "1 name string, 2 versions string[], 3 platform string, "
        "4 inputs TensorMetadata[], 5 outputs TensorMetadata[]"
    ),
    "InferParameter": (
        "1 bool_param bool, 2 int64_param int64, 3 string_param string, "
        "4 double_param double, 5 uint64_param uint64"
    ),
    "Parameter": "1 key string, 2 value InferParameter",
    "InferTensorContents": (
        "2 int_contents int32[], 3 int64_contents int64[], 6 fp32_contents float[], "
        "7 fp64_contents double[]"
    ),
    "InferInputTensor": (
        "1 name string, 2 datatype string, 3 shape int64[], 4 parameters Parameter[], "
        "5 contents InferTensorContents"
    ),
    "InferRequestedOutputTensor": "1 name string, 2 parameters Parameter[]",
    "ModelInferRequest": (
        "1 model_name string, 2 model_version string, 3 id string, 4 parameters Parameter[], "
        "5 inputs InferInputTensor[], 6 outputs InferRequestedOutputTensor[], "
        "7 raw_input_contents bytes[]"
    ),
    "InferOutputTensor": (
        "1 name string, 2 datatype string, 3 shape int64[], 5 contents InferTensorContents"
    ),
    "ModelInferResponse": (
        "1 model_name string, 2 model_version string, 3 id string, 4 parameters Parameter[], "
        "5 outputs InferOutputTensor[], 6 raw_output_contents bytes[]"
    ),
    "ModelConfigRequest": _OF_MODEL,
    "ModelInput": "1 name string, 2 data_type int32, 4 dims int64[]",
    "ModelOutput": "1 name string, 2 data_type int32, 3 dims int64[]",
    "ModelConfig": (
        "1 name string, 2 platform string, 4 max_batch_size int32, 5 input ModelInput[], "
        "6 output ModelOutput[], 17 backend string"
    ),
    "ModelConfigResponse": "1 config ModelConfig",
    "ModelStatisticsRequest": _OF_MODEL,
    "StatisticDuration": "1 count uint64, 2 ns uint64",
    "InferStatistics": (
        "1 success StatisticDuration, 2 fail StatisticDuration, 3 queue StatisticDuration, "
        "4 compute_input StatisticDuration, 5 compute_infer StatisticDuration, "
        "6 compute_output StatisticDuration, 7 cache_hit StatisticDuration, "
        "8 cache_miss StatisticDuration"
    ),
    "InferBatchStatistics": (
        "1 batch_size uint64, 2 compute_input StatisticDuration, "
        "3 compute_infer StatisticDuration, 4 compute_output StatisticDuration"
    ),
    "ModelStatistics": (
        "1 name string, 2 version string, 3 last_inference uint64, 4 inference_count uint64, "
        "5 execution_count uint64, 6 inference_stats InferStatistics, "
        "7 batch_stats InferBatchStatistics[]"
    ),
    "ModelStatisticsResponse": "1 model_stats ModelStatistics[]",
    "RepositoryIndexRequest": "1 repository_name string, 2 ready bool",
    "ModelIndex": "1 name string, 2 version string, 3 state string, 4 reason string",
    "RepositoryIndexResponse": "1 models ModelIndex[]",
    "RepositoryModelLoadRequest": "1 repository_name string, 2 model_name string",
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": "1 repository_name string, 2 model_name string",
    "RepositoryModelUnloadResponse": "",
}


def _classes() -> dict[str, Message]:
    file = descriptor_pb2.FileDescriptorProto(
        name="edge_agent/open_inference.proto", package=_PACKAGE
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for row in filter(None, fields.split(", ")):
            number, key, kind = row.split()
            bare = kind.removesuffix("[]")
            field = message.field.add(name=key, number=int(number))
            field.label = _Field.LABEL_REPEATED if bare != kind else _Field.LABEL_OPTIONAL
            field.type = _TYPES.get(bare, _Field.TYPE_MESSAGE)
            if bare not in _TYPES:
                field.type_name = f".{_PACKAGE}.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


MESSAGES: Final = _classes()
