"""The repository on POSIX beside pushes, logs and locks: models, links, leases, evidence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.ports import Lease, PushRequest, Repository
from airflow_model_ops.core.state import Canary, Fence, Golden, ServingState
from airflow_model_ops.core.versioning import Version, VersionNaming
from tests.adapters.posix_children import CREATED, an_entry

NAMING = VersionNaming()
V1, V2, V3 = (NAMING.parse(f"v-20230601-12000{second}") for second in range(3))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    return root


@pytest.fixture
def repository(root: Path) -> PosixRepository:
    return PosixRepository(root)


def push(repository: PosixRepository, model: str, version: Version, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir(exist_ok=True)
    (export / "saved_model.pb").write_bytes(b"graph")
    repository.push(model, version, PushRequest(directory=export, created=CREATED))


def links(directory: Path) -> dict[str, str]:
    return {path.name: str(path.readlink()) for path in directory.iterdir() if path.is_symlink()}


def lease(release: str, attempt: int, *, until: float = 100.0) -> Lease:
    return Lease(release=release, attempt=attempt, version=V1, until=until)


def test_it_is_a_repository(repository: PosixRepository) -> None:
    as_port: Repository = repository  # mypy checks the protocol here
    assert as_port.models() == ()


def test_a_missing_root_is_never_made(tmp_path: Path) -> None:
    """Making it would write below the mount point of a file system that is not mounted."""
    with pytest.raises(RepositoryUnavailable, match="is not a directory; mount it, or create it once"):
        PosixRepository(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_models_are_those_with_a_log_or_a_version(repository: PosixRepository, root: Path, tmp_path: Path) -> None:
    push(repository, "pushed", V1, tmp_path)
    repository.log("logged").put_if_absent(an_entry("a").after(None))
    repository.write_lease("waiting", lease("r", 1))
    repository.fleet("main").write("routes.json", b"{}")
    (root / "empty").mkdir()
    (root / "lost+found").mkdir()
    (root / "README").write_text("notes")
    assert repository.models() == ("logged", "pushed")


def test_a_model_stays_one_when_its_versions_are_deleted_and_when_its_log_is_broken(
    repository: PosixRepository, root: Path, tmp_path: Path
) -> None:
    push(repository, "deleted", V1, tmp_path)
    repository.delete("deleted", V1)
    repository.log("broken").put_if_absent(an_entry("a").after(None))
    (root / "broken" / "log" / f"{1:020d}.json").write_bytes(b"")
    assert repository.models() == ("broken", "deleted")


def test_versions_are_ordered_by_number_and_found_without_their_links(
    repository: PosixRepository, root: Path, tmp_path: Path
) -> None:
    for version in (V2, V1, V3):
        push(repository, "digits", version, tmp_path)
    (root / "digits" / "versions" / V2.name).unlink()
    (root / "digits" / "versions" / V3.name).unlink()
    (root / "digits" / "versions" / V3.name).symlink_to(str(V1.number))  # a lie
    (root / "digits" / "versions" / "7").mkdir()  # nobody's
    assert repository.versions("digits") == (V1, V2, V3)


def test_links_follow_the_state_and_are_relative(repository: PosixRepository, root: Path, tmp_path: Path) -> None:
    for version in (V1, V2):
        push(repository, "digits", version, tmp_path)
    directory = root / "digits"
    state = ServingState(
        fleet="main", stable=V1, canary=Canary(version=V2, percent=5), golden=Golden(version=V1, by_person=False)
    )
    repository.refresh_links("digits", state)
    expected = {"stable": f"versions/{V1.number}", "canary": f"versions/{V2.number}", "golden": f"versions/{V1.number}"}
    assert links(directory) == expected
    assert (directory / "canary").resolve() == repository.path("digits", V2)

    repository.refresh_links("digits", ServingState(fleet="main", stable=V2))
    assert links(directory) == {"stable": f"versions/{V2.number}"}
    repository.refresh_links("digits", ServingState(fleet="main"))
    assert links(directory) == {}


def test_links_that_are_right_are_left_alone(repository: PosixRepository, root: Path) -> None:
    state = ServingState(fleet="main", stable=V1)
    repository.refresh_links("digits", state)
    before = (root / "digits" / "stable").lstat()
    repository.refresh_links("digits", state)
    assert (root / "digits" / "stable").lstat() == before


def test_a_link_is_never_missing_while_it_is_replaced(
    repository: PosixRepository, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.refresh_links("digits", ServingState(fleet="main", stable=V1))

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RepositoryUnavailable, match="refresh the links of model 'digits'"):
        repository.refresh_links("digits", ServingState(fleet="main", stable=V2))
    assert links(root / "digits") == {"stable": f"versions/{V1.number}"}
    assert list((root / "digits" / ".aside").iterdir()) == []


def test_leases_come_back_until_they_end(repository: PosixRepository) -> None:
    assert repository.leases("digits") == ()
    first = Lease(release="r1", attempt=1, version=V1, until=12.5, waiting=True)
    repository.write_lease("digits", first)
    repository.write_lease("digits", lease("r2", 1))
    assert set(repository.leases("digits")) == {first, lease("r2", 1)}
    repository.write_lease("digits", lease("r1", 1, until=99))
    repository.end_lease("digits", Fence(release="r2", attempt=1))
    assert repository.leases("digits") == (lease("r1", 1, until=99),)
    repository.end_lease("digits", Fence(release="r2", attempt=1))
    assert repository.leases("other") == ()


def test_an_old_attempt_neither_covers_nor_ends_the_lease_of_a_newer_one(repository: PosixRepository) -> None:
    repository.write_lease("digits", lease("r", 10, until=50))
    repository.write_lease("digits", lease("r", 9, until=99))
    assert repository.leases("digits") == (lease("r", 10, until=50),)
    repository.end_lease("digits", Fence(release="r", attempt=9))
    assert repository.leases("digits") == (lease("r", 10, until=50),)
    repository.end_lease("digits", Fence(release="r", attempt=10))
    assert repository.leases("digits") == ()


def test_releases_with_similar_or_wild_names_have_leases_of_their_own(
    repository: PosixRepository, root: Path, tmp_path: Path
) -> None:
    names = [
        "r",
        "r.1",
        "manual__2024-01-01T00:00:00+00:00",
        "manual__2024-01-01T00-00-00-00-00",
        "../../x",
        "",
        "é" * 300,
    ]
    for name in names:
        repository.write_lease("digits", lease(name, 1))
    assert {found.release for found in repository.leases("digits")} == set(names)
    repository.end_lease("digits", Fence(release="r", attempt=5))
    assert {found.release for found in repository.leases("digits")} == set(names) - {"r"}
    assert {path.name for path in tmp_path.iterdir()} == {"repository"}
    assert {path.name for path in root.iterdir()} == {"digits"}


@pytest.mark.parametrize("part", [b"{", b"[]", b'"attempt": Infinity', b'"until": NaN', b'"version": null'])
def test_an_unreadable_lease_counts_for_nothing_and_is_told(
    repository: PosixRepository, root: Path, caplog: pytest.LogCaptureFixture, part: bytes
) -> None:
    repository.write_lease("digits", lease("r", 1))
    repository.write_lease("digits", lease("good", 1))
    path = root / "digits" / "leases" / "r.1.json"
    path.write_bytes(path.read_bytes()[:-1] + b", " + part + b"}" if b":" in part else part)
    assert repository.leases("digits") == (lease("good", 1),)
    assert "remove the file" in caplog.text


@pytest.mark.parametrize("until", [float("inf"), 1e12])
def test_a_lease_that_nobody_renews_ends_however_far_ahead_its_holders_clock_was(
    repository: PosixRepository, root: Path, until: float
) -> None:
    repository.write_lease("digits", lease("r", 1, until=until))
    os.utime(root / "digits" / "leases" / "r.1.json", (1000, 1000))
    assert repository.leases("digits") == (lease("r", 1, until=1120.0),)


def test_evidence_is_kept_under_the_reference_it_returns(repository: PosixRepository, root: Path) -> None:
    plain = repository.write_evidence("digits", "r1", "step-0005", b'{"n": 1}')
    assert plain == "evidence/r1/step-0005.json"
    assert (root / "digits" / plain).read_bytes() == b'{"n": 1}'
    assert repository.write_evidence("digits", "r1", "step-0005.json", b'{"n": 2}') == plain
    assert (root / "digits" / plain).read_bytes() == b'{"n": 2}'

    wild = [
        repository.write_evidence("digits", name, "a/../b", b"{}") for name in ("scheduled__00:00", "scheduled__00-00")
    ]
    assert len(set(wild)) == 2
    for reference in wild:
        assert (root / "digits" / reference).resolve().is_relative_to(root / "digits" / "evidence")


def test_one_fleet_has_one_store(repository: PosixRepository) -> None:
    """So that a write knows the lock its thread took, wherever the store was asked for."""
    assert repository.fleet("main") is repository.fleet("main")
    assert repository.fleet("main") is not repository.fleet("other")


def test_a_manifest_that_cannot_be_read_hides_no_other(repository: PosixRepository, root: Path, tmp_path: Path) -> None:
    for version in (V1, V2, V3):
        push(repository, "digits", version, tmp_path)
    manifests = root / "digits" / "manifests"
    (manifests / f"{V1.name}.json").write_text("{")
    (manifests / f"{V2.name}.json").write_bytes((manifests / f"{V3.name}.json").read_bytes())
    assert set(repository.version_names("digits")) == {V1.name, V2.name, V3.name}
    known = repository.known_versions("digits", [V1.name, V2.name, V3.name])
    assert "manifest cannot be read" in (known[V1.name].fault or "")
    assert known[V2.name].fault == f"the manifest of {V2.name!r} is that of {V3.name!r}; restore it from a backup"
    assert known[V3.name].manifest is not None
