"""The timeline of a model: its log from the newest entry back, page by page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from airflow_model_ops.plugin.datamodels.history import Timeline
from airflow_model_ops.plugin.history.log_walk import newest_first
from airflow_model_ops.plugin.history.timeline import entry_of, timeline_of
from tests.plugin.written_log import NAMING, WrittenLog, v

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.plugin.page_story import PageStory


def log_of(count: int) -> WrittenLog:
    log = WrittenLog()
    for number in range(count):
        log.commit(number, canary=1 + number % 50)
    log.reads.clear()
    return log


def page(log: WrittenLog, *, limit: int, before: int | None = None) -> Timeline:
    entries = newest_first(log, before=before, batch=limit)
    return timeline_of(entries, limit=limit, naming=NAMING, is_kept=lambda _: False)


def shown(entry: Entry, *, kept: bool = False) -> Any:
    return entry_of(entry, naming=NAMING, is_kept=lambda _: kept)


class TestWalkingBack:
    @pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 130])
    def test_a_log_is_walked_from_its_newest_entry_to_its_first(self, count: int) -> None:
        walked = [entry.sequence for entry in newest_first(log_of(count))]
        assert walked == list(range(count, 0, -1))

    @pytest.mark.parametrize("limit", [1, 2, 7, 50, 200])
    def test_its_pages_hold_every_entry_once(self, limit: int) -> None:
        log, seen = log_of(71), []
        before: int | None = None
        while True:
            timeline = page(log, limit=limit, before=before)
            seen += [entry.sequence for entry in timeline.entries]
            assert len(timeline.entries) <= limit
            before = timeline.before
            if before is None:
                break
        assert seen == list(range(71, 0, -1))

    def test_the_page_with_the_first_entry_is_the_last_one(self) -> None:
        assert page(log_of(5), limit=5).before is None
        assert page(log_of(5), limit=4).before == 2

    def test_the_old_part_of_a_long_log_is_not_read_for_its_newest_page(self) -> None:
        log = log_of(300)
        page(log, limit=10)
        assert min(log.reads) >= 300 - 12

    @pytest.mark.parametrize("before", [72, 10**18])
    def test_a_page_from_beyond_the_end_is_the_newest_one(self, before: int) -> None:
        assert page(log_of(71), limit=3, before=before) == page(log_of(71), limit=3)

    def test_before_the_first_entry_there_is_nothing(self) -> None:
        assert page(log_of(5), limit=3, before=1) == Timeline(entries=[], before=None)

    def test_an_entry_that_was_edited_is_shown_as_it_is(self) -> None:
        log = log_of(5)
        edited = replace(_read(log, 2), reason="I never did that")
        log._stored[1] = edited.to_bytes()
        assert [entry.reason for entry in page(log, limit=9).entries][-2] == "I never did that"

    def test_an_entry_that_is_lost_is_told(self) -> None:
        log = log_of(5)
        log._stored[1] = b"{"
        with pytest.raises(InvalidState, match="log entry cannot be read"):
            page(log, limit=9)


def _read(log: WrittenLog, sequence: int) -> Entry:
    entry = log.read(sequence)
    assert entry is not None
    return entry


class TestAnEntry:
    def test_a_transition_tells_who_and_in_which_run_and_what_should_serve(self) -> None:
        run = {"dag_id": "model_rollback", "run_id": "manual__1", "task_id": "roll_back", "try": "1"}
        told = shown(WrittenLog().commit(0, canary=10, run=run))
        assert (told.kind, told.name, told.generation, told.version) == ("transition", "shift", 1, "digits-v2.0.0")
        assert (told.who.kind, told.who.name) == ("person", "ada")
        assert (told.run.dag_id, told.run.run_id, told.run.task_id) == ("model_rollback", "manual__1", "roll_back")
        assert [(share.version, share.percent) for share in told.split] == [
            ("digits-v1.0.0", 90),
            ("digits-v2.0.0", 10),
        ]
        assert told.verdict is None

    def test_what_the_command_line_did_is_linked_to_no_run(self) -> None:
        assert shown(WrittenLog().commit(0, canary=10, run={})).run is None

    def test_what_the_automation_did_is_no_persons_act(self) -> None:
        guard = Actor(kind=ActorKind.AUTOMATION, name="model_guard")
        assert shown(WrittenLog().commit(0, canary=10, actor=guard)).who.kind == "automation"

    def test_a_confirmed_split_is_told_by_names_where_only_numbers_are_kept(self) -> None:
        log = WrittenLog()
        log.commit(0, canary=10)
        told = shown(log.confirm(1, split={str(v(2).number): 10.0, str(v(1).number): 90.0}))
        assert [(share.version, share.percent) for share in told.split] == [
            ("digits-v1.0.0", 90),
            ("digits-v2.0.0", 10),
        ]

    def test_a_number_that_no_version_has_is_told_itself(self) -> None:
        log = WrittenLog()
        log.commit(0, canary=10)
        assert [share.version for share in shown(log.confirm(1, split={"9" * 18: 100.0})).split] == ["9" * 18]

    def test_a_verdict_is_told_with_the_attempt_it_belongs_to(self) -> None:
        log, fence = WrittenLog(), Fence(release="r", attempt=2)
        told = shown(log.note(FactKind.VERDICT, 0, detail={"verdict": "HARM"}, release=fence), kept=True)
        assert (told.verdict, told.release, told.attempt, told.has_evidence) == ("HARM", "r", 2, True)
        assert told.split is None

    def test_evidence_is_looked_for_once_for_each_attempt(self) -> None:
        log, asked = WrittenLog(), []
        for minute in range(6):
            log.note(FactKind.VERDICT, minute, release=Fence(release="r", attempt=1 + minute % 2))

        def is_kept(fence: Fence) -> bool:
            asked.append(fence)
            return fence.attempt == 1

        timeline = timeline_of(newest_first(log), limit=9, naming=NAMING, is_kept=is_kept)
        assert [entry.has_evidence for entry in timeline.entries] == [False, True] * 3
        assert len(asked) == 2


class TestTheRoute:
    def test_a_persons_rollback_stands_first_with_reason_and_run(self, story: PageStory, as_viewer: TestClient) -> None:
        entries = as_viewer.get("models/spam/timeline", params={"limit": 200}).json()["entries"]
        assert len(entries) == len(list(story.repository.log("spam").entries()))
        rollback = next(entry for entry in entries if entry["kind"] == "transition")
        assert rollback["name"] == "rollback"
        assert rollback["who"] == {"kind": "person", "name": "ada"}
        assert "customers complain about lost mail" in rollback["reason"]
        assert rollback["run"] == {"dag_id": "model_rollback", "run_id": "manual__ada_spam", "task_id": "act"}

    def test_the_harm_before_it_can_be_looked_at(self, as_viewer: TestClient) -> None:
        entries = as_viewer.get("models/spam/timeline").json()["entries"]
        harm = next(entry for entry in entries if entry["verdict"] == "HARM")
        assert harm["has_evidence"]
        first = as_viewer.get("models/spam/timeline", params={"before": 3}).json()
        assert first["before"] is None
        assert not any(entry["has_evidence"] for entry in first["entries"])

    def test_a_model_without_a_log_has_an_empty_one(self, as_viewer: TestClient) -> None:
        assert as_viewer.get("models/fresh/timeline").json() == {"before": None, "entries": []}

    @pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"before": 0}, {"before": "x"}])
    def test_an_odd_page_is_refused(self, as_viewer: TestClient, query: dict[str, Any]) -> None:
        assert as_viewer.get("models/spam/timeline", params=query).status_code == 422

    def test_a_log_that_cannot_be_read_is_the_repositorys_trouble(
        self, story: PageStory, as_viewer: TestClient
    ) -> None:
        (entry,) = story.directory.glob("repository/churn/log/*002.json")
        kept = entry.read_bytes()
        entry.write_bytes(json.dumps({"schema": 99}).encode())
        try:
            answer = as_viewer.get("models/churn/timeline")
        finally:
            entry.write_bytes(kept)
        assert answer.status_code == 503
        assert answer.json()["trouble"]["backend"] == "repository"
        assert "upgrade it" in answer.json()["trouble"]["reason"]
