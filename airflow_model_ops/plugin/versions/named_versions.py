"""Versions that a caller names: each is one of the model's, or not found."""

from __future__ import annotations

from typing import Annotated

from fastapi import HTTPException, status
from pydantic import StringConstraints

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import InvalidVersionName
from airflow_model_ops.core.versioning import Version

VersionName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
"""A version's name as a parameter of a route."""


def named(model: ModelIdentity, name: str) -> Version:
    """Return the version that has a name in a model's scheme, whether there is one or not; otherwise 404."""
    try:
        return model.naming().parse(name)
    except InvalidVersionName:
        raise unknown(model, name) from None


def unknown(model: ModelIdentity, name: str) -> HTTPException:
    """Return the answer for a version that is not there."""
    return HTTPException(
        status.HTTP_404_NOT_FOUND, f"model {model.model!r} has no version {name!r}; see the list of its versions"
    )
