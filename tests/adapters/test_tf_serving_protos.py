"""Our messages against the published stubs: same bytes, same process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel, model_server_config

BIG = 20230602120000


def bytes_of(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def example_config() -> Any:
    return model_server_config(
        [
            ServedModel(name="digits", base_path="/m/d", versions=(1, BIG), labels={"stable": 1, "canary": BIG}),
            ServedModel(name="faces", base_path="gs://bucket/f", versions=(2**63 - 1,)),
        ]
    )


def test_a_list_of_models_has_the_bytes_and_the_text_of_the_published_message() -> None:
    ours = example_config()
    theirs = model_server_config_pb2.ModelServerConfig.FromString(bytes_of(ours))
    assert bytes_of(theirs) == bytes_of(ours)
    assert text_format.MessageToString(theirs) == text_format.MessageToString(ours)
    assert json_format.MessageToJson(theirs) == json_format.MessageToJson(ours)
    assert text_format.Parse(text_format.MessageToString(ours), model_server_config_pb2.ModelServerConfig()) == theirs
    digits = theirs.model_config_list.config[0]
    assert list(digits.model_version_policy.specific.versions) == [1, BIG]
    assert dict(digits.version_labels) == {"stable": 1, "canary": BIG}


def test_every_field_of_a_published_list_comes_through_ours_even_those_we_do_not_know() -> None:
    theirs = model_server_config_pb2.ModelServerConfig()
    entry = theirs.model_config_list.config.add(name="digits", base_path="/m/d", model_platform="tensorflow")
    entry.model_version_policy.latest.num_versions = 3
    entry.logging_config.sampling_config.sampling_rate = 0.5
    theirs.model_config_list.config.add(name="faces").model_version_policy.all.SetInParent()
    ours = protos.ModelServerConfig.FromString(bytes_of(theirs))
    assert ours.model_config_list.config[0].model_version_policy.latest.num_versions == 3
    assert ours.model_config_list.config[1].model_version_policy.WhichOneof("policy_choice") == "all"
    assert model_server_config_pb2.ModelServerConfig.FromString(bytes_of(ours)) == theirs


def test_a_model_spec_has_the_bytes_of_the_published_message() -> None:
    for ours in (
        protos.ModelSpec(name="digits"),
        protos.ModelSpec(name="digits", version={"value": BIG}, signature_name="serving_default"),
        protos.ModelSpec(name="digits", version_label="stable"),
    ):
        theirs = model_pb2.ModelSpec.FromString(bytes_of(ours))
        assert bytes_of(theirs) == bytes_of(ours)
        assert json_format.MessageToDict(theirs) == json_format.MessageToDict(ours)


def test_a_version_and_a_label_exclude_each_other() -> None:
    spec = protos.ModelSpec(name="digits", version={"value": BIG})
    spec.version_label = "stable"
    assert spec.WhichOneof("version_choice") == "version_label"


def test_our_messages_are_not_those_of_the_default_pool() -> None:
    """Both may be imported in one process, in any order, because ours live in a pool of their own."""
    ours, theirs = protos.ModelSpec.DESCRIPTOR, model_pb2.ModelSpec.DESCRIPTOR
    assert ours.full_name == theirs.full_name
    assert ours.file.pool is not theirs.file.pool


COMPARISON = """
from google.protobuf import text_format
from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from tensorflow_serving.apis import (
    get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, model_pb2, model_service_pb2, prediction_service_pb2,
    status_pb2,
)
from tensorflow_serving.config import (
    file_system_storage_path_source_pb2, log_collector_config_pb2, logging_config_pb2, model_server_config_pb2,
)

REAL = (
    get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, model_pb2, status_pb2,
    file_system_storage_path_source_pb2, log_collector_config_pb2, logging_config_pb2, model_server_config_pb2,
)
published = {}
for module in REAL:
    published.update(module.DESCRIPTOR.message_types_by_name)

def compare(ours, theirs):
    assert ours.full_name == theirs.full_name
    for name, field in ours.fields_by_name.items():
        real = theirs.fields_by_name[name]
        path = f"{ours.full_name}.{name}"
        enum_as_int = path == "tensorflow.serving.StatusProto.error_code"
        assert enum_as_int or field.type == real.type, path
        assert (field.number, field.is_repeated, field.json_name) == (real.number, real.is_repeated, real.json_name), path
        assert (field.containing_oneof and field.containing_oneof.name) == (
            real.containing_oneof and real.containing_oneof.name
        ), path
        if field.message_type:
            assert field.message_type.full_name == real.message_type.full_name, path
            assert field.message_type.GetOptions().map_entry == real.message_type.GetOptions().map_entry, path
        if field.enum_type:
            assert {v.name: v.number for v in field.enum_type.values} == {
                v.name: v.number for v in real.enum_type.values
            }, path
    for name, nested in ours.nested_types_by_name.items():
        compare(nested, theirs.nested_types_by_name[name])

compared = 0
for name, ours in protos.ModelServerConfig.DESCRIPTOR.file.message_types_by_name.items():
    compare(ours, published[name])
    compared += 1

EXAMPLES = {
    "GetModelStatusRequest": "model_spec { name: 'm' version { value: 20230602120000 } }",
    "GetModelStatusResponse": "model_version_status { version: 7 state: END status { error_code: %s error_message: 'x' } }",
    "GetModelMetadataRequest": "model_spec { name: 'm' version_label: 'stable' } metadata_field: 'signature_def'",
    "GetModelMetadataResponse": "model_spec { name: 'm' } metadata { key: 'a' value { type_url: 't/x' value: 'b' } }",
    "ReloadConfigRequest": "config { model_config_list { config { name: 'm' version_labels { key: 'a' value: 1 } "
    "version_labels { key: 'b' value: 2 } model_version_policy { specific { versions: 1 versions: 2 } } } } } "
    "metric_names: 'x'",
    "ReloadConfigResponse": "status { error_code: %s } metric { name: 'x' int64_value_increase: 3 }",
}
for name, text in EXAMPLES.items():
    module = next(module for module in REAL if hasattr(module, name))
    theirs = text_format.Parse(text % "INVALID_ARGUMENT" if "%s" in text else text, getattr(module, name)())
    ours = text_format.Parse(text % 3 if "%s" in text else text, getattr(protos, name)())
    data = theirs.SerializeToString(deterministic=True)
    assert data and data == ours.SerializeToString(deterministic=True), name
    assert type(ours).FromString(data) == ours, name
    assert type(theirs).FromString(ours.SerializeToString()) == theirs, name

for service, methods in (
    (model_service_pb2.DESCRIPTOR.services_by_name["ModelService"], {"GetModelStatus", "HandleReloadConfigRequest"}),
    (prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"], {"GetModelMetadata"}),
):
    assert service.full_name in {protos.MODEL_SERVICE, protos.PREDICTION_SERVICE}
    assert methods <= set(service.methods_by_name)
print("compared", compared, "messages")
"""


@pytest.mark.integration
def test_every_message_and_field_agrees_with_the_published_stubs() -> None:
    """In a process of its own: most of the published stubs import TensorFlow."""
    run = subprocess.run([sys.executable, "-c", COMPARISON], capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip() == "compared 17 messages"
