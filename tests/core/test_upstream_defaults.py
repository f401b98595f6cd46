"""What a lineage tells without doubt about how a model was trained, and where it keeps silent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_model_ops.core.upstream import UpstreamArtifact, UpstreamEvent, UpstreamExecution, UpstreamLineage
from airflow_model_ops.core.upstream_defaults import dataset_version_of, hyperparameters_of


def lineage(*, data: dict[str, dict[str, str]] | None = None, trainers: int = 1, **trainer: str) -> UpstreamLineage:
    """A model whose Trainer read transformed examples, and those were made from each of ``data``."""
    sources = {"raw": {}} if data is None else data
    artifacts = [UpstreamArtifact(id="m", type="Model"), UpstreamArtifact(id="t", type="Examples")]
    artifacts += [UpstreamArtifact(id=each, type="Examples", properties=facts) for each, facts in sources.items()]
    artifacts += [UpstreamArtifact(id=f"w{number}", type="Model") for number in range(1, trainers)]
    executions = [UpstreamExecution(id="train", type="Trainer", properties=trainer)]
    executions += [UpstreamExecution(id=f"warm{number}", type="Trainer") for number in range(1, trainers)]
    executions += [UpstreamExecution(id="transform", type="Transform"), UpstreamExecution(id="gen", type="ExampleGen")]
    events = [event("train", "m", True), event("train", "t", False), event("transform", "t", True)]
    events += [event(f"warm{number}", f"w{number}", True) for number in range(1, trainers)]
    events += [event("transform", each, False) for each in sources] + [event("gen", each, True) for each in sources]
    return UpstreamLineage(
        connection="tfx", artifact="m", artifacts=tuple(artifacts), executions=tuple(executions), events=tuple(events)
    )


def event(execution: str, artifact: str, output: bool) -> UpstreamEvent:
    return UpstreamEvent(execution=execution, artifact=artifact, output=output)


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"span": "7"}, "span-7"),
        ({"span": "7", "version": "2"}, "span-7-2"),
        ({"dataset_version": "digits@7"}, "digits@7"),
        ({"span": "0"}, None),
        ({}, None),
    ],
)
def test_the_one_source_of_data_says_what_it_is_called(facts: dict[str, str], named: str | None) -> None:
    assert dataset_version_of(lineage(data={"raw": facts})) == named


def test_several_sources_leave_it_open() -> None:
    assert dataset_version_of(lineage(data={"a": {"span": "7"}, "b": {"span": "8"}})) is None


def test_hyperparameters_are_what_the_one_trainer_was_given() -> None:
    given = {"train_args": '{"num_steps": 1000}', "custom_config": '{"rate": 0.1}', "module_file": "/code.py"}

    assert hyperparameters_of(lineage(**given)) == {"train_args": {"num_steps": 1000}, "custom_config": {"rate": 0.1}}


def test_numbers_that_json_has_not_are_kept_as_words_so_that_the_push_can_write_them() -> None:
    found = hyperparameters_of(lineage(custom_config='{"clip": Infinity, "seed": NaN, "rate": 0.1}'))
    assert found == {"custom_config": {"clip": "Infinity", "seed": "NaN", "rate": 0.1}}


@pytest.mark.parametrize("text", ["null", "not JSON", "[1]", "{}", "[" * 2000, '{"rate": 1e999}'])
def test_what_is_no_object_is_left_out(text: str) -> None:
    assert hyperparameters_of(lineage(custom_config=text)) == {}


def test_a_model_that_goes_on_from_another_one_leaves_both_open() -> None:
    found = lineage(data={"raw": {"span": "7"}}, trainers=2, train_args='{"num_steps": 1}')

    assert (dataset_version_of(found), hyperparameters_of(found)) == (None, {})


def test_a_lineage_of_nothing_but_the_model_tells_nothing() -> None:
    found: dict[str, Any] = {
        "connection": "tfx",
        "artifact": "m",
        "artifacts": (UpstreamArtifact(id="m", type="Model"),),
    }

    assert dataset_version_of(UpstreamLineage(**found)) is None
