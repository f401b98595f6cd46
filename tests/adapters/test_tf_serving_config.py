"""Lists of models: what is refused before a server sees it, and the file for a fresh server."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from google.protobuf import text_format

from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel, model_server_config_text
from airflow_model_ops.core.errors import InvalidConfig

OLD, NEW = 20230601120000, 20230602120000


def served(*versions: int, name: str = "digits", labels: dict[str, int] | None = None) -> ServedModel:
    return ServedModel(name=name, base_path=f"/models/{name}/versions", versions=versions, labels=labels or {})


def test_every_mistake_of_a_model_is_named_at_once() -> None:
    with pytest.raises(InvalidConfig) as refusal:
        ServedModel(name="", base_path="models", versions=(-1, 3, 3), labels={"stable": 4, "a b": 3})
    message = str(refusal.value)
    for mistake in (
        "the name is empty",
        "base_path 'models' is relative",
        "version -1 is not a serving number",
        "version 3 is listed 2 times",
        "label 'stable' points to version 4",
        "label 'a b' has characters",
    ):
        assert mistake in message


def test_a_model_that_serves_nothing_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="leave the model out of the list"):
        served()


@pytest.mark.parametrize("base_path", ["/models/digits", "gs://bucket/digits", "s3://bucket/digits"])
def test_absolute_paths_and_uris_are_accepted(base_path: str) -> None:
    assert ServedModel(name="digits", base_path=base_path, versions=(1,)).base_path == base_path


def test_equal_models_are_equal_whatever_the_order_and_travel_between_processes() -> None:
    model = served(NEW, OLD, labels={"stable": OLD, "canary": NEW})
    assert model == served(OLD, NEW, labels={"canary": NEW, "stable": OLD})
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301 - our own bytes
    assert hash(dataclasses.replace(model)) == hash(model)


def test_labels_cannot_be_changed_behind_the_checks() -> None:
    labels = {"stable": OLD}
    model = served(OLD, labels=labels)
    labels["stable"] = NEW
    assert model.labels == {"stable": OLD}
    with pytest.raises(TypeError):
        model.labels["stable"] = NEW  # type: ignore[index]


def test_the_file_of_a_fresh_server_is_the_same_for_the_same_models() -> None:
    models = [served(NEW, OLD, labels={"stable": OLD, "canary": NEW}), served(1, name="ages")]
    text = model_server_config_text(models)
    assert text == model_server_config_text(models[::-1])
    parsed = text_format.Parse(text, protos.ModelServerConfig())
    assert [entry.name for entry in parsed.model_config_list.config] == ["ages", "digits"]
    assert dict(parsed.model_config_list.config[1].version_labels) == {"stable": OLD, "canary": NEW}


def test_the_file_may_leave_out_labels_that_would_keep_a_server_from_starting() -> None:
    text = model_server_config_text([served(OLD, labels={"stable": OLD})], with_labels=False)
    assert "version_labels" not in text
    assert str(OLD) in text


def test_the_file_of_no_models_is_a_list_and_not_nothing() -> None:
    parsed = text_format.Parse(model_server_config_text([]), protos.ModelServerConfig())
    assert parsed.HasField("model_config_list")
