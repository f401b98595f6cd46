"""``python -m tests.vertex_fake --rest-port 0 --grpc-port 0 --ready-file FILE``: serves until it is told to end.

The ready file, and one line on standard output, are ``{"rest_url": "http://127.0.0.1:..", "grpc_address": "127.0.0.1:.."}``.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.vertex_fake", description="A Vertex AI on loopback, for tests."
    )
    parser.add_argument("--rest-port", type=int, default=0, help="0: any free one")
    parser.add_argument("--grpc-port", type=int, default=0, help="0: any free one")
    parser.add_argument("--ready-file", type=Path, help="written when both ports listen")
    parser.add_argument("--operation-seconds", type=float, help="how long operations take")
    parser.add_argument("--prometheus-url", help="answers for Cloud Monitoring")
    parser.add_argument("--storage-url", help="a GCS emulator, in which uploaded models must have their files")
    parser.add_argument("--seed", type=int, help="of the routing of predictions")
    given = parser.parse_args()
    from tests.vertex_fake.rig import VertexFake  # it takes seconds, which --help does not need

    told_to_end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_end.set())
    with VertexFake(rest_port=given.rest_port, grpc_port=given.grpc_port, seed=given.seed) as fake:
        if given.operation_seconds is not None:
            fake.control.duration("*", given.operation_seconds)
        fake.control.prometheus(given.prometheus_url)
        fake.control.buckets(given.storage_url)
        ready = json.dumps({"rest_url": fake.address.rest_url, "grpc_address": fake.address.grpc_address})
        if given.ready_file:
            written = given.ready_file.with_suffix(".tmp")
            written.write_text(ready)
            written.replace(given.ready_file)
        print(ready, flush=True)  # noqa: T201
        told_to_end.wait()


if __name__ == "__main__":
    main()
