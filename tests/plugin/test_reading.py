"""What the page waits for: slow backends, dead ones, and many questions at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from airflow_model_ops.config.model_file import ConnectionsPart, ModelIdentity
from airflow_model_ops.plugin.backends import reading
from airflow_model_ops.plugin.backends.reading import Unanswered, ask, part
from airflow_model_ops.plugin.datamodels.base import Backend

PATIENCE = 60.0
"""For what does answer, on a busy machine."""


def model_at(place: str, model: str) -> ModelIdentity:
    """Return a model all of whose backends have one name."""
    return ModelIdentity(
        model=model, connections=ConnectionsPart(repository=place, target=place, metrics=place, ledger=place)
    )


async def once_it_is_back(backend: Backend, place: str, model: str) -> str:
    """Ask until there is an answer: threads that hung need a moment to end."""
    async with asyncio.timeout(PATIENCE):
        while True:
            told = await part(backend, lambda: "fine", of=model_at(place, model), seconds=PATIENCE)
            if told.value is not None:
                return told.value
            await asyncio.sleep(0.01)


@pytest.fixture
def dead() -> Iterator[threading.Event]:
    """What a dead backend waits for; set when the test is over."""
    gate = threading.Event()
    yield gate
    gate.set()
    reading.forget()


def test_a_burst_of_questions_to_a_backend_that_answers_is_answered() -> None:
    async def burst() -> list[int]:
        def answer(number: int) -> int:
            time.sleep(0.002)
            return number

        return await asyncio.gather(
            *(
                ask(Backend.REPOSITORY, lambda n=n: answer(n), of=model_at("aws", "digits"), seconds=PATIENCE)
                for n in range(60)
            )
        )

    assert asyncio.run(burst()) == list(range(60))


def test_a_model_whose_log_hangs_leaves_the_others_of_its_repository_alone(dead: threading.Event) -> None:
    async def story() -> str:
        hung = [ask(Backend.REPOSITORY, dead.wait, of=model_at("aws", "hung"), seconds=0.05) for _ in range(20)]
        told = await asyncio.gather(*hung, return_exceptions=True)
        assert all(isinstance(each, Unanswered) for each in told)
        return await ask(Backend.REPOSITORY, lambda: "fine", of=model_at("aws", "digits"), seconds=PATIENCE)

    assert asyncio.run(story()) == "fine"


def test_a_repository_that_hangs_leaves_the_others_alone(dead: threading.Event) -> None:
    async def story() -> str:
        hung = [ask(Backend.REPOSITORY, dead.wait, of=model_at("nfs", f"model-{n}"), seconds=0.05) for n in range(20)]
        await asyncio.gather(*hung, return_exceptions=True)
        return await ask(Backend.REPOSITORY, lambda: "fine", of=model_at("aws", "digits"), seconds=PATIENCE)

    assert asyncio.run(story()) == "fine"


def test_who_asks_a_dead_backend_again_is_told_at_once_and_it_is_asked_again_when_it_is_back(
    dead: threading.Event,
) -> None:
    async def story() -> None:
        begun: list[None] = []
        while len(begun) < reading._THREADS_OF_A_MODEL:  # a question whose thread comes too late is not begun
            hung = [
                ask(Backend.FLEET, lambda: (begun.append(None), dead.wait()), of=model_at("tf", "digits"), seconds=0.05)
                for _ in range(8)
            ]
            await asyncio.gather(*hung, return_exceptions=True)
        began = time.monotonic()
        with pytest.raises(Unanswered, match="earlier questions to it still wait"):
            await ask(Backend.FLEET, dead.wait, of=model_at("tf", "digits"), seconds=PATIENCE)
        assert time.monotonic() - began < PATIENCE
        dead.set()
        assert await ask(Backend.FLEET, lambda: "fine", of=model_at("tf", "other"), seconds=PATIENCE) == "fine"
        assert await once_it_is_back(Backend.FLEET, "tf", "digits") == "fine"

    asyncio.run(story())


def test_a_question_that_nobody_waits_for_any_more_is_not_asked_later(dead: threading.Event) -> None:
    asked = []

    async def story() -> None:
        hung = [ask(Backend.LEDGER, dead.wait, of=model_at("mlmd", f"model-{n}"), seconds=0.2) for n in range(8)]
        late = ask(Backend.LEDGER, lambda: asked.append("late"), of=model_at("mlmd", "digits"), seconds=0.1)
        await asyncio.gather(*hung, late, return_exceptions=True)
        dead.set()
        assert await once_it_is_back(Backend.LEDGER, "mlmd", "digits") == "fine"

    asyncio.run(story())
    assert asked == []


@pytest.mark.integration
def test_an_api_server_ends_although_a_backend_hangs() -> None:
    program = """
import asyncio, threading
from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.plugin.datamodels.base import Backend
from airflow_model_ops.plugin.backends.reading import part
print(asyncio.run(part(Backend.REPOSITORY, threading.Event().wait, of=ModelIdentity(model="hung"), seconds=0.05)).trouble.reason)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert ended.stdout.strip() == "did not answer within 0.05 s"
