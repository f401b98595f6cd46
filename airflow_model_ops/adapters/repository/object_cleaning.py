"""Removing what killed pushes left in a bucket, a day later; finishing those that were committed, a minute later.

Only a place that was claimed is ever cleared: objects that nobody claimed are not this package's, and may be served.
"""

from __future__ import annotations

import logging

from airflow_model_ops.adapters.repository.manifests import STAGING_SECONDS
from airflow_model_ops.adapters.repository.object_claims import Claim, ClaimEnded, HeldClaim
from airflow_model_ops.adapters.repository.object_versions import ObjectVersions, is_visible
from airflow_model_ops.core.errors import ModelOpsError

_log = logging.getLogger(__name__)
_CLEARING = ""
"""The content for which a place is claimed in order to clear it: no push's."""
_BATCH = 100
"""Objects that are deleted between two looks at the claim."""


def clean(versions: ObjectVersions, *, now: float) -> None:
    """Finish or remove what pushes left that died; costs two listings if there is nothing.

    What cannot be cleaned is left for the next time: nobody waits for it.

    :param now: Seconds since the epoch on the store's clock; an earlier moment only leaves more for the next time.
    """
    try:
        alive = {name for number in versions.claimed_numbers() if (name := _end_push(versions, number, now=now))}
        for content in versions.staged_contents():
            if content.partition("~")[0] not in alive:
                _remove_copies(versions, content, now=now)
    except ModelOpsError as error:
        _log.warning("what killed pushes left is not cleaned this time: %s", error)


def _end_push(versions: ObjectVersions, number: int, *, now: float) -> str | None:
    """End the push that claims a number if it is dead; return its version's name if it may be alive, or is needed still."""
    claims = versions.claims_on(number)
    newest = claims.newest()
    found = None if newest is None else versions.store.find(claims.key(newest.number))
    if newest is None or found is None:
        return None
    age = now - found.modified
    if age <= versions.claim_seconds:
        return newest.version.name
    stored = versions.find_manifest(newest.version)
    if stored is None:
        return _clear(versions, newest) if age > STAGING_SECONDS else newest.version.name
    if stored.retired:
        versions.remove_files(stored)
        versions.forget_push(stored)
        return None
    return None if versions.finish(stored) else newest.version.name


def _clear(versions: ObjectVersions, newest: Claim) -> str | None:
    """Remove what a push stored that never got its name; return the version's name if another push took over."""
    version = newest.version
    claims = versions.claims(version)
    ours = claims.take(newest.number + 1, _CLEARING)
    if ours is None:
        return version.name
    held = HeldClaim(claims, ours)
    try:
        with held.renewed():
            there = versions.there(version)
            if is_visible(there):  # no push stores a graph before its manifest, so this is not what a killed one left
                _log.warning("a claim is left alone: %s", versions.taken(version))
                return version.name
            keys = [found.key for found in there.values()]
            for start in range(0, len(keys), _BATCH):
                held.check()
                versions.store.delete(keys[start : start + _BATCH])
            held.check()
    except ClaimEnded:
        return version.name
    _log.info("removed %d objects that a killed push of %s left", len(keys), version)
    claims.remove(up_to=ours.number)
    return None


def _remove_copies(versions: ObjectVersions, content: str, *, now: float) -> None:
    """Remove copies of graphs of which no push is in need any more."""
    found = list(versions.store.list(versions.staging(content)))
    if found and now - max(copy.modified for copy in found) > STAGING_SECONDS:
        versions.store.delete([copy.key for copy in found])
