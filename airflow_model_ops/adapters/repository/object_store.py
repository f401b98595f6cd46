"""What a repository on object storage asks of a bucket; :mod:`fsspec_store` answers it for GCS, S3 and others.

Keys are relative to the repository's root, with ``/`` between their parts. Reads and listings are strongly consistent, as on
GCS and S3. Every method touches the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What the store says of an object without giving its content.

    :param token: Names this very content: another one after each overwrite. Made by the store from what it received.
    :param modified: When it was written, seconds since the epoch on the store's clock.
    """

    key: str
    size: int
    token: str
    modified: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file to store.

    :param sha256: Of its content, in hex.
    """

    key: str
    path: Path
    size: int
    sha256: str


class ObjectStore(Protocol):
    """A bucket, or a part of one, with conditional writes. Safe for several threads.

    Every method raises ``RepositoryUnavailable`` if the store does not answer or refuses the credentials.
    """

    @property
    def uri(self) -> str:
        """Where it is, e.g. ``gs://bucket/models``; touches no network."""
        ...

    def find(self, key: str) -> StoredObject | None:
        """Return what is known of an object, or ``None`` if there is none."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return an object's content, or ``None`` if there is none."""
        ...

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents of several objects, fetched at once; one that is not there is missing."""
        ...

    def put(self, key: str, content: bytes, *, within: float | None = None) -> None:
        """Write an object, whatever was there.

        :param within: Seconds after which no further try is begun, as it might cover what is newer; ``None``: the store's own.
        """
        ...

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; return whether this write, or an earlier try of the same bytes, won."""
        ...

    def upload(self, uploads: Sequence[Upload], *, progress: Callable[[int], None]) -> Mapping[str, StoredObject]:
        """Store files that are absent, in parallel, large ones in parts; the store checks digests of what it receives.

        What an earlier try has stored whole, or in parts, is not sent again.

        :param progress: Told how many bytes more are stored, from any thread; what was there before counts too. An error it
            raises ends the upload: no further file, nor part of one, is begun.
        :raises NotASavedModel: if a file is no longer what its size and digest say.
        :raises VersionExists: if there is an object with other content under a key.
        """
        ...

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a new file.

        :raises VersionNotFound: if there is none.
        """
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield all objects whose key starts with ``prefix``, in order of their keys."""
        ...

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the names directly below ``prefix`` (which ends with ``/`` or is empty), of objects and of prefixes, sorted."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is not there is as good as deleted."""
        ...

    def check_suitable(self) -> None:
        """Try whether the store keeps the promises of the log: of two writes if absent, one wins.

        :raises RepositoryUnsuitable: if it does not, with the reason.
        """
        ...
