"""What went wrong at an object store, in words: which thing, which fault, what to do. Its libraries raise dozens of classes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_model_ops.core.errors import ModelOpsError, RepositoryUnavailable

_LIBRARIES = frozenset(
    {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs", "urllib3"}
)
"""Exceptions of these are the store's; any other one that is no ``OSError`` is a mistake of ours and stays what it is."""
_WRONG_CREDENTIALS = frozenset(
    {"401", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)
_NOT_ALLOWED = frozenset({"403", "AccessDenied", "AllAccessDisabled", "AccountProblem"})
_BUSY = frozenset(
    {"429", "TooManyRequests", "SlowDown", "500", "502", "503", "504", "InternalError", "ServiceUnavailable"}
)
_OF_THIS_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EISDIR, errno.EMFILE, errno.ENFILE})
"""Faults of a disk. Libraries of stores use other numbers of this kind for answers of theirs, but never with a file's name."""


@contextmanager
def in_words(doing: str, uri: str) -> Iterator[None]:
    """Turn what a store's library raises into ``RepositoryUnavailable``; ``FileExistsError`` is an answer and passes.

    :param doing: What was asked, e.g. ``"read 'digits/log/1.json'"``.
    :param uri: The root of the repository.
    :raises RepositoryUnavailable: a retry helps once the store answers, or the connection is mended.
    """
    try:
        yield
    except (ModelOpsError, FileExistsError):
        raise
    except Exception as error:
        if not _is_the_stores(error):
            raise
        if _is_of_this_machine(error):
            told = f"this machine says {error}; make room, or mend the directory for temporary files, and try again"
        else:
            told = _fault_and_remedy(error, uri)
        raise RepositoryUnavailable(f"repository {uri!r}: cannot {doing}: {told}") from error


def code_of(error: BaseException | None) -> str:
    """Return the store's own code of an error, such as ``NoSuchBucket`` or ``503``; empty if it has none.

    Sources: the ``response`` of botocore's ``ClientError``, which s3fs keeps as the cause; ``code`` of gcsfs' ``HttpError``.
    """
    while error is not None:
        response: Any = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        if getattr(error, "code", None):
            return str(error.code)  # type: ignore[attr-defined]
        error = error.__cause__
    return ""


def _is_the_stores(error: Exception) -> bool:
    # ValueError: gcsfs raises it for a request that the store calls invalid
    return isinstance(error, (OSError, ValueError)) or type(error).__module__.partition(".")[0] in _LIBRARIES


def _fault_and_remedy(error: Exception, uri: str) -> str:
    code, said = code_of(error), f"{type(error).__name__}: {error}".strip().rstrip(".:")
    lost_credentials = type(error).__module__.startswith("google.auth") or "Credential" in type(error).__name__
    if code in _WRONG_CREDENTIALS or lost_credentials:
        return f"it refuses the credentials ({said}); mend the connection that `storage_conn_id` names"
    if code in _NOT_ALLOWED or isinstance(error, PermissionError) or str(error).startswith("Forbidden"):
        return (
            f"these credentials may not do that ({said}); give them the right to list, read, create and delete objects "
            "there, as docs/object_storage.md says"
        )
    if isinstance(error, FileNotFoundError):
        return _what_is_missing(error, said)
    if isinstance(error, TimeoutError):
        return "it did not answer in time; see whether this host reaches it, and try again"
    if code in _BUSY:
        return f"it is in trouble, or asks for fewer requests ({said}); try again later"
    bucket = uri.partition("://")[0]
    return f"{said}; see whether this host reaches the {bucket} endpoint of the connection, and try again"


def _is_of_this_machine(error: Exception) -> bool:
    if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
        return False
    return error.errno in _OF_THIS_MACHINE or isinstance(error.filename, (str, bytes))


def _what_is_missing(error: FileNotFoundError, said: str) -> str:
    if error.filename:  # stores name none: this is a file of this host, such as the key
        return (
            f"this host has no file {str(error.filename)!r}; if it is the key of the connection that `storage_conn_id` names, "
            "put it there on every Airflow host, or correct that connection"
        )
    return f"there is no such bucket ({said}); create it, or correct `root` of the connection"
