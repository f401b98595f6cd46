"""What a ModelServerConfig asks for, and the mistakes the server refuses.

Source: TF Serving, ``config/model_server_config.proto`` and the validation in ``model_servers/server_core.cc``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from airflow_model_ops.model_server.status import Code, StatusError

TENSORFLOW_PLATFORM = "tensorflow"
_URI = re.compile(r"[a-zA-Z][0-9a-zA-Z.]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """Serve the highest numbers.

    :param num_versions: How many; 0 is taken for 1.
    """

    num_versions: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """Serve every number found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Specific:
    """Serve the listed numbers; none listed: serve nothing.

    :param versions: Serving numbers.
    """

    versions: tuple[int, ...] = ()


VersionPolicy = Latest | All | Specific


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model of the list.

    :param platform: Must be ``tensorflow``.
    :param labels: Label to serving number.
    """

    name: str
    base_path: str
    platform: str = TENSORFLOW_PLATFORM
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)


def check_list(entries: Iterable[ModelEntry]) -> None:
    """Refuse a list that names a model twice or has a relative base path.

    :raises StatusError: INVALID_ARGUMENT.
    """
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            message = f"Illegal to list model {entry.name} multiple times in config list"
            raise StatusError(Code.INVALID_ARGUMENT, message)
        seen.add(entry.name)
    for entry in entries:
        if not entry.base_path.startswith("/") and not _URI.match(entry.base_path):
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}",
            )


def check_platform_kept(*, old: Iterable[ModelEntry], new: Iterable[ModelEntry]) -> None:
    """Refuse to change the platform of a listed model.

    :raises StatusError: INVALID_ARGUMENT.
    """
    before = {entry.name: entry.platform for entry in old}
    for entry in new:
        platform = before.get(entry.name, entry.platform)
        if entry.platform != platform:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"Illegal to change a model's platform. For model {entry.name} platform was {platform}"
                f" and new platform requested is {entry.platform}",
            )


def check_platforms(entries: Iterable[ModelEntry]) -> None:
    """Refuse a model without platform or with one this server does not run.

    :raises StatusError: INVALID_ARGUMENT.
    """
    for entry in entries:
        if not entry.platform:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f"ModelServerConfig::model_platform, model name is {entry.name}",
            )
        if entry.platform != TENSORFLOW_PLATFORM:
            message = f"Model {entry.name} requests unsupported platform {entry.platform}"
            raise StatusError(Code.INVALID_ARGUMENT, message)
