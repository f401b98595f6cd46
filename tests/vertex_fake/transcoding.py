"""HTTP requests into the services' messages, by the tables that the SDK's own REST transport sends them by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from google.cloud.aiplatform_v1.services.endpoint_service.transports import rest_base as endpoint_paths
from google.cloud.aiplatform_v1.services.model_service.transports import rest_base as model_paths
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.vertex_fake.methods import BY_NAME, ENDPOINTS, METHODS, MODELS, OPERATIONS, Method
from tests.vertex_fake.operations import raw
from tests.vertex_fake.refusal import Refused

_VARIABLE = re.compile(r"\{(?P<field>[\w.]+)=(?P<pattern>[^}]+)\}")
_OPERATION = r"projects/[^/]+/locations/[^/]+(?:/[^/]+/[^/]+)*"
_OPERATION_PATHS = {
    "GetOperation": ("get", rf"/(?:v1|ui)/(?P<f0>{_OPERATION}/operations/[^/:]+)"),
    "DeleteOperation": ("delete", rf"/(?:v1|ui)/(?P<f0>{_OPERATION}/operations/[^/:]+)"),
    "CancelOperation": ("post", rf"/(?:v1|ui)/(?P<f0>{_OPERATION}/operations/[^/:]+):cancel"),
    "WaitOperation": ("post", rf"/(?:v1|ui)/(?P<f0>{_OPERATION}/operations/[^/:]+):wait"),
    "ListOperations": ("get", rf"/(?:v1|ui)/(?P<f0>{_OPERATION})/operations"),
}
"""google.longrunning.Operations is mixed in below every resource; the SDK's operations clients ask below /ui/ first."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """How one method is asked for.

    :param fields: The request's fields that the path's groups ``f0``, ``f1`` fill.
    :param body: The field that the body is; ``*`` for the whole request, ``None`` for no body.
    """

    method: Method
    verb: str
    path: re.Pattern[str]
    fields: tuple[str, ...]
    body: str | None


@dataclass(frozen=True, kw_only=True)
class Decoded:
    method: Method
    request: Any
    enums_as_numbers: bool


def decode(verb: str, target: str, body: bytes) -> Decoded:
    """Return which method a request asks for, and its message.

    :raises Refused: NOT_FOUND if none, INVALID_ARGUMENT if it cannot be read.
    """
    path, _, query = target.partition("?")
    path = unquote(path)
    for route in _ROUTES:
        found = route.path.fullmatch(path) if route.verb == verb.lower() else None
        if found:
            parameters = parse_qsl(query, keep_blank_values=True)
            document = _document(route, found, parameters, body)
            request = route.method.request()
            try:
                json_format.ParseDict(document, raw(request))
            except json_format.ParseError as wrong:
                raise Refused("INVALID_ARGUMENT", f"Invalid JSON payload received. {wrong}") from wrong
            numbers = "enum-encoding=int" in dict(parameters).get("$alt", "")
            return Decoded(method=route.method, request=request, enums_as_numbers=numbers)
    raise Refused("NOT_FOUND", f"The requested URL {path} was not found on this server.")


def encode(answer: Message, *, enums_as_numbers: bool) -> bytes:
    return json_format.MessageToJson(answer, use_integers_for_enums=enums_as_numbers).encode()


def _document(route: Route, found: re.Match[str], parameters: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if route.body is not None:
        try:
            given = json.loads(body or b"{}")
        except ValueError as wrong:
            raise Refused("INVALID_ARGUMENT", f"Invalid JSON payload received. {wrong}") from wrong
        document = given if route.body == "*" else {route.body: given}
    for index, field in enumerate(route.fields):
        _put(document, field, found[f"f{index}"])
    for name, value in parameters:
        if not name.startswith("$"):
            _put(document, name, value)
    return document


def _put(document: dict[str, Any], dotted: str, value: str) -> None:
    *path, last = dotted.split(".")
    for step in path:
        document = document.setdefault(step, {})
    document[last] = value


def _routes() -> Iterator[Route]:
    tables: Mapping[str, Any] = {
        ENDPOINTS: endpoint_paths._BaseEndpointServiceRestTransport,
        MODELS: model_paths._BaseModelServiceRestTransport,
    }
    for method in METHODS:
        if method.service == OPERATIONS:
            continue
        for option in getattr(tables[method.service], f"_Base{method.name}")._get_http_options():
            fields: list[str] = []
            pattern = ""
            at = 0
            for variable in _VARIABLE.finditer(option["uri"]):
                pattern += re.escape(option["uri"][at : variable.start()])
                pattern += f"(?P<f{len(fields)}>{variable['pattern'].replace('*', '[^/:]+')})"
                fields.append(variable["field"])
                at = variable.end()
            pattern += re.escape(option["uri"][at:])
            yield Route(
                method=method,
                verb=option["method"],
                path=re.compile(pattern),
                fields=tuple(fields),
                body=option.get("body"),
            )
    for name, (verb, path) in _OPERATION_PATHS.items():
        body = "*" if verb == "post" else None
        yield Route(method=BY_NAME[name], verb=verb, path=re.compile(path), fields=("name",), body=body)


_ROUTES = tuple(_routes())
