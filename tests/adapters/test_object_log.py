"""The log in a bucket: one writer wins each number, nothing is lost, and the newest entry is found in few requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from airflow_model_ops.adapters.repository import object_log
from airflow_model_ops.adapters.repository.object_log import ObjectLog
from airflow_model_ops.core.errors import InvalidState, RepositoryUnavailable
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact
from airflow_model_ops.core.state import Actor, ActorKind
from tests.adapters.memory_store import MemoryStore

PREFIX = "digits/log/"
HINT = f"{PREFIX}.newest"


def an_entry(write_id: str) -> Entry:
    origin = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="test"))
    return fact(FactKind.VERDICT, reason="a test", origin=origin, at="2023-06-01T12:00:00Z", write_id=write_id)


def fill(store: MemoryStore, count: int) -> list[Entry]:
    log, entries = ObjectLog(store, PREFIX), list[Entry]()
    for index in range(count):
        entry = an_entry(f"w{index}").after(entries[-1] if entries else None)
        assert log.put_if_absent(entry)
        entries.append(entry)
    return entries


def key_of(sequence: int) -> str:
    return f"{PREFIX}{sequence:020d}.json"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def log(store: MemoryStore) -> ObjectLog:
    """A process of its own: it knows nothing from before."""
    return ObjectLog(store.view(), PREFIX)


def requests(log: ObjectLog) -> list[str]:
    """What was asked since the last time."""
    calls = log._store.calls
    asked = [call for call, _ in calls]
    calls.clear()
    return asked


def test_entries_are_objects_named_by_their_number_with_the_bytes_as_written(store: MemoryStore) -> None:
    written = fill(store, 3)
    assert store.stored_keys(PREFIX) == [key_of(1), key_of(2), key_of(3)]
    assert store.content(key_of(2)) == written[1].to_bytes()


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 17, 40, 150])
def test_a_log_that_was_read_before_costs_one_request_and_a_new_one_three(
    store: MemoryStore, log: ObjectLog, count: int
) -> None:
    written = fill(store, count)
    assert log.last() == (written[-1] if written else None)
    assert len(requests(log)) <= 3
    if written:
        assert log.last() == written[-1]
        assert requests(log) == ["get_many"]
        others = an_entry("other").after(written[-1])
        assert ObjectLog(store, PREFIX).put_if_absent(others)
        assert log.last() == others
        assert requests(log) == ["get_many"]


def test_what_was_read_once_is_not_fetched_again(store: MemoryStore, log: ObjectLog) -> None:
    written = fill(store, 200)
    assert list(log.entries()) == written
    assert len(requests(log)) <= 2 + 200 / 64 + 1
    assert list(log.entries(after=3)) == written[3:]
    assert requests(log) == ["get_many"]


def test_memory_is_bounded(store: MemoryStore, log: ObjectLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_log, "_KEPT_BYTES", 2000)
    written = fill(store, 30)
    for _ in range(2):
        assert list(log.entries()) == written
        assert log._kept._size <= 2000


@pytest.mark.parametrize("hint", ["1", "3", "8", "999999", "", "garbage", "-4"])
def test_no_hint_however_wrong_hides_the_newest_entry(store: MemoryStore, log: ObjectLog, hint: str) -> None:
    written = fill(store, 90)
    store.overwrite(HINT, hint.encode())
    assert log.last() == written[-1]
    assert log.newest() == 90


def test_the_hint_is_written_with_every_eighth_entry_only(store: MemoryStore) -> None:
    fill(store, 40)
    assert [key for call, key in store.calls if call == "put"] == [HINT] * 5
    assert store.content(HINT) == b"40"


def test_a_hint_that_cannot_be_written_undoes_nothing(store: MemoryStore, log: ObjectLog) -> None:
    def refuse(call: str, key: str) -> None:
        if call == "put":
            raise RepositoryUnavailable("429: slow down")

    store.before = refuse
    written = fill(store, 9)
    assert log.last() == written[-1]


def test_a_writer_whose_answer_was_lost_finds_that_it_has_won(store: MemoryStore, log: ObjectLog) -> None:
    written = fill(store, 1)
    entry = an_entry("mine").after(written[-1])

    def lose(call: str, key: str) -> None:
        raise RepositoryUnavailable("connection reset")

    log._store.after = lose
    with pytest.raises(RepositoryUnavailable):
        log.put_if_absent(entry)
    log._store.after = lambda *_: None
    assert log.put_if_absent(entry)
    assert not log.put_if_absent(an_entry("late").after(written[-1]))
    assert list(log.entries()) == [*written, entry]


@pytest.mark.parametrize("lost", [1, 3, 70])
def test_a_lost_entry_is_found_not_skipped(store: MemoryStore, log: ObjectLog, lost: int) -> None:
    fill(store, 100)
    store.remove(key_of(lost))
    with pytest.raises(InvalidState, match=f"has no entry {lost} but goes on to 100; restore the object from a backup"):
        list(log.entries())


def test_an_entry_that_is_lost_behind_the_known_ones_is_found(store: MemoryStore, log: ObjectLog) -> None:
    written = fill(store, 3)
    assert log.last() == written[-1]
    writer = ObjectLog(store, PREFIX)
    fourth = an_entry("4").after(written[-1])
    writer.put_if_absent(fourth)
    writer.put_if_absent(an_entry("5").after(fourth))
    store.remove(key_of(4))
    with pytest.raises(InvalidState, match="has no entry 4 but goes on to 5"):
        log.last()


def test_an_entry_that_was_appended_while_the_next_ones_were_read_is_not_lost(
    store: MemoryStore, log: ObjectLog
) -> None:
    """It is asked for before it is there, and the one after it when both are."""
    written = fill(store, 3)
    assert log.last() == written[-1]
    fourth = an_entry("4").after(written[-1])
    fifth = an_entry("5").after(fourth)
    store.overwrite(key_of(5), fifth.to_bytes())
    log._store.before = lambda call, key: store.overwrite(key_of(4), fourth.to_bytes()) if key == key_of(4) else None
    assert log.last() == fifth


def test_an_entry_under_another_number_is_refused(store: MemoryStore, log: ObjectLog) -> None:
    written = fill(store, 2)
    store.overwrite(key_of(3), written[1].to_bytes())
    with pytest.raises(InvalidState, match="holds entry 2 under the number 3"):
        log.read(3)


def test_other_objects_beside_the_entries_are_not_taken_for_entries(store: MemoryStore, log: ObjectLog) -> None:
    written = fill(store, 2)
    for name in ("7.json", f"{9:020d}.json.bak", f"{9:021d}.json", "x"):
        store.overwrite(PREFIX + name, b"{}")
    assert log.last() == written[-1]


def test_of_two_writers_of_one_number_one_wins_each_time(store: MemoryStore) -> None:
    barrier = Barrier(2)

    def write(writer: str) -> list[bool]:
        log, wins = ObjectLog(store.view(), PREFIX), []
        for index in range(300):
            entry = an_entry(f"{writer}{index}").after(log.last())
            barrier.wait(30)
            wins.append(log.put_if_absent(entry))
            barrier.wait(30)
        return wins

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(write, "ab")
    assert [a + b for a, b in zip(one, other, strict=True)] == [1] * 300
    assert len(list(ObjectLog(store, PREFIX).entries())) == 300
