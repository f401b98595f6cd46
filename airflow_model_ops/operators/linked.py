"""What every operator on a model links to, in one place; see :mod:`airflow_model_ops.links`.

An address is put into the task's XCom as soon as it is known, of a way back when that is done. That it is not known, or cannot
be put there, is logged and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import TaskDeferred

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.core.page_links import model_page, vertex_endpoint_page
from airflow_model_ops.links import MetricsLink, ModelLink, NotedLink, VertexAILink
from airflow_model_ops.notifications import base_url
from airflow_model_ops.operators.news import NewsTeller

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context


class LinkNotes(NewsTeller):
    """Base of operators that note links to what they act on."""

    asks_metrics: ClassVar[bool] = False
    """Whether there are checks to link to."""
    operator_extra_links: tuple[BaseOperatorLink, ...] = (ModelLink(),)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noted_links: dict[str, str] = {}

    @classmethod
    def links_of(cls, model: Any) -> tuple[BaseOperatorLink, ...]:
        """Return the links that an operator on a model, or on one of several, may have. Reads no file."""
        given = list(model.values()) if isinstance(model, Mapping) else [model]
        unread = [each for each in given if not isinstance(each, ModelIdentity)]
        on_vertex = [each for each in given if isinstance(each, ModelIdentity) and each.target.vertex_ai is not None]
        links: list[BaseOperatorLink] = [ModelLink()]
        if cls.asks_metrics and (unread or any(_may_ask_prometheus(each) for each in given)):
            links.append(MetricsLink())
        if unread or on_vertex:
            links.append(VertexAILink())
        return tuple(links)

    @contextmanager
    def linking(self, context: Context) -> Iterator[None]:
        """Link to the model before the work in it begins; but after a way back, which waits for nobody."""
        if not self.is_way_back:
            self.link_model(context)
        try:
            yield
        except (Exception, TaskDeferred):
            self._link_late(context)
            raise
        self._link_late(context)

    def _link_late(self, context: Context) -> None:
        if self.is_way_back and ModelLink().xcom_key not in self.noted_links:
            self.link_model(context)

    def link_model(self, context: Context, *, identity: ModelIdentity | None = None) -> None:
        """Note the page of the task's model, and its endpoint on Vertex AI.

        :param identity: The model, if the task acts on several; ``None``: the task's own, or the list if it names none.
        """
        try:
            known = identity or self._own()
            self._note_link(context, ModelLink(), model_page(base_url(), known.model if known else None))
            if known is not None and known.target.vertex_ai is not None:
                self._note_link(context, VertexAILink(), _endpoint_of(known))
        except Exception:  # whatever went wrong: the task does its work
            self.log.warning("a link is missing", exc_info=True)

    def link_checks(self, context: Context, *, of: str, alone: bool = False, identity: ModelFile | None = None) -> None:
        """Note what is asked about a version and the one it is compared with.

        :param of: Name of the version.
        :param alone: Whether it is guarded, and so compared with none.
        :param identity: The model, if the task acts on several; ``None``: the task's own.
        """
        if not self.asks_metrics:
            return
        try:
            file = identity or self._own()
            if isinstance(file, ModelFile):
                self._note_link(context, MetricsLink(), self._page_of_checks(file, of=of, alone=alone))
        except Exception:  # whatever went wrong: the task does its work
            self.log.warning("a link is missing", exc_info=True)

    def _page_of_checks(self, file: ModelFile, *, of: str, alone: bool) -> str:
        from airflow_model_ops.hooks.arms import arms_at
        from airflow_model_ops.hooks.check_queries import page_of_checks

        policy, guard, version = file.policy(), file.guard_policy(), file.naming().parse(of)
        if alone and guard is not None:
            arms, checks, interval = arms_at(file).guarded(file.model, version), guard.checks, guard.interval_seconds
            return page_of_checks(file, checks, arms, interval_seconds=interval)
        control = next((each for each in self.noted_controls if each.model == file.model), None)
        state = control.state if control is not None else None
        held = state.holdback.version if state is not None and state.holdback is not None else None
        stable = state.stable if state is not None and state.stable != version else None
        arms = arms_at(file).compared(file.model, version, held or stable)
        if held is not None:
            arms = replace(arms, control=None)  # a hold-back has no second group
        return page_of_checks(file, policy.checks, arms, interval_seconds=policy.interval_seconds)

    def _own(self) -> ModelIdentity | None:
        """Return the task's own model; ``None``: it acts on several, and names none."""
        model: Any = getattr(self, "model", None)
        if isinstance(model, Mapping):
            return model.get(getattr(self, "choose", None))
        return model if isinstance(model, ModelIdentity) else next(iter(self.models_given()), None)

    def _note_link(self, context: Context, link: NotedLink, address: str) -> None:
        if address and self.noted_links.get(link.xcom_key) != address:
            self.noted_links[link.xcom_key] = address
            context["ti"].xcom_push(key=link.xcom_key, value=address)


def _may_ask_prometheus(identity: ModelIdentity) -> bool:
    return identity.target.vertex_ai is None or identity.connections.metrics is not None


def _endpoint_of(identity: ModelIdentity) -> str:
    from airflow_model_ops.hooks.vertex_ai import project_of
    from airflow_model_ops.hooks.wiring import fetch_connection

    part = identity.target.vertex_ai
    if part is None:
        return ""
    project = part.project or project_of(fetch_connection(part.connection))
    return vertex_endpoint_page(project=project, location=part.location, endpoint=part.endpoint_of(identity.model))
