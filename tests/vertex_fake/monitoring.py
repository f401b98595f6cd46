"""Cloud Monitoring's PromQL over HTTP, answered by a real Prometheus.

Paths and the word ``global``: cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.location.prometheus.api.v1
(host monitoring.googleapis.com). The real service reads the token's project scope; here any bearer token will do unless one is set.

Prometheus's ``increase`` extrapolates to its window's edges. Google's keeps "a time range rather than the single timestamp" with
each sample (cloud.google.com/stackdriver/docs/managed-prometheus/promql-differences) and needs not: here a window of whole seconds
becomes a subquery, which begins and ends with a sample when it is asked at a whole second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import requests

from tests.vertex_fake.refusal import ConnectionLost, Refused
from tests.vertex_fake.state import State

_PATH = re.compile(
    r"/v1/projects/(?P<project>[^/]+)/location/(?P<location>[^/]+)/prometheus"
    r"(?P<rest>/api/v1/(?:query|query_range|series|labels|label/[^/]+/values|metadata))\Z"
)
_INCREASE = re.compile(r"(\bincrease\([^()\[\]]*\[\d+s)\]")
METHOD = "PromQL"
_PATIENCE_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: bytes


def is_asked(path: str) -> bool:
    return "/prometheus/api/" in path and path.startswith("/v1/projects/")


def ask(state: State, verb: str, target: str, body: bytes, *, authorization: str | None) -> Answer:
    """Pass a query on.

    :raises Refused: without a bearer token, for another location than ``global``, or while no Prometheus is known.
    """
    path, _, query = target.partition("?")
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or not state.faults.lets_in(authorization):
        told = "Request is missing required authentication credential. Expected OAuth 2 access token."
        raise Refused("UNAUTHENTICATED", told)
    fault = state.faults.suffer(METHOD)
    found = _PATH.match(path)
    if found is None:
        raise Refused("NOT_FOUND", f"The requested URL {path} was not found on this server.")
    if found["location"] != "global":
        raise Refused("INVALID_ARGUMENT", f"location must be 'global'; got {found['location']!r}.")
    if state.prometheus_url is None:
        raise Refused("UNAVAILABLE", "No Prometheus is set behind this fake.")
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if verb == "POST" else {}
    try:
        answered = requests.request(
            verb,
            state.prometheus_url.rstrip("/") + found["rest"],
            params=_without_extrapolation(query),
            data=_without_extrapolation(body.decode()),
            headers=headers,
            timeout=_PATIENCE_SECONDS,
        )
    except requests.RequestException as failed:
        raise Refused("UNAVAILABLE", f"The Prometheus behind this fake does not answer: {failed}") from failed
    if fault.lose_answer:
        raise ConnectionLost
    return Answer(status=answered.status_code, body=answered.content)


def _without_extrapolation(form: str) -> str:
    fields = parse_qsl(form, keep_blank_values=True)
    return urlencode([(name, _INCREASE.sub(r"\1:1s]", value) if name == "query" else value) for name, value in fields])
