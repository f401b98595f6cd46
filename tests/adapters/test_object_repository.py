"""The repository in a bucket beside pushes, logs and locks: what it costs, and what others do to it."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository import object_push, object_versions
from airflow_model_ops.adapters.repository.object_repository import ObjectRepository
from airflow_model_ops.core.errors import InvalidState, VersionAltered, VersionNotFound
from airflow_model_ops.core.ports import LONGEST_LEASE_SECONDS, Lease, PushRequest
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.versioning import Version, VersionNaming
from tests.adapters.memory_store import MemoryStore

VERSIONS = [VersionNaming().parse(f"v-20230601-1200{second:02d}") for second in range(12)]
VERSION = VERSIONS[0]
PLACE = f"digits/versions/{VERSION.number}/"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def repository(store: MemoryStore) -> ObjectRepository:
    return ObjectRepository(store)


@pytest.fixture
def request_(tmp_path: Path) -> PushRequest:
    directory = tmp_path / "export"
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"graph")
    (directory / "variables" / "variables.index").write_bytes(b"index")
    return PushRequest(directory=directory, created="2023-06-01T12:00:00Z")


def asked(store: MemoryStore) -> list[str]:
    calls = [call for call, _ in store.calls]
    store.calls.clear()
    return calls


def test_addresses_are_the_buckets(repository: ObjectRepository, store: MemoryStore) -> None:
    assert repository.uri == "memory://bucket/models"
    assert repository.version_uri("digits", VERSION) == f"memory://bucket/models/{PLACE.rstrip('/')}"
    assert store.calls == []


def test_versions_are_listed_in_few_requests_however_many(
    repository: ObjectRepository, store: MemoryStore, request_: PushRequest
) -> None:
    for version in VERSIONS:
        repository.push("digits", version, request_)
    asked(store)
    fresh = ObjectRepository(store)
    assert fresh.versions("digits") == tuple(VERSIONS)
    assert asked(store) == ["list", "names", "get_many"]
    assert fresh.versions("digits") == tuple(VERSIONS)
    assert asked(store) == ["list", "names"]


def test_files_are_found_by_the_graph_alone(
    repository: ObjectRepository, store: MemoryStore, request_: PushRequest
) -> None:
    repository.push("digits", VERSION, request_)
    asked(store)
    repository.check_files("digits", VERSION)
    assert asked(store) == ["get", "find"]
    store.remove(f"{PLACE}saved_model.pb")
    with pytest.raises(VersionNotFound, match="are not there; push one first"):
        repository.check_files("digits", VERSION)
    assert repository.versions("digits") == ()


def test_a_verification_fetches_only_what_the_store_calls_by_another_name_and_the_graph(
    repository: ObjectRepository, store: MemoryStore, request_: PushRequest
) -> None:
    repository.push("digits", VERSION, request_)
    store.calls.clear()
    repository.verify("digits", VERSION)
    assert [key for call, key in store.calls if call == "get"] == [
        f"digits/manifests/{VERSION.name}.json",
        f"{PLACE}saved_model.pb",
    ]
    store.overwrite(f"{PLACE}variables/variables.index", b"index")  # the same again: another token
    repository.verify("digits", VERSION)
    store.overwrite(f"{PLACE}variables/variables.index", b"Index")
    with pytest.raises(VersionAltered, match=r"different variables/variables.index; roll back to another version"):
        repository.verify("digits", VERSION)


def test_fetched_files_are_removed_afterwards(repository: ObjectRepository, request_: PushRequest) -> None:
    repository.push("digits", VERSION, request_)
    with repository.local_files("digits", VERSION) as place:
        assert (place / "variables" / "variables.index").read_bytes() == b"index"
    assert not place.exists()


def test_a_push_says_in_the_log_how_far_it_is(
    repository: ObjectRepository,
    request_: PushRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_push, "_TELL_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        repository.push("digits", VERSION, request_)
    told = [record.message for record in caplog.records if "bytes are stored" in record.message]
    assert told == [f"push of {VERSION.name}: {done} of 10 bytes are stored" for done in (5, 10)]


def test_one_name_has_one_number(repository: ObjectRepository, request_: PushRequest) -> None:
    repository.push("digits", VERSION, request_)
    with pytest.raises(InvalidState, match="is number 20230601120000's, not 5's"):
        repository.push("digits", Version(name=VERSION.name, number=5), request_)


def test_models_are_those_with_a_log_or_a_version(
    repository: ObjectRepository, store: MemoryStore, request_: PushRequest
) -> None:
    repository.push("digits", VERSION, request_)
    repository.write_evidence("letters", "r1", "step-1", b"{}")
    repository.fleet("main").write("routes.json", b"{}")
    store.overwrite("signs/log/00000000000000000001.json", b"{}")
    store.overwrite("a-file", b"")
    assert repository.models() == ("digits", "signs")


def test_of_a_version_that_is_deleted_while_it_is_fetched_the_rest_is_not_fetched(
    repository: ObjectRepository, store: MemoryStore, request_: PushRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            given_up.set()
            super().shutdown(wait=wait)

    for number in range(200):
        (request_.directory / f"asset{number:03d}").write_bytes(b"x")
    repository.push("digits", VERSION, request_)
    asked(store)
    first, given_up = f"{PLACE}asset000", threading.Event()
    monkeypatch.setattr(object_versions, "ThreadPoolExecutor", Pool)

    def gone(call: str, key: str) -> None:
        if call == "get" and key.startswith(PLACE):
            # Those under way answer when the first one's answer was heard: else the quickest machine has asked for all by then.
            assert key == first or given_up.wait(60)
            raise VersionNotFound(f"{key} was deleted")

    store.before = gone
    with pytest.raises(VersionNotFound, match="was deleted"), repository.local_files("digits", VERSION):
        pytest.fail("there are no files")
    assert store.calls.count(("get", first)) == 1
    assert sum(key.startswith(PLACE) for call, key in store.calls if call == "get") <= object_versions._DOWNLOADS + 1


def test_a_watcher_that_looks_again_lists_no_model_it_knows(repository: ObjectRepository, store: MemoryStore) -> None:
    """It looks every two seconds, and a listing is the dearest request of all."""
    for model in ("digits", "letters"):
        store.overwrite(f"{model}/log/00000000000000000001.json", b"{}")
    store.overwrite("signs/evidence/r1/step.json", b"{}")
    assert repository.models() == ("digits", "letters")
    asked(store)
    assert repository.models() == ("digits", "letters")
    assert asked(store) == ["names", "names"]
    store.overwrite("signs/log/00000000000000000001.json", b"{}")
    assert repository.models() == ("digits", "letters", "signs")
    asked(store)
    assert repository.models() == ("digits", "letters", "signs")
    assert asked(store) == ["names"]


def test_a_lease_whose_holders_clock_was_ahead_counts_from_when_it_was_stored(
    repository: ObjectRepository, store: MemoryStore
) -> None:
    store.clock = lambda: 1000.0
    repository.write_lease("digits", Lease(release="r", attempt=1, version=VERSION, until=1e12))
    assert [lease.until for lease in repository.leases("digits")] == [1000.0 + LONGEST_LEASE_SECONDS]


def test_a_lease_that_cannot_be_read_counts_for_nothing(repository: ObjectRepository, store: MemoryStore) -> None:
    lease = Lease(release="r", attempt=1, version=VERSION, until=1.0)
    repository.write_lease("digits", lease)
    store.overwrite("digits/leases/r2.1.json", b"garbage")
    assert repository.leases("digits") == (lease,)
    repository.end_lease("digits", Fence(release="r2", attempt=1))
    assert store.stored_keys("digits/leases/") == ["digits/leases/r.1.json"]


def test_logs_are_kept_so_that_they_need_not_be_read_again(repository: ObjectRepository) -> None:
    assert repository.log("digits") is repository.log("digits")
    assert repository.fleet("main") is repository.fleet("main")
