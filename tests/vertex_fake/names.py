"""Resource names taken apart, and ids checked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.vertex_fake.refusal import Refused

_LOCATION = re.compile(r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)\Z")
_RESOURCE = re.compile(
    r"(?P<parent>projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+))/(?P<collection>\w+)/(?P<id>[^/@]+)(?:@(?P<version>[^/]+))?\Z"
)
_ENDPOINT_ID = re.compile(r"(?:[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8})\Z")
_MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}\Z")
_DEPLOYED_ID = re.compile(r"[0-9]{1,10}\Z")
_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]\Z", re.ASCII)
_LABEL_LONGEST = 64


@dataclass(frozen=True, kw_only=True)
class Resource:
    """``projects/p/locations/l/<collection>/<id>[@<version>]``."""

    project: str
    location: str
    collection: str
    id: str
    version: str | None

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def name(self) -> str:
        """Without the version."""
        return f"{self.parent}/{self.collection}/{self.id}"


def resource(name: str, *, collection: str) -> Resource:
    found = _RESOURCE.match(name)
    if found is None or found["collection"] != collection:
        raise Refused("INVALID_ARGUMENT", f"Invalid resource name: {name!r} is not of {collection}.")
    parts = found.groupdict()
    parts.pop("parent")
    return Resource(**parts)


def check_parent(parent: str) -> str:
    if not _LOCATION.match(parent):
        raise Refused("INVALID_ARGUMENT", f"Invalid parent: {parent!r} is not projects/*/locations/*.")
    return parent


def check_endpoint_id(given: str) -> str:
    return _check(given, _ENDPOINT_ID, "endpoint_id")


def check_model_id(given: str) -> str:
    return _check(given, _MODEL_ID, "model_id")


def check_deployed_id(given: str) -> str:
    return _check(given, _DEPLOYED_ID, "deployed_model.id")


def check_alias(given: str) -> str:
    return _check(given, _ALIAS, "version_aliases")


def check_display_name(given: str) -> str:
    if not 1 <= len(given) <= 128:
        raise Refused("INVALID_ARGUMENT", f"display_name must have 1 to 128 characters; got {given!r}.")
    return given


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    for word in (*labels.keys(), *labels.values()):
        plain = word.replace("-", "").replace("_", "")
        if len(word) > _LABEL_LONGEST or word != word.lower() or (plain and not plain.isalnum()):
            raise Refused(
                "INVALID_ARGUMENT", f"Label keys and values take lowercase letters, digits, '_', '-'; got {word!r}."
            )
    return labels


def _check(given: str, grammar: re.Pattern[str], field: str) -> str:
    if not grammar.match(given):
        raise Refused("INVALID_ARGUMENT", f"Invalid {field} {given!r}: it must match {grammar.pattern}.")
    return given
