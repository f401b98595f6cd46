"""One version that cannot be read does not stop a way back; one that was just pushed is not cleaned away."""

from __future__ import annotations

import pytest

from airflow_model_ops.adapters.repository.manifests import StoredManifest
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.retention import cleanup
from airflow_model_ops.core.errors import InvalidState, NoRollbackTarget, RepositoryUnavailable
from airflow_model_ops.core.log import FactKind, Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
V1, V2, V3, V4 = (NAMING.parse(f"m-v{major}.0.0") for major in (1, 2, 3, 4))


class Unreadable(InMemoryRepository):
    """Some of its versions raise when they are verified."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: dict[Version, Exception] = {}

    def verify(self, model: str, version: Version) -> None:
        if version in self.broken:
            raise self.broken[version]
        super().verify(model, version)


class Unloaded(InMemoryTarget):
    """Says that nothing is loaded, so that every way back is verified."""

    def is_loaded(self, model: str, version: Version) -> bool:
        return False


@pytest.fixture
def repository() -> Unreadable:
    return Unreadable()


@pytest.fixture
def control(repository: Unreadable) -> ModelControl:
    made = ModelControl(
        model="digits",
        naming=NAMING,
        repository=repository,
        target=Unloaded(),
        initial=ServingState(fleet="main"),
        origin=Origin(actor=Actor(kind=ActorKind.PERSON, name="ada")),
        clock=ManualClock(),
    )
    for version in (V1, V2, V3):
        repository.add_version("digits", version)
        release(made, version)
    return made


def release(control: ModelControl, version: Version) -> None:
    fence = Fence(release=f"release of {version}", attempt=1)
    control.start_canary(version, fence=fence, percent=25.0)
    control.apply(deadline_seconds=10)
    control.promote(version, fence=fence, proof="SAFE")
    control.apply(deadline_seconds=10)


@pytest.mark.parametrize("error", [InvalidState("no manifest"), RepositoryUnavailable("EIO"), OSError()])
def test_a_rollback_goes_past_a_version_that_cannot_be_read(
    control: ModelControl, repository: Unreadable, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    repository.broken[V2] = error
    assert control.rollback(reason="slow").state.stable == V1
    assert "cannot go back to m-v2.0.0" in caplog.text


def test_a_rollback_without_any_usable_version_tells_why(control: ModelControl, repository: Unreadable) -> None:
    repository.broken = {V1: RepositoryUnavailable("EIO"), V2: InvalidState("no manifest")}
    with pytest.raises(NoRollbackTarget, match=r"m-v2.0.0: no manifest; m-v1.0.0: EIO"):
        control.rollback(reason="slow")
    assert control.state.stable == V3


def pushed(control: ModelControl, version: Version) -> None:
    control.committer.record(FactKind.PUSHED, reason="pushed", origin=control.origin, version=version)


def test_a_version_pushed_lately_and_not_started_yet_is_spared_for_a_day(
    control: ModelControl, repository: Unreadable
) -> None:
    release_late = NAMING.parse("m-v0.9.0")
    repository.add_version("digits", release_late)
    pushed(control, release_late)
    assert release_late not in cleanup(control, keep_last=1, deadline_seconds=1).retired
    assert isinstance(control.clock, ManualClock)
    control.clock.advance(25 * 3600)
    assert release_late in cleanup(control, keep_last=1, deadline_seconds=1).retired


def test_a_version_that_was_released_since_its_push_is_not_spared_for_it(
    control: ModelControl, repository: Unreadable
) -> None:
    repository.add_version("digits", V4)
    pushed(control, V4)
    release(control, V4)
    assert V1 in cleanup(control, keep_last=1, deadline_seconds=1).retired


@pytest.mark.parametrize("part", [b'"files": null', b'"files": {"a": 1}', b'"size": Infinity', b'"version": 5'])
def test_a_manifest_with_an_odd_part_is_refused(part: bytes) -> None:
    plain = (
        b'{"schema": 1, "version": {"name": "m-v1.0.0", "number": "100000000"}, "digest": "d", "files": {"a": "b"}, "size": 1,'
        b' "created": "2023-06-01T12:00:00+00:00", "source": {}, "dataset_version": null, "hyperparameters": {},'
        b' "metrics": {}, "staged": "s", "retired": false}'
    )
    assert StoredManifest.from_bytes(plain).manifest.version == V1
    with pytest.raises(InvalidState):
        StoredManifest.from_bytes(plain[:-1] + b", " + part + b"}")
