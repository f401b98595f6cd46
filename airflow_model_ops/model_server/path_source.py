"""Scans base paths and says which versions are aspired.

Source: TF Serving, ``sources/storage_path/file_system_storage_path_source.cc``.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.model_server.model_list import All, Latest, ModelEntry, Specific, VersionPolicy
from airflow_model_ops.model_server.places import Place, children, place_of
from airflow_model_ops.model_server.status import Code, StatusError

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*", re.ASCII)
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class AspiredVersion:
    """A serving number and the place to load it from."""

    number: int
    path: Place


AspireCallback = Callable[[str, Sequence[AspiredVersion]], None]


def parse_version(child: str) -> int | None:
    """Read a directory name as a serving number; ``None`` when it is not one.

    >>> parse_version("00000123"), parse_version("+5"), parse_version("v-20230601-120000"), parse_version("123.tmp")
    (123, 5, None, None)
    """
    match = _NUMBER.fullmatch(child)
    if match is None:
        return None
    number = int(match[1])
    return number if number in _INT64 else None


def _index(children: Sequence[str]) -> dict[int, str]:
    """Map numbers to names; of two names for one number the later in sorted order wins."""
    by_number: dict[int, str] = {}
    for child in children:
        number = parse_version(child)
        if number is None:
            continue
        if number in by_number:
            log.warning("version=%d has two directories; %r is used, %r is not", number, child, by_number[number])
        by_number[number] = child
    return by_number


def _all(base: Place, children: Sequence[str]) -> list[AspiredVersion]:
    numbered = ((parse_version(child), child) for child in children)
    return [AspiredVersion(number=number, path=base / child) for number, child in numbered if number is not None]


def _latest(base: Place, children: Sequence[str], policy: Latest) -> list[AspiredVersion]:
    by_number = _index(children)
    numbers = sorted(by_number, reverse=True)[: max(policy.num_versions, 1)]
    return [AspiredVersion(number=number, path=base / by_number[number]) for number in numbers]


def _specific(base: Place, children: Sequence[str], policy: Specific) -> list[AspiredVersion]:
    if {str(number) for number in policy.versions} <= set(children):
        return [AspiredVersion(number=number, path=base / str(number)) for number in policy.versions]
    by_number = _index(children)
    for missing in sorted(set(policy.versions) - set(by_number)):
        log.warning("version=%d is asked for by a specific policy but not found under %s", missing, base)
    wanted = sorted(set(policy.versions) & set(by_number))
    return [AspiredVersion(number=number, path=base / by_number[number]) for number in wanted]


def scan(entry: ModelEntry) -> list[AspiredVersion]:
    """Say which versions one model aspires to now. Files and links with a number for a name count too, and so do the
    versions of a bucket that are not complete yet: loading such a one fails, and is tried again.

    :raises StatusError: INVALID_ARGUMENT when the base path does not exist, or its bucket does not answer.
    """
    base = place_of(entry.base_path)
    found = _versions(base, _present(entry, base), policy=entry.policy)
    if not found:
        log.warning("model=%s has no version to serve under %s; is a directory named by a number?", entry.name, base)
    return found


def _present(entry: ModelEntry, base: Place) -> list[str]:
    error = f"NOT_FOUND: {entry.base_path} not found"
    try:
        names = children(base)
    except RepositoryUnavailable as unavailable:
        names, error = None, f"{Code.UNAVAILABLE.name}: {unavailable}"
    if names is None:
        message = f"Could not find base path {entry.base_path} for servable {entry.name} with error {error}"
        raise StatusError(Code.INVALID_ARGUMENT, message)
    return names


def _versions(base: Place, children: Sequence[str], *, policy: VersionPolicy) -> list[AspiredVersion]:
    match policy:
        case Specific():
            return _specific(base, children, policy)
        case Latest():
            return _latest(base, children, policy)
        case All():
            return _all(base, children)


class PathSource:
    """Remembers the models to watch and tells a callback the aspired versions at each poll.

    :param aspire: Called with a model's name and its aspired versions.
    """

    def __init__(self, *, aspire: AspireCallback) -> None:
        self._aspire = aspire
        self._lock = threading.Lock()
        self._entries: tuple[ModelEntry, ...] = ()

    @property
    def base_paths(self) -> Mapping[str, str]:
        """The watched models and where their versions are, as they were given."""
        return {entry.name: entry.base_path for entry in self._entries}

    def update(self, entries: Sequence[ModelEntry]) -> None:
        """Watch these models and no others; those that are gone lose their versions at once. It does not poll."""
        with self._lock:
            kept = {entry.name for entry in entries}
            gone = [entry.name for entry in self._entries if entry.name not in kept]
            self._entries = tuple(entries)
            for name in gone:
                self._aspire(name, ())

    def poll(self) -> bool:
        """Look once. One missing base path freezes the version updates of *all* models until it is there.

        :returns: whether the callback was told.
        """
        with self._lock:
            try:
                found = {entry.name: scan(entry) for entry in self._entries}
            except (StatusError, OSError) as error:
                log.error("poll failed, no model is updated: %s", error)  # noqa: TRY400 - it repeats at every poll
                return False
            for name, versions in found.items():
                self._aspire(name, versions)
            return True
