"""How a model's versions are called on Vertex AI. Pure: the same version has the same names from every worker.

A deployment's id may be chosen when it is made (``DeployedModel.id``, 1 to 10 digits). Chosen from the version's name, it is
the idempotency key that ``DeployModel`` lacks: a second deployment of a version cannot be made, and metrics know a version
before it is deployed.
"""

from __future__ import annotations

import hashlib

from airflow_model_ops.core.registry_alias import version_alias
from airflow_model_ops.core.versioning import Version

__all__ = ["deployed_model_id", "deployment_id", "version_alias"]


def deployed_model_id(version: Version) -> str:
    """Return the id of a version's deployment on its endpoint: ten digits from the version's name."""
    return deployment_id(version.name)


def deployment_id(name: str) -> str:
    """Return the same from the version's name alone, which is a deployment's display name: what has another id is not ours."""
    digest = hashlib.sha256(name.encode()).digest()
    return str(10**9 + int.from_bytes(digest[:8], "big") % (9 * 10**9))
