"""The log on POSIX: one writer wins each number, nothing is lost, and no file but an entry is believed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.posix_log import PosixLog
from airflow_model_ops.core.errors import InvalidState, RepositoryUnavailable
from airflow_model_ops.core.log import Entry
from tests.adapters.posix_children import an_entry, append_entries, append_killed, run, start


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "digits" / "log"


@pytest.fixture
def log(directory: Path) -> PosixLog:
    return PosixLog(directory)


def fill(log: PosixLog, count: int) -> list[Entry]:
    entries: list[Entry] = []
    for index in range(count):
        entry = an_entry(f"w{index}").after(entries[-1] if entries else None)
        assert log.put_if_absent(entry)
        entries.append(entry)
    return entries


def entry_file(directory: Path, sequence: int) -> Path:
    return directory / f"{sequence:020d}.json"


def test_an_empty_log_has_no_entries_and_makes_no_files(log: PosixLog, tmp_path: Path) -> None:
    assert log.last() is None
    assert log.read(1) is None
    assert list(log.entries()) == []
    assert list(tmp_path.iterdir()) == []


def test_entries_come_back_as_written_in_files_named_by_their_number(log: PosixLog, directory: Path) -> None:
    written = fill(log, 3)
    assert list(log.entries()) == written
    assert list(log.entries(after=2)) == written[2:]
    assert list(log.entries(after=3)) == []
    assert log.read(2) == written[1]
    assert entry_file(directory, 2).read_bytes() == written[1].to_bytes()


def test_a_number_that_is_taken_is_refused_and_keeps_its_entry(log: PosixLog) -> None:
    first = fill(log, 1)[0]
    assert log.put_if_absent(an_entry("late").after(None)) is False
    assert log.last() == first


def test_a_repeated_write_of_the_same_entry_has_won(log: PosixLog) -> None:
    """A caller that missed the answer, and NFS that sends a request twice, both see "exists"."""
    entry = fill(log, 1)[0]
    assert log.put_if_absent(entry) is True
    assert list(log.entries()) == [entry]


def test_an_entry_cannot_leave_a_gap_before_it(log: PosixLog) -> None:
    ahead = an_entry("b").after(an_entry("a").after(None))
    with pytest.raises(InvalidState, match="has no entry 1, so entry 2 cannot follow it"):
        log.put_if_absent(ahead)
    assert log.last() is None


@pytest.mark.parametrize("hint", ["1", "3", "999999", "", "garbage", "-4"])
def test_no_hint_however_wrong_hides_the_newest_entry(log: PosixLog, directory: Path, hint: str) -> None:
    written = fill(log, 5)
    (directory / ".newest").write_text(hint)
    assert log.last() == written[-1]


def test_a_hint_that_lags_far_behind_is_brought_forward_by_a_reader(log: PosixLog, directory: Path) -> None:
    written = fill(log, 100)
    for hint in ("80", "2"):  # a walk from the hint, and a listing
        (directory / ".newest").write_text(hint)
        assert log.last() == written[-1]
        assert (directory / ".newest").read_text() == "100"


def test_a_log_without_hint_is_read_from_its_entries(log: PosixLog, directory: Path) -> None:
    written = fill(log, 3)
    (directory / ".newest").unlink()
    assert log.last() == written[-1]


def test_a_hint_that_cannot_be_written_undoes_no_entry(
    log: PosixLog, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    written = fill(log, 3)
    assert not (directory / ".newest").exists()
    assert log.last() == written[-1]


def test_files_that_are_no_entries_are_ignored(log: PosixLog, directory: Path) -> None:
    written = fill(log, 2)
    for name in ("notes.txt", "00000000000000000009.json.swp", "9.json", ".nfs0000", "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٩.json"):
        (directory / name).write_text("not an entry")
    (directory / ".newest").unlink()
    assert log.last() == written[-1]


def test_a_lost_entry_shows_when_the_log_is_read_through(log: PosixLog, directory: Path) -> None:
    fill(log, 4)
    entry_file(directory, 3).unlink()
    with pytest.raises(InvalidState, match="has no entry 3 but goes on to 4; restore the file from a backup"):
        list(log.entries())
    with pytest.raises(InvalidState, match="entry 4 does not follow entry 0"):
        list(log.entries(after=3))


def test_an_edited_entry_shows_when_the_log_is_read_through(log: PosixLog, directory: Path) -> None:
    fill(log, 3)
    place = entry_file(directory, 2)
    place.write_bytes(place.read_bytes().replace(b"a test", b"a lie!"))
    with pytest.raises(InvalidState, match="entry 3 does not follow entry 2: its previous_digest"):
        list(log.entries())


def test_an_unreadable_entry_is_an_error_and_not_the_end(log: PosixLog, directory: Path) -> None:
    fill(log, 2)
    entry_file(directory, 2).write_bytes(b"")
    with pytest.raises(InvalidState, match="cannot be read"):
        log.last()
    with pytest.raises(InvalidState, match="cannot be read"):
        list(log.entries())


def test_a_full_disk_is_told_and_leaves_nothing(
    log: PosixLog, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    directory.mkdir(parents=True)
    (directory.parent / ".aside").mkdir()
    with pytest.raises(RepositoryUnavailable, match=r"cannot write log .*No space left on device"):
        log.put_if_absent(an_entry("a").after(None))
    assert log.last() is None
    assert list((directory.parent / ".aside").iterdir()) == []


def test_what_a_killed_writer_left_aside_is_removed_after_an_hour_and_not_before(
    log: PosixLog, directory: Path
) -> None:
    fill(log, 1)
    old, young = directory.parent / ".aside" / "old", directory.parent / ".aside" / "young"
    for left, age in ((old, 3700), (young, 3500)):
        left.write_bytes(b"half an ent")
        os.utime(left, (time.time() - age,) * 2)
    assert log.put_if_absent(an_entry("next").after(log.last()))
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.integration
def test_eight_processes_append_without_a_gap_a_duplicate_or_a_break_in_the_chain(directory: Path) -> None:
    writers = [start(append_entries, directory, f"writer{number}", 200) for number in range(8)]
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0] * 8

    entries = list(PosixLog(directory).entries())  # checks the chain
    assert [entry.sequence for entry in entries] == list(range(1, 1601))
    assert {entry.write_id for entry in entries} == {f"writer{w}-{i}" for w in range(8) for i in range(200)}


@pytest.mark.integration
def test_a_writer_killed_at_any_point_has_written_all_or_nothing_and_a_retry_wins(tmp_path: Path) -> None:
    kept = []
    for change in range(1, 100):
        directory = tmp_path / str(change) / "log"
        log = PosixLog(directory)
        entry = an_entry("second").after(fill(log, 1)[0])
        ended = run(append_killed, directory, entry, change)
        newest = log.last()
        assert newest is not None
        kept.append(newest.sequence == 2)
        assert log.put_if_absent(entry) is True
        assert [found.write_id for found in log.entries()] == ["w0", "second"]
        if ended == 0:
            break
        assert ended == -9
    assert ended == 0
    assert kept == sorted(kept)  # from some point on it is written, and stays so
    assert (kept[0], kept[-1]) == (False, True)


def test_an_entry_under_another_ones_number_is_refused_so_that_no_walk_goes_round(
    log: PosixLog, directory: Path
) -> None:
    fill(log, 3)
    entry_file(directory, 2).write_bytes(entry_file(directory, 3).read_bytes())
    with pytest.raises(InvalidState, match="holds entry 3 under the number 2"):
        log.read(2)
