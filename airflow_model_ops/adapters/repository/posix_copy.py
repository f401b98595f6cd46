"""Copying and hashing files, fast: each byte is read once, hashed in one thread while another writes it.

Hashing, reading, writing and syncing all release Python's global lock. SHA-256 is what takes longest, so everything else
hides behind it: a thread writes the next block meanwhile, and others push what is written to the disk.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Self

from airflow_model_ops.adapters.repository.contents import Contents, SourceFile
from airflow_model_ops.adapters.repository.posix_files import fsync_directory
from airflow_model_ops.core.errors import NotASavedModel

_BLOCK = 4 * 1024 * 1024
_BLOCKS = 4
"""Blocks of one file that are between reading and hashing."""
_STREAMS = 2
"""Files that are copied at once."""
_SYNCS = 4
"""Files that are synced at once: a journal commits them together."""
_SYNC_EVERY = 256 * 1024 * 1024
"""Written bytes after which the disk starts on them, so that the last sync finds little left."""
_READ_ONLY = 0o444
"""A version is immutable; what deletes it needs the directory's rights only."""


def copy_files(contents: Contents, destination: Path) -> dict[str, str]:
    """Copy files durably into a new directory; return the SHA-256 of what was written, in hex, by name.

    :raises NotASavedModel: if a file changes meanwhile.
    """
    destination.mkdir()
    for directory in contents.directories:
        (destination / directory).mkdir()
    with (
        _Syncs() as syncs,
        ThreadPoolExecutor(_STREAMS, thread_name_prefix="copy") as pool,
    ):
        copies = [pool.submit(_copy, file, destination / file.name, syncs) for file in contents.files]
        digests = {file.name: copy.result() for file, copy in zip(contents.files, copies, strict=True)}
    for directory in reversed(contents.directories):
        fsync_directory(destination / directory)
    fsync_directory(destination)
    return digests


class _Syncs:
    """Pushes written files to the disk meanwhile; leaving the block waits for all of them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_SYNCS, thread_name_prefix="sync")
        self._started: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for started in self._started:
                started.result()

    def start(self, path: Path) -> None:
        """Start to sync what has been written to a file so far."""
        self._started.append(self._pool.submit(_sync, path))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(file: SourceFile, target: Path, syncs: _Syncs) -> str:
    # Without O_NONBLOCK, opening what has become a pipe since it was looked at would hang.
    source = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(source, "rb", buffering=0) as reader:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise _changed(file)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READ_ONLY), "wb", buffering=0) as writer:
            stream = _stream_small if file.size <= _BLOCK else _stream_large
            size, digest = stream(reader, writer, lambda: syncs.start(target))
    if size != file.size:
        raise _changed(file)
    syncs.start(target)
    return digest


def _stream_small(reader: FileIO, writer: FileIO, _: Callable[[], None]) -> tuple[int, str]:
    """Copy a file that is not worth a thread; return its size and SHA-256."""
    content = reader.readall()
    _write(writer, memoryview(content))
    return len(content), hashlib.sha256(content).hexdigest()


def _stream_large(reader: FileIO, writer: FileIO, start_sync: Callable[[], None]) -> tuple[int, str]:
    """Copy a file while a thread hashes what was read; return its size and SHA-256."""
    digest, copied, synced = hashlib.sha256(), 0, 0
    hashing: deque[Future[None]] = deque()
    blocks = itertools.cycle([memoryview(bytearray(_BLOCK)) for _ in range(_BLOCKS)])
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as hasher:
        for block in blocks:
            if len(hashing) == _BLOCKS - 1:  # the oldest block in use comes next: wait until it is hashed
                hashing.popleft().result()
            length = reader.readinto(block)
            if not length:
                break
            hashing.append(hasher.submit(digest.update, block[:length]))
            _write(writer, block[:length])
            copied += length
            if copied - synced >= _SYNC_EVERY:
                synced = copied
                start_sync()
    for started in hashing:
        started.result()
    return copied, digest.hexdigest()


def _write(writer: FileIO, content: memoryview) -> None:
    while content:
        content = content[writer.write(content) :]


def _changed(file: SourceFile) -> NotASavedModel:
    return NotASavedModel(f"file {str(file.path)!r} changed while it was copied; push a finished export")
