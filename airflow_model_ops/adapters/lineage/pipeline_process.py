"""Runs a look at a pipeline's store in a process of its own, and leaves nothing of it behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.lineage import pipeline_look
from airflow_model_ops.adapters.lineage.pipeline_candidates import Look
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core.candidates import Candidate, CandidateKind
from airflow_model_ops.core.errors import LedgerUnavailable, LedgerUnsuitable

LOOK_SECONDS = 60.0
"""How long a look may take: longer than the store itself is insisted upon."""
_PACKAGE_ROOT = Path(__file__).parents[3]
_TAIL_CHARACTERS = 500


async def look(
    settings: LedgerSettings,
    *,
    kind: CandidateKind,
    pipeline: str,
    limit: int,
    after: str = "",
    timeout_seconds: float = LOOK_SECONDS,
) -> Look:
    """Look once; if this is cancelled or takes too long, the process and what it started are killed.

    :param after: See :func:`~airflow_model_ops.adapters.lineage.pipeline_candidates.newest_candidates`.
    :raises LedgerUnavailable: if the store cannot be read, or does not answer in time; a retry helps.
    :raises LedgerUnsuitable: if ML Metadata is not installed, or the store is of another version of it.
    """
    asked = pipeline_look.question(settings, kind=kind, pipeline=pipeline, limit=limit, after=after)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", pipeline_look.__name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            stdout, stderr = await _asked(process, asked)
    except TimeoutError as error:
        raise LedgerUnavailable(
            f"{settings.shown}: a look at it did not end within {timeout_seconds:g} s and was killed; see whether its server "
            "hangs or the disk it is on answers"
        ) from error
    return _read(settings, stdout=stdout, stderr=stderr, status=process.returncode)


async def _asked(process: asyncio.subprocess.Process, asked: str) -> tuple[bytes, bytes]:
    """Return what a process says; if this is cut short, neither it nor what it started is left."""
    try:
        return await process.communicate(asked.encode())
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise


def _environment() -> dict[str, str]:
    """Return this process's environment, with which the child finds the same package."""
    paths = [str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _read(settings: LedgerSettings, *, stdout: bytes, stderr: bytes, status: int | None) -> Look:
    try:
        told: dict[str, Any] = json.loads(stdout.decode(errors="replace").splitlines()[-1])
    except (IndexError, ValueError) as error:
        said = stderr.decode(errors="replace").strip()[-_TAIL_CHARACTERS:]
        if settings.password:
            said = said.replace(settings.password, "***")
        raise LedgerUnavailable(
            f"{settings.shown}: a look at it ended with status {status} and no answer ({said or 'nothing on stderr'}); see "
            "whether ML Metadata runs on this machine: python -c 'import ml_metadata'"
        ) from error
    if "error" in told:
        raise LedgerUnavailable(told["error"]) if told["retryable"] else LedgerUnsuitable(told["error"])
    return Look(candidates=tuple(map(Candidate.from_json, told["candidates"])), note=told["note"])
