"""Which export a schedule may release: what the log says about the content of an export, found again by its digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteExport:
    """A place that holds a SavedModel nobody writes to any longer.

    :param place: Its path, or the URL of a place in a bucket.
    :param modified_at: When its graph file was written, seconds since the epoch.
    :param settled_at: Since when it counts as complete, seconds since the epoch.
    """

    place: str
    modified_at: float
    settled_at: float

    @property
    def name(self) -> str:
        """The last part of its place."""
        return PurePosixPath(self.place).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An export to release.

    :param directory: Where this machine has its files; they may be a copy.
    :param digest: The digest it will have as a version.
    """

    place: str
    directory: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoice:
    """The export to release, ``None`` if there is none; and why this one, or why none."""

    export: Export | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHistory:
    """What became of the content of earlier exports.

    :param promoted: Digest to the version that was stable with it at some time.
    :param refused: Digest to the reason why no schedule tries it again.
    :param chosen_at: When the newest version that a release promoted was chosen, seconds since the epoch; ``None``: unknown.
    """

    promoted: Mapping[str, Version] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    chosen_at: float | None = None


class Ruling(StrEnum):
    """What is to be done with one export, going from the newest to older ones."""

    RELEASE = "release"
    PASS_OVER = "pass_over"  # noqa: S105 (no password)
    STOP = "stop"
    """Neither this one nor any older one."""


def newest_first(exports: Iterable[CompleteExport]) -> tuple[CompleteExport, ...]:
    """Sort exports: by number if all names are numbers, as exporters name them by time or step; else by age."""
    found = list(exports)
    if all(export.name.isascii() and export.name.isdecimal() for export in found):
        return tuple(sorted(found, key=lambda export: (int(export.name), export.name), reverse=True))
    return tuple(sorted(found, key=lambda export: (export.modified_at, export.name), reverse=True))


def is_outdated(export: CompleteExport, *, history: ExportHistory) -> bool:
    """Whether an export was complete already when the newest promoted version was chosen.

    It was passed over then, or is that version; a schedule never goes back in time. Needs no digest, so a schedule without
    news reads no weights.
    """
    return history.chosen_at is not None and export.settled_at <= history.chosen_at


def rule(digest: str, *, history: ExportHistory) -> tuple[Ruling, str]:
    """Return what is to be done with an export of this digest, and why."""
    version = history.promoted.get(digest)
    if version is not None:
        return Ruling.STOP, f"is {version}, which was promoted"
    why = history.refused.get(digest)
    if why is not None:
        return Ruling.PASS_OVER, why
    return Ruling.RELEASE, "was neither promoted nor refused before"


def versions_ever_stable(entries: Iterable[Entry]) -> frozenset[Version]:
    """Return every version that was stable at some time, deleted ones included."""
    return frozenset(entry.state.stable for entry in entries if entry.state and entry.state.stable)


def versions_promoted(entries: Iterable[Entry]) -> frozenset[Version]:
    """Return every version that a release made stable; an adopted one was not chosen among exports."""
    return frozenset(entry.version for entry in entries if entry.action is Action.PROMOTE and entry.version)


def history_of(
    entries: Iterable[Entry], *, digests: Mapping[Version, str], chosen_at: float | None = None
) -> ExportHistory:
    """Read from a model's log what became of each content.

    Refused is what is quarantined now, whose last release ended on the verdict BREACH, or whose last validation gave no
    blessing: a schedule would try it again for ever. Lifting the quarantine, or a person's release of the directory that
    ends otherwise, makes it eligible again.

    :param entries: The whole log, oldest first.
    :param digests: Of every version the log names, as far as it is known.
    """
    reading = _Reading(digests)
    for entry in entries:
        reading.read(entry)
    return ExportHistory(promoted=reading.promoted, refused=reading.refused(), chosen_at=chosen_at)


class _Reading:
    """What has been read of a log so far."""

    def __init__(self, digests: Mapping[Version, str]) -> None:
        self.promoted: dict[str, Version] = {}
        self._digests = digests
        self._state: ServingState | None = None
        self._verdicts: dict[Fence, str] = {}
        self._breached: dict[str, str] = {}
        self._unblessed: dict[str, str] = {}

    def read(self, entry: Entry) -> None:
        if entry.state is not None:
            self._read_state(entry.state)
        elif entry.name == FactKind.VERDICT and entry.release is not None:
            self._verdicts[entry.release] = str(entry.detail.get("verdict"))
        elif entry.name == FactKind.VALIDATED and entry.version is not None:
            blessed = entry.detail.get("blessed") is True
            why = None if blessed else f"is {entry.version}, which got no blessing: {entry.reason}"
            self._note(self._unblessed, entry.version, why)

    def refused(self) -> dict[str, str]:
        return {**self._unblessed, **self._breached, **dict(self._quarantined())}

    def _read_state(self, state: ServingState) -> None:
        if state.stable is not None and state.stable in self._digests:
            self.promoted[self._digests[state.stable]] = state.stable
        live = self._state.release if self._state else None
        if live and not state.is_live(live.fence):
            breached = self._verdicts.get(live.fence) == Verdict.BREACH and state.stable != live.version
            why = f"is {live.version}, whose release {live.id!r} ended on a BREACH" if breached else None
            self._note(self._breached, live.version, why)
        self._state = state

    def _note(self, reasons: dict[str, str], version: Version, why: str | None) -> None:
        """Keep the last word on a content."""
        digest = self._digests.get(version)
        if digest is not None and why is None:
            reasons.pop(digest, None)
        elif digest is not None and why is not None:
            reasons[digest] = why

    def _quarantined(self) -> Iterator[tuple[str, str]]:
        for version in self._state.quarantined if self._state else ():
            if version in self._digests:
                yield self._digests[version], f"is {version}, which is quarantined"
