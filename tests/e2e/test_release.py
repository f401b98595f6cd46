"""The main job on real parts: first release, a good candidate, a bad one, the ways back by hand, and what is refused."""

from __future__ import annotations

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core.state import Actor, ActorKind
from tests.e2e.story import GOLDEN, HOUSEKEEPING, MODEL, Run, Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ADMIN = Actor(kind=ActorKind.PERSON, name="admin")


@pytest.fixture(scope="module")
def promoted(whole_story: Story, first_release: Run) -> Run:
    """The run of a good candidate."""
    return whole_story.release("good-2").ends("success")


@pytest.fixture(scope="module")
def harmed(whole_story: Story, promoted: Run) -> Run:
    """The run of a candidate that answers with wrong digits."""
    return whole_story.release("bad").ends("failed")


def test_the_first_release_serves_everybody_once_its_absolute_checks_pass(story: Story, first_release: Run) -> None:
    pushed = first_release.returned("push")
    actions = [entry.name for entry in story.entries() if _belongs(entry.origin.run, first_release)]
    assert actions[:4] == ["pushed", "validated", "start_canary", "applied"]
    assert actions[-2:] == ["promote", "applied"]
    assert story.clients_saw(pushed["number"])
    assert {first_release.tasks[task] for task in ("abort", "release_guard")} == {"skipped", "success"}


def test_versions_travel_by_xcom_as_strings(story: Story, first_release: Run) -> None:
    pushed = first_release.returned("push")
    name = first_release.rest.xcom(first_release.dag_id, first_release.run_id, "push", key="version_id")
    assert name == pushed["version"] == first_release.returned("load")["version"]
    assert isinstance(pushed["number"], str)
    assert pushed["number"] == name.removeprefix("v-").replace("-", "")


def test_a_good_candidate_goes_through_its_canary_to_stable_and_tells_other_dags(story: Story, promoted: Run) -> None:
    number, name = (promoted.returned("push")[key] for key in ("number", "version"))
    mine = [entry for entry in story.entries() if _belongs(entry.origin.run, promoted)]
    shares = [
        entry.state.canary.percent for entry in mine if entry.name == "shift" and entry.state and entry.state.canary
    ]
    assert shares == [30.0, 60.0]
    assert [entry.detail["verdict"] for entry in mine if entry.name == "verdict"] == ["SAFE", "SAFE"]
    promotion = next(entry for entry in mine if entry.name == "promote")
    assert promotion.state is not None
    assert promotion.state.stable is not None
    assert promotion.state.stable.name == name
    assert story.clients_saw(number)
    event = _asset_event(story, promoted)
    assert event["version"] == name
    assert event["split"] == {number: 100.0}
    assert event["run"] == promoted.release_id


def test_a_bad_candidate_is_taken_back_and_quarantined(story: Story, promoted: Run, harmed: Run) -> None:
    bad, good = harmed.returned("push")["version"], promoted.returned("push")["version"]
    abort = next(entry for entry in story.entries() if entry.name == "abort" and _belongs(entry.origin.run, harmed))
    assert "HARM" in abort.reason
    assert abort.evidence is not None
    assert abort.state is not None
    assert [version.name for version in abort.state.quarantined] == [bad]
    assert abort.state.stable is not None
    assert abort.state.stable.name == good
    tasks = harmed.tasks
    assert tasks["promote"] == "upstream_failed"
    assert tasks["record"] == "success"
    assert "HARM" in harmed.log("step_1_30_percent.check")


def test_what_may_not_or_cannot_serve_is_refused_with_a_clear_error_and_nothing_changes(
    story: Story, harmed: Run
) -> None:
    bad = harmed.returned("push")["version"]
    before = story.head.generation
    again = story.release("bad", version=bad)
    nothing = story.release("bad", saved_model=str(story.trained))
    banned = story.rollback(target=bad, reason="I want it back")
    unknown = story.rollback(target="v-20200101-000000", reason="I have seen it once")
    for run, task, said in (
        (again, "load", f"{bad} is quarantined"),
        (nothing, "push", "saved_model.pb"),
        (banned, "rollback", f"{bad} is quarantined"),
        (unknown, "rollback", "v-20200101-000000"),
    ):
        run.ends("failed")
        assert said in run.log(task)
        assert run.row(task)["try_number"] == 1, "no retry could mend it"
    assert story.head.generation == before


def test_a_person_rolls_back_to_the_previous_and_then_to_the_golden_version_over_rest(
    story: Story, promoted: Run, harmed: Run
) -> None:
    mark, before = story.newest, story.state
    assert before.stable is not None
    for target, expected in (("previous", before.earlier[-1]), ("golden", before.stable)):
        reason = f"customers complain, back to {target}"
        run = story.rollback(target=target, reason=reason).ends("success")
        entry = next(entry for entry in story.entries(after=mark) if _belongs(entry.origin.run, run))
        assert entry.name == "rollback"
        assert reason in entry.reason
        assert entry.origin.actor == ADMIN
        assert run.returned("rollback")["version"] == expected.name
        story.clients_see_only(str(expected.number))
        assert _asset_event(story, run)["version"] == expected.name
        story.trigger(GOLDEN, {"model": MODEL, "version": before.stable.name}).ends("success")


def test_old_versions_are_retired_and_the_ledger_holds_each_log_entry_once(
    story: Story, first_release: Run, promoted: Run
) -> None:
    latest = story.release("good-1").ends("success").returned("push")["version"]
    oldest = first_release.returned("push")["version"]
    story.rest.unpause(HOUSEKEEPING)

    def cleaned() -> bool:
        story.trigger(HOUSEKEEPING).ends("success")
        return oldest not in _kept(story)

    story.until(cleaned, what="the oldest version is deleted")  # servers drain first; what they hold goes the next time
    story.trigger(HOUSEKEEPING).ends("success")
    story.rest.unpause(HOUSEKEEPING, paused=True)
    assert {latest, *(version.name for version in story.state.promoted)} <= _kept(story)
    retired = [entry.version.name for entry in story.entries() if entry.name == "retired" and entry.version]
    assert retired.count(oldest) == 1
    entries = story.entries()
    rows = LedgerQueries(LedgerSettings(path=story.stack.ledger)).history(MODEL, limit=len(entries) + 100)
    assert sorted(row.sequence for row in rows) == [entry.sequence for entry in entries]


def _kept(story: Story) -> set[str]:
    return {version.name for version in story.repository.versions(MODEL)}


def _belongs(origin: object, run: Run) -> bool:
    return isinstance(origin, dict) and (origin.get("dag_id"), origin.get("run_id")) == (run.dag_id, run.run_id)


def _asset_event(story: Story, run: Run) -> dict[str, object]:
    """Return what the one event carries that a run has emitted on the model's stable asset."""
    params = {"source_dag_id": run.dag_id, "source_run_id": run.run_id}
    events = story.rest.request("GET", "assets/events", params=params)["asset_events"]
    assert len(events) == 1
    extra: dict[str, object] = events[0]["extra"]
    return extra
