"""The scenario of test_release.py on TF Serving that reads a bucket, and on Vertex AI: other targets, the same DAGs and policy.

Both models are released at the same time by the one Airflow. What serves them starts with this module and ends with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.serving.vertex_names import deployed_model_id
from demo.processes import Processes
from tests.e2e.scenario import (
    ROLLBACK_SECONDS,
    a_person_takes_it_back,
    entries_of,
    it_served_everybody_once_its_absolute_checks_passed,
    it_was_taken_back_and_quarantined,
    it_went_through_its_canary_to_stable,
)
from tests.e2e.story import LOAD, MODEL, RELEASE, ROLLBACK, WATCH, Run, Story, write_model_file
from tests.e2e.target_rigs import (
    ENDPOINT,
    LOCATION,
    ROOT,
    Bucket,
    Vertex,
    bucket_fleet,
    google_connection,
)
from tests.e2e.vertex_load import failed_deployment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

GCS, VERTEX = "digits-gcs", "digits-vertex"
on_each_target = pytest.mark.parametrize("model", [GCS, VERTEX])
VERTEX_TARGET = (
    f"{{vertex_ai: {{connection: google_kept, location: {LOCATION}, endpoint: {ENDPOINT},"
    " initially: empty, drain: 1s}}"
)
ERROR_RATE = 0.5
ANSWER_SECONDS = 5.0
"""How much later than the shift a client on a busy machine may note an answer that it waited for."""
Runs = dict[str, Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The stories of both models, and what a test asks their targets.

    :param files: Directory of the YAML files of all models.
    """

    stories: Mapping[str, Story]
    vertex: Vertex
    files: Path

    def release(self, trained: str, *, validated: tuple[str, ...] = ()) -> Runs:
        """Begin a release on each target at the same time.

        :param validated: The models whose validation runs; the others' are marked successful, as a person may.
        """
        runs = {model: story.release(trained) for model, story in self.stories.items()}
        for model in runs.keys() - set(validated):
            self.stories[model].skips_validation(runs[model])
        return runs


@pytest.fixture(scope="module")
def targets(whole_story: Story, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    work, images = tmp_path_factory.mktemp("targets"), trained / "live.npz"
    with ExitStack() as exits:
        processes = exits.enter_context(Processes(work / "logs"))
        prometheus = whole_story.stack.prometheus
        bucket = Bucket.start(processes)
        fleet = bucket_fleet(processes, work=work / "fleet", images=images, model=GCS, bucket=bucket)
        vertex = Vertex.start(
            processes, work=work / "vertex", images=images, model=VERTEX, bucket=bucket, prometheus_url=prometheus.url
        )
        fleet.wait_for_servers()
        prometheus.scrape_too([*fleet.scrape_jobs(suffix="_bucket"), *vertex.scrape_jobs()])
        connections = {
            "google_kept": google_connection(bucket=bucket, vertex=vertex),
            "bucket_kept": {
                "conn_type": "model_repository",
                "extra": {"root": ROOT, "storage_conn_id": "google_kept"},
            },
            "bucket_fleet_kept": fleet.connection,
        }
        exits.enter_context(configured(whole_story, connections))
        story = replace(whole_story, repository=bucket.repository())
        stories = {
            GCS: replace(story, model=GCS, traffic=fleet.traffic),
            VERTEX: replace(story, model=VERTEX, traffic=vertex.traffic),
        }
        yield Targets(stories=stories, vertex=vertex, files=story.stack.settings.models_dir)


@contextmanager
def configured(story: Story, connections: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Add both models to the running Airflow, as a platform engineer does; take their files away in the end."""
    rest, directory = story.rest, story.stack.settings.models_dir
    for connection_id, fields in connections.items():
        body = {**fields, "extra": json.dumps(fields["extra"]), "connection_id": connection_id}
        rest.request("POST", "connections", json=body)
    written = [
        write_model_file(
            directory,
            model=GCS,
            connections="{repository: bucket_kept, target: bucket_fleet_kept, ledger: mlmd_kept}",
            target="tf_serving",
            trained=story.trained,
        ),
        write_model_file(
            directory,
            model=VERTEX,
            connections="{repository: bucket_kept, ledger: mlmd_kept}",
            target=VERTEX_TARGET,
            trained=story.trained,
        ),
    ]
    try:
        for dag in (RELEASE, ROLLBACK, WATCH):
            rest.parse_again(dag)
        for model in (GCS, VERTEX):
            rest.wait_for_dag(f"model_release_{model}")
            rest.unpause(f"model_release_{model}")
        story.until(lambda: _may_be_rolled_back(story) >= {GCS, VERTEX}, what="the rollback knows the new models")
        assert rest.import_errors() == []
        yield
    finally:
        for path in written:
            path.unlink()
        for dag in (RELEASE, ROLLBACK, WATCH):
            rest.parse_again(dag)


@pytest.fixture(scope="module")
def firsts(targets: Targets) -> Runs:
    """The runs of the very first releases."""
    return _ended(targets.release("good-1", validated=(GCS,)), "success")


@pytest.fixture(scope="module")
def goods(targets: Targets, firsts: Runs) -> Runs:
    """The runs of good candidates; on Vertex AI a worker is killed while its upload is under way."""
    story, control = targets.stories[VERTEX], targets.vertex.control
    control.hang("UploadModel")
    runs = targets.release("good-2")
    story.until(lambda: control.hanging() == ["UploadModel"], what="the upload is under way", about=runs[VERTEX])
    story.kill_task_of(runs[VERTEX], LOAD)
    control.let_go()  # the retry comes a second later and finds it done
    return _ended(runs, "success")


@pytest.fixture(scope="module")
def bads(targets: Targets, goods: Runs) -> Runs:
    """The runs of bad candidates: one answers with wrong digits, one with errors."""
    runs = targets.release("bad")
    runs[VERTEX].reaches("push", "success")
    targets.vertex.control.behave(runs[VERTEX].returned("push")["version"], error_rate=ERROR_RATE)
    return _ended(runs, "failed")


@pytest.fixture(scope="module")
def backs(targets: Targets, firsts: Runs, bads: Runs) -> dict[str, float]:
    """How many seconds it took to take each model back to its first version, by hand."""
    return {
        model: a_person_takes_it_back(story, target="previous", expected=firsts[model].returned("push")["version"])
        for model, story in targets.stories.items()
    }


def test_the_files_of_the_models_differ_in_target_and_connections_only(targets: Targets) -> None:
    files = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in targets.files.iterdir()}
    assert files.keys() == {MODEL, GCS, VERTEX}
    assert files[VERTEX]["target"] != files[GCS]["target"] == files[MODEL]["target"] == "tf_serving"
    for file in files.values():
        for differing in ("model", "target", "connections"):
            del file[differing]
    assert files[MODEL] == files[GCS] == files[VERTEX]


@on_each_target
def test_the_first_release_serves_everybody_once_its_absolute_checks_pass(
    targets: Targets, firsts: Runs, model: str
) -> None:
    it_served_everybody_once_its_absolute_checks_passed(targets.stories[model], firsts[model])


@on_each_target
def test_a_good_candidate_goes_through_its_canary_to_stable(targets: Targets, goods: Runs, model: str) -> None:
    it_went_through_its_canary_to_stable(targets.stories[model], goods[model])


@on_each_target
def test_a_bad_candidate_is_taken_back_and_quarantined(targets: Targets, goods: Runs, bads: Runs, model: str) -> None:
    it_was_taken_back_and_quarantined(targets.stories[model], bads[model], good=goods[model])


def test_a_task_killed_during_an_upload_is_retried_and_adopts_it(targets: Targets, goods: Runs) -> None:
    story, run, vertex = targets.stories[VERTEX], goods[VERTEX], targets.vertex
    assert run.row(LOAD)["try_number"] > 1
    version = next(version for version in story.state.promoted if version.name == run.returned("push")["version"])
    uploads = [call for call in vertex.calls("UploadModel") if version.name in json.dumps(call["request"])]
    assert [call["outcome"] for call in uploads] == ["OK"]
    deployments = [
        call for call in vertex.calls("DeployModel") if deployed_model_id(version) in json.dumps(call["request"])
    ]
    assert [call["outcome"] for call in deployments] == ["OK"]


@on_each_target
def test_a_person_takes_a_good_version_back_within_seconds(
    targets: Targets, backs: dict[str, float], model: str
) -> None:
    assert backs[model] < ROLLBACK_SECONDS


def test_a_way_back_on_vertex_ai_begins_with_the_traffic(targets: Targets, backs: dict[str, float]) -> None:
    story, vertex = targets.stories[VERTEX], targets.vertex
    rollback = next(entry for entry in reversed(story.entries()) if entry.name == "rollback")
    assert rollback.state is not None
    assert rollback.state.stable is not None
    since = datetime.fromisoformat(rollback.at).timestamp()
    first = next(call for call in vertex.calls() if call["at"] > since)
    assert first["method"] == "UpdateEndpoint"
    assert first["request"]["endpoint"]["traffic_split"] == {deployed_model_id(rollback.state.stable): 100}


def test_what_nobody_needs_is_undeployed_after_it_lost_its_traffic_and_the_default_alias_stays(
    targets: Targets, goods: Runs, backs: dict[str, float]
) -> None:
    story, vertex, run = targets.stories[VERTEX], targets.vertex, goods[VERTEX]
    bad = deployed_model_id(story.state.quarantined[-1])
    story.rest.clear(run.dag_id, run.run_id, task_ids=["cleanup"], downstream=False)
    story.until(lambda: vertex.calls("UndeployModel"), what="the bad version is undeployed", about=run)
    split: dict[str, int] = {}
    undeployed = []
    for call in vertex.calls():
        if call["method"] == "UpdateEndpoint" and call["outcome"] == "OK":
            split = call["request"]["endpoint"].get("traffic_split", split)
        if call["method"] == "UndeployModel":
            undeployed.append(call["request"]["deployed_model_id"])
            assert call["request"]["deployed_model_id"] not in split
            assert split == {deployed_model_id(story.state.promoted[0]): 100}
    assert undeployed == [bad]
    assert "default" not in json.dumps([call["request"] for call in vertex.calls()])
    assert "default" in vertex.aliases_of_first_version(VERTEX)


def test_no_request_fails_but_those_that_the_bad_version_itself_answers_with_an_error(
    targets: Targets, bads: Runs, backs: dict[str, float]
) -> None:
    assert targets.stories[GCS].traffic()["failed"] == 0, targets.stories[GCS].traffic()["failures"]
    story, run = targets.stories[VERTEX], bads[VERTEX]
    account, bad = story.traffic(), story.state.quarantined[-1]
    by_version = account["by_version"]
    assert {name for name, told in by_version.items() if told["error"]} == {failed_deployment(deployed_model_id(bad))}
    failed = by_version[failed_deployment(deployed_model_id(bad))]
    taken_back = next(entry for entry in entries_of(story, run) if entry.name == "abort")
    assert failed["last_at"] < story.applied_after(taken_back) + ANSWER_SECONDS
    assert account["failed"] == failed["error"] > 0


@on_each_target
def test_the_ledger_holds_each_log_entry_once(targets: Targets, backs: dict[str, float], model: str) -> None:
    story = targets.stories[model]
    queries = LedgerQueries(LedgerSettings(path=story.stack.ledger))

    def recorded() -> bool:
        rows = [row.sequence for row in queries.history(model, limit=200)]
        assert len(rows) == len(set(rows))
        return sorted(rows) == [entry.sequence for entry in story.entries()]

    story.until(recorded, what="the ledger has caught up")


@pytest.mark.slow
def test_a_deployment_goes_on_when_the_triggerer_that_waits_for_it_is_killed(
    targets: Targets, backs: dict[str, float]
) -> None:
    story, vertex = targets.stories[VERTEX], targets.vertex
    vertex.control.duration("DeployModel", None)
    run = story.hasty_release(dag=f"model_release_{VERTEX}")
    story.until(lambda: any(ENDPOINT in name for name in vertex.control.running()), what="it is being deployed")
    run.reaches(LOAD, "deferred")
    story.kill_component("triggerer")
    story.restart_component("triggerer")
    vertex.control.release("DeployModel")
    run.ends("success")
    version = run.returned("push")["version"]
    assert len([call for call in vertex.calls("UploadModel") if version in json.dumps(call["request"])]) == 1
    deployments = [call["request"]["deployed_model"]["display_name"] for call in vertex.calls("DeployModel")]
    assert deployments.count(version) == 1


def _ended(runs: Runs, state: str) -> Runs:
    for run in runs.values():
        run.ends(state)
    return runs


def _may_be_rolled_back(story: Story) -> set[str]:
    """Return the models that the rollback's form offers."""
    params = story.rest.request("GET", f"dags/{ROLLBACK}/details")["params"]
    return set(params["model"]["schema"]["enum"])
