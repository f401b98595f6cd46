"""A real database server of the tests' own: on a free port, in a directory of its own; it can be killed, hung and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from demo.ports import free_port
from demo.process_group import Watchdog

PASSWORD = "s3:cret/p w'\\@d"  # noqa: S105 (the tests' own server; every character that a quoting may forget)
_UP_SECONDS = 150.0
"""For a disk that is slow: a database's first files are hundreds."""
_PATIENCE: dict[str, Any] = {"answer_seconds": 60.0, "retry_seconds": 60.0}


class DatabaseServer(ABC):
    """Starts on entry and is gone on exit. Listens on 127.0.0.1; the administrator comes by a Unix socket.

    A database server refuses to run as root, so root starts it as the package's own user.
    """

    kind: LedgerKind
    system_user: str
    administrator: str

    def __init__(self) -> None:
        self.port = free_port()
        # Not below pytest's own directory: only the user who runs the tests can enter that.
        self.home = Path(tempfile.mkdtemp(prefix="model-ops-database-")).resolve()
        self.data = self.home / "data"
        self._as: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[psutil.Process] = []
        if os.geteuid() == 0:
            self._as = {"user": self.system_user, "group": self.system_user, "extra_groups": []}
            shutil.chown(self.home, self.system_user, self.system_user)

    def __enter__(self) -> Self:
        self._watchdog = Watchdog().__enter__()
        try:
            self._create()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._watchdog.__exit__(None, None, None)
        shutil.rmtree(self.home, ignore_errors=True)

    def settings(self, database: str = "ledger", **more: Any) -> LedgerSettings:
        """Return the settings of a ledger on this server, as a user that may create databases."""
        given: dict[str, Any] = {"user": self.administrator, "password": PASSWORD, **_PATIENCE, **more}
        return LedgerSettings(kind=self.kind, host="127.0.0.1", port=self.port, database=database, **given)

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as,
            )
        self._watchdog.watch(self._process.pid)
        poll(self._answers, seconds=_UP_SECONDS, otherwise=lambda: (self.home / "log").read_text()[-3000:])

    def kill(self) -> None:
        """End it as a crash does, with all that it started: nothing is tidied up."""
        self.thaw()
        if self._process is None:
            return
        # The first process first: a PostgreSQL that loses another one starts anew, and then somebody still has its files.
        self._process.kill()
        self._process.wait()
        poll(self._is_over, seconds=_UP_SECONDS)
        self._process = None

    def freeze(self) -> None:
        """Let it hang: it takes connections and requests, and answers none."""
        assert self._process is not None
        leader = psutil.Process(self._process.pid)
        self._frozen = [leader, *leader.children(recursive=True)]
        _signal(self._frozen, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        _signal(self._frozen, signal.SIGCONT)
        self._frozen = []

    def run(self, command: Sequence[str | Path], *, input: str | None = None) -> str:  # noqa: A002 (as subprocess names it)
        """Run one of the server's own programs as its user, and return what it prints."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.home,
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=_UP_SECONDS,
            **self._as,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @abstractmethod
    def sql(self, text: str, *, database: str | None = None) -> str:
        """Run statements as the administrator; return the answer, a row a line, columns parted by tabs."""

    @abstractmethod
    def _create(self) -> None: ...

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "log").read_text()[-3000:]
        try:
            return bool(self.sql("SELECT 1"))
        except AssertionError:
            return False

    def _is_over(self) -> bool:
        """Kill what is left of the server, and return whether nothing was: they all are in the directory of its data."""
        left = [process for process in psutil.process_iter() if _place_of(process) == str(self.data)]
        _signal(left, signal.SIGKILL)
        return not left


def poll(
    condition: Callable[[], bool], *, seconds: float, otherwise: Callable[[], str] = lambda: "it never held"
) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)


def program(name: str, *places: str) -> Path:
    """Return a program on the PATH, or in one of the places (the last one that has it), as Debian keeps some."""
    found = [path for place in places for path in sorted(Path("/").glob(f"{place.lstrip('/')}/{name}"))]
    on_path = shutil.which(name)
    assert found or on_path, f"{name!r} is not installed; run `make setup`"
    return found[-1] if found else Path(str(on_path))


def _place_of(process: psutil.Process) -> str:
    """Return a process's working directory; none of one that has ended, or is another user's."""
    try:
        return str(process.cwd())
    except psutil.Error:
        return ""


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
