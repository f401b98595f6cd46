"""Google's OAuth tokens as the authorization of a metric source.

Source of the protocol: google.auth's credentials, whose ``before_request`` fetches a token when there is none or it runs out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_model_ops.adapters.metrics.prometheus_conversation import excerpt
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


class GoogleToken:
    """A bearer token that is fetched when the one before runs out, once for all threads.

    :param credentials: Gives the credentials when they are needed, the same ones each time, with a scope that may read
        metrics, such as ``monitoring.read`` or ``cloud-platform``.
    :param url: What is asked with it.
    """

    def __init__(self, credentials: Callable[[], Credentials], *, url: str) -> None:
        self._credentials = credentials
        self._url = url
        self._lock = threading.Lock()

    def headers(self, *, timeout_seconds: float) -> Mapping[str, str]:
        """Return ``Authorization``, and the project that pays for the quota if the credentials name one.

        :raises MetricsUnavailable: if Google gives no token.
        """
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        headers: dict[str, str] = {}
        with self._lock:
            try:
                credentials: Any = self._credentials()  # google.auth has no types
                credentials.before_request(partial(Request(), timeout=timeout_seconds), "GET", self._url, headers)
            except (GoogleAuthError, InvalidConfig) as fault:
                raise MetricsUnavailable(
                    f"Google gave no token to read metrics with: {excerpt(fault)}; "
                    "check the credentials of the Google Cloud connection"
                ) from fault
        return headers

    def refused(self) -> None:
        """Forget a token that Google does not accept although it has not run out: the next request fetches another."""
        with self._lock:
            self._credentials().token = None
