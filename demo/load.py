"""The demo's load generator, a process of its own: `python -m demo.load --url http://127.0.0.1:8080 ...`.

It sends labelled images through the router, exposes right and wrong answers per version on a `/metrics` port of its own,
and keeps its own account in a status file. SIGTERM or SIGINT ends it: it waits for what is in flight, writes the status
file once more (`"finished": true`) and exits with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client import start_http_server

from airflow_model_ops.metrics import count_prediction
from demo.digits import Images
from demo.keepalive import KeepAliveClient
from demo.tally import Tally
from demo.traffic import Traffic, labelled_requests

STATUS_SECONDS = 0.5


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old or the new text, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def status(traffic: Traffic, *, finished: bool) -> dict[str, Any]:
    """Return the content of the status file."""
    settings = {"url": traffic.client.url, "model": traffic.model, "wanted_rate": traffic.rate}
    return {**settings, "finished": finished, "in_flight": traffic.in_flight, **traffic.tally.as_json()}


async def generate(traffic: Traffic, *, status_file: Path) -> None:
    """Send until SIGTERM or SIGINT, renewing the status file every half second."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with traffic.client, asyncio.TaskGroup() as tasks:
        reporter = tasks.create_task(_report(traffic, status_file=status_file))
        await traffic.run(stop=stop)
        reporter.cancel()
    write_atomically(status_file, json.dumps(status(traffic, finished=True)))


async def _report(traffic: Traffic, *, status_file: Path) -> None:
    while True:
        write_atomically(status_file, json.dumps(status(traffic, finished=False)))
        await asyncio.sleep(STATUS_SECONDS)


def serve(traffic: Traffic, *, status_file: Path, port_file: Path) -> None:
    """Send until SIGTERM or SIGINT, showing the counts on a `/metrics` port whose number a file then tells."""
    server, _ = start_http_server(port=0, addr="127.0.0.1")
    write_atomically(port_file, str(server.server_port))
    try:
        asyncio.run(generate(traffic, status_file=status_file))
    finally:
        server.shutdown()
        server.server_close()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.load", description="Send labelled images at a fixed rate.")
    parser.add_argument("--url", required=True, help="the router's address, such as http://127.0.0.1:8080")
    parser.add_argument("--model", default="digits", help="the model's name (default: %(default)s)")
    parser.add_argument("--images", type=Path, required=True, help=".npz with images x and labels y")
    parser.add_argument("--rate", type=float, default=60.0, help="requests per second (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds until a request has failed")
    parser.add_argument("--status-file", type=Path, required=True, help="the account, renewed every half second")
    parser.add_argument("--port-file", type=Path, required=True, help="where to write the port of /metrics")
    parser.add_argument(
        "--start-after-first-200", action="store_true", help="count nothing until a request has succeeded"
    )
    options = parser.parse_args(argv)
    if options.rate <= 0:
        parser.error(f"--rate {options.rate!r} is not above 0; give requests per second, such as 60")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = parse(argv)
    traffic = Traffic(
        client=KeepAliveClient(url=f"{options.url.rstrip('/')}/v1/models/{options.model}:predict"),
        model=options.model,
        requests=labelled_requests(Images.load(options.images)),
        tally=Tally(start_after_first_200=options.start_after_first_200),
        count=count_prediction,
        rate=options.rate,
        timeout=options.timeout,
    )
    serve(traffic, status_file=options.status_file, port_file=options.port_file)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
