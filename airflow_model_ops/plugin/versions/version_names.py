"""The names of a model's versions, newest first, kept for some seconds: a page of a long list must not list it all again."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.versioning import Scheme

KEPT_SECONDS = 5.0
"""How long a listing is used: a version that was just pushed shows after that."""
KEPT_TIMES = 10.0
"""A listing that took long, such as one of a hundred thousand objects in a bucket, is used this many times as long as it took."""
WAIT_SECONDS = 3.0
"""How long a question waits for another one's first listing; more would keep the threads that read other models."""
_MOST_MODELS = 64
_NUMBERS = re.compile(r"\d+")


@dataclass(slots=True)
class _Listing:
    """One model's names; who holds its lock lists."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    names: tuple[str, ...] = ()
    good_until: float = float("-inf")


_kept: OrderedDict[tuple[str, str], _Listing] = OrderedDict()
_lock = threading.Lock()


def newest_first(repository: Repository, model: ModelIdentity) -> tuple[str, ...]:
    """Return the names of all versions that were ever pushed, deleted ones too, the highest serving number first.

    One listing, whose result is kept; no manifest is read.

    :raises RepositoryUnavailable: if it cannot be listed, or the first listing takes long.
    """
    listing = _listing(repository.uri, model.model)
    if time.monotonic() < listing.good_until:
        return listing.names
    if not listing.lock.acquire(timeout=0 if listing.names else WAIT_SECONDS):
        if listing.names:  # somebody lists anew; until then the former names do
            return listing.names
        raise RepositoryUnavailable(
            f"the versions of model {model.model!r} are still being listed; ask again in a moment"
        )
    try:
        return _listed(listing, repository, model)
    finally:
        listing.lock.release()


def sorted_newest_first(names: tuple[str, ...], *, scheme: Scheme) -> list[str]:
    """Order names as their serving numbers are, without working these out.

    Timestamps have one length, so that they are ordered as texts.
    """
    if scheme is Scheme.TIMESTAMP:
        return sorted(names, reverse=True)
    return sorted(names, key=lambda name: ([int(part) for part in _NUMBERS.findall(name)], name), reverse=True)


def forget() -> None:
    """List anew at the next question."""
    with _lock:
        _kept.clear()


def _listed(listing: _Listing, repository: Repository, model: ModelIdentity) -> tuple[str, ...]:
    began = time.monotonic()
    if began >= listing.good_until:
        found = repository.version_names(model.model)
        listing.names = tuple(sorted_newest_first(found, scheme=model.versions.scheme))
        ended = time.monotonic()
        listing.good_until = ended + max(KEPT_SECONDS, KEPT_TIMES * (ended - began))
    return listing.names


def _listing(uri: str, model: str) -> _Listing:
    with _lock:
        found = _kept.setdefault((uri, model), _Listing())
        _kept.move_to_end((uri, model))
        while len(_kept) > _MOST_MODELS:
            _kept.popitem(last=False)
        return found
