"""What every repository promises, asked of each: the fake for tests and the real ones behave alike.

A new repository joins by one more line of ``KEPT``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.object_repository import ObjectRepository
from airflow_model_ops.adapters.repository.object_store import ObjectStore
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.core.errors import (
    FleetBusy,
    InvalidConfig,
    InvalidState,
    NotASavedModel,
    VersionAltered,
    VersionExists,
    VersionNotFound,
)
from airflow_model_ops.core.log import Entry, FactKind, Origin, check_chain, fact, transition
from airflow_model_ops.core.ports import KnownVersion, Lease, PushRequest, Repository
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.transitions import adopt
from airflow_model_ops.core.versioning import Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository
from tests.adapters.bucket_rig import BucketServer
from tests.adapters.memory_store import MemoryStore
from tests.waits import all_ended

NAMING = VersionNaming()
V1, V2, V3 = (NAMING.parse(f"v-20230601-12000{second}") for second in (1, 2, 3))
ACTOR = Actor(kind=ActorKind.AUTOMATION, name="model_release")
AT = "2023-06-01T12:00:00+00:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A repository and what somebody who goes round it does to its files.

    :param alter: Overwrites a file of V1 of digits, or deletes it if the content is ``None``.
    """

    repository: Repository
    alter: Callable[[str, bytes | None], None]


def kept_in_directories(repository: InMemoryRepository | PosixRepository) -> Kept:
    def alter(name: str, content: bytes | None) -> None:
        file = repository.path("digits", V1) / name
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)

    return Kept(repository=repository, alter=alter)


def kept_in_store(store: ObjectStore) -> Kept:
    def alter(name: str, content: bytes | None) -> None:
        key = f"digits/versions/{V1.number}/{name}"
        if content is None:
            store.delete([key])
        else:
            store.put(key, content)

    return Kept(repository=ObjectRepository(store), alter=alter)


def kept_on_posix(tmp_path: Path) -> Kept:
    root = tmp_path / "repository"
    root.mkdir()
    return kept_in_directories(PosixRepository(root))


KEPT: dict[str, Callable[[Path], Kept]] = {
    "memory": lambda _: kept_in_directories(InMemoryRepository()),
    "posix": kept_on_posix,
    "object": lambda _: kept_in_store(MemoryStore()),
}
"""By name: makes an empty repository; given a directory of the test's own."""


@pytest.fixture(params=[*KEPT, *(pytest.param(name, marks=pytest.mark.integration) for name in ("gcs", "s3"))])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param in {"gcs", "s3"}:
        server: BucketServer = request.getfixturevalue(f"{request.param}_server")
        return kept_in_store(server.new_store())
    return KEPT[request.param](tmp_path)


@pytest.fixture
def repository(kept: Kept) -> Repository:
    return kept.repository


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """Write a directory that passes for a SavedModel."""

    def write(content: str = "graph", *, name: str = "export") -> Path:
        directory = tmp_path / name
        (directory / "variables").mkdir(parents=True, exist_ok=True)
        (directory / "saved_model.pb").write_text(content)
        (directory / "variables" / "variables.index").write_text("index")
        return directory

    return write


def request_of(directory: Path) -> PushRequest:
    return PushRequest(
        directory=directory,
        created=AT,
        source={"run": "manual__1"},
        dataset_version="2023-05",
        hyperparameters={"layers": [64, 10], "rate": 0.1},
        metrics={"accuracy": 0.97},
    )


def fetch(repository: Repository) -> Callable[[str, Version], None]:
    def ask(model: str, version: Version) -> None:
        with repository.local_files(model, version):
            pytest.fail("there are files")

    return ask


def a_fact(write_id: str, *, reason: str = "pushed") -> Entry:
    return fact(FactKind.PUSHED, reason=reason, origin=Origin(actor=ACTOR), at=AT, write_id=write_id, version=V1)


def a_transition(write_id: str) -> Entry:
    decision = adopt(ServingState(fleet="main"), stable=V1, actor=ACTOR)
    return transition(decision, origin=Origin(actor=ACTOR), at=AT, write_id=write_id)


class TestLog:
    def test_an_empty_log_has_no_entry(self, repository: Repository) -> None:
        log = repository.log("digits")
        assert (log.last(), log.read(1), list(log.entries())) == (None, None, [])
        assert repository.models() == ()

    def test_entries_come_back_in_order_with_their_digests(self, repository: Repository) -> None:
        log = repository.log("digits")
        first = a_fact("a").after(None)
        second = a_transition("b").after(first)
        third = a_fact("c", reason="\udcff from a file name").after(second)
        assert all(log.put_if_absent(entry) for entry in (first, second, third))
        assert list(log.entries()) == [first, second, third]
        assert list(log.entries(after=2)) == [third]
        assert list(log.entries(after=3)) == []
        assert [entry.digest for entry in log.entries()] == [first.digest, second.digest, third.digest]
        assert (log.last(), log.read(2), log.read(0), log.read(4)) == (third, second, None, None)
        assert repository.log("digits").last() == third
        assert repository.models() == ("digits",)

    def test_a_number_is_given_once(self, repository: Repository) -> None:
        log = repository.log("digits")
        assert log.put_if_absent(a_fact("a").after(None))
        assert not log.put_if_absent(a_fact("b").after(None))
        last = log.last()
        assert last is not None
        assert last.write_id == "a"

    def test_a_repeated_write_of_the_same_entry_has_won(self, repository: Repository) -> None:
        """Its first answer was lost on the way."""
        log = repository.log("digits")
        entry = a_fact("a").after(None)
        assert [log.put_if_absent(entry), log.put_if_absent(entry)] == [True, True]
        assert len(list(log.entries())) == 1

    @pytest.mark.parametrize("sequence", [0, 2, 7])
    def test_a_log_has_no_gaps(self, repository: Repository, sequence: int) -> None:
        log = repository.log("digits")
        with pytest.raises(InvalidState, match="read the log again"):
            log.put_if_absent(replace(a_fact("a"), sequence=sequence))
        assert log.last() is None

    def test_an_entry_that_does_not_follow_its_former_one_is_found(self, repository: Repository) -> None:
        log = repository.log("digits")
        first = a_fact("a").after(None)
        log.put_if_absent(first)
        log.put_if_absent(replace(a_fact("b").after(first), previous_digest="f" * 64))
        with pytest.raises(InvalidState, match="the log was edited, or an entry is lost"):
            list(log.entries())

    def test_of_many_writers_each_number_has_one_winner(self, repository: Repository) -> None:
        log = repository.log("digits")

        def append_five(writer: int) -> int:
            for index in range(5):
                while not log.put_if_absent(a_fact(f"{writer}-{index}").after(log.last())):
                    continue
            return writer

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(append_five, range(4))) == [0, 1, 2, 3]
        previous = None
        for entry in log.entries():
            check_chain(entry, previous)
            previous = entry
        assert len({entry.write_id for entry in log.entries()}) == 20

    def test_logs_of_models_are_apart(self, repository: Repository) -> None:
        repository.log("digits").put_if_absent(a_fact("a").after(None))
        assert repository.log("letters").last() is None
        assert repository.models() == ("digits",)

    @pytest.mark.parametrize("model", ["../digits", "_fleets", "", "a/b", ".hidden"])
    def test_a_model_name_that_leads_elsewhere_is_refused(self, repository: Repository, model: str) -> None:
        with pytest.raises(InvalidConfig, match="model name"):
            repository.log(model)


class TestVersions:
    def test_a_pushed_version_is_there_with_all_that_is_known_about_it(
        self, repository: Repository, export: Callable[..., Path]
    ) -> None:
        manifest = repository.push("digits", V1, request_of(export()))
        assert repository.versions("digits") == (V1,)
        assert repository.models() == ("digits",)
        assert repository.manifest("digits", V1) == manifest
        assert (manifest.version, manifest.created, manifest.dataset_version) == (V1, AT, "2023-05")
        assert manifest.metrics == {"accuracy": 0.97}
        assert manifest.hyperparameters == {"layers": [64, 10], "rate": 0.1}
        assert set(manifest.files) == {"saved_model.pb", "variables/variables.index"}
        assert manifest.size == len("graph") + len("index")
        with repository.local_files("digits", V1) as place:
            found = {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}
        assert found == {"saved_model.pb": "graph", "variables/variables.index": "index"}
        repository.check_files("digits", V1)
        assert repository.version_uri("digits", V1).startswith(repository.uri)
        assert repository.version_uri("digits", V1).endswith(str(V1.number))

    def test_the_digest_is_of_the_content_alone(self, repository: Repository, export: Callable[..., Path]) -> None:
        manifest = repository.push("digits", V1, request_of(export()))
        assert repository.digest_of(export(name="elsewhere")) == manifest.digest
        assert repository.digest_of(export("other", name="other")) != manifest.digest

    def test_all_repositories_agree_on_the_digest(self, repository: Repository, export: Callable[..., Path]) -> None:
        assert repository.digest_of(export()) == InMemoryRepository().digest_of(export())

    def test_a_retried_push_adopts_its_first_try(self, repository: Repository, export: Callable[..., Path]) -> None:
        first = repository.push("digits", V1, request_of(export()))
        assert repository.push("digits", V1, request_of(export())) == first
        assert repository.versions("digits") == (V1,)

    def test_a_name_is_never_given_to_other_content(self, repository: Repository, export: Callable[..., Path]) -> None:
        repository.push("digits", V1, request_of(export()))
        with pytest.raises(VersionExists, match="with other content"):
            repository.push("digits", V1, request_of(export("other", name="other")))
        repository.verify("digits", V1)

    def test_the_source_may_change_after_the_push(self, repository: Repository, export: Callable[..., Path]) -> None:
        repository.push("digits", V1, request_of(export()))
        export("trained further")
        repository.verify("digits", V1)

    def test_a_directory_elsewhere_is_no_versions_place(
        self, repository: Repository, export: Callable[..., Path]
    ) -> None:
        directory = export()
        assert not repository.is_place("digits", V1, directory)
        repository.push("digits", V1, request_of(directory))
        assert not repository.is_place("digits", V1, directory)

    def test_what_a_repository_calls_a_versions_place_is_where_its_files_are(
        self, repository: Repository, export: Callable[..., Path]
    ) -> None:
        repository.push("digits", V1, request_of(export()))
        with repository.local_files("digits", V1) as place:
            is_own_place = place.as_uri() == repository.version_uri("digits", V1)
            assert repository.is_place("digits", V1, place) is is_own_place
            assert not repository.is_place("digits", V2, place)

    def test_versions_are_listed_by_number(self, repository: Repository, export: Callable[..., Path]) -> None:
        for version in (V3, V1, V2):
            repository.push("digits", version, request_of(export()))
        assert repository.versions("digits") == (V1, V2, V3)
        assert repository.versions("letters") == ()

    def test_what_is_not_a_saved_model_is_refused(self, repository: Repository, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        for directory in (empty, tmp_path / "missing"):
            with pytest.raises(NotASavedModel, match=r"model\.export\(\) wrote"):
                repository.push("digits", V1, request_of(directory))
            with pytest.raises(NotASavedModel):
                repository.digest_of(directory)
        assert repository.versions("digits") == ()

    def test_a_link_out_of_the_directory_is_refused(
        self, repository: Repository, export: Callable[..., Path], tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("secret")
        directory = export()
        (directory / "assets").symlink_to(secret)
        with pytest.raises(NotASavedModel, match="leads out of it"):
            repository.push("digits", V1, request_of(directory))
        assert repository.versions("digits") == ()

    def test_what_cannot_be_written_down_is_refused(self, repository: Repository, export: Callable[..., Path]) -> None:
        with pytest.raises(InvalidConfig, match="metrics"):
            repository.push("digits", V1, replace(request_of(export()), metrics={"accuracy": float("nan")}))

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("saved_model.pb", b"evil!"),
            ("saved_model.pb", None),
            ("variables/variables.index", b"Index"),
            ("variables/variables.index", None),
            ("new", b"x"),
        ],
    )
    def test_altered_files_are_found(
        self, kept: Kept, export: Callable[..., Path], name: str, content: bytes | None
    ) -> None:
        kept.repository.push("digits", V1, request_of(export()))
        kept.alter(name, content)
        with pytest.raises(VersionAltered, match=V1.name):
            kept.repository.verify("digits", V1)

    def test_a_file_that_was_written_again_as_it_was_is_not_altered(
        self, kept: Kept, export: Callable[..., Path]
    ) -> None:
        kept.repository.push("digits", V1, request_of(export()))
        kept.alter("variables/variables.index", b"index")
        kept.repository.verify("digits", V1)

    def test_an_unknown_version_is_not_found(self, repository: Repository) -> None:
        for ask in (
            repository.manifest,
            repository.check_files,
            repository.verify,
            repository.delete,
            fetch(repository),
        ):
            with pytest.raises(VersionNotFound, match=V1.name):
                ask("digits", V1)

    def test_all_that_were_ever_pushed_are_named_and_told_deleted_ones_too(
        self, repository: Repository, export: Callable[..., Path]
    ) -> None:
        manifests = {each: repository.push("digits", each, request_of(export(each.name))) for each in (V1, V2)}
        repository.delete("digits", V1)
        assert sorted(repository.version_names("digits")) == [V1.name, V2.name]
        assert repository.known_versions("digits", [V2.name, V1.name, V3.name, "../../other/manifests/x", ""]) == {
            V1.name: KnownVersion(manifest=manifests[V1], retired=True),
            V2.name: KnownVersion(manifest=manifests[V2]),
        }
        assert (repository.version_names("letters"), repository.known_versions("letters", [V1.name])) == ((), {})

    def test_a_deleted_version_leaves_its_manifest_and_its_name_is_not_used_again(
        self, repository: Repository, export: Callable[..., Path]
    ) -> None:
        manifest = repository.push("digits", V1, request_of(export()))
        repository.delete("digits", V1)
        repository.delete("digits", V1)
        assert repository.versions("digits") == ()
        assert repository.manifest("digits", V1) == manifest
        for ask in (repository.check_files, repository.verify, fetch(repository)):
            with pytest.raises(VersionNotFound):
                ask("digits", V1)
        with pytest.raises(VersionExists, match="was retired"):
            repository.push("digits", V1, request_of(export()))

    def test_of_concurrent_pushes_of_one_name_one_content_wins(
        self, repository: Repository, export: Callable[..., Path]
    ) -> None:
        contents = [export(f"graph {index}", name=f"export{index}") for index in range(4)]

        def push(directory: Path) -> str | None:
            try:
                return repository.push("digits", V1, request_of(directory)).digest
            except VersionExists:
                return None

        with ThreadPoolExecutor(4) as pool:
            won = [digest for digest in pool.map(push, contents) if digest]
        assert won == [repository.manifest("digits", V1).digest]
        repository.verify("digits", V1)


class TestLeases:
    def lease(self, attempt: int = 1, *, release: str = "r1", until: float = 100.0, version: Version = V1) -> Lease:
        return Lease(release=release, attempt=attempt, version=version, until=until)

    def test_a_renewed_lease_replaces_its_former_self(self, repository: Repository) -> None:
        for until in (100.0, 120.5):
            repository.write_lease("digits", self.lease(until=until))
        assert repository.leases("digits") == (self.lease(until=120.5),)

    def test_run_out_and_waiting_leases_are_listed_too(self, repository: Repository) -> None:
        waiting = replace(self.lease(release="r2", until=0.0, version=V2), waiting=True)
        repository.write_lease("digits", self.lease())
        repository.write_lease("digits", waiting)
        assert set(repository.leases("digits")) == {self.lease(), waiting}
        assert repository.leases("letters") == ()

    def test_an_old_attempt_never_covers_a_newer_one_nor_ends_its_lease(self, repository: Repository) -> None:
        repository.write_lease("digits", self.lease(2, until=50.0))
        repository.write_lease("digits", self.lease(1, until=999.0))
        assert repository.leases("digits") == (self.lease(2, until=50.0),)
        repository.end_lease("digits", Fence(release="r1", attempt=1))
        assert repository.leases("digits") == (self.lease(2, until=50.0),)

    def test_an_ended_lease_is_gone_with_those_of_older_attempts(self, repository: Repository) -> None:
        repository.write_lease("digits", self.lease(1))
        repository.write_lease("digits", self.lease(2))
        repository.write_lease("digits", self.lease(release="r2"))
        repository.end_lease("digits", Fence(release="r1", attempt=2))
        repository.end_lease("digits", Fence(release="r1", attempt=2))
        assert repository.leases("digits") == (self.lease(release="r2"),)

    def test_any_release_id_may_have_a_lease(self, repository: Repository) -> None:
        odd = "scheduled__2023-06-01T12:00:00+00:00/../é " + "x" * 300
        repository.write_lease("digits", self.lease(release=odd))
        repository.write_lease("digits", self.lease(release=f"{odd}.1"))
        repository.end_lease("digits", Fence(release=odd, attempt=1))
        assert repository.leases("digits") == (self.lease(release=f"{odd}.1"),)


class TestEvidence:
    def test_evidence_comes_back_and_is_replaced_by_name(self, repository: Repository) -> None:
        assert repository.read_evidence("digits", "r1", "step-1") is None
        reference = repository.write_evidence("digits", "r1", "step-1", b"[1]")
        assert repository.write_evidence("digits", "r1", "step-1", b"[1, 2]") == reference
        repository.write_evidence("digits", "r1", "step-2", b"[]")
        assert repository.read_evidence("digits", "r1", "step-1") == b"[1, 2]"
        assert repository.read_evidence("digits", "r2", "step-1") is None

    def test_a_release_id_leads_nowhere_else(self, repository: Repository, tmp_path: Path) -> None:
        repository.write_evidence("digits", "../../../escape", "../x", b"{}")
        assert repository.read_evidence("digits", "../../../escape", "../x") == b"{}"
        assert not list(tmp_path.glob("escape*"))
        assert not list(tmp_path.parent.glob("escape*"))


class TestFleet:
    def test_documents_are_replaced_as_a_whole(self, repository: Repository) -> None:
        store = repository.fleet("main")
        assert store.read("envoy.json") is None
        store.write("envoy.json", b"long document")
        store.write("envoy.json", b"short")
        assert repository.fleet("main").read("envoy.json") == b"short"
        assert repository.fleet("other").read("envoy.json") is None
        assert repository.models() == ()

    @pytest.mark.parametrize("name", ["lock", "../x", "", ".hidden", "a/b"])
    def test_a_document_name_that_leads_elsewhere_is_refused(self, repository: Repository, name: str) -> None:
        with pytest.raises(InvalidConfig, match="document name"):
            repository.fleet("main").write(name, b"")
        with pytest.raises(InvalidConfig, match="document name"):
            repository.fleet("main").read(name)

    def test_a_fleet_name_that_leads_elsewhere_is_refused(self, repository: Repository) -> None:
        with pytest.raises(InvalidConfig, match="fleet name"):
            repository.fleet("../main")

    def test_the_lock_has_one_holder_and_goes_to_the_next(self, repository: Repository) -> None:
        held, may_end = threading.Event(), threading.Event()

        def hold() -> None:
            with repository.fleet("main").lock(wait_seconds=5):
                held.set()
                assert may_end.wait(30)

        holder = threading.Thread(target=hold, daemon=True)
        holder.start()
        try:
            assert held.wait(30)
            with (
                pytest.raises(FleetBusy, match="'main'"),
                repository.fleet("main").lock(wait_seconds=0.05),
            ):
                pytest.fail("two hold the lock")
            with repository.fleet("other").lock(wait_seconds=5):
                assert holder.is_alive()
        finally:
            may_end.set()
            all_ended(holder)
        with repository.fleet("main").lock(wait_seconds=5):
            assert not holder.is_alive()

    def test_the_lock_is_free_again_after_an_error(self, repository: Repository) -> None:
        store = repository.fleet("main")
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), store.lock(wait_seconds=5):
                raise ZeroDivisionError


def test_links_may_be_refreshed_at_any_time(repository: Repository, export: Callable[..., Path]) -> None:
    """Where they are kept is each repository's own affair, but it takes every state, twice, and none."""
    repository.push("digits", V1, request_of(export()))
    served = ServingState(fleet="main", stable=V1)
    for state in (served, served, ServingState(fleet="main")):
        repository.refresh_links("digits", state)
    repository.verify("digits", V1)
