from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from demo.airflow_rest import wait_until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def demo(*words: str, work: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the demo in a session of its own; end what a failed test leaves of it."""
    command = [sys.executable, "-m", "demo", "--work", str(work), *words]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def wait_for_line(log: Path, pattern: str, *, timeout: float) -> None:
    wait_until(
        lambda: re.search(pattern, log.read_text(errors="replace")),
        timeout=timeout,
        otherwise=lambda: f"no line {pattern!r} in:\n{log.read_text(errors='replace')}",
    )


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_whole_story_holds_and_the_demo_says_so_with_its_exit_status(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"

    with demo("--exit", work=tmp_path / "work", log=log) as process:
        status = process.wait(timeout=850)

    told = log.read_text()
    assert status == 0, told
    assert "FAILED" not in told
    assert re.search(r"expectations: (\d+) of \1 held", told)
    assert re.search(r"requests sent, 0 failed", told)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_demo_is_ended_nothing_that_it_started_lives_on(how: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(work=tmp_path / "work", log=log) as process:
        wait_for_line(log, "Prometheus is up", timeout=180)
        started = descendants(process.pid)

        os.kill(process.pid, how)
        status = process.wait(timeout=60)
        _, alive = psutil.wait_procs(started, timeout=30)

    assert len(started) >= 7  # two model servers, Envoy, traffic, Prometheus, the training, watchdogs
    assert [each.cmdline() for each in alive] == []
    assert status == (-signal.SIGKILL if how is signal.SIGKILL else 130)


def test_a_directory_with_something_in_it_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    command = [sys.executable, "-m", "demo", "--work", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert "is not an empty directory; name a new one" in done.stderr
    assert (tmp_path / "mine").read_text() == "precious"


def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "demo", "--exit", "--work", str(tmp_path / "work")]

    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": ""}, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 2
    assert "no 'prometheus' binary on PATH" in done.stderr
    assert not (tmp_path / "work").exists()
