"""Notifiers for tests: one that keeps what it was told, one that fails, one that hangs, one that only knows how to wait."""

from __future__ import annotations

from threading import Event
from typing import Any, ClassVar

from airflow.sdk import BaseNotifier

HANGS_SECONDS = 300.0
"""What hangs does so until the test lets it go, and for longer than anything is waited for."""


class Recorder(BaseNotifier):
    """Keeps its rendered text. It declares a field called ``message``, as some of Airflow's own do."""

    template_fields = ("message", "to")
    told: ClassVar[list[str]] = []
    contexts: ClassVar[list[Any]] = []

    def __init__(self, message: str = "{{ message }}", to: str = "") -> None:
        super().__init__()
        self.message = message
        self.to = to

    def notify(self, context: Any) -> None:
        self.told.append(self.message)
        self.contexts.append(context)


class AsyncRecorder(Recorder):
    """As some notifiers do, it implements the asynchronous way alone."""

    notify = BaseNotifier.notify

    async def async_notify(self, context: Any) -> None:
        self.told.append(f"async {self.message}")


class Failing(Recorder):
    def notify(self, context: Any) -> None:
        raise ConnectionError("the chat is down")


class Leaving(Recorder):
    def notify(self, context: Any) -> None:
        raise SystemExit(3)


class Hanging(Recorder):
    forever: ClassVar[Event] = Event()

    def notify(self, context: Any) -> None:
        self.forever.wait(HANGS_SECONDS)


class HangingChannel(Hanging):
    def notify(self, context: Any) -> None:
        if self.to == "slow":
            super().notify(context)
        else:
            self.told.append(self.to)
