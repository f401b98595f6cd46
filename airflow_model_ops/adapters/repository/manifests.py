"""The stored form of manifests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow_model_ops.core.errors import InvalidConfig, InvalidState
from airflow_model_ops.core.ports import Manifest, PushRequest
from airflow_model_ops.core.versioning import Version

SCHEMA_VERSION = 1
_KINDS = {"digest": str, "files": dict, "size": int, "created": str, "source": dict} | dict.fromkeys(
    ("hyperparameters", "metrics"), dict
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest and what the repository notes beside it.

    :param staged: The name under which the files were staged: whoever finds them still there finishes the push.
    :param retired: Whether the files were deleted, or are about to be; the name is never used again.
    """

    manifest: Manifest
    staged: str
    retired: bool = False

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
            return cls(manifest=_manifest(data), staged=str(data["staged"]), retired=bool(data["retired"]))
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, InvalidState):
                raise
            raise InvalidState(f"manifest cannot be read ({error!r}): {content[:200]!r}") from error


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
