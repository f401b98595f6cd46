"""Does an object store keep the promises the repository rests on? Tried, not assumed: what the connection test asks."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_model_ops.core.errors import ModelOpsError, RepositoryUnsuitable

if TYPE_CHECKING:
    from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore

NOT_ATOMIC = {
    "file": "a directory on a disk; write its path without a scheme, and the POSIX repository keeps it safely",
    "local": "a directory on a disk; write its path without a scheme, and the POSIX repository keeps it safely",
    "memory": "memory of one process, which no other worker sees",
    "ftp": "FTP, which has no conditional write",
    "sftp": "SFTP: its fsspec driver looks first and writes then",
    "ssh": "SFTP: its fsspec driver looks first and writes then",
    "smb": "SMB: its fsspec driver looks first and writes then; mount it and write the path of the mount",
    "http": "HTTP, which has no conditional write that every server honours",
    "https": "HTTP, which has no conditional write that every server honours",
    "hdfs": "HDFS: its fsspec driver looks first and writes then",
    "webhdfs": "WebHDFS: its fsspec driver looks first and writes then",
}
"""Schemes whose two writes may both win although a trial in a quiet moment passes, with what they are."""
_WRITERS = 4


def refusal_of(scheme: str) -> str | None:
    """Return why stores of a scheme cannot hold a repository, whatever a trial says; ``None`` if nothing is known against them."""
    what = NOT_ATOMIC.get(scheme)
    return what and (
        f"{scheme}:// is {what}. A repository needs a store on which only one of two writers of a new object wins: "
        "gs://, s3://, or another fsspec store with conditional writes"
    )


def check_suitable(store: FsspecStore) -> None:
    """Try under a key of its own whatever the repository does; nothing is left behind.

    :raises RepositoryUnsuitable: with all that does not work.
    :raises RepositoryUnavailable: if the store does not answer or the credentials do not suffice.
    """
    if reason := refusal_of(store.scheme):
        raise RepositoryUnsuitable(f"repository {store.uri!r}: {reason}")
    place = f"_suitability/{secrets.token_hex(8)}"
    keys = [f"{place}/first", f"{place}/race"]
    try:
        faults = [fault for fault in (_second_write(store, keys[0]), _race(store, keys[1])) if fault]
        listed = [one.key for one in store.list(f"{place}/")]
        if listed != sorted(keys):
            faults.append(f"a listing does not show what was just written ({listed!r} instead of {keys!r})")
    except BaseException:
        with suppress(ModelOpsError):  # what failed first is what a person can mend
            store.delete(keys)
        raise
    store.delete(keys)
    if not faults and (left := [one.key for one in store.list(f"{place}/")]):
        faults.append(f"deleted objects are still listed ({left!r})")
    if faults:
        raise RepositoryUnsuitable(
            f"repository {store.uri!r} is on a store that cannot keep a log: {'; '.join(faults)}. Use Google Cloud Storage, "
            "Amazon S3, or a server of its API that honours conditional writes (If-None-Match)"
        )


def _wins(store: FsspecStore, key: str, content: bytes) -> bool:
    try:
        store.create_object(key, content, sha256="")
    except FileExistsError:
        return False
    return True


def _second_write(store: FsspecStore, key: str) -> str | None:
    if not _wins(store, key, b"first"):
        return "a write to a new name is refused as taken"
    if _wins(store, key, b"second"):
        return "a conditional write replaces an object that is there, so two workers could win one log entry"
    return None if store.get(key) == b"first" else "a refused write changed the object"


def _race(store: FsspecStore, key: str) -> str | None:
    contents = [str(writer).encode() for writer in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="trial") as pool:
        results = list(pool.map(lambda content: _try(store, key, content), contents))
    errors = [result for result in results if isinstance(result, ModelOpsError)]
    if errors:
        raise errors[0]
    won = [content for content, result in zip(contents, results, strict=True) if result]
    if len(won) != 1:
        return f"of {_WRITERS} writers of one new object {len(won)} won"
    return None if store.get(key) == won[0] else "the writer that won is not the one whose content is there"


def _try(store: FsspecStore, key: str, content: bytes) -> bool | ModelOpsError:
    try:
        return _wins(store, key, content)
    except ModelOpsError as error:
        return error
