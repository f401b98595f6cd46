"""A look at a pipeline's store in a process of its own: what it answers, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from airflow_model_ops.adapters.lineage import pipeline_look, pipeline_process
from airflow_model_ops.adapters.lineage.pipeline_candidates import Look
from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.core.errors import LedgerUnavailable, ModelOpsError
from tests.adapters.pipeline_rig import copy_of_fixture, dump

SECRET = "correct horse"  # noqa: S105 (no password of anybody)
SOON = 60.0
HANG_SECONDS = (2, 8, 32)
"""Until a look that hangs is killed; longer where a busy machine has not let it begin by then."""


async def look(settings: LedgerSettings, *, timeout_seconds: float = SOON) -> Look:
    return await pipeline_process.look(
        settings, kind=CandidateKind.PUSHED, pipeline="taxi", limit=1, timeout_seconds=timeout_seconds
    )


@dataclass(frozen=True)
class Hanging:
    """A look that never ends, and has a child."""

    script: Path
    said: Path

    def runs(self) -> bool:
        return self.said.exists()

    def left(self) -> list[psutil.Process]:
        """Return what still runs of it, also what nobody is the parent of any more."""
        return [process for process in psutil.process_iter() if str(self.script) in _command(process)]

    def is_gone(self) -> bool:
        deadline = time.monotonic() + SOON
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.left()


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hanging:
    found = Hanging(script=tmp_path / "hangs.py", said=tmp_path / "said")
    found.script.write_text(
        "import os, pathlib, sys, time\n"
        "os.fork()\n"
        f"said = pathlib.Path({str(found.said)!r})\n"
        "part = said.with_suffix(f'.{os.getpid()}')\n"
        "part.write_text(' '.join(sys.orig_argv))\n"
        "part.rename(said)\n"
        "time.sleep(600)\n"
    )
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {found.script} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(pipeline_process.sys, "executable", str(wrapper))
    return found


def _command(process: psutil.Process) -> list[str]:
    try:
        return [] if process.status() == psutil.STATUS_ZOMBIE else process.cmdline()
    except psutil.Error:  # it has ended, or is nobody's business
        return []


def test_it_finds_what_a_look_in_this_process_finds_and_changes_nothing(tmp_path: Path) -> None:
    path = copy_of_fixture(tmp_path)
    before = dump(path)

    (found,) = asyncio.run(look(LedgerSettings(path=path))).candidates

    assert (found.artifact, found.pipeline) == ("3", "taxi")
    assert dump(path) == before


def test_the_stores_error_comes_back_as_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"gone\.sqlite.*does not exist"):
        asyncio.run(look(LedgerSettings(path=tmp_path / "gone.sqlite")))


def test_settings_survive_the_way_into_the_process_password_included() -> None:
    settings = LedgerSettings(
        kind=LedgerKind.GRPC, host="mlmd", port=8080, user="ada", password=SECRET, retry_seconds=3
    )

    asked = pipeline_look.json.loads(
        pipeline_look.question(settings, kind=CandidateKind.BLESSED, pipeline="", limit=1, after="")
    )

    assert pipeline_look._settings(asked["settings"]) == settings


@pytest.mark.integration
def test_a_look_that_hangs_is_killed_with_its_children_and_the_password_was_in_no_list_of_processes(
    hanging: Hanging,
) -> None:
    settings = LedgerSettings(kind=LedgerKind.GRPC, host="127.0.0.1", port=9, password=SECRET)

    for seconds in HANG_SECONDS:
        with pytest.raises(LedgerUnavailable, match=rf"did not end within {seconds} s and was killed") as late:
            asyncio.run(look(settings, timeout_seconds=seconds))
        assert hanging.is_gone()
        if hanging.runs():
            break

    assert late.value.retryable
    assert pipeline_look.__name__ in hanging.said.read_text()
    assert SECRET not in hanging.said.read_text()
    assert SECRET not in str(late.value)


@pytest.mark.integration
def test_a_look_that_is_cancelled_leaves_nothing(hanging: Hanging) -> None:
    async def begin_and_cancel() -> None:
        running = asyncio.ensure_future(look(LedgerSettings(path=Path("/store.sqlite")), timeout_seconds=60))
        deadline = time.monotonic() + SOON
        while not hanging.runs() and time.monotonic() < deadline:  # noqa: ASYNC110 (a process says so)
            await asyncio.sleep(0.01)
        assert hanging.left()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(begin_and_cancel())

    assert hanging.is_gone()


def test_a_look_that_dies_says_how_without_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f"#!/bin/sh\ncat >/dev/null; echo 'no room for {SECRET}' >&2; exit 3\n")
    wrapper.chmod(0o755)
    monkeypatch.setattr(pipeline_process.sys, "executable", str(wrapper))
    settings = LedgerSettings(kind=LedgerKind.GRPC, host="127.0.0.1", port=9, password=SECRET)

    with pytest.raises(ModelOpsError, match=r"status 3 and no answer \(no room for \*\*\*\)"):
        asyncio.run(look(settings))
