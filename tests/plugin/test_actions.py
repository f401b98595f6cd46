"""What a person may ask for: the wishes that are taken, and what a rollback would do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_model_ops.core.log import Entry, EntryKind, Origin
from airflow_model_ops.core.state import Actor, ActorKind, ServingState
from airflow_model_ops.plugin.runs.action_dags import DAG_OF, TASK_OF
from airflow_model_ops.plugin.runs.dag_runs import Run, last_error
from airflow_model_ops.plugin.runs.progress import told
from tests.plugin.page_story import ADA, PageStory, told_in

Started = list[tuple[str, Mapping[str, Any]]]
V1, V2, V3 = (f"v-202306{day:02}-120000" for day in (1, 2, 3))


def foreseen(client: TestClient, model: str, to: str | None = None) -> dict[str, Any]:
    answer = client.get(f"models/{model}/rollback-preview", params={"to": to} if to else {})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def shares(split: list[dict[str, Any]]) -> dict[str, float]:
    return {share["version"]: share["percent"] for share in split}


class TestWishes:
    @pytest.mark.parametrize(
        ("action", "wish"),
        [
            ("rollback", {}),
            ("rollback", {"reason": "no"}),
            ("rollback", {"reason": "   no   "}),
            ("rollback", {"to": "", "reason": "it harms"}),
            ("rollback", {"reason": "x" * 1001}),
            ("rollback", {"reason": "it harms", "force": True}),
            ("pin", {"version": ""}),
            ("hold", {"reason": 7}),
            ("lift", {"reason": "a mistake"}),
            ("quarantine", {"version": V1, "reason": "it harms", "force": "perhaps"}),
            ("abort", ["it harms"]),
        ],
    )
    def test_what_is_no_sound_wish_starts_nothing(
        self, as_op: TestClient, started_runs: Started, action: str, wish: Any
    ) -> None:
        assert as_op.post(f"models/digits/{action}", json=wish).status_code == 422
        assert started_runs == []

    def test_a_wish_is_handed_on_without_blanks_around_it(self, as_op: TestClient, started_runs: Started) -> None:
        as_op.post("models/digits/rollback", json={"to": " golden ", "reason": "  it harms  "})

        wish = {"model": "digits", "target": "golden", "reason": "it harms", "seen": None}
        assert started_runs == [("model_rollback", wish)]

    def test_a_rollback_hands_on_the_generation_that_its_preview_was_of(
        self, as_op: TestClient, started_runs: Started, story: PageStory
    ) -> None:
        seen = foreseen(as_op, "digits")["generation"]
        head = story.repository.log("digits").last()
        assert head is not None
        assert seen == head.generation

        as_op.post("models/digits/rollback", json={"reason": "it harms", "seen": seen})

        assert started_runs[0][1]["seen"] == seen

    def test_an_unknown_model_is_not_acted_on(self, as_op: TestClient, started_runs: Started) -> None:
        assert as_op.post("models/nonsense/hold", json={"reason": "why not"}).status_code == 404
        assert started_runs == []

    def test_the_acting_task_of_every_actions_dag_is_known(self, story: PageStory) -> None:
        from airflow_model_ops import dag_builders

        models = story.models
        built = [
            dag_builders.build_rollback_dag(models),
            dag_builders.build_golden_dag(models),
            dag_builders.build_hold_dag(models),
            dag_builders.build_resume_dag(models),
            dag_builders.build_abort_dag(models),
            dag_builders.build_lift_dag(models),
            dag_builders.build_quarantine_dag(models),
        ]

        assert {dag.dag_id: sorted({*dag.task_ids} - {"record"}) for dag in built} == {
            dag_id: [task] for dag_id, task in TASK_OF.items()
        }
        assert set(DAG_OF.values()) == set(TASK_OF)


class TestPreview:
    def test_with_a_canary_the_release_ends_and_stable_has_everything(self, as_viewer: TestClient) -> None:
        found = foreseen(as_viewer, "digits")

        assert (found["possible"], found["ends_release"], found["target"], found["warm"]) == (True, True, V2, True)
        assert (shares(found["before"]), shares(found["after"])) == ({V2: 90, V3: 10}, {V2: 100})
        assert found["sentences"] == [
            f"{V2} gets 100 % of the traffic; {V3} gets none",
            f"the live release of {V3} ends; the version stays a candidate",
            "nothing has to be loaded: this takes seconds",
        ]

    def test_back_to_a_named_version_that_is_loaded_takes_seconds(self, as_viewer: TestClient) -> None:
        found = foreseen(as_viewer, "digits", V1)

        assert (found["target"], found["warm"], shares(found["after"])) == (V1, True, {V1: 100})
        assert f"{V2} is no automatic target any more" in found["sentences"]
        assert found["sentences"][-1] == f"{V1} is loaded on every server that answers: this takes seconds"

    def test_the_hold_of_a_person_stays_and_the_hold_back_ends(self, as_viewer: TestClient) -> None:
        found = foreseen(as_viewer, "churn")

        assert shares(found["after"]) == {V1: 100}
        assert f"{V1} is no longer held back" in found["sentences"]
        assert "the hold of bob stays" in found["sentences"]

    @pytest.mark.parametrize(
        ("model", "to", "why_not"),
        [
            ("fresh", None, "no version to roll back to"),
            ("digits", "golden", "no golden version"),
            ("spam", V3, "quarantined"),
            ("digits", "nonsense", "nonsense"),
            ("digits", "v-20200101-000000", "v-20200101-000000"),
            ("tags", V2, "already is stable"),
        ],
    )
    def test_what_cannot_be_is_told_beforehand(
        self, as_viewer: TestClient, model: str, to: str | None, why_not: str
    ) -> None:
        found = foreseen(as_viewer, model, to)

        assert (found["possible"], found["target"], found["sentences"]) == (False, None, [])
        assert why_not in found["why_not"]
        assert found["before"] == found["after"]

    def test_it_changes_nothing_and_agrees_with_what_the_rollback_then_does(
        self, tmp_path: Path, story: PageStory, as_viewer: TestClient
    ) -> None:
        """The very story of the other tests, once more, so that it may be changed."""
        with told_in(tmp_path) as other:
            before = other.control("tags").committer.head()
            foretold = {to: foreseen(as_viewer, "tags", to) for to in ("previous", V1)}
            assert other.control("tags").committer.head() == before

            for to, found in foretold.items():
                other.control("tags", actor=ADA).rollback(reason="to see", to=to)
                state = other.control("tags").state
                assert {version.name: percent for version, percent in state.split} == shares(found["after"])
                assert state.stable is not None
                assert state.stable.name == (found["target"] or V1)

    def test_a_version_that_must_be_loaded_first_takes_as_long_as_a_load_may(
        self, tmp_path: Path, story: PageStory, as_viewer: TestClient
    ) -> None:
        with told_in(tmp_path) as other:
            other.target.unavailable_servers.update(other.target.servers)

            found = foreseen(as_viewer, "tags", V1)

        assert found["warm"] is False
        assert found["sentences"][-2:] == [
            f"{V1} must be loaded first: up to 10 min",
            f"the files of {V1} are checked before it is loaded",
        ]

    def test_a_version_whose_files_are_gone_is_left_out(
        self, tmp_path: Path, story: PageStory, as_viewer: TestClient
    ) -> None:
        with told_in(tmp_path) as other:
            other.target.unavailable_servers.update(other.target.servers)
            other.repository.delete("digits", other.version("digits", 1))
            other.control("digits", actor=ADA).abort(reason="first this", fence=None)

            found = foreseen(as_viewer, "digits")

        assert found["possible"] is False
        assert "no version to roll back to" in found["why_not"]
        assert f"({V1}: " in found["why_not"]


class TestWords:
    """What is said of a run, by the state of its acting task."""

    @pytest.mark.parametrize(
        ("task_state", "committed", "message"),
        [
            (None, False, "waiting for Airflow to start it"),
            ("running", False, "at work"),
            ("deferred", True, "committed: back to v-1; a version is being loaded, which may take minutes"),
            ("up_for_retry", False, "a try failed; it is tried again"),
        ],
    )
    def test_of_one_that_goes_on(self, task_state: str | None, committed: bool, message: str) -> None:
        said = told(
            run(task_state), committed=entry() if committed else None, result={}, failure=None, now=datetime.now(UTC)
        )
        assert (said.done, said.succeeded, said.message) == (False, None, message)

    @pytest.mark.parametrize(
        ("task_state", "committed", "failure", "message"),
        [
            ("failed", False, "use force", "use force"),
            ("failed", False, None, "not done: it was marked so, or its log cannot be read; see the run"),
            (
                "failed",
                True,
                "router r does not answer",
                "committed (back to v-1), but not confirmed: router r does not answer; the watcher goes on, see the run",
            ),
            ("skipped", False, None, "not done: skipped; see the run"),
        ],
    )
    def test_of_one_that_failed(self, task_state: str, committed: bool, failure: str | None, message: str) -> None:
        said = told(
            run(task_state), committed=entry() if committed else None, result={}, failure=failure, now=datetime.now(UTC)
        )
        assert (said.done, said.succeeded, said.message) == (True, False, message)

    def test_of_one_that_a_person_ended_before_it_could_act(self) -> None:
        said = told(run(None, state="failed"), committed=None, result={}, failure=None, now=datetime.now(UTC))

        assert (said.succeeded, said.message) == (False, "the run was ended before it could act")

    def test_the_last_error_of_a_log_is_found_among_other_lines(self) -> None:
        log = [
            {"event": "the first trouble", "level": "error"},
            {"event": "the last trouble", "level": "error"},
            {"event": "ended", "level": "info", "error_detail": []},
            "a line that is none",
        ]
        assert last_error(log) == "the last trouble"
        assert last_error([]) is None


def run(task_state: str | None, *, state: str = "running") -> Run:
    return Run(
        dag_id="model_rollback",
        run_id="manual__1",
        state=state,
        conf={"model": "digits"},
        queued_at=datetime.now(UTC),
        task_id="rollback",
        task_state=task_state,
        tries=1,
    )


def entry() -> Entry:
    return Entry(
        kind=EntryKind.TRANSITION,
        name="rollback",
        at="2026-01-01T00:00:00+00:00",
        reason="back to v-1",
        origin=Origin(actor=Actor(kind=ActorKind.PERSON, name="ada")),
        write_id="w",
        state=ServingState(fleet="main"),
        sequence=7,
        generation=7,
    )
