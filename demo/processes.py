"""Named processes with a log file each, ended on exit, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.airflow_rest import wait_until
from demo.ports import PAST_PROXIES
from demo.process_group import ProcessGroup, Watchdog

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 240.0
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", **PAST_PROXIES}


class Processes:
    """Starts processes and stops them on exit, the last first; if this process is killed, they end too.

    :param logs: Directory of their logs; made if missing.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.exits = ExitStack()
        """What else is to end on exit, in its turn."""

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._watchdog = self.exits.enter_context(Watchdog())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.exits.close()

    def run(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> ProcessGroup:
        """Start a process that ends on exit.

        :param env: What its environment has more than this process's own.
        """
        group = ProcessGroup.start(
            command, env=os.environ | _QUIET | dict(env or {}), cwd=ROOT, log=self._logs / f"{name}.log"
        )
        self.watch(group.pid)
        self.exits.callback(ProcessGroup.stop_all, [group])
        return group

    def watch(self, pid: int | None) -> None:
        """End a process of somebody else's, too, if this process is killed."""
        if pid is not None:
            self._watchdog.watch(pid)

    def log_tail(self, name: str, *, lines: int = 20) -> str:
        """Return the end of a process's log."""
        text = (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def wait_for(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait until a process is ready.

        :raises AirflowRestError: if it is not in time; the message carries the end of its log.
        """
        wait_until(is_ready, timeout=READY_SECONDS, otherwise=lambda: f"{name} is not ready:\n{self.log_tail(name)}")
