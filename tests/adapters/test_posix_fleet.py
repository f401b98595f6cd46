"""The fleet lock: one holder at a time over processes and hosts, and it never outlives its holder for long."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from airflow_model_ops.adapters.repository.posix_fleet import PosixFleetStore
from airflow_model_ops.adapters.repository.posix_owner import Owner
from airflow_model_ops.core.errors import FleetBusy, InvalidConfig
from tests.adapters.lock_story import only_one_is_inside
from tests.adapters.posix_children import contend, hold_lock, is_alive, start
from tests.waits import until


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "_fleets" / "main"


@pytest.fixture
def store(directory: Path) -> PosixFleetStore:
    return PosixFleetStore(directory)


def lease_files(directory: Path) -> list[Path]:
    return sorted((directory / "lock").glob("*.json"))


def put_lease(directory: Path, number: int, *, owner: Owner | None, age: float, ttl: float = 8.0) -> Path:
    """Leave a lease as another host would."""
    path = directory / "lock" / f"{number:020d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"owner": owner.to_json(), "ttl": ttl}) if owner else "")
    os.utime(path, (time.time() - age,) * 2)
    return path


ELSEWHERE = Owner(host="elsewhere", processes="another kernel", pid=7, started=1)


def test_the_lock_is_free_again_after_its_block_even_if_it_fails(store: PosixFleetStore) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), store.lock(wait_seconds=0):
            raise ZeroDivisionError
    with store.lock(wait_seconds=0):
        assert store.read("routes.json") is None


def test_a_waiter_gives_up_in_time_and_is_told_who_holds_the_lock(directory: Path, store: PosixFleetStore) -> None:
    other = PosixFleetStore(directory)
    with store.lock(wait_seconds=0):
        started = time.monotonic()
        with (
            pytest.raises(FleetBusy, match=rf"lock of fleet 'main' is held by .*:{os.getpid()} .* within 0.2 s"),
            other.lock(wait_seconds=0.2),
        ):
            raise AssertionError
        assert 0.2 <= time.monotonic() - started < 60


def test_threads_of_one_process_are_holders_of_their_own(store: PosixFleetStore) -> None:
    only_one_is_inside(lambda: partial(store.lock, wait_seconds=120))


def test_a_thread_that_takes_the_lock_twice_is_told_so_at_once(store: PosixFleetStore) -> None:
    with store.lock(wait_seconds=0):
        with pytest.raises(FleetBusy, match="already held by this thread"), store.lock(wait_seconds=60):
            raise AssertionError
        store.write("routes.json", b"still held")
    with store.lock(wait_seconds=0):
        assert store.read("routes.json") == b"still held"


def test_a_lease_of_another_host_is_free_once_it_is_no_longer_touched(directory: Path, store: PosixFleetStore) -> None:
    lease = put_lease(directory, 5, owner=ELSEWHERE, age=700.0, ttl=800)
    with pytest.raises(FleetBusy, match="elsewhere:7"), store.lock(wait_seconds=0):
        raise AssertionError
    os.utime(lease, (time.time() - 801,) * 2)
    with store.lock(wait_seconds=0):
        assert [int(path.stem) for path in lease_files(directory)] == [5, 6]


def test_a_lease_says_itself_how_long_it_lasts(directory: Path, store: PosixFleetStore) -> None:
    put_lease(directory, 5, owner=ELSEWHERE, age=20.0, ttl=600)
    with pytest.raises(FleetBusy), store.lock(wait_seconds=0):
        raise AssertionError


def test_a_lease_stamped_in_the_future_falls_once_it_stays_unchanged(directory: Path) -> None:
    """The file server's clock was set back an hour, and the holder died."""
    put_lease(directory, 5, owner=ELSEWHERE, age=-3600.0, ttl=0.3)
    started = time.monotonic()
    with PosixFleetStore(directory, ttl=0.3).lock(wait_seconds=60):
        assert time.monotonic() - started >= 0.3


def test_an_unreadable_lease_ages_like_any_other(directory: Path, store: PosixFleetStore) -> None:
    """A power cut may leave an empty file, as leases are not synced."""
    lease = put_lease(directory, 5, owner=None, age=1.0)
    with pytest.raises(FleetBusy, match="held by another process"), store.lock(wait_seconds=0):
        raise AssertionError
    os.utime(lease, (time.time() - 9,) * 2)
    with store.lock(wait_seconds=0):
        assert len(lease_files(directory)) == 2


def test_a_reused_process_id_does_not_keep_a_lock(directory: Path, store: PosixFleetStore) -> None:
    me = Owner.this_process()
    earlier = Owner(host=me.host, processes=me.processes, pid=me.pid, started=me.started - 1)
    put_lease(directory, 1, owner=earlier, age=0)
    with store.lock(wait_seconds=0):
        assert len(lease_files(directory)) == 2


def test_a_process_elsewhere_is_never_taken_for_dead() -> None:
    me = Owner.this_process()
    assert not me.is_dead
    assert not ELSEWHERE.is_dead
    assert not Owner(host=me.host, processes="", pid=2**22 + 1, started=1).is_dead
    assert Owner(host="any name", processes=me.processes, pid=2**22 + 1, started=1).is_dead


def test_a_holder_keeps_its_lease_fresh_for_as_long_as_it_works(directory: Path) -> None:
    ttl = 3.0  # a busy machine may let the thread that renews it wait
    store, other = PosixFleetStore(directory, ttl=ttl), PosixFleetStore(directory, ttl=ttl)
    with store.lock(wait_seconds=0):
        with pytest.raises(FleetBusy), other.lock(wait_seconds=ttl + 1):
            raise AssertionError
        store.write("routes.json", b"mine")
    assert store.read("routes.json") == b"mine"


def test_a_holder_that_another_has_overtaken_cannot_write(directory: Path, store: PosixFleetStore) -> None:
    store.write("routes.json", b"old")
    with store.lock(wait_seconds=0):
        put_lease(directory, 2, owner=ELSEWHERE, age=0)
        with pytest.raises(FleetBusy, match=r"was lost: .*lease 1, newest 2"):
            store.write("routes.json", b"stale")
    assert store.read("routes.json") == b"old"


def test_a_holder_whose_lease_somebody_removed_cannot_write(directory: Path, store: PosixFleetStore) -> None:
    with store.lock(wait_seconds=0):
        lease_files(directory)[0].unlink()
        with pytest.raises(FleetBusy, match="was lost"):
            store.write("routes.json", b"stale")


def test_a_holder_that_was_stopped_for_too_long_cannot_write(
    store: PosixFleetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lock(wait_seconds=0):
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + 9)
        with pytest.raises(FleetBusy, match="stopped for longer than 8 s"):
            store.write("routes.json", b"stale")


def test_a_slow_process_that_links_a_number_of_long_ago_has_not_won(
    directory: Path, store: PosixFleetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found lease 1 free and slept; meanwhile others took 2 to 9, and 2 was cleaned away."""
    put_lease(directory, 1, owner=ELSEWHERE, age=100)
    link, slept = os.link, threading.Event()

    def sleepy(source: Path, target: Path) -> None:
        if not slept.is_set():
            slept.set()
            others = PosixFleetStore(directory)
            for _ in range(8):
                with others.lock(wait_seconds=60):
                    pass
            put_lease(directory, 10, owner=ELSEWHERE, age=0)
            assert not target.exists()
        link(source, target)

    monkeypatch.setattr(os, "link", sleepy)
    with pytest.raises(FleetBusy, match="elsewhere:7"), store.lock(wait_seconds=0.1):
        raise AssertionError
    assert [int(path.stem) for path in lease_files(directory)] == [6, 7, 8, 9, 10]


def test_a_repeated_link_request_of_nfs_has_won(
    directory: Path, store: PosixFleetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    with store.lock(wait_seconds=0):
        assert [int(path.stem) for path in lease_files(directory)] == [1]


def test_old_leases_are_removed_and_nothing_lies_aside(directory: Path, store: PosixFleetStore) -> None:
    for _ in range(20):
        with store.lock(wait_seconds=0):
            assert len(lease_files(directory)) <= 4
    assert [int(path.stem) for path in lease_files(directory)] == [17, 18, 19, 20]
    assert list((directory / ".aside").iterdir()) == []


def test_documents_come_back_and_are_replaced_whole(store: PosixFleetStore) -> None:
    assert store.read("routes.json") is None
    store.write("routes.json", b"one")
    store.write("routes.json", b"two")
    assert store.read("routes.json") == b"two"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "lock", "a\n", "a\0"])
def test_a_document_cannot_be_anywhere_else(store: PosixFleetStore, name: str) -> None:
    with pytest.raises(InvalidConfig, match="document name"):
        store.write(name, b"x")
    with pytest.raises(InvalidConfig, match="document name"):
        store.read(name)


@pytest.fixture
def holder(directory: Path, tmp_path: Path) -> Iterator[BaseProcess]:
    sign = tmp_path / "sign"
    process = start(hold_lock, directory, sign)
    until(lambda: sign.exists() and sign.read_text() != "", what="the lock is held")
    yield process
    process.kill()
    process.join()


@pytest.mark.integration
def test_the_lock_of_a_killed_process_is_free_as_soon_as_it_is_dead(
    holder: BaseProcess, store: PosixFleetStore, directory: Path
) -> None:
    with pytest.raises(FleetBusy, match=rf":{holder.pid} "), store.lock(wait_seconds=0):
        raise AssertionError
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    # It may still be a zombie: nobody has waited for it.
    until(lambda: not is_alive(holder.pid), what="the holder is dead")
    with store.lock(wait_seconds=0):
        pass
    assert [int(path.stem) for path in lease_files(directory)] == [1, 2]


@pytest.mark.integration
def test_the_lock_of_a_stopped_process_falls_when_its_lease_runs_out(tmp_path: Path, holder: BaseProcess) -> None:
    directory = tmp_path / "_fleets" / "main"
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)
    stopped = psutil.Process(holder.pid)
    # Or it might renew the lease once more.
    until(lambda: stopped.status() == psutil.STATUS_STOPPED, what="the holder stands still")
    lease = lease_files(directory)[-1]
    os.utime(lease, (time.time() - 8.1,) * 2)
    with PosixFleetStore(directory).lock(wait_seconds=60):
        assert len(lease_files(directory)) == 2


@pytest.mark.integration
def test_six_processes_are_never_inside_together_though_holders_are_killed(tmp_path: Path, directory: Path) -> None:
    inside, journal = tmp_path / "inside", tmp_path / "journal"
    journal.touch()
    workers = [start(contend, directory, inside, journal) for _ in range(6)]
    dead: list[BaseProcess] = []
    try:
        for _ in range(10):
            done = len(journal.read_bytes())
            until(lambda done=done: len(journal.read_bytes()) > done + 100, what="all go on")
            until(lambda: _kill_whoever_is_inside(inside, workers, dead), what="somebody is inside")
            workers.append(start(contend, directory, inside, journal))
        done = len(journal.read_bytes())
        until(lambda: len(journal.read_bytes()) > done + 200, what="the others go on")
    finally:
        for worker in workers + dead:
            worker.kill()
            worker.join()
    lines = [line.split(maxsplit=1) for line in journal.read_text().splitlines()]
    assert len(dead) == 10
    assert Counter(word for _, word in lines) == {"alone": len(lines)}
    assert len({pid for pid, _ in lines}) >= 6  # nobody starves


def _kill_whoever_is_inside(inside: Path, workers: list[BaseProcess], dead: list[BaseProcess]) -> bool:
    """Kill the holder without waiting for it, so that it stays a zombie for a while."""
    try:
        pid = int(inside.read_text())
    except (FileNotFoundError, ValueError):
        return False
    for worker in workers:
        if worker.pid == pid:
            os.kill(pid, signal.SIGKILL)
            workers.remove(worker)
            dead.append(worker)
            return True
    return False
