"""Open-loop traffic: real images at a fixed rate, each answer compared with its label."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from airflow_model_ops.metrics import Outcome
from demo.digits import Images
from demo.keepalive import Answer, BadAnswer, KeepAliveClient
from demo.tally import UNKNOWN_VERSION, FinishedRequest, Tally, clip

_OK = 200


class CountPrediction(Protocol):
    """Feeds one outcome back; `airflow_model_ops.metrics.count_prediction` is one."""

    def __call__(self, *, model: str, version: str, outcome: str) -> None:
        """Count one prediction of a version as right, wrong or error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRequest:
    """A request body and the digit that a right answer names."""

    body: bytes
    digit: int


def labelled_requests(images: Images) -> list[LabelledRequest]:
    """Return one request per image, in TF Serving's row format."""
    return [
        LabelledRequest(body=json.dumps({"instances": [pixels]}).encode(), digit=digit)
        for pixels, digit in zip(images.x.tolist(), images.y.tolist(), strict=True)
    ]


def judge(answer: Answer, digit: int) -> Outcome:
    """Compare an answer with its label.

    :raises BadAnswer: when a 200 does not hold the scores of one image.
    """
    if answer.status != _OK:
        return Outcome.ERROR
    try:
        (scores,) = json.loads(answer.body)["predictions"]
        best = max(range(len(scores)), key=scores.__getitem__)
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnswer(f"200 with body {clip(answer.body)!r}, which holds no scores of one image") from error
    return Outcome.RIGHT if best == digit else Outcome.WRONG


def named_by_router(answer: Answer) -> str:
    """Return the version that the router's header names."""
    return answer.headers.get("x-model-version", UNKNOWN_VERSION)


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Sends requests, drawn at random with a fixed seed, at a fixed rate whether or not the earlier ones are answered.

    :param rate: Requests per second.
    :param timeout: Seconds from when a request is due until it counts as failed.
    :param compare: Compares an answer with its request's digit; raises :class:`BadAnswer` if it cannot be read.
    :param version_of: Says which version gave an answer.
    :param in_flight: Requests sent and not finished.
    """

    client: KeepAliveClient
    model: str
    requests: Sequence[LabelledRequest]
    tally: Tally
    count: CountPrediction
    rate: float
    timeout: float = 5.0
    seed: int = 0
    compare: Callable[[Answer, int], Outcome] = judge
    version_of: Callable[[Answer], str] = named_by_router
    in_flight: int = field(init=False, default=0)

    async def run(self, *, stop: asyncio.Event) -> None:
        """Send until told to stop, then wait for what is in flight (at most the time-out)."""
        loop = asyncio.get_running_loop()
        draw = random.Random(self.seed)
        start, clock_offset = loop.time(), time.time() - loop.time()
        number = 0
        async with asyncio.TaskGroup() as sending:
            while await _sleep_until(due := start + number / self.rate, stop=stop):
                sending.create_task(self._send(draw.choice(self.requests), due=due, clock_offset=clock_offset))
                number += 1

    async def _send(self, request: LabelledRequest, *, due: float, clock_offset: float) -> None:
        self.in_flight += 1
        finished = await self._finish(request, due=due, clock_offset=clock_offset)
        self.in_flight -= 1
        if self.tally.add(finished):
            self.count(model=self.model, version=finished.version, outcome=finished.outcome.value)

    async def _finish(self, request: LabelledRequest, *, due: float, clock_offset: float) -> FinishedRequest:
        loop = asyncio.get_running_loop()
        answer: Answer | None = None
        try:
            async with asyncio.timeout_at(due + self.timeout):
                answer = await self.client.post(request.body)
            outcome, body = self.compare(answer, request.digit), clip(answer.body)
        except TimeoutError:
            outcome, body = Outcome.ERROR, f"no answer within {self.timeout:g} s"
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, BadAnswer, ValueError) as error:
            outcome, body = Outcome.ERROR, clip(f"{type(error).__name__}: {error}")
        return FinishedRequest(
            due=due + clock_offset,
            done=loop.time() + clock_offset,
            outcome=outcome,
            version=self.version_of(answer) if answer else UNKNOWN_VERSION,
            status=answer.status if answer else None,
            body=body if outcome is Outcome.ERROR else "",
        )


async def _sleep_until(due: float, *, stop: asyncio.Event) -> bool:
    """Sleep, unless stopped before; return whether to send."""
    try:
        async with asyncio.timeout_at(due):
            await stop.wait()
    except TimeoutError:
        return True
    return False
