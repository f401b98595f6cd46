"""Copying and hashing files."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from airflow_model_ops.adapters.repository.contents import Contents, SourceFile
from airflow_model_ops.adapters.repository.posix_files import fsync_directory
from airflow_model_ops.core.errors import NotASavedModel

_BUFFER = 4 * 1024 * 1024
_READERS = 2


def hash_files(contents: Contents) -> dict[str, str]:
    """Return the SHA-256 of each file in hex, by name."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="hash") as pool:
        digests = pool.map(_hash, contents.files)
        return dict(zip((file.name for file in contents.files), digests, strict=True))


def copy_files(contents: Contents, destination: Path) -> dict[str, str]:
    """Copy files durably into a new directory; return the SHA-256 of what was written, in hex, by name.

    :raises NotASavedModel: if a file changes meanwhile.
    """
    destination.mkdir()
    for directory in contents.directories:
        (destination / directory).mkdir()
    digests = {file.name: _copy(file, destination / file.name) for file in contents.files}
    for directory in reversed(contents.directories):
        fsync_directory(destination / directory)
    fsync_directory(destination)
    return digests


def _hash(file: SourceFile) -> str:
    with file.path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _copy(file: SourceFile, target: Path) -> str:
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_BUFFER))
    source = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(source, "rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        while length := reader.readinto(buffer):
            digest.update(buffer[:length])
            writer.write(buffer[:length])
            size += length
        os.fsync(writer.fileno())
    if size != file.size:
        raise NotASavedModel(f"file {str(file.path)!r} changed while it was copied; push a finished export")
    return digest.hexdigest()
