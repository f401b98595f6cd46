"""The load generator as a process, as the demo runs it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from demo.digits import Images
from demo.load import parse
from tests.demo.digit_server import DigitServer, answer, serving
from tests.waits import all_ended, until

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def server() -> Iterator[DigitServer]:
    """Answers 404 five times, as before the first release, then rightly; in a thread of its own."""

    async def respond(number: int, digit: int) -> bytes:
        return (
            answer(digit=digit, version="20230601120000") if number > 5 else answer(digit=0, version=None, status=404)
        )

    started: list[DigitServer] = []
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with serving(respond) as digit_server:
            started.append(digit_server)
            await stop.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    until(lambda: started, what="the server listens")
    yield started[0]
    loop.call_soon_threadsafe(stop.set)
    all_ended(thread)
    loop.close()


@pytest.fixture
def load(server: DigitServer, images: Images, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    images.save(tmp_path / "live.npz")
    address = server.url.removesuffix("/v1/models/digits:predict")
    options = {"url": address, "images": "live.npz", "rate": "40", "status-file": "status", "port-file": "port"}
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.load", "--start-after-first-200", *(f"--{k}={v}" for k, v in options.items())],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPO)},
    )
    yield process
    process.kill()
    process.wait()


def status_when_sent(path: Path, *, at_least: int) -> dict[str, Any]:
    """Poll the status file; every version of it that is seen must be whole."""
    for _ in range(3000):
        if path.exists():
            status: dict[str, Any] = json.loads(path.read_text())
            if status["sent"] >= at_least:
                return status
        time.sleep(0.01)
    raise AssertionError(f"{path} never told of {at_least} requests")


@pytest.mark.integration
def test_the_process_keeps_its_account_while_running_exposes_the_outcomes_and_ends_cleanly_on_sigterm(
    load: subprocess.Popen[bytes], server: DigitServer, tmp_path: Path
) -> None:
    running = status_when_sent(tmp_path / "status", at_least=60)
    port = (tmp_path / "port").read_text()
    exposed = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    load.send_signal(signal.SIGTERM)

    assert load.wait(timeout=10) == 0
    assert running["finished"] is False
    right = 'model_predictions_total{model="digits",outcome="right",version="20230601120000"}'
    (counted,) = [float(line.split()[-1]) for line in exposed.splitlines() if line.startswith(right)]
    assert counted >= 60
    account = json.loads((tmp_path / "status").read_text())
    assert (account["finished"], account["in_flight"], account["failed"], account["left_out"]) == (True, 0, 0, 5)
    assert account["by_version"]["20230601120000"]["right"] == account["sent"] == server.requests - 5
    assert account["sent"] == sum(sum(second["versions"].values()) for second in account["timeline"])
    assert account["rate"] == pytest.approx(40, rel=0.2)


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_a_rate_that_sends_nothing_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--url=http://127.0.0.1:1", "--images=i", "--status-file=s", "--port-file=p"]

    with pytest.raises(SystemExit):
        parse([*files, f"--rate={rate}"])

    assert "is not above 0" in capsys.readouterr().err
