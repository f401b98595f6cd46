"""Asking an asynchronous fsspec file system from any thread, within a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

SECONDS = 30.0
"""For a request without much content. gcsfs and s3fs repeat 429, 5xx and lost connections within it, waiting longer each time."""
_SLOWEST_BYTES_PER_SECOND = 250_000


def seconds_for(size: int) -> float:
    """Return how long the transfer of some bytes may take."""
    return SECONDS + size / _SLOWEST_BYTES_PER_SECOND


def ask(fs: Any, request: Callable[[], Coroutine[Any, Any, Any]], *, seconds: float = SECONDS) -> Any:
    """Run a request on the file system's event loop and wait for its answer.

    The time-out ends the request itself: one that went on in the background could overwrite what is newer.

    :raises TimeoutError: after ``seconds``.
    """
    from fsspec.asyn import sync  # type: ignore[import-untyped]

    async def bounded() -> Any:
        return await asyncio.wait_for(request(), seconds)

    return sync(fs.loop, bounded)
