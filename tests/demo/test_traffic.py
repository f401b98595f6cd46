"""The load generator against a server in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Callable

import pytest

from airflow_model_ops.metrics import Outcome
from demo.digits import Images
from demo.keepalive import Answer, BadAnswer, KeepAliveClient
from demo.tally import Tally
from demo.traffic import CountPrediction, Traffic, judge, labelled_requests
from tests.demo.digit_server import DigitServer, Respond, answer, serving
from tests.waits import until_true

PATIENCE = 60.0
"""Seconds: nothing here takes one, but a busy machine may stop this process for some."""


class Counts:
    """Stands in for the Prometheus counter."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str, str]] = Counter()

    def __call__(self, *, model: str, version: str, outcome: str) -> None:
        self.seen[model, version, outcome] += 1


def of_digits(
    client: KeepAliveClient,
    images: Images,
    *,
    tally: Tally,
    count: CountPrediction,
    rate: float = 200,
    timeout: float = PATIENCE,
) -> Traffic:
    """Traffic that is not sent yet."""
    requests = labelled_requests(images)
    return Traffic(
        client=client, model="digits", requests=requests, tally=tally, count=count, rate=rate, timeout=timeout
    )


def send(
    images: Images,
    respond: Respond,
    *,
    until: Callable[[Tally, DigitServer], bool],
    rate: float = 200,
    timeout: float = PATIENCE,
    start_after_first_200: bool = False,
) -> tuple[Tally, Counts, DigitServer]:
    """Send to a server that answers so until the account says enough; return account, counts and server."""

    async def story() -> tuple[Tally, Counts, DigitServer]:
        tally, counts = Tally(start_after_first_200=start_after_first_200), Counts()
        async with serving(respond) as server, KeepAliveClient(url=server.url) as client:
            traffic = of_digits(client, images, tally=tally, count=counts, rate=rate, timeout=timeout)
            await run_traffic(traffic, until=lambda: until(tally, server))
            return tally, counts, server

    return asyncio.run(story())


async def run_traffic(traffic: Traffic, *, until: Callable[[], bool]) -> None:
    """Send until it is enough, and wait for what is in flight."""
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(traffic.run(stop=stop))
        await until_true(until)
        stop.set()
    assert traffic.in_flight == 0


def send_one_by_one(images: Images, respond: Respond, *, number: int) -> tuple[list[Outcome], DigitServer]:
    """Send each request when the one before is answered; return what became of each, and the server."""

    async def story() -> tuple[list[Outcome], DigitServer]:
        async with serving(respond) as server, KeepAliveClient(url=server.url) as client, asyncio.timeout(PATIENCE):
            requests = [labelled_requests(images)[each % 10] for each in range(number)]
            outcomes = [judge(await client.post(request.body), digit=request.digit) for request in requests]
            return outcomes, server

    return asyncio.run(story())


def sent(number: int) -> Callable[[Tally, DigitServer], bool]:
    return lambda tally, _server: tally.sent >= number


def test_answers_are_judged_by_their_label_and_fed_back_per_version(images: Images) -> None:
    """Version 2 reads every digit as a 3: wrong on all but the threes."""

    async def respond(number: int, digit: int) -> bytes:
        return answer(digit=3, version="2") if number % 2 else answer(digit=digit, version="1")

    tally, counts, server = send(images, respond, until=sent(100))

    one, two = tally.by_version["1"].outcomes, tally.by_version["2"].outcomes
    assert one[Outcome.RIGHT] == one.total() >= 49
    assert two[Outcome.WRONG] > two[Outcome.RIGHT] > 0
    assert tally.failed == 0
    assert tally.sent == server.requests
    assert counts.seen == {
        ("digits", version, outcome.value): number
        for version, account in tally.by_version.items()
        for outcome, number in account.outcomes.items()
    }
    assert server.request_lines == {"POST /v1/models/digits:predict HTTP/1.1"}


def test_requests_that_do_not_overlap_share_one_connection(images: Images) -> None:
    async def respond(_number: int, digit: int) -> bytes:
        return answer(digit=digit)

    outcomes, server = send_one_by_one(images, respond, number=30)

    assert outcomes == [Outcome.RIGHT] * 30
    assert server.connections == 1


def test_a_connection_that_the_server_ends_between_requests_costs_no_request(images: Images) -> None:
    async def respond(_number: int, digit: int) -> bytes:
        return answer(digit=digit, headers="connection: close\r\n")

    tally, _, server = send(images, respond, until=sent(20), rate=100)

    assert tally.failed == 0
    assert server.connections == server.requests


def test_a_connection_that_was_closed_without_notice_is_not_used_again(images: Images) -> None:
    async def story() -> tuple[int, int]:
        async def respond(_number: int, digit: int) -> bytes:
            return answer(digit=digit)

        async with serving(respond) as server, KeepAliveClient(url=server.url) as client, asyncio.timeout(PATIENCE):
            request = labelled_requests(images)[4]
            await client.post(request.body)
            server.writers[0].close()
            await until_true(lambda: not client._idle[0].reusable)  # the close crosses the loopback
            second = await client.post(request.body)
            return second.status, server.connections

    assert asyncio.run(story()) == (200, 2)


def test_a_chunked_answer_is_read_whole_and_the_connection_stays_in_step(images: Images) -> None:
    async def respond(_number: int, digit: int) -> bytes:
        head, body = answer(digit=digit).split(b"\r\n\r\n")
        chunked = b"\r\n".join([*head.split(b"\r\n")[:-1], b"Transfer-Encoding: chunked"])
        parts = (
            b"5;note=x\r\n"
            + body[:5]
            + b"\r\n"
            + f"{len(body) - 5:x}\r\n".encode()
            + body[5:]
            + b"\r\n0\r\nt: x\r\n\r\n"
        )
        return chunked + b"\r\n\r\n" + parts

    outcomes, server = send_one_by_one(images, respond, number=20)

    assert outcomes == [Outcome.RIGHT] * 20
    assert server.connections == 1


def test_an_answer_other_than_200_fails_with_its_status_body_and_version(images: Images) -> None:
    async def respond(_number: int, _digit: int) -> bytes:
        return b"HTTP/1.1 503 Service Unavailable\r\nX-Model-Version: 7\r\nContent-Length: 14\r\n\r\nno healthy one"

    tally, counts, _ = send(images, respond, until=sent(25))

    failure = tally.failures[0]
    assert (failure.status, failure.body, failure.version) == (503, "no healthy one", "7")
    assert tally.failed == tally.sent >= 25
    assert len(tally.failures) == 20
    assert counts.seen == {("digits", "7", "error"): tally.sent}


@pytest.mark.parametrize(
    ("bytes_sent", "said"),
    [
        (None, "IncompleteReadError"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "no answer within 0.3 s"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "content-length '' is not a number"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "ValueError"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "holds no scores of one image"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{'predictions': []}", "holds no scores of one image"),
    ],
)
def test_what_is_no_readable_answer_is_a_failure_that_says_why(
    images: Images, bytes_sent: bytes | None, said: str
) -> None:
    async def respond(_number: int, _digit: int) -> bytes | None:
        return bytes_sent

    timeout = 0.3 if "0.3 s" in said else PATIENCE
    tally, counts, _ = send(images, respond, until=sent(3), rate=50, timeout=timeout)

    assert tally.failed == tally.sent
    assert said in tally.failures[0].body
    assert counts.seen == {("digits", "unknown", "error"): tally.sent}


def test_a_refused_connection_is_a_failure(images: Images) -> None:
    async def story() -> Tally:
        with socket.socket() as reserved:  # bound and not listening: nobody answers there
            reserved.bind(("127.0.0.1", 0))
            tally = Tally()
            client = KeepAliveClient(url=f"http://127.0.0.1:{reserved.getsockname()[1]}/x")
            traffic = of_digits(client, images, tally=tally, count=Counts(), rate=50)
            await run_traffic(traffic, until=lambda: tally.sent >= 3)
            return tally

    tally = asyncio.run(story())

    assert tally.failed == tally.sent > 0
    assert "ConnectionRefusedError" in tally.failures[0].body


def test_failures_before_the_first_release_are_left_out_everywhere(images: Images) -> None:
    class NotReleasedYet(KeepAliveClient):
        """Not over a network, where a request may overtake another: a failure due after the first success rightly counts."""

        asked = 0

        async def post(self, body: bytes) -> Answer:
            self.asked += 1
            found = self.asked > 5
            scores = [float(index == json.loads(body)["instances"][0][0]) for index in range(10)]
            return Answer(status=200 if found else 404, headers={}, body=json.dumps({"predictions": [scores]}).encode())

    tally, counts, client = Tally(start_after_first_200=True), Counts(), NotReleasedYet(url="http://127.0.0.1:1/")
    traffic = of_digits(client, images, tally=tally, count=counts)
    asyncio.run(run_traffic(traffic, until=lambda: tally.sent >= 10))

    assert tally.failed == 0
    assert (tally.left_out, tally.sent) == (5, client.asked - 5)
    assert counts.seen == {("digits", "unknown", "right"): tally.sent}


def test_a_stalled_server_does_not_slow_the_sending_and_its_delay_shows_in_every_request_that_was_due(
    images: Images,
) -> None:
    """A closed loop would send one request into the stall, see one slow answer and report a fine 99th percentile."""
    released = asyncio.Event()

    async def respond(_number: int, digit: int) -> bytes:
        await released.wait()
        return answer(digit=digit)

    def forty_are_waiting(_tally: Tally, server: DigitServer) -> bool:
        if server.requests >= 40:
            released.set()
        return released.is_set()

    tally, _, server = send(images, respond, until=forty_are_waiting, rate=100)

    assert tally.failed == 0
    assert server.connections >= 40
    median = tally.latencies.quantile(0.5)
    assert median is not None
    assert median > 100


def test_a_late_answer_is_a_failure_and_the_next_request_is_not_given_its_bytes(images: Images) -> None:
    async def story() -> Tally:
        tally, given_up = Tally(), asyncio.Event()

        async def respond(number: int, digit: int) -> bytes:
            if number == 1:
                traffic.timeout = PATIENCE  # of all others: a busy machine makes none of them late
                await given_up.wait()
            return answer(digit=digit)

        def one_has_failed_and_others_have_not() -> bool:
            if tally.failed:
                given_up.set()
            return given_up.is_set() and tally.sent >= 300

        async with serving(respond) as server, KeepAliveClient(url=server.url) as client:
            traffic = of_digits(client, images, tally=tally, count=Counts(), timeout=1.0)
            await run_traffic(traffic, until=one_has_failed_and_others_have_not)
        return tally

    tally = asyncio.run(story())

    assert tally.failed == 1
    assert tally.by_version["1"].outcomes.keys() == {Outcome.RIGHT}


def test_a_feedback_that_cannot_be_counted_ends_the_traffic_with_its_error(images: Images) -> None:
    def broken(*, model: str, version: str, outcome: str) -> None:
        raise RuntimeError(f"cannot count {outcome}")

    async def story() -> None:
        async def respond(_number: int, digit: int) -> bytes:
            return answer(digit=digit)

        async with serving(respond) as server, KeepAliveClient(url=server.url) as client, asyncio.timeout(PATIENCE):
            await Traffic(
                client=client,
                model="digits",
                requests=labelled_requests(images),
                tally=Tally(),
                count=broken,
                rate=50,
            ).run(stop=asyncio.Event())

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(story())
    assert raised.group_contains(RuntimeError, match="cannot count right")


def test_the_highest_score_is_the_answer() -> None:
    body = b'{"predictions": [[0.1, 0.2, 0.6, 0.1]]}'

    assert judge(Answer(status=200, headers={}, body=body), digit=2) is Outcome.RIGHT
    assert judge(Answer(status=200, headers={}, body=body), digit=1) is Outcome.WRONG
    assert judge(Answer(status=500, headers={}, body=body), digit=2) is Outcome.ERROR
    with pytest.raises(BadAnswer, match="no scores of one image"):
        judge(Answer(status=200, headers={}, body=b'{"predictions": [[1], [1]]}'), digit=0)


def test_an_address_that_is_not_plain_http_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'https://a/b' is not plain http"):
        KeepAliveClient(url="https://a/b")
