"""How a version is called in Vertex AI's Model Registry, beside its number there: pure, the same from every worker."""

from __future__ import annotations

import re

from airflow_model_ops.core.errors import InvalidVersionName
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming

_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]\Z", re.ASCII)
"""Grammar of a version alias, from ``UploadModelRequest``'s ``version_aliases``."""
_RESERVED = frozenset({"default", "stable", "canary", "golden"})


def version_alias(version: Version) -> str:
    """Return the alias of a version in the Model Registry: its name, with ``-`` for the dots that Vertex AI does not take.

    :raises InvalidVersionName: if it cannot be one.
    """
    alias = version.name.replace(".", "-")
    if not _ALIAS.match(alias) or alias in _RESERVED:
        raise InvalidVersionName(
            f"version {version.name!r} cannot be an alias in Vertex AI's Model Registry; begin the model's versions.prefix with a "
            "lower-case letter and use letters, digits and '-' only"
        )
    return alias


def check_aliases(naming: VersionNaming) -> None:
    """Check that every version of a naming scheme has an alias: the prefix alone decides.

    :raises InvalidVersionName: if none has one.
    """
    if naming.scheme is Scheme.SEMANTIC:
        version_alias(naming.parse(f"{naming.prefix}-v99999.9999.9999"))
