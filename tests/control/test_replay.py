"""A past release judged again: the same verdicts from its kept evidence, and no word unnoticed that does not follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.control.evidence_book import ENTRIES_PER_PAGE
from airflow_model_ops.control.replay import ReplayedVerdict, replay_model, replay_release
from airflow_model_ops.control.watch_check import WatchCheck
from airflow_model_ops.core.checks import Check, CheckKind
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.policy import Watch
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.testing import InMemoryRepository
from tests.control.counted_traffic import arms_of
from tests.control.watched_release import PERSON, WatchedRelease, v

Repositories = Callable[[], Any]


def on_disk(root: Path) -> PosixRepository:
    """Return a repository on disk that holds three versions of ``digits``."""
    (root / "models").mkdir()
    repository = PosixRepository(root / "models")
    for major in (1, 2, 3):
        export = root / f"export-{major}"
        export.mkdir()
        (export / "saved_model.pb").write_bytes(f"graph {major}".encode())
        repository.push("digits", v(major), PushRequest(directory=export, created="2023-06-01T12:00:00Z"))
    return repository


@pytest.fixture
def watch() -> WatchedRelease:
    return WatchedRelease()


@pytest.fixture(params=["memory", "posix"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> WatchedRelease:
    return WatchedRelease(repository=on_disk(tmp_path) if request.param == "posix" else None)


def promoted_and_watched(watch: WatchedRelease) -> None:
    """Let version 2 pass both steps, be promoted, and outlast its watch."""
    watch.policy = replace(watch.policy, watch=Watch(seconds=60, hold_back=5))
    assert watch.ticks(20) is not None
    watch.shift(50)
    assert watch.ticks(20, step=1) is not None
    watch.control().promote(v(2), fence=watch.fence, proof="good", hold_back=5, hold_back_seconds=60)
    watch.apply()
    after = WatchCheck(
        control=watch.control(),
        source=watch.traffic,
        policy=watch.policy,
        fence=watch.fence,
        version=v(2),
        arms_of=arms_of,
    )
    for _ in range(7):
        watch.clock.advance(10)
        if after.tick() is not None:
            return
    raise AssertionError("the watch did not end")


def replayed(watch: WatchedRelease, release: str = "r") -> tuple[ReplayedVerdict, ...]:
    """Replay as one who comes fresh, and asks no metric source."""
    asked = watch.traffic.asked
    verdicts = replay_release(watch.repository, model="digits", release=release)
    assert watch.traffic.asked == asked
    return verdicts


def rewrite(watch: WatchedRelease, name: str, change: Callable[[Any], None]) -> None:
    """Change a kept file as somebody with an editor would."""
    content = watch.repository.read_evidence("digits", "r", name)
    assert content is not None
    data = json.loads(content)
    change(data)
    watch.repository.write_evidence("digits", "r", name, json.dumps(data).encode())


class TestTheSame:
    def test_every_verdict_of_a_promoted_release_follows_bit_for_bit_its_watch_included(
        self, kept: WatchedRelease
    ) -> None:
        promoted_and_watched(kept)

        verdicts = replayed(kept)

        assert [each.recorded for each in verdicts] == ["SAFE", "SAFE", "UNDECIDED"]
        assert [each.replayed for each in verdicts] == ["SAFE", "SAFE", "UNDECIDED"]
        assert [(each.same, each.differs) for each in verdicts] == [(True, "")] * 3
        assert [each.intervals for each in verdicts] == sorted({each.intervals for each in verdicts})
        told = {entry.sequence: entry.name for entry in kept.entries}
        assert [told[each.entry] for each in verdicts] == ["verdict"] * 3

    def test_a_harm_that_took_many_pages_of_evidence_follows_too(self, watch: WatchedRelease) -> None:
        watch.control(PERSON).hold(reason="audit")
        watch.apply()
        assert watch.ticks(2 * ENTRIES_PER_PAGE) is None
        watch.traffic.harmful()
        assert watch.ticks(3) is not None

        (verdict,) = replayed(watch)

        assert (verdict.recorded, verdict.replayed, verdict.same) == ("HARM", "HARM", True)
        assert verdict.intervals > 2 * ENTRIES_PER_PAGE

    def test_a_value_without_counts_and_a_measured_noise_follow_too(self) -> None:
        watch = WatchedRelease()
        accuracy = Check(name="accuracy", kind=CheckKind.PROMQL, query="accuracy", min=0.9, consecutive=2)
        watch.policy = replace(watch.policy, checks=(*watch.policy.checks, accuracy))
        watch.traffic.gauge = (0.5, 0.95)
        assert watch.ticks(3) is not None

        (verdict,) = replayed(watch)

        assert (verdict.recorded, verdict.same) == ("BREACH", True)

    def test_what_is_measured_after_a_verdict_does_not_change_it(self, watch: WatchedRelease) -> None:
        assert watch.ticks(20) is not None
        before = replayed(watch)
        watch.shift(50)
        watch.traffic.harmful()
        assert watch.ticks(3, step=1) is not None

        assert replayed(watch)[:1] == before

    def test_a_yaml_file_that_changed_since_changes_nothing(self, watch: WatchedRelease) -> None:
        watch.traffic.harmful()
        watch.ticks(3)
        watch.policy = replace(
            watch.policy, checks=(replace(watch.policy.checks[0], max_ratio_to_stable=50, margin=60),)
        )

        (verdict,) = replayed(watch)

        assert verdict.same


class TestAltered:
    def test_one_altered_count_is_found_and_what_follows_from_it_is_told(self, kept: WatchedRelease) -> None:
        kept.traffic.harmful()
        kept.ticks(3)

        def hide(page: Any) -> None:
            page["entries"][1]["evidence"][0]["canary"]["bad"] = 10

        rewrite(kept, "attempt-1-evidence-1", hide)

        (verdict,) = replayed(kept)

        assert (verdict.recorded, verdict.replayed, verdict.same) == ("HARM", "UNDECIDED", False)
        assert "(10 of 1,000)" in verdict.differs
        assert verdict.differs.endswith("; the verdict is UNDECIDED")

    def test_a_count_that_leaves_the_verdict_as_it_is_is_found_by_its_figures(self, watch: WatchedRelease) -> None:
        watch.traffic.harmful()
        watch.ticks(3)

        def nudge(page: Any) -> None:
            page["entries"][1]["evidence"][0]["stable"]["bad"] -= 1

        rewrite(watch, "attempt-1-evidence-1", nudge)

        (verdict,) = replayed(watch)

        assert (verdict.recorded, verdict.replayed, verdict.same) == ("HARM", "HARM", False)
        assert verdict.differs.startswith("errors of digits-v2.0.0 10.0 % (100 of 1,000)")

    def test_another_alpha_in_what_it_was_judged_by_is_found(self, watch: WatchedRelease) -> None:
        watch.ticks(20)

        def loosen(head: Any) -> None:
            head["opening"]["settings"]["alpha"] = 0.1

        rewrite(watch, "attempt-1-judge", loosen)

        assert [each.same for each in replayed(watch)] == [False]

    def test_the_judges_own_states_are_not_believed(self) -> None:
        """A page begins with the state before it; a replay takes in the counts only."""
        watch = WatchedRelease()
        watch.control(PERSON).hold(reason="audit")
        watch.apply()
        watch.ticks(ENTRIES_PER_PAGE + 5)
        watch.traffic.harmful()
        watch.ticks(3)

        def forget(page: Any) -> None:
            page["state"] = None

        rewrite(watch, "attempt-1-evidence-2", forget)

        assert [each.same for each in replayed(watch)] == [True]


class TestMissing:
    def test_a_release_that_has_no_verdict_is_told_with_those_that_have(self, watch: WatchedRelease) -> None:
        watch.ticks(20)

        with pytest.raises(InvalidState, match="no judged verdict of release 'other'; it has 'r'"):
            replayed(watch, "other")

    def test_a_release_nobody_judged_yet_is_told(self, watch: WatchedRelease) -> None:
        with pytest.raises(InvalidState, match="it has none of any release"):
            replayed(watch)

    def test_a_page_that_is_gone_is_named(self, tmp_path: Path) -> None:
        watch = WatchedRelease(repository=on_disk(tmp_path))
        watch.control(PERSON).hold(reason="audit")
        watch.apply()
        watch.ticks(ENTRIES_PER_PAGE + 5)
        watch.traffic.harmful()
        watch.ticks(3)
        (page,) = (tmp_path / "models/digits/evidence").rglob("attempt-1-evidence-1*")
        page.unlink()

        with pytest.raises(InvalidState) as told:
            replayed(watch)

        assert str(told.value) == (
            f"entry {watch.entries[-1].sequence} of model 'digits', the HARM of release 'r' attempt 1, cannot be replayed: page 1 "
            "of the evidence of release 'r' is missing; restore its files under evidence/ from a backup"
        )

    def test_the_last_page_cut_short_is_told(self, watch: WatchedRelease) -> None:
        watch.ticks(20)
        taken_in = watch.entries[-1].detail["taken_in"]

        def cut(page: Any) -> None:
            del page["entries"][-1]

        rewrite(watch, "attempt-1-evidence-1", cut)

        with pytest.raises(InvalidState, match=f"only {taken_in - 1} of the {taken_in} intervals behind it are kept"):
            replayed(watch)

    def test_a_live_release_whose_newest_page_is_gone_is_not_judged_on_as_if_it_were_new(self, tmp_path: Path) -> None:
        watch = WatchedRelease(repository=on_disk(tmp_path))
        watch.ticks(2)
        (page,) = (tmp_path / "models/digits/evidence").rglob("attempt-1-evidence-1*")
        page.unlink()

        with pytest.raises(InvalidState, match="page 1 of the kept evidence is missing; abort the release"):
            watch.ticks(1)

    def test_evidence_that_was_cleared_away_is_told(self) -> None:
        watch = WatchedRelease()
        watch.ticks(20)
        fresh = InMemoryRepository()
        for entry in watch.entries:
            fresh.log("digits").put_if_absent(entry)

        with pytest.raises(InvalidState, match="nothing is kept of it in the repository"):
            replay_release(fresh, model="digits", release="r")

    @pytest.mark.parametrize(
        "damage", ["[" * 100_000, '{"state":{},"after":{},"entries":[]}', '{"entries":[{"percent":1e999}]}']
    )
    def test_a_page_that_cannot_be_taken_in_is_told(self, watch: WatchedRelease, damage: str) -> None:
        watch.ticks(20)
        watch.repository.write_evidence("digits", "r", "attempt-1-evidence-1", damage.encode())

        with pytest.raises(InvalidState, match="abort the release"):
            assert watch.book.judge
        with pytest.raises(InvalidState, match="abort the release"):
            watch.check().tick()

    @pytest.mark.parametrize(
        ("field", "value"),
        [("started_at", "x"), ("deadline_from", float("nan")), ("step", None), ("held", 1), ("approved_by", [])],
    )
    def test_a_place_that_makes_no_sense_is_told(self, watch: WatchedRelease, field: str, value: object) -> None:
        """A deadline that is no number would be over at once."""
        watch.ticks(5)
        rewrite(watch, "attempt-1-judge", lambda head: head["position"].update({field: value}))

        with pytest.raises(InvalidState, match="abort the release if it is live"):
            watch.check().tick()

    def test_a_page_that_is_no_json_is_told(self, watch: WatchedRelease) -> None:
        watch.ticks(20)
        watch.repository.write_evidence("digits", "r", "attempt-1-evidence-1", b"{")

        with pytest.raises(InvalidState, match=r"cannot be replayed: kept evidence cannot be read .*from a backup"):
            replayed(watch)


class TestAModel:
    def test_every_verdict_of_every_release_is_judged_again(self, watch: WatchedRelease) -> None:
        watch.ticks(20)

        everything = tuple(replay_model(watch.repository, model="digits"))

        assert everything == replayed(watch)
        assert all(verdict.same for verdict in everything)

    def test_a_release_whose_evidence_is_gone_differs_by_that_and_does_not_stop_the_rest(self) -> None:
        watch = WatchedRelease()
        watch.ticks(20)
        fresh = InMemoryRepository()
        for entry in watch.entries:
            fresh.log("digits").put_if_absent(entry)

        (verdict,) = replay_model(fresh, model="digits")

        assert (verdict.same, verdict.replayed) == (False, "")
        assert "nothing is kept of it in the repository" in verdict.differs
