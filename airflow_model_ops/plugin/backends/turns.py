"""Taking turns at what is read once for all who ask: who would have to wait for long is told so, and frees its thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from airflow_model_ops.core.errors import ModelOpsError

PATIENCE_SECONDS = 2.0
"""How long one waits for another's reading: threads that wait are missing to questions about other models."""


class StillReading(ModelOpsError):
    """Another request reads just that for the first time, and it takes long. A retry helps."""

    retryable: ClassVar[bool] = True


@contextmanager
def turn_at(lock: threading.Lock, *, what: str) -> Iterator[None]:
    """Hold a lock while the context lasts.

    :param what: What is read under it, for the message.
    :raises StillReading: if another thread holds it for longer than :data:`PATIENCE_SECONDS`.
    """
    if not lock.acquire(timeout=PATIENCE_SECONDS):
        raise StillReading(f"{what} is still being read for the first time; ask again in a moment")
    try:
        yield
    finally:
        lock.release()
