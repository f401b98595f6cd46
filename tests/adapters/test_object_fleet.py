"""The fleet lock in a bucket: one holder at a time, freed when it dies, lost when it was overtaken."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from airflow_model_ops.adapters.repository.lease_chain import LeaseChain
from airflow_model_ops.adapters.repository.object_fleet import ObjectFleetStore
from airflow_model_ops.adapters.repository.object_lease_chain import object_lease_chain
from airflow_model_ops.adapters.repository.posix_owner import Owner
from airflow_model_ops.core.errors import FleetBusy, RepositoryUnavailable
from tests.adapters.lock_story import only_one_is_inside
from tests.adapters.memory_store import MemoryStore
from tests.waits import until

FLEET = "_fleets/main/"
LOCK = f"{FLEET}lock/"
ELSEWHERE = Owner(host="elsewhere", processes="another-kernel", pid=7, started=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def fleet(store: MemoryStore) -> ObjectFleetStore:
    return ObjectFleetStore(store, FLEET)


def chain(store: MemoryStore, *, ttl: float = 10.0) -> LeaseChain:
    """The lock as another process sees it, looking often."""
    return object_lease_chain(store.view(), LOCK, what="the lock", ttl=ttl, poll_seconds=(0.001, 0.003))


def put_lease(store: MemoryStore, number: int, *, owner: Owner | None, ttl: float = 10.0) -> str:
    key = f"{LOCK}{number:020d}.json"
    store.overwrite(key, json.dumps({"owner": owner.to_json(), "ttl": ttl}).encode() if owner else b"")
    return key


def leases(store: MemoryStore) -> list[int]:
    return [int(key[len(LOCK) :][:20]) for key in store.stored_keys(LOCK) if key.endswith(".json")]


def test_threads_are_never_inside_together(store: MemoryStore) -> None:
    only_one_is_inside(lambda: partial(chain(store).held, wait_seconds=60))


def test_a_free_lock_costs_few_requests(store: MemoryStore, fleet: ObjectFleetStore) -> None:
    def asked() -> list[str]:
        """But for renewals: the machine's load decides how many there are."""
        return [call for call, key in store.calls if call != "put" or not key.startswith(LOCK)]

    for _ in range(3):
        store.calls.clear()
        with fleet.lock(wait_seconds=0):
            assert asked() == ["names", "put_if_absent", "names"]
            fleet.write("routes.json", b"x")
        assert asked()[3:] == ["names", "put", "put_if_absent"]


def test_old_leases_are_removed_with_their_releases(store: MemoryStore, fleet: ObjectFleetStore) -> None:
    for _ in range(12):
        with fleet.lock(wait_seconds=0):
            assert len(leases(store)) <= 4
    assert leases(store) == [9, 10, 11, 12]
    assert len(store.stored_keys(LOCK)) == 8


def test_a_lease_of_another_host_falls_once_it_was_watched_unchanged_for_its_time(store: MemoryStore) -> None:
    """However old it is: no clock but the waiter's own is asked."""
    put_lease(store, 5, owner=ELSEWHERE, ttl=0.3)
    with pytest.raises(FleetBusy, match=r"the lock is held by elsewhere:7 and"), chain(store).held(wait_seconds=0):
        raise AssertionError
    started = time.monotonic()
    with chain(store).held(wait_seconds=60):
        assert time.monotonic() - started >= 0.3
        assert leases(store) == [5, 6]


def test_an_unreadable_lease_falls_too(store: MemoryStore) -> None:
    put_lease(store, 5, owner=None)
    with chain(store, ttl=0.2).held(wait_seconds=60):
        assert leases(store) == [5, 6]


def test_the_lock_of_a_dead_process_of_this_kernel_is_free_at_once(store: MemoryStore, fleet: ObjectFleetStore) -> None:
    me = Owner.this_process()
    put_lease(store, 1, owner=Owner(host=me.host, processes=me.processes, pid=me.pid, started=me.started - 1))
    with fleet.lock(wait_seconds=0):
        assert leases(store) == [1, 2]


def test_a_holder_keeps_its_lease_for_as_long_as_it_works(store: MemoryStore) -> None:
    ttl = 3.0  # a busy machine may let the thread that renews it wait
    with chain(store, ttl=ttl).held(wait_seconds=0) as holding:
        with pytest.raises(FleetBusy), chain(store, ttl=ttl).held(wait_seconds=ttl + 1):
            raise AssertionError
        holding.check()


def test_a_lease_is_not_written_more_often_than_a_third_of_its_time(store: MemoryStore) -> None:
    own = chain(store, ttl=0.6)
    with own.held(wait_seconds=0):
        renewals = until(
            lambda: [key for call, key in own.place.store.calls if call == "put"][2:], what="three renewals"
        )
    assert set(renewals) == {f"{LOCK}{1:020d}.json"}


def test_a_holder_whose_store_does_not_answer_loses_the_lock_in_time(store: MemoryStore) -> None:
    own = chain(store, ttl=0.3)
    with own.held(wait_seconds=0) as holding:

        def fail(call: str, key: str) -> None:
            if call == "put":
                raise RepositoryUnavailable("no answer")

        own.place.store.before = fail
        with chain(store).held(wait_seconds=60), pytest.raises(FleetBusy, match="was lost"):
            holding.check()


def overtake(store: MemoryStore) -> None:
    put_lease(store, 2, owner=ELSEWHERE)


def remove_the_lease(store: MemoryStore) -> None:
    store.remove(store.stored_keys(LOCK)[0])


@pytest.mark.parametrize("happen", [overtake, remove_the_lease])
def test_a_holder_that_was_overtaken_or_whose_lease_was_removed_cannot_write(
    store: MemoryStore, fleet: ObjectFleetStore, happen: Callable[[MemoryStore], None]
) -> None:
    fleet.write("routes.json", b"old")
    with fleet.lock(wait_seconds=0):
        happen(store)
        with pytest.raises(FleetBusy, match="was lost"):
            fleet.write("routes.json", b"stale")
    assert fleet.read("routes.json") == b"old"


def test_a_holder_does_not_try_to_write_for_longer_than_the_lock_is_surely_its(
    store: MemoryStore, fleet: ObjectFleetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that answers again after a while would get its old document over the next holder's."""
    tried_for: list[float | None] = []
    put = store.put

    def noted(key: str, content: bytes, *, within: float | None = None) -> None:
        if not key.startswith(LOCK):
            tried_for.append(within)
        put(key, content, within=within)

    monkeypatch.setattr(store, "put", noted)
    with fleet.lock(wait_seconds=5):
        fleet.write("envoy.json", b"{}")
    fleet.write("envoy.json", b"{}")
    assert tried_for[0] is not None
    assert 0 < tried_for[0] <= 10.0
    assert tried_for[1] is None


def test_a_holder_that_was_stopped_for_too_long_cannot_write(
    fleet: ObjectFleetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet.lock(wait_seconds=0):
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + 11)
        with pytest.raises(FleetBusy, match="stopped for longer than 10 s"):
            fleet.write("routes.json", b"stale")


def test_a_slow_process_that_takes_a_number_of_long_ago_has_not_won(store: MemoryStore) -> None:
    """It found lease 1 released and slept; meanwhile others took 2 to 9, and 2 was cleaned away."""
    with chain(store).held(wait_seconds=0):
        assert leases(store) == [1]
    slow = chain(store)

    def others(call: str, _: str) -> None:
        if call == "put_if_absent":
            slow.place.store.before = lambda *_: None
            other = chain(store)
            for _ in range(8):
                with other.held(wait_seconds=60):
                    assert other.holding is not None
            put_lease(store, 10, owner=ELSEWHERE)

    slow.place.store.before = others
    # Whose the lock is, it sees at its next look, for which a busy machine may leave it no time.
    with pytest.raises(FleetBusy, match=r"elsewhere:7|another process"), slow.held(wait_seconds=0.1):
        raise AssertionError
    assert leases(store) == [6, 7, 8, 9, 10]


def test_two_threads_of_one_process_never_take_one_number(store: MemoryStore) -> None:
    """A store that takes equal bytes for an earlier try of the same write would let both win."""
    one, other = chain(store), chain(store)

    def overtaken(call: str, _: str) -> None:
        if call == "put_if_absent":
            one.place.store.before = lambda *_: None
            thread = threading.Thread(target=hold, daemon=True)
            thread.start()
            assert held.wait(30)

    held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with other.held(wait_seconds=0):
            held.set()
            assert may_end.wait(30)

    one.place.store.before = overtaken
    try:
        with pytest.raises(FleetBusy), one.held(wait_seconds=0.05):
            raise AssertionError
    finally:
        may_end.set()


def test_a_release_that_fails_leaves_a_lease_that_ages(store: MemoryStore) -> None:
    own = chain(store, ttl=0.2)
    with own.held(wait_seconds=0):
        own.place.store.before = lambda *_: _unavailable()
    with chain(store, ttl=0.2).held(wait_seconds=60):
        assert leases(store) == [1, 2]


def _unavailable() -> None:
    raise RepositoryUnavailable("no answer")
