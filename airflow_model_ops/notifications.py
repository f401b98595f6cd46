"""Telling people through Airflow's notifiers what happened to a model, after it happened.

Nothing here ever fails a task or delays it for long: looking, claiming and sending go on in threads of their own, each with
the time limit of the model's file, and what goes wrong is logged as an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from importlib import import_module
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.config.notification_part import NotifierPart
from airflow_model_ops.control.news import NewsDesk
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.notice import Notice, notice_of
from airflow_model_ops.core.ports import Clock, Repository

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier

_log = logging.getLogger(__name__)


def base_url() -> str:
    """Return ``[api] base_url``; empty if it is not set, so that addresses are paths alone."""
    return str(conf.get("api", "base_url", fallback="") or "")


def has_hooks(model: ModelIdentity) -> bool:
    """Whether anybody wants to be told of a model. A model whose file has a mistake is told of once that is mended."""
    return isinstance(model, ModelFile) and bool(model.notifications.hooks)


def tell_news(
    file: ModelFile, *, repository: Repository, clock: Clock, context: Mapping[str, Any] | None = None
) -> None:
    """Tell everything that is new of a model, whoever did it; returns after twice the file's time limit at the latest.

    :param context: The task's; ``None``: outside of a task. A notifier's templates may use its names, too.
    """
    hooks = file.notifications.hooks
    if not hooks:
        return
    over, found = Flag(), list[Notice]()

    def look() -> None:
        desk = NewsDesk(repository=repository, model=file.model, clock=clock)
        for news in desk.untold(hooks):
            if over.is_set():
                return
            if desk.claim(news.key):
                found.append(notice_of(news, model=file.model, base_url=base_url()))

    thread = _started(look, f"the news of model {file.model!r} cannot be told now")
    thread.join(file.notifications.timeout)
    if thread.is_alive():
        over.set()
        _log.error(
            "model=%s its log did not answer within %g s, so no news is told; the next task on the model tells it",
            file.model,
            file.notifications.timeout,
        )
    send(file, tuple(found), context=context)


def tell_once(
    file: ModelFile,
    notice: Notice,
    *,
    repository: Repository,
    clock: Clock,
    again_seconds: float | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Send a message that stands in no log entry, unless one with its key was sent before.

    :param again_seconds: After so long it may be sent again; ``None``: never.
    """
    if notice.event not in file.notifications.hooks:
        return
    desk = NewsDesk(repository=repository, model=file.model, clock=clock)
    claimed: list[Notice] = []

    def claim() -> None:
        if desk.claim(notice.key, again_seconds=again_seconds):
            claimed.append(notice)

    thread = _started(claim, f"a message about model {file.model!r} cannot be claimed")
    thread.join(file.notifications.timeout)
    if thread.is_alive():
        _log.error(
            "model=%s its repository did not answer within %g s, so nobody is told %r",
            file.model,
            file.notifications.timeout,
            notice.title,
        )
    send(file, tuple(claimed), context=context)


def send(file: ModelFile, notices: Iterable[Notice], *, context: Mapping[str, Any] | None = None) -> None:
    """Hand messages to the file's notifiers and wait until the time limit is over.

    Those for one notifier with the same arguments keep their order; two channels of one chat do not wait for each other.
    """
    hooks, letters = file.notifications.hooks, dict[str, list[_Letter]]()
    for notice in notices:
        _log.info("model=%s tells %s: %s", notice.model, notice.event, notice.title)
        for part in hooks.get(notice.event, ()):
            letters.setdefault(part.model_dump_json(), []).append(
                _Letter(notice=notice, part=part, context=context or {})
            )
    posts = [_Post(letters=each) for each in letters.values()]
    threads = [_started(post.deliver, "a notifier cannot be asked") for post in posts]
    # Airflow's processes end with these threads, which are daemons: what hangs is dropped.
    deadline = _Deadline(seconds=file.notifications.timeout)
    for post, thread in zip(posts, threads, strict=True):
        thread.join(deadline.left())
        if thread.is_alive():
            for letter in post.left:
                _log.error(
                    "model=%s notifier %s did not take %r within %g s; it is not asked again",
                    file.model,
                    letter.part.notifier,
                    letter.notice.title,
                    file.notifications.timeout,
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A message for one notifier."""

    notice: Notice
    part: NotifierPart
    context: Mapping[str, Any]

    def deliver(self) -> None:
        """Make the notifier, render what it declares as templates, and let it send.

        Not by calling it: that renders its own raw arguments under their names, of which one may be ``message``. A rendered
        text is never rendered again: the reason in it may be anybody's.
        """
        arguments: dict[str, Any] = dict(self.part.arguments)
        notifier = notifier_class(self.part.notifier)(**arguments)
        names: Any = {**self.context, **self.notice.to_names()}
        notifier.render_template_as_native_obj = False  # type: ignore[attr-defined]  # a DAG's own would make numbers of texts
        notifier.render_template_fields(names, jinja_env=notifier.get_template_env())
        if _is_only_asynchronous(notifier):
            asyncio.run(notifier.async_notify(names))
        else:
            notifier.notify(names)


@dataclass(slots=True, kw_only=True)
class _Post:
    """The messages of one notifier."""

    letters: list[_Letter]
    delivered: int = field(default=0)

    @property
    def left(self) -> list[_Letter]:
        return self.letters[self.delivered :]

    def deliver(self) -> None:
        for letter in self.letters:
            try:
                letter.deliver()
            except BaseException as error:  # noqa: BLE001 (whatever a notifier raises: the others are asked, the task goes on)
                _log.exception(
                    "model=%s notifier %s was not told %r: %s: %s",
                    letter.notice.model,
                    letter.part.notifier,
                    letter.notice.title,
                    type(error).__name__,
                    error,
                )
            self.delivered += 1


class _Deadline:
    """Time that several share."""

    def __init__(self, *, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        return max(0.0, self._at - time.monotonic())


def notifier_class(path: str) -> type[BaseNotifier]:
    """Import a notifier's class.

    :raises InvalidConfig: if there is none under that name.
    """
    from airflow.sdk import BaseNotifier

    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidConfig(
            f"notifier {path!r} cannot be imported ({error}); install its provider where tasks and triggers run, or correct "
            "notifications in the model's YAML file"
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
        raise InvalidConfig(f"{path!r} is no notifier of Airflow; name a subclass of airflow.sdk.BaseNotifier")
    return found


def _is_only_asynchronous(notifier: BaseNotifier) -> bool:
    from airflow.sdk import BaseNotifier

    return type(notifier).notify is BaseNotifier.notify


def _started(work: Callable[[], None], trouble: str) -> Thread:
    """Start something in a daemon thread of its own, which knows the task as this one does; its error is logged."""
    context = copy_context()

    def run() -> None:
        try:
            context.run(work)
        except Exception:  # noqa: BLE001 (a thread's error reaches nobody else)
            _log.exception("%s", trouble)

    thread = Thread(target=run, name="model-ops-news", daemon=True)
    thread.start()
    return thread
