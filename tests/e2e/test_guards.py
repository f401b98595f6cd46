"""The ways back that no task of the release takes: whatever is killed, marked or cleared, traffic ends on a good version.

Each test starts from a live canary whose check waits in the triggerer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

import pytest

from airflow_model_ops.core.log import Entry
from tests.e2e.story import CHECK, HURRIED, LOAD, RECOVERY_SECONDS, SHIFT, WATCH, Run, Story

WAYS_BACK = ("ended by a user", "a task of the release failed", "the run ended before the promotion")
"""The trigger, the abort branch and the teardown: all three start at once, and whichever commits first is the way back."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@contextmanager
def stable_is_untouched(story: Story) -> Iterator[None]:
    """What is stable at the start is stable at the end, and nothing was quarantined."""
    stable, quarantined = story.state.stable, story.state.quarantined
    assert stable is not None
    yield
    assert story.state.quarantined == quarantined
    assert story.state.stable == stable


def taken_back(story: Story, *, since: float, after: int) -> str:
    """Wait until the release is taken back, in time; return why, in the log's words."""
    seconds = story.serves_only_stable(since=since, after=after)
    entry = next(entry for entry in story.entries(after=after) if entry.name in {"abort", "rollback"})
    assert seconds < RECOVERY_SECONDS, story.retold(after=after)
    return entry.reason


def made_good(story: Story, *, since: float, after: int) -> float:
    """Wait until someone else has applied what a killed worker had committed; return the seconds it took."""

    def applied() -> Entry | None:
        return next((entry for entry in story.entries(after=after) if entry.name == "applied"), None)

    entry = story.until(applied, what="somebody applies what was committed")
    return datetime.fromisoformat(entry.at).timestamp() - since


@contextmanager
def committed_on_a_busy_fleet(story: Story, task: str, action: str) -> Iterator[Run]:
    """A new release, one of whose tasks has committed and cannot apply: the fleet is busy since before the task began."""
    story.no_release_is_live()
    with ExitStack() as busy:
        busy.enter_context(story.busy_fleet())
        run = story.hasty_release()
        story.until(lambda: _has(story, run, "start_canary"), what="the start is committed", about=run)
        if task != LOAD:
            with story.paused(run.dag_id):  # the next task begins within a third of a second after the load
                busy.close()
                run.reaches(LOAD, "success")
                busy.enter_context(story.busy_fleet())
            story.until(lambda: _has(story, run, action), what=f"{action} is committed", about=run)
        yield run


def test_marking_the_check_failed_takes_the_canary_back_at_once(story: Story) -> None:
    with stable_is_untouched(story):
        run, mark = story.live_canary(), story.newest
        since = time.time()
        story.rest.mark_task(run.dag_id, run.run_id, CHECK, state="failed")
        why = taken_back(story, since=since, after=mark)
        assert any(way in why for way in WAYS_BACK), why
        run.ends("failed")


def test_marking_the_run_failed_takes_the_canary_back_and_the_run_stays_failed(story: Story) -> None:
    with stable_is_untouched(story):
        run, mark = story.live_canary(), story.newest
        since = time.time()
        story.rest.mark_run(run.dag_id, run.run_id, state="failed")
        why = taken_back(story, since=since, after=mark)
        assert "ended" in why
        run.reaches("release_guard", "success", "failed")
        run.ends("failed")


def test_a_run_that_times_out_takes_its_canary_back(story: Story) -> None:
    with stable_is_untouched(story):
        run, mark = story.hasty_release(dag=HURRIED), story.newest
        story.until(lambda: _has(story, run, "start_canary"), what="the canary starts before the run times out")
        run.ends("failed")
        assert "ended" in taken_back(story, since=run.ended_at, after=mark)


def test_clearing_the_check_starts_a_new_attempt_that_old_actors_leave_alone(story: Story) -> None:
    with stable_is_untouched(story):
        run = story.live_canary()
        before = story.state.release
        assert before is not None
        story.rest.clear(run.dag_id, run.run_id, task_ids=[CHECK])
        story.until(lambda: _attempt(story, run) > before.attempt, what="a new attempt is live", about=run)
        run.reaches(CHECK, "deferred")
        story.until(lambda: story.is_watched(run), what="the new attempt is measured", about=run)
        assert story.state.split[-1][1] == 30.0


def test_a_triggerer_that_is_killed_and_started_again_goes_on_watching(story: Story) -> None:
    with stable_is_untouched(story):
        run = story.live_canary()
        before = story.state.release
        story.kill_component("triggerer")
        story.restart_component("triggerer")
        left_behind = _lease(story, run)
        story.until(lambda: _lease(story, run) > left_behind, what="the lease is renewed again")
        assert story.state.release == before, story.retold()
        assert run.tasks[CHECK] == "deferred"


@pytest.mark.parametrize(
    ("task", "committed"),
    [pytest.param(SHIFT, "shift", id="shift"), pytest.param(LOAD, "start_canary", id="load", marks=pytest.mark.slow)],
)
def test_what_a_killed_worker_had_committed_is_applied_and_then_taken_back_by_the_watcher(
    story: Story, task: str, committed: str
) -> None:
    """Airflow itself would notice the death after five minutes."""
    with stable_is_untouched(story):
        with committed_on_a_busy_fleet(story, task, committed) as run:
            mark, since = story.newest, story.kill_worker_of(run, task)
        assert story.serves_only_stable(since=since, after=mark) < RECOVERY_SECONDS, story.retold(after=mark)
        first, *_, last = (entry for entry in story.entries(after=mark) if entry.name in {"applied", "abort"})
        assert first.origin.run["dag_id"] == last.origin.run["dag_id"] == WATCH
        assert any("was abandoned" in entry.reason for entry in story.entries(after=mark))
        assert run.row(task)["state"] == "running", "Airflow has not noticed"
        story.rest.mark_run(run.dag_id, run.run_id, state="failed")


def test_a_release_goes_on_when_the_scheduler_and_its_workers_were_killed_and_started_again(story: Story) -> None:
    with stable_is_untouched(story):
        with committed_on_a_busy_fleet(story, LOAD, "start_canary") as run:
            mark, since = story.newest, story.kill_component("scheduler")
        story.restart_component("scheduler")
        assert made_good(story, since=since, after=mark) < RECOVERY_SECONDS, story.retold(after=mark)
        run.reaches(CHECK, "deferred", "upstream_failed")


def test_a_check_that_waits_leads_to_its_model_and_to_what_it_asks(story: Story) -> None:
    links = story.live_canary().links(CHECK)
    assert (links["Model"] or "").endswith(f"/plugin/model-ops/models/{story.model}")
    assert "/graph?g0.expr=" in (links["Metrics"] or "")


def test_a_rollback_pre_empts_a_live_release_which_then_says_so(story: Story) -> None:
    with stable_is_untouched(story):
        run, mark = story.live_canary(), story.newest
        since = time.time()
        back = story.rollback(target="previous", reason="the canary answers oddly")
        assert "the canary answers oddly" in taken_back(story, since=since, after=mark)
        back.ends("success")
        run.ends("failed")
        assert "was pre-empted" in run.log(CHECK)


def test_of_the_releases_that_wait_for_a_live_one_the_newest_goes_next(story: Story) -> None:
    live = story.live_canary()
    older = story.release("good-1")
    story.skips_validation(older)
    older.reaches(LOAD, "deferred")
    newer = story.release("good-2")
    story.skips_validation(newer)
    newer.reaches(LOAD, "deferred")
    assert story.is_watched(live), "those that wait leave the live one alone"
    story.rollback(target="previous", reason="make way").ends("success")
    newer.ends("success")
    assert story.state.stable is not None
    assert story.state.stable.name == newer.returned("push")["version"]
    older.ends("success")
    assert older.tasks[LOAD] == "skipped"
    assert "makes way" in older.log(LOAD)
    live.ends("failed")


def _attempt(story: Story, run: Run) -> int:
    live = story.state.release
    return live.attempt if live is not None and live.id == run.release_id else 0


def _lease(story: Story, run: Run) -> float:
    """Return until when someone has promised to look after a run's release, in seconds since the epoch."""
    return max(
        (lease.until for lease in story.repository.leases("digits") if lease.release == run.release_id), default=0
    )


def _has(story: Story, run: Run, action: str) -> bool:
    """Whether a transition of the run's release is in the log."""
    fences = [entry.release for entry in story.entries() if entry.name == action]
    return any(fence is not None and fence.release == run.release_id for fence in fences)
