"""Who may do what, by Airflow's own rules: a model is seen by whoever may read its release DAG, and an action done by
whoever may trigger the DAG that carries it out.

Airflow mounts an app of a plugin without any check: each route asks for :data:`User` or more. A test holds the list of
routes against the roles.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, status

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.dag_names import release_dag_of
from airflow_model_ops.plugin.catalogue import catalogue

User = Annotated[BaseUser, Depends(get_user)]
"""The signed-in user, by a bearer token or the UI's cookie; nobody: 401."""


def readable(models: Iterable[str], *, user: BaseUser) -> set[str]:
    """Return the models that a user may see."""
    dags = {release_dag_of(model): model for model in models}
    allowed = get_auth_manager().filter_authorized_dag_ids(dag_ids=set(dags), user=user, method="GET")
    return {dags[dag] for dag in allowed}


def hidden_from(user: BaseUser) -> set[str]:
    """Return the models that a user may not see."""
    known = catalogue().models
    return known.keys() - readable(known, user=user)


def may_trigger(dag_id: str, *, user: BaseUser) -> bool:
    """Whether a user may start runs of a DAG."""
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )


def readable_model(model: str, user: User) -> ModelIdentity:
    """Return the model that a path names; one that the caller may not see is as unknown as one that is not there."""
    known = catalogue().models
    if model in known and readable([model], user=user):
        return known[model]
    raise HTTPException(status.HTTP_404_NOT_FOUND, f"no model {model!r} that you may see; see the list of models")


Model = Annotated[ModelIdentity, Depends(readable_model)]
"""The model that a route's path names, if the caller may see it; otherwise 404, and 401 for nobody."""
