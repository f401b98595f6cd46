"""TF Serving's ModelService messages, built at import without TensorFlow.

The published stubs (``tensorflow-serving-api``) import TensorFlow: seconds and half a gigabyte per task. These classes
are built from the tables below in a private descriptor pool, so they can live in one process with the real stubs, and
they are wire compatible with them. One difference: ``StatusProto.error_code`` is declared ``int32`` instead of
TensorFlow's enum; both are varints on the wire.

Only the fields this package reads or writes are declared; others survive a round trip as unknown fields.

Source: tensorflow/serving, ``apis/{model,get_model_status,get_model_metadata,model_management,status}.proto`` and
``config/{model_server_config,file_system_storage_path_source}.proto``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

PACKAGE: Final = "tensorflow.serving"
MODEL_SERVICE: Final = f"{PACKAGE}.ModelService"
PREDICTION_SERVICE: Final = f"{PACKAGE}.PredictionService"

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final[dict[str, _Field.Type.ValueType]] = {
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "string": _Field.TYPE_STRING,
    "double": _Field.TYPE_DOUBLE,
}


class _F(NamedTuple):
    """A field of a message: a scalar type, ``enum X``, or the name of a message (absolute with a leading dot)."""

    number: int
    type: str
    repeated: bool = False
    oneof: str = ""
    map_of: str = ""
    json_name: str = ""


_POLICY: Final = "FileSystemStoragePathSourceConfig.ServableVersionPolicy"
_MESSAGES: Final[dict[str, dict[str, _F]]] = {
    "StatusProto": {
        "error_code": _F(1, "int32", json_name="error_code"),
        "error_message": _F(2, "string", json_name="error_message"),
    },
    "ModelSpec": {
        "name": _F(1, "string"),
        "version": _F(2, ".google.protobuf.Int64Value", oneof="version_choice"),
        "version_label": _F(4, "string", oneof="version_choice"),
        "signature_name": _F(3, "string"),
    },
    "GetModelStatusRequest": {"model_spec": _F(1, "ModelSpec")},
    "ModelVersionStatus": {
        "version": _F(1, "int64"),
        "state": _F(2, "enum ModelVersionStatus.State"),
        "status": _F(3, "StatusProto"),
    },
    "GetModelStatusResponse": {
        "model_version_status": _F(1, "ModelVersionStatus", repeated=True, json_name="model_version_status"),
    },
    "GetModelMetadataRequest": {
        "model_spec": _F(1, "ModelSpec"),
        "metadata_field": _F(2, "string", repeated=True),
    },
    "GetModelMetadataResponse": {
        "model_spec": _F(1, "ModelSpec"),
        "metadata": _F(2, ".google.protobuf.Any", map_of="string"),
    },
    "FileSystemStoragePathSourceConfig": {},
    _POLICY: {
        "latest": _F(100, f"{_POLICY}.Latest", oneof="policy_choice"),
        "all": _F(101, f"{_POLICY}.All", oneof="policy_choice"),
        "specific": _F(102, f"{_POLICY}.Specific", oneof="policy_choice"),
    },
    f"{_POLICY}.Latest": {"num_versions": _F(1, "uint32")},
    f"{_POLICY}.All": {},
    f"{_POLICY}.Specific": {"versions": _F(1, "int64", repeated=True)},
    # Never written by us, but a fleet that is adopted may use it, and its models must be sent along as they were.
    "LogCollectorConfig": {"type": _F(1, "string"), "filename_prefix": _F(2, "string")},
    "SamplingConfig": {"sampling_rate": _F(1, "double"), "attributes": _F(2, "int32")},
    "LoggingConfig": {
        "log_collector_config": _F(1, "LogCollectorConfig"),
        "sampling_config": _F(2, "SamplingConfig"),
        "custom_logging_config": _F(3, ".google.protobuf.Any"),
    },
    "ModelConfig": {
        "name": _F(1, "string"),
        "base_path": _F(2, "string"),
        "model_type": _F(3, "enum ModelType"),
        "model_platform": _F(4, "string"),
        "logging_config": _F(6, "LoggingConfig"),
        "model_version_policy": _F(7, _POLICY),
        "version_labels": _F(8, "int64", map_of="string"),
    },
    "ModelConfigList": {"config": _F(1, "ModelConfig", repeated=True)},
    "ModelServerConfig": {"model_config_list": _F(1, "ModelConfigList", oneof="config")},
    "ReloadConfigRequest": {
        "config": _F(1, "ModelServerConfig"),
        "metric_names": _F(2, "string", repeated=True),
    },
    "Metric": {"name": _F(1, "string"), "int64_value_increase": _F(2, "int64", oneof="value_increase")},
    "ReloadConfigResponse": {"status": _F(1, "StatusProto"), "metric": _F(2, "Metric", repeated=True)},
}
_ENUMS: Final[dict[str, dict[str, int]]] = {
    "ModelVersionStatus.State": {
        "UNKNOWN": 0,
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    },
    "ModelType": {"MODEL_TYPE_UNSPECIFIED": 0, "TENSORFLOW": 1, "OTHER": 2},
}


def _json_name(name: str) -> str:
    """Return protoc's lowerCamelCase name; it is part of the descriptor, and a hand-built one has none by itself."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _type_name(name: str) -> str:
    return name if name.startswith(".") else f".{PACKAGE}.{name}"


def _set_type(field: _Field, *, type_name: str) -> None:
    if type_name in _SCALARS:
        field.type = _SCALARS[type_name]
    elif type_name.startswith("enum "):
        field.type, field.type_name = _Field.TYPE_ENUM, _type_name(type_name.removeprefix("enum "))
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, _type_name(type_name)


def _oneof_index(message: descriptor_pb2.DescriptorProto, *, oneof: str) -> int:
    names = [declared.name for declared in message.oneof_decl]
    if oneof not in names:
        message.oneof_decl.add(name=oneof)
        return len(names)
    return names.index(oneof)


def _add_map_entry(message: descriptor_pb2.DescriptorProto, *, field_name: str, field: _F) -> str:
    """Declare the nested entry message that a map field is on the wire; return its name relative to ``message``."""
    entry = message.nested_type.add(name="".join(part.capitalize() for part in field_name.split("_")) + "Entry")
    entry.options.map_entry = True
    for number, name, type_name in ((1, "key", field.map_of), (2, "value", field.type)):
        declared = entry.field.add(name=name, json_name=name, number=number, label=_Field.LABEL_OPTIONAL)
        _set_type(declared, type_name=type_name)
    return entry.name


def _add_field(message: descriptor_pb2.DescriptorProto, *, path: str, name: str, field: _F) -> None:
    repeated = field.repeated or bool(field.map_of)
    declared = message.field.add(
        name=name,
        json_name=field.json_name or _json_name(name),
        number=field.number,
        label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
    )
    if field.map_of:
        entry = _add_map_entry(message, field_name=name, field=field)
        _set_type(declared, type_name=f"{path}.{entry}")
        return
    _set_type(declared, type_name=field.type)
    if field.oneof:
        declared.oneof_index = _oneof_index(message, oneof=field.oneof)


def _file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """Build the one file that declares every message; parents stand before their nested messages in the tables."""
    file = descriptor_pb2.FileDescriptorProto(
        name="airflow_model_ops/tf_serving.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[any_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name],
    )
    built: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in _MESSAGES.items():
        parent, _, name = path.rpartition(".")
        message = built[parent].nested_type.add(name=name) if parent else file.message_type.add(name=name)
        built[path] = message
        for field_name, field in fields.items():
            _add_field(message, path=path, name=field_name, field=field)
    for path, values in _ENUMS.items():
        parent, _, name = path.rpartition(".")
        enum = built[parent].enum_type.add(name=name) if parent else file.enum_type.add(name=name)
        for value_name, number in values.items():
            enum.value.add(name=value_name, number=number)
    return file


def _private_pool() -> descriptor_pool.DescriptorPool:
    """Return a pool of our own: in the default pool the names would collide with the real stubs'."""
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_file_descriptor().SerializeToString())
    return pool


_POOL: Final = _private_pool()


def _message_class(name: str) -> Any:  # built at run time, so no static type describes it
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


GetModelMetadataRequest: Final = _message_class("GetModelMetadataRequest")
GetModelMetadataResponse: Final = _message_class("GetModelMetadataResponse")
GetModelStatusRequest: Final = _message_class("GetModelStatusRequest")
GetModelStatusResponse: Final = _message_class("GetModelStatusResponse")
ModelConfig: Final = _message_class("ModelConfig")
ModelConfigList: Final = _message_class("ModelConfigList")
ModelServerConfig: Final = _message_class("ModelServerConfig")
ModelSpec: Final = _message_class("ModelSpec")
ModelVersionStatus: Final = _message_class("ModelVersionStatus")
ReloadConfigRequest: Final = _message_class("ReloadConfigRequest")
ReloadConfigResponse: Final = _message_class("ReloadConfigResponse")
StatusProto: Final = _message_class("StatusProto")
