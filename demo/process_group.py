"""Processes with children, started as groups of their own and stopped whole, even if their starter is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """One started process, the leader of a session of its own, and everything it starts."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Self:
        """Start a command; its output is appended to ``log``."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(command),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(process=process)

    @property
    def pid(self) -> int:
        """The leader's process id."""
        return self.process.pid

    def members(self) -> list[psutil.Process]:
        """Return the leader, its descendants, and what is left of its session after the leader's death."""
        found = {process.pid: process for process in _session(self.pid)}
        for process in list(found.values()):
            found |= {child.pid: child for child in _descendants(process)}
        return list(found.values())

    def memory_mib(self) -> float:
        """Return the group's memory, shared pages divided among their users (PSS), in MiB."""
        return sum(_pss(process) for process in self.members()) / _MIB

    @staticmethod
    def stop_all(groups: Iterable[ProcessGroup], /, *, grace: float = 10.0) -> None:
        """Stop groups together: SIGTERM to the leaders, and after ``grace`` seconds SIGKILL to all that is left.

        A leader that ends in time ends its own children in order; only what it leaves behind is killed.
        """
        groups = list(groups)
        members = {process for group in groups for process in group.members()}
        for group in groups:
            if group.process.poll() is None:
                group.process.terminate()
        leaders = [process for process in members if process.pid in {group.pid for group in groups}]
        psutil.wait_procs(leaders, timeout=grace)
        members |= {process for group in groups for process in group.members()}
        for process in members:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(members, timeout=grace)
        for group in groups:
            group.process.wait()


class Watchdog:
    """Kills the watched sessions when this process is gone, however it went: a killed test run leaves nothing behind.

    It is a process that reads from a pipe; the pipe's end is the end of its reader's starter.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo.process_group"],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate("", timeout=30)
            self._process = None

    def watch(self, pid: int, /) -> None:
        """Add the session that ``pid`` leads."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError(f"process {pid} cannot be watched: the watchdog is not running; enter it first")
        self._process.stdin.write(f"{pid} {psutil.Process(pid).create_time()}\n")
        self._process.stdin.flush()


def end_descendants() -> None:
    """Kill what this process has started and not stopped: nothing, unless a signal came in the middle of a start."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)


def _session(leader: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _session_id(process.pid) == leader]


def _session_id(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _born(process: psutil.Process) -> float:
    """Return when a process began; of one that is gone by now, never."""
    try:
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return float("-inf")


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    """Signal a process unless it is gone; psutil notices when its id belongs to another process by now."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _watch_until_end_of_input() -> None:
    """Body of the watchdog: remember the leaders read from standard input, kill their sessions when it ends."""
    leaders: dict[int, float] = {}
    for line in sys.stdin:
        pid, created = line.split()
        leaders[int(pid)] = float(created)
    for pid, created in leaders.items():
        for process in _session(pid):
            # A session id is never given to a new process while the session has members; older than the leader: not ours.
            if _born(process) >= created - 1:
                for each in (*_descendants(process), process):
                    _signal(each, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _watch_until_end_of_input()
