"""Telling from the triggerer: a hold while a canary is watched on, which no task would notice before the watch is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.notifications import has_hooks, tell_news

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl

_log = logging.getLogger(__name__)


class BackgroundTeller:
    """Tells what is new of one model in a thread of its own: neither a canary nor the loop's few threads wait for it."""

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._control: ModelControl | None = None
        self._thread: Thread | None = None
        self._seen = 0

    async def look(self, control: Callable[[], Awaitable[ModelControl]]) -> None:
        """Begin to tell what is new, unless that still goes on; fails never, and returns at once.

        :param control: Opens the model.
        """
        if not has_hooks(self._file) or (self._thread is not None and self._thread.is_alive()):
            return
        try:
            async with asyncio.timeout(self._file.notifications.timeout):
                self._control = self._control or await control()
        except Exception as error:  # noqa: BLE001 (whatever went wrong: the canary is watched on)
            _log.warning("model=%s nothing can be told now: %s: %s", self._file.model, type(error).__name__, error)
            return
        work = copy_context()
        self._thread = Thread(target=work.run, args=(self._tell, self._control), name="model-ops-news", daemon=True)
        self._thread.start()

    def _tell(self, control: ModelControl) -> None:
        from airflow_model_ops.control.news import NewsDesk

        try:
            desk = NewsDesk(repository=control.repository, model=control.model, clock=control.clock)
            if (newest := desk.newest) != self._seen:
                tell_news(self._file, repository=control.repository, clock=control.clock)
                self._seen = newest
        except Exception:  # noqa: BLE001 (whatever went wrong: the next interval looks again)
            _log.exception("model=%s nothing can be told now", control.model)
