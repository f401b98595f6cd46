"""The router of a fleet: writes the documents that its Envoys watch, and confirms with each Envoy what it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from airflow_model_ops.adapters.serving.envoy_admin import CLUSTERS_SUBSCRIPTION, ROUTES_SUBSCRIPTION, EnvoyAdmin
from airflow_model_ops.adapters.serving.envoy_documents import (
    RouterSettings,
    document_clusters_used,
    document_endpoints,
    document_generations,
    document_version,
    split_of,
)
from airflow_model_ops.adapters.serving.envoy_files import (
    CLUSTERS_FILE,
    ROUTES_FILE,
    check_directory,
    read_document,
    replace_document,
)
from airflow_model_ops.core.errors import InvalidConfig, RouterRefused, RouterUnreachable

_T = TypeVar("_T")
_POLL_SECONDS = 0.005  # a whole rollback has 0.3 s, and a question costs an Envoy well under a millisecond
_REFUSAL_GRACE_SECONDS = 0.2  # an Envoy may still be refusing the document before ours when we first ask
_LOG_TAIL_BYTES = 65536
_UNKNOWN = -1
_QUICK_SECONDS = 0.5
"""How long an admin interface may take to answer what a write or a way back would rather know than wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDocuments:
    """The documents as they are on disk; ``None`` before the first apply."""

    clusters: bytes | None
    routes: bytes | None

    @property
    def generations(self) -> dict[str, int]:
        """Every model's generation in the routes, that is, in what decides who gets traffic."""
        return document_generations(self.routes) if self.routes else {}


class EnvoyRouter:
    """One or more Envoys that watch the same directory; may be used from several threads.

    Writing and confirming are separate, so that one writer's confirmation cannot be mistaken for another's: what is
    waited for is named. Nothing here is locked; whoever applies a fleet holds its lock.

    :param config_dir: directory that every Envoy watches, on the same kernel (inotify does not cross a network share).
    :param admin_urls: admin interface of every Envoy; an update counts when all of them took it.
    :param timeout_seconds: longest to wait for one answer of an admin interface.
    :param log_paths: logs of these Envoys where they can be read here. Envoy tells why it refused a document in its log
        and nowhere else; with its log the error repeats the reason.
    """

    def __init__(
        self,
        *,
        config_dir: Path,
        admin_urls: Sequence[str],
        settings: RouterSettings,
        timeout_seconds: float = 5.0,
        log_paths: Sequence[Path] = (),
    ) -> None:
        if not admin_urls:
            raise InvalidConfig(
                f"router of {str(config_dir)!r} has no admin URL, so no update could be confirmed; give one"
            )
        self.settings = settings
        self._clusters_path = config_dir / CLUSTERS_FILE
        self._routes_path = config_dir / ROUTES_FILE
        self._admins = tuple(EnvoyAdmin(url, timeout_seconds=timeout_seconds) for url in admin_urls)
        self._quick_admins = tuple(
            EnvoyAdmin(url, timeout_seconds=min(timeout_seconds, _QUICK_SECONDS)) for url in admin_urls
        )
        self._log_paths = tuple(log_paths)
        self._refused_before: dict[tuple[str, str], int] = {}

    def check(self) -> None:
        """Check that every Envoy answers, and that the directory they watch is there and can be written.

        :raises RouterUnreachable: naming the Envoy that does not answer.
        :raises InvalidConfig: if the directory is missing or cannot be written.
        """
        check_directory(self._routes_path.parent)
        for admin in self._admins:
            admin.subscription(ROUTES_SUBSCRIPTION)

    def read_documents(self) -> RouterDocuments:
        """Read the documents on disk. :raises InvalidConfig: if they cannot be read."""
        return RouterDocuments(clusters=read_document(self._clusters_path), routes=read_document(self._routes_path))

    def write_clusters(self, document: bytes) -> bool:
        """Replace the clusters document, if it differs; say whether it was written.

        :raises RouterRefused: if it lacks a cluster that the routes on disk send to: those requests would fail.
        :raises InvalidConfig: if the directory is missing or cannot be written.
        """
        self._require_clusters(clusters=document, routes=read_document(self._routes_path))
        return self._replace(self._clusters_path, content=document, subscription=CLUSTERS_SUBSCRIPTION)

    def write_routes(self, document: bytes) -> bool:
        """Replace the routes document, if it differs; say whether it was written.

        :raises RouterRefused: if it sends to a cluster that the clusters document on disk lacks.
        :raises InvalidConfig: if the directory is missing or cannot be written.
        """
        self._require_clusters(clusters=read_document(self._clusters_path), routes=document)
        return self._replace(self._routes_path, content=document, subscription=ROUTES_SUBSCRIPTION)

    def wait_clusters_active(self, names: Iterable[str], *, deadline_seconds: float, urgent: bool = False) -> None:
        """Wait until every Envoy has taken the clusters document on disk and has each named cluster active.

        Active means warmed and with the endpoints of the document, so a host name that does not resolve never is.

        :param urgent: Give an admin interface that is silent up after half a second.
        :raises RouterRefused: if an Envoy refused the document or is not there at the deadline.
        :raises RouterUnreachable: if an Envoy's admin interface does not answer; the others are confirmed then.
        """
        document = read_document(self._clusters_path)
        if document is None:
            raise RouterRefused(
                f"{str(self._clusters_path)!r} does not exist; write the clusters before waiting for them"
            )
        version, endpoints = document_version(document), document_endpoints(document)
        wanted = sorted(set(names))
        if absent := [name for name in wanted if name not in endpoints]:
            raise RouterRefused(
                f"clusters {absent!r} are not in {str(self._clusters_path)!r}; write them before waiting"
            )

        def missing(admin: EnvoyAdmin) -> str:
            if unconfirmed := _unconfirmed(admin, subscription=CLUSTERS_SUBSCRIPTION, version=version):
                return unconfirmed
            active = admin.active_endpoints(wanted) if wanted else {}
            lacking = [name for name in wanted if not set(endpoints[name]) <= active.get(name, set())]
            return f"clusters {lacking!r} are not active; check that their host names resolve there" if lacking else ""

        self._wait_all(
            missing,
            subscription=CLUSTERS_SUBSCRIPTION,
            deadline_seconds=deadline_seconds,
            admins=self._quick_admins if urgent else self._admins,
        )

    def wait_routes(self, version: str, *, deadline_seconds: float) -> None:
        """Wait until every Envoy serves the routes document with this ``version_info``.

        :raises RouterRefused: if an Envoy refused the document or has not taken it at the deadline.
        :raises RouterUnreachable: if an Envoy's admin interface does not answer; the others are confirmed then.
        """
        self._wait_all(
            lambda admin: _unconfirmed(admin, subscription=ROUTES_SUBSCRIPTION, version=version),
            subscription=ROUTES_SUBSCRIPTION,
            deadline_seconds=deadline_seconds,
            admins=self._admins,
        )

    def observed_split(self) -> dict[str, tuple[tuple[int, float], ...]]:
        """Ask the Envoys how they really split each model: (serving number, percent), stable last; empty: no stable.

        :raises RouterRefused: if two Envoys differ.
        """
        first, *others = self._admins
        split = split_of(first.route_configuration())
        for other in others:
            if (theirs := split_of(other.route_configuration())) != split:
                differing = sorted(model for model in {*split, *theirs} if split.get(model) != theirs.get(model))
                raise RouterRefused(
                    f"routers {first.url!r} and {other.url!r} split models {differing!r} differently"
                    f" ({[(split.get(m), theirs.get(m)) for m in differing]!r}); apply the fleet again"
                )
        return split

    def _require_clusters(self, *, clusters: bytes | None, routes: bytes | None) -> None:
        """Refuse a pair of documents that a fresh Envoy could not serve from."""
        used = document_clusters_used(routes) if routes else frozenset()
        known = document_endpoints(clusters) if clusters else {}
        if absent := sorted(used - known.keys()):
            raise RouterRefused(
                f"the routes send to clusters {absent!r}, which the clusters document lacks;"
                " add a cluster before its route, and remove it only after"
            )

    def _replace(self, path: Path, *, content: bytes, subscription: str) -> bool:
        if read_document(path) == content:
            return False
        refused = _parallel(lambda admin: _refused(admin, subscription=subscription), self._quick_admins)
        for admin, count in zip(self._quick_admins, refused, strict=True):
            self._refused_before[admin.url, subscription] = count
        return replace_document(path, content=content)

    def _wait_all(
        self,
        missing: Callable[[EnvoyAdmin], str],
        *,
        subscription: str,
        deadline_seconds: float,
        admins: Sequence[EnvoyAdmin],
    ) -> None:
        deadline = time.monotonic() + deadline_seconds

        def trouble(admin: EnvoyAdmin) -> RouterRefused | RouterUnreachable | None:
            try:
                self._wait_one(admin, missing=missing, subscription=subscription, deadline=deadline)
            except (RouterRefused, RouterUnreachable) as error:  # the others are confirmed before it is reported
                return error
            return None

        troubles = [error for error in _parallel(trouble, admins) if error is not None]
        if troubles:
            raise min(troubles, key=lambda error: isinstance(error, RouterUnreachable))  # a refusal says more

    def _wait_one(
        self, admin: EnvoyAdmin, *, missing: Callable[[EnvoyAdmin], str], subscription: str, deadline: float
    ) -> None:
        refused_since: float | None = None
        while what := missing(admin):
            now = time.monotonic()
            if refused_since is None and self._has_refused(admin, subscription=subscription):
                refused_since = now
            if refused_since is not None and now - refused_since > _REFUSAL_GRACE_SECONDS:
                raise RouterRefused(
                    f"router {admin.url!r} refused the document for {subscription!r}: {self._reason()};"
                    f" {what}; what it served before stays"
                )
            if now > deadline:
                raise RouterRefused(
                    f"router {admin.url!r} has not taken the document for {subscription!r} in time: {what};"
                    " check that it watches this directory, on this machine"
                )
            time.sleep(_POLL_SECONDS)

    def _has_refused(self, admin: EnvoyAdmin, *, subscription: str) -> bool:
        before = self._refused_before.get((admin.url, subscription), _UNKNOWN)
        return before != _UNKNOWN and admin.subscription(subscription).refused > before

    def _reason(self) -> str:
        """Envoy's own words: the newest refusals in the logs, or where to find them."""
        found = [line for path in self._log_paths for line in _refusals(path)]
        return " | ".join(dict.fromkeys(found)) or "its log says why (lines 'config update rejected' or 'failure')"


def _parallel(work: Callable[[EnvoyAdmin], _T], admins: Sequence[EnvoyAdmin]) -> list[_T]:
    """Do it with all at once: a silent one must not delay the word of the others."""
    if len(admins) == 1:
        return [work(admins[0])]
    with ThreadPoolExecutor(max_workers=min(16, len(admins))) as pool:
        return list(pool.map(work, admins))


def _unconfirmed(admin: EnvoyAdmin, *, subscription: str, version: str) -> str:
    taken = admin.subscription(subscription)
    if taken.version == version:
        return ""
    return f"it is at version {taken.version!r}, not {version!r}, and has refused {taken.refused} since it started"


def _refused(admin: EnvoyAdmin, *, subscription: str) -> int:
    try:
        return admin.subscription(subscription).refused
    except (
        RouterUnreachable
    ):  # the write must not depend on it: an Envoy that is down reads the document when it starts
        return _UNKNOWN


def _refusals(log: Path) -> list[str]:
    """Return the newest two refusals in an Envoy's log, without their prefixes."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return [f"its log {str(log)!r} cannot be read ({error})"]
    marks = ("config update rejected: ", "config update failure: ")
    # Protobuf strews extra spaces over its messages, at random
    return [" ".join(line.split(mark, 1)[1].split())[:500] for line in lines for mark in marks if mark in line][-2:]
