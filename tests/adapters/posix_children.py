"""What other processes do in the tests of the POSIX repository: they race, and they are killed at chosen points."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.repository.posix_fleet import PosixFleetStore
from airflow_model_ops.adapters.repository.posix_log import PosixLog
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.core.errors import VersionExists
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.state import Actor, ActorKind
from airflow_model_ops.core.versioning import Version, VersionNaming

VERSION = VersionNaming().parse("v-20230601-120000")
CREATED = "2023-06-01T12:00:00Z"

_processes = multiprocessing.get_context("forkserver")  # forks from a process without threads
_processes.set_forkserver_preload(["tests.adapters.posix_children"])

CHANGES = ("mkdir", "link", "rename", "replace", "symlink", "unlink", "rmdir", "fsync", "utime", "open")
"""The functions of ``os`` through which the repository changes anything."""


def start(work: Callable[..., object], *arguments: Any) -> BaseProcess:
    process = _processes.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def run(work: Callable[..., object], *arguments: Any) -> int:
    """Run something in another process; return its exit status, negative for the signal that ended it."""
    process = start(work, *arguments)
    process.join(120)
    assert process.exitcode is not None, f"{work.__name__} did not end"
    return process.exitcode


@contextmanager
def killed_before_change(number: int):
    """Kill this process with SIGKILL before it changes the file system for the ``number``-th time, from 1."""
    counter, lock = itertools.count(1), threading.Lock()
    originals = {name: getattr(os, name) for name in CHANGES}

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with lock:
                if next(counter) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    for name, original in originals.items():
        setattr(os, name, counted(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def an_entry(write_id: str) -> Entry:
    origin = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="test"))
    return fact(FactKind.VERDICT, reason="a test", origin=origin, at=CREATED, write_id=write_id)


def append_entries(directory: Path, writer: str, count: int) -> None:
    """Append entries as control does: read the newest, try the next number, and again if another writer won."""
    log = PosixLog(directory)
    for index in range(count):
        while not log.put_if_absent(an_entry(f"{writer}-{index}").after(log.last())):
            continue


def append_killed(directory: Path, entry: Entry, change: int) -> None:
    with killed_before_change(change):
        PosixLog(directory).put_if_absent(entry)


def request_for(model: Path) -> PushRequest:
    return PushRequest(directory=model, created=CREATED, dataset_version="d1", metrics={"accuracy": 0.9})


def push_killed(root: Path, model: Path, change: int) -> None:
    repository = PosixRepository(root)
    with killed_before_change(change):
        repository.push("digits", VERSION, request_for(model))


def delete_killed(root: Path, version: Version, change: int) -> None:
    repository = PosixRepository(root)
    with killed_before_change(change):
        repository.delete("digits", version)


def push_at(moment: float, root: Path, model: Path, answer: Path) -> None:
    """Push at a moment, together with other processes, and write down how it went."""
    repository = PosixRepository(root)
    time.sleep(max(0.0, moment - time.time()))
    try:
        answer.write_text(repository.push("digits", VERSION, request_for(model)).digest)
    except VersionExists as error:
        answer.write_text(f"refused: {error}")


def hold_lock(directory: Path, sign: Path) -> None:
    with PosixFleetStore(directory).lock(wait_seconds=60):
        sign.write_text(str(os.getpid()))
        signal.pause()


def contend(directory: Path, inside: Path, journal: Path) -> None:
    """Take the lock again and again; write down each time, and whether anybody alive was inside too."""
    store = PosixFleetStore(directory)
    while True:
        with store.lock(wait_seconds=60):
            found = inside.read_text() if inside.exists() else ""
            intruder = bool(found) and is_alive(int(found))
            inside.write_text(str(os.getpid()))
            time.sleep(0.003)
            intruder |= inside.read_text() != str(os.getpid())
            inside.unlink()
            _note(journal, f"{os.getpid()} {'not alone' if intruder else 'alone'}\n")


def is_alive(pid: int) -> bool:
    """Whether a process runs; not one that is dead and that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it goes while it is read
        return False
    return state not in "ZX"


def _note(journal: Path, line: str) -> None:
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)
