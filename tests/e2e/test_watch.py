"""The watch after a promotion on real parts: a version that turns out bad goes back, a good one ends with all traffic."""

from __future__ import annotations

import pytest

from airflow_model_ops.core.log import Entry
from tests.e2e.story import UNPROVEN, WATCHED, Run, Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

BOUND_SECONDS = 60.0
"""From the promotion of a version that answers every second request wrongly until the former one serves everybody again: the
task that watches has to be scheduled and deferred meanwhile, on a busy machine."""
HELD_BACK = 20.0


def of_run(story: Story, run: Run) -> list[Entry]:
    """Return what the release of a run has written."""
    return [entry for entry in story.entries() if entry.release is not None and entry.release.release == run.release_id]


def test_a_promoted_version_that_is_bad_goes_back_to_the_one_that_was_held_back(story: Story) -> None:
    story.no_release_is_live()
    good = story.state.stable
    assert good is not None
    run = story.release("bad", dag=UNPROVEN).ends("failed")

    by_name = {entry.name: entry for entry in of_run(story, run)}
    promotion, rollback, verdict = by_name["promote"], by_name["rollback"], by_name["verdict"]
    assert promotion.state is not None
    assert promotion.state.holdback is not None
    assert (promotion.state.holdback.version, promotion.state.holdback.percent) == (good, HELD_BACK)
    assert story.applied_after(rollback) - story.applied_after(promotion) < BOUND_SECONDS, story.retold()
    assert story.state.stable == good
    assert "HARM after the promotion: wrong_predictions of" in rollback.reason
    assert verdict.detail["result"] == "rolled_back"
    assert story.state.quarantined[-1].name == run.returned("push")["version"]
    assert "was rolled back after its promotion: HARM" in run.log("watch")
    story.clients_see_only(str(good.number))


@pytest.mark.slow
def test_a_good_one_is_watched_to_the_end_and_then_serves_everybody(story: Story) -> None:
    story.no_release_is_live()
    former = story.state.stable
    assert former is not None
    run = story.release("good-2", dag=WATCHED)
    run.reaches("watch", "deferred")

    # Neither record nor clean-up waits for the watch, and what is held back is spared.
    run.reaches("cleanup", "success")
    run.reaches("record", "success")
    run.reaches("release_guard", "success")
    assert story.state.split[-1] == (former, HELD_BACK)
    run.ends("success")

    number, name = (run.returned("push")[key] for key in ("number", "version"))
    assert run.returned("watch")["result"] == "ended"
    mine = of_run(story, run)
    assert [entry.detail["verdict"] for entry in mine if entry.name == "verdict"][:2] == ["SAFE", "SAFE"]
    assert ["watched for 30 s" in entry.reason for entry in mine if entry.name == "end_hold_back"] == [True]
    assert story.state.stable is not None
    assert story.state.stable.name == name
    assert story.state.holdback is None
    story.clients_see_only(number)
