"""The clients of an endpoint of Vertex AI, a process of their own: ``python -m tests.e2e.vertex_load --url ...:predict ...``.

They keep the same account as the demo's clients of a router. The service in the tests answers each instance with the name of the
version that it chose, and names the deployment in an error.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from airflow_model_ops.metrics import Outcome, count_prediction
from demo.digits import Images
from demo.keepalive import Answer, BadAnswer, KeepAliveClient
from demo.load import serve
from demo.tally import UNKNOWN_VERSION, Tally
from demo.traffic import Traffic, labelled_requests

_FAILED = re.compile(rb"The DeployedModel (\d+) failed")


def failed_deployment(id_: str) -> str:
    """Return under which name the account has the failures of a deployment."""
    return f"deployment {id_}"


def compare(answer: Answer, digit: int) -> Outcome:
    """Take every prediction for a zero as wrong, whichever version it is from: what answers here knows no digits.

    Without a wrong one only thousands of answers could show that there are few.
    """
    if answer.status != 200:
        return Outcome.ERROR
    if not _predictions(answer):
        raise BadAnswer(f"200 with body {answer.body[:300]!r}, which holds no prediction for digit {digit}")
    return Outcome.WRONG if digit == 0 else Outcome.RIGHT


def version_of(answer: Answer) -> str:
    """Return the serving number of the version that answered, or which deployment failed."""
    if answer.status == 200:
        return next((name.removeprefix("v-").replace("-", "") for name in _predictions(answer)), UNKNOWN_VERSION)
    failed = _FAILED.search(answer.body)
    return failed_deployment(failed[1].decode()) if failed else UNKNOWN_VERSION


def _predictions(answer: Answer) -> list[str]:
    predictions: list[str] = json.loads(answer.body).get("predictions", [])
    return predictions


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.vertex_load")
    parser.add_argument("--url", required=True, help="the endpoint's, with :predict at its end")
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--status-file", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    options = parser.parse_args()
    traffic = Traffic(
        client=KeepAliveClient(url=options.url),
        model=options.model,
        requests=labelled_requests(Images.load(options.images)),
        tally=Tally(start_after_first_200=True),
        count=count_prediction,
        rate=options.rate,
        timeout=options.timeout,
        compare=compare,
        version_of=version_of,
    )
    serve(traffic, status_file=options.status_file, port_file=options.port_file)


if __name__ == "__main__":
    main()
