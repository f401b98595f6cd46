"""Which process holds a lock, and whether it is known to be dead."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_STATE, _START_TIME = 0, 19
"""Places in ``/proc/<pid>/stat`` counted after the command's name. Source: proc_pid_stat(5), fields 3 and 22."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process.

    :param host: For people; two machines may share a name, so nothing is decided by it.
    :param processes: Names the running kernel and the process namespace in it, in which ``pid`` counts; empty if unknown.
    :param started: Clock ticks from the kernel's start to the process's; tells apart processes that had the same pid.
    """

    host: str
    processes: str
    pid: int
    started: int

    @classmethod
    def this_process(cls) -> Owner:
        """Return the calling process."""
        return cls(host=socket.gethostname(), processes=_namespace(), pid=os.getpid(), started=_started(os.getpid()))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Owner:
        """Read what :meth:`to_json` wrote.

        :raises KeyError, TypeError, ValueError: if it is something else.
        """
        return cls(
            host=str(data["host"]),
            processes=str(data["processes"]),
            pid=int(data["pid"]),
            started=int(data["started"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def is_dead(self) -> bool:
        """Whether the process is surely gone; ``False`` when it runs where this process cannot look."""
        if not self.processes or self.processes != _namespace():
            return False
        try:
            with contextlib.suppress(PermissionError):  # it is there, and another user's
                os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        fields = _stat(self.pid)
        if not fields:
            return False
        return fields[_STATE] in "ZX" or int(fields[_START_TIME]) != self.started


@functools.cache
def _namespace() -> str:
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{kernel}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:  # no /proc: then only the lease's age counts
        return ""


def _started(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[_START_TIME]) if fields else 0


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no /proc, or another user's processes are hidden
        return []
    return text.rpartition(")")[2].split()
