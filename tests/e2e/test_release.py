"""The main job on real parts: first release, a good candidate, a bad one, the ways back by hand, and what is refused."""

from __future__ import annotations

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from tests.e2e.scenario import (
    ROLLBACK_SECONDS,
    a_person_takes_it_back,
    entries_of,
    it_served_everybody_once_its_absolute_checks_passed,
    it_was_taken_back_and_quarantined,
    it_went_through_its_canary_to_stable,
)
from tests.e2e.story import GOLDEN, HOUSEKEEPING, MODEL, Run, Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def promoted(whole_story: Story, first_release: Run) -> Run:
    """The run of a good candidate."""
    return whole_story.release("good-2").ends("success")


@pytest.fixture(scope="module")
def harmed(whole_story: Story, promoted: Run) -> Run:
    """The run of a candidate that answers with wrong digits."""
    return whole_story.release("bad").ends("failed")


def test_the_first_release_serves_everybody_once_its_absolute_checks_pass(story: Story, first_release: Run) -> None:
    it_served_everybody_once_its_absolute_checks_passed(story, first_release)
    assert "validated" in [entry.name for entry in entries_of(story, first_release)]


def test_versions_travel_by_xcom_as_strings(story: Story, first_release: Run) -> None:
    pushed = first_release.returned("push")
    name = first_release.rest.xcom(first_release.dag_id, first_release.run_id, "push", key="version_id")
    assert name == pushed["version"] == first_release.returned("load")["version"]
    assert isinstance(pushed["number"], str)
    assert pushed["number"] == name.removeprefix("v-").replace("-", "")


def test_a_good_candidate_goes_through_its_canary_to_stable_and_tells_other_dags(story: Story, promoted: Run) -> None:
    it_went_through_its_canary_to_stable(story, promoted)


def test_a_bad_candidate_is_taken_back_and_quarantined(story: Story, promoted: Run, harmed: Run) -> None:
    it_was_taken_back_and_quarantined(story, harmed, good=promoted)


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
    before = story.state
    assert before.stable is not None
    for target, expected in (("previous", before.earlier[-1]), ("golden", before.stable)):
        assert a_person_takes_it_back(story, target=target, expected=expected.name) < ROLLBACK_SECONDS
        story.trigger(GOLDEN, {"model": MODEL, "version": before.stable.name}).ends("success")


def test_old_versions_are_retired_and_the_ledger_holds_each_log_entry_once(
    story: Story, first_release: Run, promoted: Run
) -> None:
    # No worse than stable; good-1 errs twice as often, which takes the judge long to bear.
    run = story.release("good-2")
    story.skips_validation(run)
    latest = run.ends("success").returned("push")["version"]
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
