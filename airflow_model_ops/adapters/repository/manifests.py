"""The stored form of manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.adapters.repository.contents import digest_of_files
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, VersionAltered, VersionExists
from airflow_model_ops.core.ports import KnownVersion, Manifest, PushRequest
from airflow_model_ops.core.versioning import Version

SCHEMA_VERSION = 1
STAGING_SECONDS = 86_400.0
"""How long files may be staged before their push counts as dead."""
_SHOWN = 3
_KINDS = {"digest": str, "files": dict, "size": int, "created": str, "source": dict} | dict.fromkeys(
    ("hyperparameters", "metrics"), dict
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest and what the repository notes beside it.

    :param staged: The name under which the files were staged: whoever finds them still there finishes the push.
    :param retired: Whether the files were deleted, or are about to be; the name is never used again.
    :param stored: File name to what the store called its content when it was pushed; empty on a file system.
    """

    manifest: Manifest
    staged: str
    retired: bool = False
    stored: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the bytes to store: JSON for people and programs."""
        manifest = self.manifest
        data = {
            "schema": SCHEMA_VERSION,
            "version": manifest.version.to_json(),
            "digest": manifest.digest,
            "files": dict(manifest.files),
            "size": manifest.size,
            "created": manifest.created,
            "source": dict(manifest.source),
            "dataset_version": manifest.dataset_version,
            "hyperparameters": dict(manifest.hyperparameters),
            "metrics": dict(manifest.metrics),
            "staged": self.staged,
            "retired": self.retired,
        }
        if self.stored:
            data["stored"] = dict(self.stored)
        text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text.encode(errors="backslashreplace")  # a path may hold lone surrogates; JSON reads \\udcXX back

    @classmethod
    def from_bytes(cls, content: bytes) -> StoredManifest:
        """Read what :meth:`to_bytes` wrote.

        :raises InvalidState: if it is something else.
        """
        try:
            data = json.loads(content)
            if data["schema"] != SCHEMA_VERSION:
                problem = f"has schema {data['schema']}; this package reads {SCHEMA_VERSION}: upgrade it"
                raise InvalidState(f"manifest of {data['version']['name']} {problem}")
            return cls(
                manifest=_manifest(data),
                staged=str(data["staged"]),
                retired=bool(data["retired"]),
                stored={str(name): str(token) for name, token in data.get("stored", {}).items()},
            )
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, InvalidState):
                raise
            raise InvalidState(f"manifest cannot be read ({error!r}): {content[:200]!r}") from error


def known_version(name: str, content: bytes) -> KnownVersion:
    """Return what is stored under a version's name; that it cannot be read is an answer, too."""
    try:
        stored = StoredManifest.from_bytes(content)
    except InvalidState as error:
        return KnownVersion(manifest=None, fault=str(error))
    found = stored.manifest.version.name
    if found != name:
        return KnownVersion(
            manifest=None, fault=f"the manifest of {name!r} is that of {found!r}; restore it from a backup"
        )
    return KnownVersion(manifest=stored.manifest, retired=stored.retired)


def check_request(request: PushRequest) -> None:
    """Check that what is known about a model can be written down.

    :raises InvalidConfig: naming what cannot.
    """
    for part in ("source", "hyperparameters", "metrics"):
        try:
            json.dumps(dict(getattr(request, part)), allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise InvalidConfig(
                f"{part} {getattr(request, part)!r} cannot be written as JSON ({error}); give plain texts and finite numbers"
            ) from error
    _check_dataset_version(request.dataset_version)


def _check_dataset_version(given: Any) -> None:
    """Check a name by which a bad dataset is looked for: what only looks like another one would not be found.

    :raises InvalidConfig: if it is no text, empty, or begins or ends with white space.
    """
    if given is None or (isinstance(given, str) and given and given == given.strip()):
        return
    raise InvalidConfig(
        f"dataset_version {given!r} is not a text without white space around it; quote it: a template of a DAG that renders "
        "native objects makes a number of '7'"
    )


def new_manifest(version: Version, request: PushRequest, *, files: Mapping[str, str], size: int) -> Manifest:
    """Return the manifest of what is pushed.

    :param files: Relative POSIX path to SHA-256 in hex.
    """
    return Manifest(
        version=version,
        digest=digest_of_files(files),
        files=files,
        size=size,
        created=request.created,
        source=request.source,
        dataset_version=request.dataset_version,
        hyperparameters=request.hyperparameters,
        metrics=request.metrics,
    )


def check_not_retired(stored: StoredManifest) -> None:
    """Check that a name is still in use.

    :raises VersionExists: if it was given up for ever.
    """
    if stored.retired:
        raise VersionExists(
            f"version {stored.manifest.version.name!r} was retired and its files deleted; a name is used once: choose a new one"
        )


def check_same(stored: StoredManifest, digest: str) -> None:
    """Check that a name belongs to this content.

    :raises VersionExists: if it belongs to another.
    """
    if stored.manifest.digest != digest:
        raise VersionExists(
            f"version {stored.manifest.version.name!r} exists with other content (digest {stored.manifest.digest[:12]}, not "
            f"{digest[:12]}); choose a new name"
        )


def check_named(stored: StoredManifest, version: Version, *, model: str) -> StoredManifest:
    """Return what is stored under a version's name.

    :raises InvalidState: if it is another version's.
    """
    if stored.manifest.version != version:
        raise InvalidState(
            f"the manifest of {version.name!r} of model {model!r} is number {stored.manifest.version.number}'s, not "
            f"{version.number}'s; one model has one naming scheme: correct versions in its YAML"
        )
    return stored


def check_unaltered(expected: Manifest, found: Mapping[str, str], *, shown: str) -> None:
    """Compare the digests of files that are there with a manifest.

    :param shown: The version, for messages.
    :raises VersionAltered: if a file is missing, added or different, or the manifest contradicts itself.
    """
    faults = list(_differences(expected.files, found))
    if faults:
        raise VersionAltered(
            f"{shown} is altered: {'; '.join(faults)}; roll back to another version, and push it again under a new name"
        )
    if digest_of_files(found) != expected.digest:
        raise VersionAltered(f"the manifest of {shown} is altered: its digest is not that of its files")


def choice_of(versions: Iterable[Version]) -> str:
    """Return the remedy for who named a version that is not there."""
    names = ", ".join(version.name for version in versions)
    return f"choose one of {names}" if names else "push one first"


def _differences(expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """Say how the files that are there differ from those of a manifest, for messages."""
    missing = sorted(expected.keys() - found.keys())
    added = sorted(found.keys() - expected.keys())
    different = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    for what, names in (("missing", missing), ("added", added), ("different", different)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"{what} {', '.join(names[:_SHOWN])}{more}"


def _manifest(data: dict[str, Any]) -> Manifest:
    for part, kind in _KINDS.items():
        if type(data[part]) is not kind:
            raise TypeError(f"{part} {data[part]!r} is not of type {kind.__name__}")
    if not all(isinstance(digest, str) for digest in data["files"].values()):
        raise TypeError(f"files {data['files']!r} are not all named with a digest")
    return Manifest(
        version=Version.from_json(data["version"]),
        digest=data["digest"],
        files=data["files"],
        size=data["size"],
        created=data["created"],
        source=data["source"],
        dataset_version=None if data["dataset_version"] is None else str(data["dataset_version"]),
        hyperparameters=data["hyperparameters"],
        metrics=data["metrics"],
    )
