"""A release's load and a rollback on Vertex AI's wire: the trigger drives the deployment, and a retry adopts it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.hooks.wiring import Fleet, standing_in
from airflow_model_ops.operators.rollback import RollbackModelOperator
from airflow_model_ops.operators.traffic import (
    PromoteModelOperator,
    ShiftTrafficOperator,
    StartCanaryOperator,
)
from airflow_model_ops.testing import InMemoryRepository
from airflow_model_ops.triggers.loading import LoadTrigger
from tests.adapters.vertex_story import ENDPOINT, id_of, target_at
from tests.airflow.release_story import YAML, context_of
from tests.vertex_fake.rig import VertexFake

pytestmark = pytest.mark.integration

DEPLOY_SECONDS = 1.0
ANSWER_SECONDS = 60.0


@dataclass
class Served:
    """``digits`` on an endpoint of Vertex AI."""

    fake: VertexFake
    fleet: Fleet
    model: ModelFile

    def run(self, task: Any, **context: Any) -> Any:
        """Run a task to its end, through the triggerer if it waits there."""
        try:
            return task.execute(context_of(**context))
        except TaskDeferred as waiting:
            path, kwargs = waiting.trigger.serialize()
            assert path.endswith("LoadTrigger")
            return task.execute_loaded(context_of(**context), asyncio.run(event_of(LoadTrigger(**kwargs))))

    def load(self, major: int) -> StartCanaryOperator:
        version = self.model.naming().parse(f"digits-v{major}.0.0")
        self.fleet.repository.add_version("digits", version)  # type: ignore[attr-defined]
        return StartCanaryOperator(task_id="load", model=self.model, version=version.name)

    def release(self, major: int) -> None:
        run = f"manual__{major}"
        handed_on = self.run(self.load(major), run_id=run)
        shift = ShiftTrafficOperator(task_id="shift", model=self.model, release=handed_on, percent=10)
        self.run(shift, run_id=run)
        self.run(PromoteModelOperator(task_id="promote", model=self.model, release=handed_on), run_id=run)

    def split(self) -> dict[str, int]:
        return dict(self.fake.control.endpoint(ENDPOINT).get("traffic_split", {}))

    def id_of(self, major: int) -> str:
        return id_of(self.model.naming().parse(f"digits-v{major}.0.0"))

    def methods(self) -> list[str]:
        return [each["method"] for each in self.fake.control.log(mutating=True)]


async def event_of(trigger: LoadTrigger) -> Any:
    trigger.first_pause_seconds = trigger.look_seconds = trigger.pass_seconds = 0.1
    async with asyncio.timeout(ANSWER_SECONDS):
        async for event in trigger.run():
            return event.payload
    raise AssertionError("the trigger ended without an event")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr("airflow_model_ops.operators.loading.FIRST_SECONDS", 0.0)
    file = parse_model_file(
        f"{YAML}target: {{vertex_ai: {{location: europe-west4, project: p, initially: empty, drain: 1s}}}}\n"
    )
    repository = InMemoryRepository()
    with VertexFake() as fake:
        fake.control.duration("*", DEPLOY_SECONDS)
        name = file.place.shown
        target = target_at(fake.address, store=repository.fleet(name))
        fleet = Fleet(name=name, repository=repository, target=target)
        with standing_in(fleet):
            yield Served(fake, fleet, file)


def test_two_releases_and_a_rollback_whose_only_call_moves_the_traffic(served: Served) -> None:
    served.release(1)
    served.release(2)
    assert served.split() == {served.id_of(2): 100}
    before = len(served.methods())

    back = RollbackModelOperator(task_id="rollback", model=served.model, reason="it smells")
    done = back.execute(context_of(task_id="rollback"))  # never by way of the triggerer

    assert done["version"] == "digits-v1.0.0"
    assert served.split() == {served.id_of(1): 100}
    assert served.methods()[before] == "UpdateEndpoint"
    assert "UndeployModel" not in served.methods()[before:]


def test_a_task_that_was_killed_while_it_loads_finds_its_deployment_again(served: Served) -> None:
    task = served.load(1)
    with pytest.raises(TaskDeferred):
        task.execute(context_of())

    served.run(task, try_number=2)

    assert served.methods().count("UploadModel") == 1
    assert served.methods().count("DeployModel") == 1
