"""The load generator as a process, as the demo runs it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
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
def server(tmp_path: Path) -> Iterator[DigitServer]:
    """Answers 404 five times, as before the first release, then rightly; in a thread of its own.

    Rightly only once all five are told of: on a busy machine a request may overtake another, and a failure that is due after the
    first success, and comes after it, is a failure.
    """
    told = asyncio.Event()

    async def respond(number: int, digit: int) -> bytes:
        if number <= 5:
            return answer(digit=0, version=None, status=404)
        if number == 6:
            while read_status(tmp_path / "status").get("left_out", 0) < 5:  # noqa: ASYNC110 - another process tells
                await asyncio.sleep(0.01)
            told.set()
        await told.wait()
        return answer(digit=digit, version="20230601120000")

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
    files = {"images": "live.npz", "status-file": "status", "port-file": "port"}
    options = {"url": address, "rate": "40", "timeout": "60", **files}
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.load", "--start-after-first-200", *(f"--{k}={v}" for k, v in options.items())],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPO)},
    )
    yield process
    process.kill()
    process.wait()


def read_status(path: Path) -> dict[str, Any]:
    """Return what the status file tells, if there is one yet; every version of it that is seen must be whole."""
    status: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return status


def status_at_full_rate(path: Path, *, at_least: int) -> dict[str, Any]:
    """Wait until so many requests are sent, at the rate asked for: one that was held up for a moment makes up for it."""

    def told() -> dict[str, Any] | None:
        status = read_status(path)
        return status if status.get("sent", 0) >= at_least and status["rate"] == pytest.approx(40, rel=0.2) else None

    return until(told, what=f"{at_least} requests are sent, 40 a second", within=60)


def metrics_page(port: int) -> str:
    """Read the page; not by urllib, which might ask a proxy for it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    return page


@pytest.mark.integration
def test_the_process_keeps_its_account_while_running_exposes_the_outcomes_and_ends_cleanly_on_sigterm(
    load: subprocess.Popen[bytes], server: DigitServer, tmp_path: Path
) -> None:
    running = status_at_full_rate(tmp_path / "status", at_least=60)
    exposed = metrics_page(int((tmp_path / "port").read_text()))
    load.send_signal(signal.SIGTERM)

    assert load.wait(timeout=60) == 0
    assert running["finished"] is False
    right = 'model_predictions_total{model="digits",outcome="right",version="20230601120000"}'
    (counted,) = [float(line.split()[-1]) for line in exposed.splitlines() if line.startswith(right)]
    assert counted >= 60
    account = json.loads((tmp_path / "status").read_text())
    assert (account["finished"], account["in_flight"], account["failed"]) == (True, 0, 0)
    assert account["left_out"] >= 5  # and what was sent before the first success, and overtaken by it
    assert account["by_version"]["20230601120000"]["right"] == account["sent"] == server.requests - account["left_out"]
    assert account["sent"] == sum(sum(second["versions"].values()) for second in account["timeline"])


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_a_rate_that_sends_nothing_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--url=http://127.0.0.1:1", "--images=i", "--status-file=s", "--port-file=p"]

    with pytest.raises(SystemExit):
        parse([*files, f"--rate={rate}"])

    assert "is not above 0" in capsys.readouterr().err
