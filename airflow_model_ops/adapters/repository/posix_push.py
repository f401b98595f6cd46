"""Pushing a SavedModel into a model's directory; the order of steps and why is told in ``posix_versions.py``."""

from __future__ import annotations

from airflow_model_ops.adapters.repository.contents import Contents, digest_of_files, hash_files, saved_model_contents
from airflow_model_ops.adapters.repository.manifests import (
    StoredManifest,
    check_not_retired,
    check_request,
    check_same,
    new_manifest,
)
from airflow_model_ops.adapters.repository.posix_copy import copy_files
from airflow_model_ops.adapters.repository.posix_files import make_directory
from airflow_model_ops.adapters.repository.posix_versions import PosixVersions, remove_tree
from airflow_model_ops.core.ports import Manifest, PushRequest
from airflow_model_ops.core.versioning import Version


def push(versions: PosixVersions, version: Version, request: PushRequest) -> Manifest:
    """Store a version, complete or not at all; the same name with the same content adopts what is there.

    A directory that already is the version's place (a fleet served it from there before us) is taken over as it is.

    :raises NotASavedModel: if the directory is not one, or a link leads out of it.
    :raises VersionExists: if the name is taken by other content.
    :raises InvalidConfig: if what is known about it cannot be written down.
    """
    check_request(request)
    contents = saved_model_contents(request.directory)
    versions.clean()
    stored = versions.find_manifest(version)
    if stored is None:
        return _store(versions, version, request=request, contents=contents)
    check_not_retired(stored)
    there = versions.finish(stored)  # whosever content it is: its push may have died
    check_same(stored, digest_of_files(hash_files(contents)))
    if not there:
        _restore(versions, stored, contents=contents)
    return stored.manifest


def _store(versions: PosixVersions, version: Version, *, request: PushRequest, contents: Contents) -> Manifest:
    if versions.is_place(version, request.directory):
        return _take_over(versions, version, request=request, contents=contents)
    if versions.place(version).exists():
        raise versions.taken(version)
    make_directory(versions.directory)
    staging = versions.staging(version)
    committed = False
    try:
        files = copy_files(contents, staging)
        ours = StoredManifest(
            manifest=new_manifest(version, request, files=files, size=contents.size), staged=staging.name
        )
        committed = versions.commit(ours)
        stored = ours if committed else versions.manifest(version)
        check_not_retired(stored)
        there = versions.finish(stored)
        check_same(stored, ours.manifest.digest)
        if not there:
            versions.move_in(staging, stored.manifest)
        return stored.manifest
    finally:
        if not committed:
            remove_tree(staging)


def _take_over(versions: PosixVersions, version: Version, *, request: PushRequest, contents: Contents) -> Manifest:
    """Vouch for files that already are in their place: only the manifest and the link with the version's name are made."""
    files = hash_files(contents)
    never_staged = versions.staging(version).name
    ours = StoredManifest(manifest=new_manifest(version, request, files=files, size=contents.size), staged=never_staged)
    stored = ours if versions.commit(ours) else versions.manifest(version)
    check_not_retired(stored)
    check_same(stored, ours.manifest.digest)
    versions.finish(stored)
    return stored.manifest


def _restore(versions: PosixVersions, stored: StoredManifest, *, contents: Contents) -> None:
    """Put files back that somebody removed by hand."""
    staging = versions.staging(stored.manifest.version)
    try:
        check_same(stored, digest_of_files(copy_files(contents, staging)))
        versions.move_in(staging, stored.manifest)
    finally:
        remove_tree(staging)
