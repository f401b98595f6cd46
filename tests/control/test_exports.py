"""Which export a schedule releases: stories over a real repository, with releases as they leave the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.control.commit import Committer, iso_time
from airflow_model_ops.control.exports import newest_export
from airflow_model_ops.core import transitions
from airflow_model_ops.core.exports import CompleteExport, ExportChoice
from airflow_model_ops.core.log import FactKind, Origin
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.state import Actor, ActorKind, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from tests.control.conftest import StoryClock

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
PERSON = Actor(kind=ActorKind.PERSON, name="ada")
ORIGIN = Origin(actor=PERSON)
SETTLE = 30.0


@dataclass
class Story:
    """One model whose exports arrive, are released and end one way or another."""

    root: Path
    clock: StoryClock
    repository: PosixRepository
    exports: dict[str, CompleteExport] = field(default_factory=dict)
    hashed: list[str] = field(default_factory=list)
    releases: int = 0

    def __post_init__(self) -> None:
        log = self.repository.log("m")
        self.committer = Committer(log=log, initial=ServingState(fleet="main"), clock=self.clock)
        digest_of = self.repository.digest_of

        def watched(directory: Path) -> str:
            self.hashed.append(directory.name)
            return digest_of(directory)

        self.repository.digest_of = watched  # type: ignore[method-assign]

    def arrives(self, name: str, *, content: str | None = None) -> Path:
        """An export is written a minute after the one before it."""
        self.clock.sleep(60)
        directory = self.root / "exports" / name
        directory.mkdir(parents=True)
        (directory / "saved_model.pb").write_text(content or name)
        now = self.clock.now()
        self.exports[name] = CompleteExport(place=str(directory), modified_at=now, settled_at=now + SETTLE)
        return directory

    def pushed(self, name: str) -> tuple[Version, Fence]:
        """A run a minute later pushes an export."""
        self.clock.sleep(60)
        self.releases += 1
        version = NAMING.parse(f"m-v{self.releases}.0.0")
        request = PushRequest(directory=Path(self.exports[name].place), created=iso_time(self.clock.now()))
        manifest = self.repository.push("m", version, request)
        self.committer.record(
            FactKind.PUSHED, reason="pushed", origin=ORIGIN, version=version, detail={"digest": manifest.digest}
        )
        return version, Fence(release=f"run-{self.releases}", attempt=1)

    def on_trial(self, name: str) -> tuple[Version, Fence]:
        version, fence = self.pushed(name)
        live = LiveRelease(id=fence.release, attempt=1, version=version, started_at=iso_time(self.clock.now()))
        self.commit(lambda state: transitions.start_canary(state, release=live, percent=10))
        return version, fence

    def promoted(self, name: str) -> Version:
        version, fence = self.on_trial(name)
        self.commit(lambda state: transitions.promote(state, fence=fence, version=version, proof="shown safe"))
        return version

    def aborted(self, name: str, *, verdicts: tuple[str, ...] = (), harmed: bool = False) -> Version:
        version, fence = self.on_trial(name)
        for verdict in verdicts:
            self.committer.record(
                FactKind.VERDICT,
                reason="judged",
                origin=ORIGIN,
                version=version,
                release=fence,
                detail={"verdict": verdict},
            )
        self.commit(lambda state: transitions.abort(state, reason="ends", fence=fence, harmed=harmed))
        return version

    def validated(self, name: str, *, blessed: bool) -> None:
        version, _ = self.pushed(name)
        self.committer.record(
            FactKind.VALIDATED,
            reason="accuracy 0.1",
            origin=ORIGIN,
            version=version,
            detail={"blessed": blessed},
        )

    def commit(self, decide: Callable[[ServingState], Decision]) -> None:
        assert self.committer.commit(decide, origin=ORIGIN).changed

    def choice(self) -> ExportChoice:
        self.hashed.clear()
        return newest_export(exports=self.exports.values(), repository=self.repository, model="m")

    def chosen(self) -> str | None:
        export = self.choice().export
        return export.directory.name if export else None


@pytest.fixture
def story(tmp_path: Path, clock: StoryClock) -> Story:
    (tmp_path / "repository").mkdir()
    return Story(root=tmp_path, clock=clock, repository=PosixRepository(tmp_path / "repository"))


def test_without_exports_there_is_nothing_to_release(story: Story) -> None:
    choice = story.choice()

    assert choice.export is None
    assert choice.reason == "no export to release; there is no complete one"


def test_the_first_release_takes_the_newest_export_by_number(story: Story) -> None:
    for name in ("9", "10", "8"):
        story.arrives(name)

    choice = story.choice()

    assert choice.export is not None
    assert choice.export.directory.name == "10"
    assert choice.export.digest == story.repository.digest_of(choice.export.directory)


def test_without_numbers_for_names_the_newest_is_the_one_written_last(story: Story) -> None:
    for name in ("run-b", "run-c", "run-a"):
        story.arrives(name)

    assert story.chosen() == "run-a"


def test_a_promoted_export_is_not_released_again_and_not_read_again(story: Story) -> None:
    story.arrives("1")
    story.promoted("1")

    assert story.chosen() is None
    assert story.hashed == []


def test_the_same_content_under_a_new_name_is_no_news(story: Story) -> None:
    story.arrives("1", content="same")
    version = story.promoted("1")
    story.arrives("2", content="same")

    choice = story.choice()

    assert choice.export is None
    assert f"'2' is {version}, which was promoted" in choice.reason


def test_a_schedule_never_goes_back_in_time(story: Story) -> None:
    """The older export was never released, and the promoted one is not even there any longer."""
    story.arrives("1")
    story.arrives("2")
    story.promoted("2")

    assert story.chosen() is None
    del story.exports["2"]
    assert story.chosen() is None


def test_an_export_that_settles_while_another_is_released_comes_next(story: Story) -> None:
    story.arrives("1")
    _, fence = story.on_trial("1")
    story.arrives("2")
    version = NAMING.parse("m-v1.0.0")
    story.commit(lambda state: transitions.promote(state, fence=fence, version=version, proof="shown safe"))

    assert story.chosen() == "2"


def test_a_version_that_was_rolled_back_from_counts_as_promoted(story: Story) -> None:
    story.arrives("1")
    story.promoted("1")
    story.arrives("2")
    story.promoted("2")
    story.commit(lambda state: transitions.rollback(state, actor=PERSON, reason="slow"))

    assert story.chosen() is None


def test_a_quarantined_export_is_passed_over_for_an_older_one_that_is_still_news(story: Story) -> None:
    story.arrives("1")
    story.promoted("1")
    story.arrives("2")
    story.arrives("3")
    bad = story.aborted("3", verdicts=("HARM",), harmed=True)

    choice = story.choice()

    assert choice.export is not None
    assert choice.export.directory.name == "2"
    assert f"'3' is {bad}, which is quarantined" in choice.reason


def test_a_lifted_quarantine_makes_the_export_eligible_again(story: Story) -> None:
    story.arrives("1")
    bad = story.aborted("1", verdicts=("HARM",), harmed=True)
    assert story.chosen() is None

    story.commit(lambda state: transitions.lift(state, version=bad, actor=PERSON, reason="the labels were wrong"))

    assert story.chosen() == "1"


def test_an_export_that_breached_a_check_is_not_tried_for_ever(story: Story) -> None:
    story.arrives("1")
    breaching = story.aborted("1", verdicts=("UNDECIDED", "BREACH"))

    choice = story.choice()

    assert choice.export is None
    assert f"'1' is {breaching}, whose release 'run-1' ended on a BREACH" in choice.reason


@pytest.mark.parametrize("verdicts", [(), ("UNDECIDED",), ("PROVIDER_DOWN",), ("BREACH", "UNDECIDED")])
def test_an_export_whose_release_ended_otherwise_stays_a_candidate(story: Story, verdicts: tuple[str, ...]) -> None:
    story.arrives("1")
    story.aborted("1", verdicts=verdicts)

    assert story.chosen() == "1"


def test_the_last_release_of_a_content_decides(story: Story) -> None:
    story.arrives("1")
    story.aborted("1", verdicts=("BREACH",))
    story.aborted("1", verdicts=("UNDECIDED",))

    assert story.chosen() == "1"


def test_an_export_without_blessing_waits_until_a_validation_blesses_it(story: Story) -> None:
    story.arrives("1")
    story.validated("1", blessed=False)
    refused = story.choice()
    story.validated("1", blessed=True)

    assert refused.export is None
    assert "which got no blessing: accuracy 0.1" in refused.reason
    assert story.chosen() == "1"


def test_an_export_with_a_link_that_leads_out_is_passed_over_and_named(story: Story) -> None:
    story.arrives("1")
    (story.arrives("2") / "weights").symlink_to("/etc/hostname")

    choice = story.choice()

    assert choice.export is not None
    assert choice.export.directory.name == "1"
    assert "'2' is not usable" in choice.reason


def test_the_content_of_an_adopted_version_is_no_news_but_a_newer_export_is(story: Story) -> None:
    story.arrives("1")
    story.arrives("2")
    version, _ = story.pushed("1")
    story.commit(lambda state: transitions.adopt(state, stable=version, actor=PERSON))

    assert story.chosen() == "2"
    del story.exports["2"]
    assert story.chosen() is None
