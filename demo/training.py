"""The training of the demo's models, in a process beside the start of everything else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.airflow_rest import wait_until
from demo.process_group import ProcessGroup, Watchdog
from demo.stack import ROOT

_IMAGES_SECONDS = 120.0
_MODELS_SECONDS = 300.0


class TrainingFailed(RuntimeError):
    """The training ended with an error or took too long; the message carries the end of its log."""


class Training:
    """Runs `python -m demo.train` on entry; ended on exit if it still runs.

    :param out: Directory for the models and images.
    """

    def __init__(self, *, out: Path, log: Path) -> None:
        self.out = out
        self._log = log
        self._watchdog = Watchdog()
        self._group: ProcessGroup | None = None

    def __enter__(self) -> Self:
        self.out.mkdir(parents=True, exist_ok=True)
        self._watchdog.__enter__()
        command = [sys.executable, "-m", "demo.train", "--out", str(self.out)]
        self._group = ProcessGroup.start(command, env=os.environ, cwd=ROOT, log=self._log)
        self._watchdog.watch(self._group.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._group is not None:
            ProcessGroup.stop_all([self._group])
        self._watchdog.__exit__(kind, error, trace)

    def wait_for_images(self) -> Path:
        """Return the file of the live images as soon as it is written; it is long before the models are.

        :raises TrainingFailed: if the training ends before.
        """
        self._wait_for(self._table_begun, seconds=_IMAGES_SECONDS)
        return self.out / "live.npz"

    def wait_for_models(self) -> None:
        """Wait until all models are exported.

        :raises TrainingFailed: if it ended with an error.
        """
        self._wait_for((self.out / "summary.json").exists, seconds=_MODELS_SECONDS)

    def table(self) -> list[str]:
        """Return the lines of the table that the training has printed so far."""
        return [line for line in self._lines() if line.startswith("model ") or "%" in line]

    def _table_begun(self) -> bool:
        """The head of its table is printed right after the images are written."""
        return any(line.startswith("model ") for line in self._lines())

    def _wait_for(self, done: Callable[[], bool], *, seconds: float) -> None:
        def done_or_dead() -> bool:
            if self._group is not None and self._group.process.poll() not in {None, 0} and not done():
                raise TrainingFailed(self._complaint("ended with an error"))
            return done()

        wait_until(done_or_dead, timeout=seconds, otherwise=lambda: self._complaint(f"is not done after {seconds:g} s"))

    def _lines(self) -> list[str]:
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()

    def _complaint(self, what: str) -> str:
        tail = "\n".join(self._lines()[-20:])
        return f"the training {what}; the end of {self._log}:\n{tail}"
