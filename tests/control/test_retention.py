"""Cleaning up on a real repository, a real router and two model servers: what may be needed stays, whatever dies when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.retention import Cleanup, cleanup
from airflow_model_ops.core.errors import FleetNotAdopted, TransitionRefused
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.state import Fence
from tests.adapters.envoy_rig import eventually
from tests.adapters.serving_rig import PERSON, Fleet, serving_fleet, version

pytestmark = pytest.mark.integration


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    # A busy machine may answer late, and that is no failure; nor need every test drain for as long.
    with serving_fleet(tmp_path, route_timeout_seconds=10, drain_seconds=0.2) as running:
        yield running


def clean(fleet: Fleet, *, keep_last: int = 2) -> Cleanup:
    return cleanup(fleet.control(), keep_last=keep_last, deadline_seconds=5)


def present(fleet: Fleet) -> list[str]:
    return [found.name for found in fleet.control().repository.versions("digits")]


def facts(fleet: Fleet) -> list[str]:
    entries = fleet.control().repository.log("digits").entries()
    return [entry.version.name for entry in entries if entry.name == FactKind.RETIRED.value and entry.version]


def drained(fleet: Fleet, *, also: int | None = None) -> None:
    """Wait until nothing is on a server but what the head keeps warm, and what served before it."""
    applier = fleet.control().applier
    warm = {kept.number for kept in fleet.control().state.warm} | ({version(also).number} if also else set())
    assert eventually(lambda: applier.unload(deadline_seconds=0)["digits"] == warm)


def test_old_versions_are_retired_then_deleted_then_forgotten_and_no_request_fails(fleet: Fleet) -> None:
    fleet.release(1, 2, 3, 4)
    drained(fleet)
    with fleet.traffic() as traffic:
        result = clean(fleet)
        assert eventually(lambda: traffic.total > 50)
    assert traffic.failures == []
    assert (result.retired, result.deleted, dict(result.spared)) == ((version(1), version(2)),) * 2 + ({},)
    assert present(fleet) == ["m-v3.0.0", "m-v4.0.0"]
    assert facts(fleet) == ["m-v1.0.0", "m-v2.0.0"]
    assert fleet.control().repository.manifest("digits", version(1)).version == version(1)
    assert clean(fleet) == Cleanup(retired=(), deleted=(), spared={})
    assert fleet.control().state.retired == ()
    assert facts(fleet) == ["m-v1.0.0", "m-v2.0.0"]


def test_a_version_that_a_server_still_holds_is_spared_until_it_is_unloaded(fleet: Fleet) -> None:
    fleet.release(1, 2, 3, 4)
    fleet.servers[0].hold_unloads = True
    assert eventually(lambda: bool(clean(fleet).spared))
    assert "m-v1.0.0" in present(fleet)
    fleet.servers[0].hold_unloads = False
    assert eventually(lambda: bool(clean(fleet)) and present(fleet) == ["m-v3.0.0", "m-v4.0.0"])


def test_a_server_that_does_not_answer_keeps_what_it_may_hold(fleet: Fleet) -> None:
    fleet.release(1, 2, 3, 4)
    fleet.servers[1].unreachable = True
    assert eventually(lambda: bool(clean(fleet)) and version(1).number not in fleet.available()[0])
    assert clean(fleet).spared.keys() == {version(1), version(2)}
    assert "m-v1.0.0" in present(fleet)
    fleet.servers[1].unreachable = False
    assert eventually(lambda: bool(clean(fleet)) and present(fleet) == ["m-v3.0.0", "m-v4.0.0"])


def test_a_version_that_a_waiting_release_wants_is_spared(fleet: Fleet) -> None:
    fleet.release(1, 2, 3, 4)
    drained(fleet)
    fleet.control().leases.renew(Fence(release="again", attempt=1), version(1), waiting=True)
    result = clean(fleet)
    assert result.deleted == (version(2),)
    assert dict(result.spared) == {version(1): "a release waits with it"}


def test_after_a_rollback_the_way_further_back_and_golden_stay(fleet: Fleet) -> None:
    fleet.release(1, 2, 3, 4, 5)
    person = fleet.control(actor=PERSON)
    person.pin_golden(version(1))
    person.rollback(reason="wrong digits", to="m-v3.0.0")
    fleet.apply()
    drained(fleet, also=5)
    assert clean(fleet).deleted == ()
    person.rollback(reason="still wrong")
    fleet.apply()
    assert fleet.split() == {version(2).number: 100.0}


def test_a_retired_version_is_nobodys_target_any_longer(fleet: Fleet) -> None:
    fleet.release(1, 2, 3, 4)
    drained(fleet)
    _cut_at(fleet, "delete", calls=1)
    with pytest.raises(TransitionRefused, match="retired"):
        fleet.control(actor=PERSON).rollback(reason="wrong digits", to="m-v1.0.0")
    with pytest.raises(TransitionRefused, match="retired"):
        fleet.control().start_canary(version(1), fence=Fence(release="again", attempt=1))


class Cut(BaseException):
    """The worker dies here."""


def _cut_at(fleet: Fleet, name: str, *, calls: int) -> None:
    """Clean up with a worker that dies when it calls something for the n-th time, or ends well before that."""
    control = fleet.addresses.control("digits")
    owner: dict[str, object] = {
        "delete": control.repository,
        "unload": control.applier,
        "apply": control,
        "record": control.committer,
        "commit": control.committer,
    }
    left = calls

    def dying(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise Cut
            return original(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner[name], name, dying(getattr(owner[name], name)))
        _until_cut(control)


def _until_cut(control: ModelControl) -> None:
    try:
        cleanup(control, keep_last=2, deadline_seconds=5)
    except Cut:
        return
    finally:
        control.target.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("name", ["unload", "commit", "apply", "delete", "record"])
def test_a_cleaning_that_dies_anywhere_is_finished_by_the_next(fleet: Fleet, name: str, calls: int) -> None:
    fleet.release(1, 2, 3, 4)
    drained(fleet)
    _cut_at(fleet, name, calls=calls)
    clean(fleet)
    assert present(fleet) == ["m-v3.0.0", "m-v4.0.0"]
    assert facts(fleet) == ["m-v1.0.0", "m-v2.0.0"]
    clean(fleet)
    assert fleet.control().state.retired == ()
    assert facts(fleet) == ["m-v1.0.0", "m-v2.0.0"]


def test_a_fleet_that_is_not_adopted_is_not_cleaned(tmp_path: Path) -> None:
    with serving_fleet(tmp_path, declared_empty=False) as fleet:
        fleet.push(1)
        with pytest.raises(FleetNotAdopted):
            clean(fleet)
