"""The control of a service in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from tests.vertex_fake.control import COMMANDS

_PATIENCE_SECONDS = 60


class RemoteControl:
    """Has the methods of `control.Control`, by keyword or in their order, over HTTP."""

    def __init__(self, rest_url: str) -> None:
        self._url = f"{rest_url}/_fake"

    def __getattr__(self, command: str) -> Callable[..., Any]:
        if command not in COMMANDS:
            raise AttributeError(f"{command!r} is no command; write one of {sorted(COMMANDS)}")

        def call(*args: Any, **fields: Any) -> Any:
            document = {"args": args, "fields": fields}
            answered = requests.post(f"{self._url}/{command}", json=document, timeout=_PATIENCE_SECONDS)
            if answered.status_code != 200:
                raise ValueError(answered.text)
            return answered.json()

        return call
