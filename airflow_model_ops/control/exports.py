"""Choosing the export that a schedule releases."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.core.errors import NotASavedModel, VersionNotFound
from airflow_model_ops.core.exports import (
    CompleteExport,
    Export,
    ExportChoice,
    ExportHistory,
    Ruling,
    history_of,
    is_outdated,
    newest_first,
    rule,
    versions_ever_stable,
    versions_promoted,
)
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.versioning import Version


def newest_export(
    *,
    exports: Iterable[CompleteExport],
    repository: Repository,
    model: str,
    directory_of: Callable[[str], Path] = Path,
) -> ExportChoice:
    """Return the newest complete export whose content was neither promoted nor refused before.

    It goes from the newest to older ones and ends at the first that was promoted, or was complete already when the newest
    promoted version was chosen (its ``created``, the time of its run): a schedule never goes back in time, even if a newer
    export was removed.
    An export that is quarantined, breached a check or got no blessing is passed over, so that it does not keep an older
    one waiting that is still news.

    Each export that is looked at is read in full for its digest, and again at every call while it is passed over; those
    that are no news at all are not.

    :param exports: All complete exports, in any order.
    :param directory_of: Returns a directory of this machine with the files of a place; called for what is looked at.
    """
    history = history_in(tuple(repository.log(model).entries()), repository=repository, model=model)
    passed: list[str] = []
    for export in newest_first(exports):
        if is_outdated(export, history=history):
            passed.append(f"{export.name!r} was complete already when the newest promoted version was chosen")
            break
        try:
            directory = directory_of(export.place)
            digest = repository.digest_of(directory)
        except NotASavedModel as error:
            passed.append(f"{export.name!r} is not usable: {error}")
            continue
        ruling, why = rule(digest, history=history)
        if ruling is Ruling.RELEASE:
            chosen = Export(place=export.place, directory=directory, digest=digest)
            return ExportChoice(export=chosen, reason=sentence(f"export {export.name!r} {why}", passed))
        passed.append(f"{export.name!r} {why}")
        if ruling is Ruling.STOP:
            break
    return ExportChoice(export=None, reason=sentence("no export to release", passed or ["there is no complete one"]))


def history_in(entries: Sequence[Entry], *, repository: Repository, model: str) -> ExportHistory:
    """Return what became of each content, as the whole log of a model tells."""
    created = (_created(repository, model, version) for version in versions_promoted(entries))
    chosen_at = max((moment for moment in created if moment is not None), default=None)
    return history_of(entries, digests=_digests(entries, repository, model), chosen_at=chosen_at)


def _created(repository: Repository, model: str, version: Version) -> float | None:
    try:
        return seconds_of(repository.manifest(model, version).created)
    except VersionNotFound:  # a manifest that somebody removed by hand
        return None


def _digests(entries: Sequence[Entry], repository: Repository, model: str) -> dict[Version, str]:
    """Return the digest of every version that the log names; adopted ones were never pushed and may have a manifest."""
    found = {
        entry.version: str(entry.detail["digest"])
        for entry in entries
        if entry.version is not None and entry.name == FactKind.PUSHED
    }
    named = {entry.version for entry in entries if entry.version} | set(versions_ever_stable(entries))
    for version in named - set(found):
        with contextlib.suppress(VersionNotFound):
            found[version] = repository.manifest(model, version).digest
    return found


def sentence(what: str, passed: Iterable[str]) -> str:
    """Join what was decided and what was passed over on the way."""
    return "; ".join([what, *passed])
