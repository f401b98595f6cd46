"""Runs the probe in a process group of its own and gathers what it reports, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_model_ops.core.errors import InvalidConfig

PROBE = Path(__file__).with_name("probe.py")

_TAIL_BYTES = 2000
"""How much of the end of stderr a report quotes."""
_OWN_END_SECONDS = 10.0
"""How long the probe outlives its time-out if nobody kills it, before its own alarm does."""
_INHERITED = {*("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"), "LD_LIBRARY_PATH", "LD_PRELOAD"}
_INHERITED_PREFIXES = ("LC_", "PYTHON", "TF_", "XLA_", "CUDA_", "OMP_", "MKL_")
"""What a Python with TensorFlow may need of the worker's environment; the rest holds connections and keys, and a model is
code."""
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors stay: they are what the report quotes of a crash
    "CUDA_VISIBLE_DEVICES": "",  # a worker's GPU belongs to others, and the CPU tells as much
    "PYTHONSAFEPATH": "1",  # the probe is run by its path: its neighbours are not modules to import
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """What a probe reported, and how it ended.

    :param parts: Its report's objects, oldest first.
    :param ending: In words how it ended early; ``None`` if it finished.
    :param status: Its exit status, the negative signal number if one ended it, ``None`` for the time-out.
    :param stderr: The end of what it, or TensorFlow, wrote to stderr.
    """

    parts: tuple[Mapping[str, Any], ...]
    ending: str | None
    status: int | None
    stderr: str

    def part(self, kind: str, *, role: str | None = None) -> Mapping[str, Any] | None:
        """Return the part of a kind, and of a model's role, if it was reported."""
        return next((part for part in self.parts if part["part"] == kind and part.get("role") == role), None)


def run_probe(job: Mapping[str, Any], *, python: str, timeout_seconds: float) -> ProbeRun:
    """Run the probe to its end, or kill its process group at the time-out.

    :param job: What :func:`airflow_model_ops.adapters.validation.probe.main` reads, without its ``report`` and ``seconds``.
    :param python: A Python that has TensorFlow; this package need not be installed there.
    :raises InvalidConfig: if that Python cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="model-ops-validation-") as scratch:
        report, errors = Path(scratch, "report.jsonl"), Path(scratch, "stderr")
        full = {**job, "report": str(report), "seconds": timeout_seconds + _OWN_END_SECONDS}
        with errors.open("wb") as stream, _started(python, stderr=stream.fileno(), scratch=scratch) as process:
            try:
                process.communicate(json.dumps(full).encode(), timeout=timeout_seconds)
                status: int | None = process.returncode
            except subprocess.TimeoutExpired:
                status = None
        return ProbeRun(
            parts=_parts(report),
            ending=_ending(status, timeout_seconds=timeout_seconds),
            status=status,
            stderr=_tail(errors),
        )


@contextmanager
def _started(python: str, *, stderr: int, scratch: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the probe; whatever happens meanwhile, a time-out or the worker's own end, nothing of its group is left."""
    try:
        process = subprocess.Popen(
            [python, str(PROBE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=scratch,
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise InvalidConfig(f"Python {python!r} cannot be started ({error}); name one that has TensorFlow") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _environment() -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    return {**inherited, **_ENVIRONMENT}


def _ending(status: int | None, *, timeout_seconds: float) -> str | None:
    if status is None:
        return f"it did not finish within {timeout_seconds:g} s and was killed"
    if status < 0:
        name = signal.Signals(-status).name
        return f"it was ended by {name}" + (", probably for lack of memory" if name == "SIGKILL" else "")
    return f"it ended with status {status}" if status else None


def _parts(report: Path) -> tuple[Mapping[str, Any], ...]:
    """Read the report; a last line that its writer's death cut short is left out."""
    if not report.exists():
        return ()
    lines = report.read_bytes().split(b"\n")[:-1]
    return tuple(json.loads(line) for line in lines)


def _tail(errors: Path) -> str:
    with errors.open("rb") as stream:
        stream.seek(max(0, errors.stat().st_size - _TAIL_BYTES), os.SEEK_SET)
        return stream.read().decode(errors="replace").strip()
