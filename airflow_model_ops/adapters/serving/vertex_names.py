"""How a model's versions are called on Vertex AI. Pure: the same version has the same names from every worker.

A deployment's id may be chosen when it is made (``DeployedModel.id``, 1 to 10 digits). Chosen from the version's name, it is
the idempotency key that ``DeployModel`` lacks: a second deployment of a version cannot be made, and metrics know a version
before it is deployed.
"""

from __future__ import annotations

import hashlib
import re

from airflow_model_ops.core.errors import InvalidVersionName
from airflow_model_ops.core.versioning import Version

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


def deployed_model_id(version: Version) -> str:
    """Return the id of a version's deployment on its endpoint: ten digits from the version's name."""
    digest = hashlib.sha256(version.name.encode()).digest()
    return str(10**9 + int.from_bytes(digest[:8], "big") % (9 * 10**9))
