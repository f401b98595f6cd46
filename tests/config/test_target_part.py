"""``target:`` of a model's YAML file: what Vertex AI needs to know, and what it cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import (
    ModelFile,
    ModelIdentity,
    json_schema,
    load_for_way_back,
    load_model_files,
    parse_model_file,
)
from airflow_model_ops.core.errors import InvalidConfig

SMALL = "model: digits\nchecks:\n  - {name: errors, kind: error_rate, max: 0.05}\n"
VERTEX = "target:\n  vertex_ai:\n    location: europe-west4\n"


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as refused:
        parse_model_file(text, name="digits.yaml")
    return str(refused.value).splitlines()


def vertex(more: str = "", **keys: Any) -> ModelFile:
    """Return a model on Vertex AI with more in its target block, and elsewhere."""
    part = "".join(f"    {key}: {value}\n" for key, value in keys.items())
    return parse_model_file(f"{SMALL}{VERTEX}{part}{more}")


class TestDefaults:
    def test_a_file_that_says_nothing_is_served_by_tf_serving(self) -> None:
        file = parse_model_file(SMALL)

        assert file == parse_model_file(f"{SMALL}target: tf_serving\n")
        assert file.target.vertex_ai is None
        assert file.place == FleetPlace(repository="model_repository_default", target="tf_serving_default")
        assert (file.load_seconds, file.metrics_connection) == (600.0, "prometheus_default")

    def test_on_vertex_ai_the_endpoint_and_the_registry_model_are_called_as_the_model(self) -> None:
        part = vertex().target.vertex_ai

        assert part is not None
        assert (part.endpoint_of("digits"), part.registry_model_of("digits")) == ("digits", "digits")
        assert part.connection == "google_cloud_default"

    def test_a_deployment_has_an_hour_and_metrics_come_through_the_targets_connection(self) -> None:
        assert (vertex().load_seconds, vertex().metrics_connection) == (3600.0, "google_cloud_default")
        assert vertex("canary: {load_timeout: 20m}\n").load_seconds == 1200.0
        assert vertex("connections: {metrics: prometheus_eu}\n").metrics_connection == "prometheus_eu"

    def test_an_id_of_digits_may_be_written_as_a_number(self) -> None:
        part = vertex(endpoint=1234567890123456789).target.vertex_ai

        assert part is not None
        assert part.endpoint_of("digits") == "1234567890123456789"

    def test_a_project_may_be_written_as_its_number(self) -> None:
        assert vertex(project=123456789012).place.shown == "vertex_123456789012_europe-west4_digits"


class TestThroughATrigger:
    @pytest.mark.parametrize("file", [parse_model_file(SMALL), vertex(), vertex(project="shop", drain="5m")])
    def test_nothing_is_lost_and_no_default_becomes_a_setting(self, file: ModelFile) -> None:
        again = ModelFile.model_validate(file.model_dump(mode="json"))

        assert again == file
        assert (again.load_seconds, again.metrics_connection) == (file.load_seconds, file.metrics_connection)
        assert ModelIdentity.model_validate(file.model_dump(mode="json")).place == file.place

    @pytest.mark.parametrize("file", [parse_model_file(SMALL), vertex(), vertex(endpoint="other")])
    def test_a_place_is_one_line_of_text_and_back(self, file: ModelFile) -> None:
        text = file.place.to_text()

        assert "\n" not in text
        assert FleetPlace.of(text) == file.place
        assert hash(FleetPlace.of(text)) == hash(file.place)


class TestPlaces:
    def test_every_model_of_vertex_ai_is_a_fleet_of_its_own(self) -> None:
        digits = vertex()
        letters = parse_model_file(f"{SMALL}{VERTEX}".replace("digits", "letters"))

        assert (digits.place.shown, letters.place.shown) == (
            "vertex_europe-west4_digits",
            "vertex_europe-west4_letters",
        )
        assert digits.place != letters.place

    def test_models_of_one_tf_serving_fleet_share_their_place(self) -> None:
        assert parse_model_file(SMALL).place == parse_model_file(SMALL.replace("digits", "letters")).place

    def test_two_models_cannot_have_one_endpoint(self, tmp_path: Path) -> None:
        for model in ("digits", "letters"):
            text = f"{SMALL}{VERTEX}    endpoint: shared\n".replace("model: digits", f"model: {model}")
            (tmp_path / f"{model}.yaml").write_text(text)

        with pytest.raises(InvalidConfig, match=r"letters\.yaml:1: .*'vertex_europe-west4_shared'.*'digits'"):
            load_model_files(tmp_path)


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("target: vertex\n", "digits.yaml:4: target: 'vertex' is no target; write tf_serving, or vertex_ai:"),
            ("target: {}\n", "digits.yaml:4: target: {} is no target"),
            ("target: {vertex_ai: }\n", "digits.yaml:4: target.vertex_ai.location: is missing"),
            ("target: {vertexai: {location: europe-west4}}\n", "target.vertexai: unknown key"),
            (f"{VERTEX}    max_replica: 2\n", "digits.yaml:7: target.vertex_ai.max_replica: unknown key"),
            (f"{VERTEX}    min_replicas: 3\n", "target.vertex_ai: max_replicas 1 is below min_replicas 3"),
            (f"{VERTEX}    accelerator_type: NVIDIA_L4\n", "accelerator_type and accelerator_count belong together"),
            (
                f"{VERTEX}    endpoint: Digits!\n",
                "digits.yaml:7: target.vertex_ai.endpoint: 'Digits!' cannot be the id",
            ),
            (f"{VERTEX}connections: {{target: fleet_eu}}\n", "connections.target: belongs to TF Serving"),
            (
                f"{VERTEX}canary: {{steps: [{{percent: 0.5}}, {{percent: 50}}]}}\n",
                "digits.yaml:7: canary.steps.0.percent: 0.5 % cannot be given on Vertex AI, which splits traffic in whole percents",
            ),
            (f"{VERTEX}canary: {{adaptive: {{start: 1.5}}}}\n", "canary.adaptive.start: 1.5 % cannot be given"),
            (f"{VERTEX}watch: {{duration: 1h, hold_back: 2.5}}\n", "watch.hold_back: 2.5 % cannot be given"),
            (
                f"{VERTEX}versions: {{scheme: semantic, prefix: seg_mentation}}\n",
                "digits.yaml:7: versions.prefix: version 'seg_mentation-v99999.9999.9999' cannot be an alias",
            ),
        ],
    )
    def test_each_is_told_with_its_line_and_remedy(self, text: str, told: str) -> None:
        mistakes = mistakes_of(f"{SMALL}{text}")

        assert len(mistakes) == 1
        assert told in mistakes[0]

    @pytest.mark.parametrize(
        ("keys", "told"),
        [
            ("europe-west4", "write the location of the model's endpoint below it"),
            (
                "{location: europe-west4-a}",
                "'europe-west4-a' is no region of Vertex AI; write one such as europe-west4",
            ),
            (
                "{location: europe-west4, project: My Shop}",
                "'My Shop' is no id of a Google Cloud project; write its id",
            ),
            ("{location: europe-west4, endpoint: a-}", "ends with a letter or digit"),
        ],
    )
    def test_each_mistake_says_what_to_write(self, keys: str, told: str) -> None:
        (mistake,) = mistakes_of(f"{SMALL}target: {{vertex_ai: {keys}}}\n")
        assert told in mistake

    def test_a_models_name_that_is_no_id_asks_for_one(self) -> None:
        (mistake,) = mistakes_of(f"{SMALL}{VERTEX}".replace("model: digits", "model: Digits.2"))
        assert (
            "target.vertex_ai.registry_model: the model's name, 'Digits.2', cannot be the id of a model of the registry"
            in mistake
        )

        file = vertex(endpoint="digits-2", registry_model="digits-2").model_copy(update={"model": "Digits.2"})
        assert file.place.shown == "vertex_europe-west4_digits-2"

    def test_what_tf_serving_can_do_stays_allowed_there(self) -> None:
        parse_model_file(f"{SMALL}canary: {{steps: [{{percent: 0.5}}]}}\n")


def test_an_adaptive_ramp_takes_whole_percents_on_vertex_ai() -> None:
    adaptive = "canary: {adaptive: {start: 1, end: 20, factor: 2.5}}\n"

    assert [step.percent for step in vertex(adaptive).policy().steps] == [1, 2, 5, 12, 20]
    assert [step.percent for step in parse_model_file(f"{SMALL}{adaptive}").policy().steps] == [1, 2.5, 6.25, 15.62, 20]


def test_a_mistake_in_the_checks_leaves_the_way_back_to_its_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "digits.yaml"
    path.write_text(f"model: digits\nchecks: [{{name: errors}}]\n{VERTEX}canary: {{steps: [{{percent: 0.5}}]}}\n")

    identity = load_for_way_back(path)

    assert not isinstance(identity, ModelFile)
    assert identity.place == vertex().place
    assert identity.load_seconds == 3600.0


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (SMALL, True),
        (f"{SMALL}target: tf_serving\n", True),
        (f"{SMALL}{VERTEX}", True),
        (f"{SMALL}target: vertex_ai\n", False),
        (f"{SMALL}target: {{vertex_ai: {{}}}}\n", False),
        (f"{SMALL}{VERTEX}    zone: a\n", False),
    ],
)
def test_an_editor_is_told_the_same_by_the_schema(text: str, right: bool) -> None:
    check = jsonschema.Draft202012Validator(json_schema())

    assert check.is_valid(yaml.safe_load(text)) is right
