"""Atomic, durable file operations on POSIX: what the repository's promises rest on.

A file is written aside, in a directory of the same file system, then takes its name in one step: ``rename`` replaces,
``link`` refuses a name that is taken. What a killed writer leaves aside is removed an hour later by the next writer.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from airflow_model_ops.core.errors import RepositoryUnavailable

Result = TypeVar("Result")

ASIDE_SECONDS = 3600.0
"""How long a file may lie aside before it counts as left behind; a write takes milliseconds."""


@contextmanager
def reporting(what: str) -> Iterator[None]:
    """Turn an operating system's error into :class:`RepositoryUnavailable`, naming what was being done.

    :raises RepositoryUnavailable: for every ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise RepositoryUnavailable(
            f"cannot {what}: {error}; check that the file system is mounted, writable and not full"
        ) from error


class AtomicFiles:
    """Writes files whole or not at all.

    :param aside: Where files lie until they are complete; on the file system of their destination, made when missing.
    """

    def __init__(self, aside: Path) -> None:
        self._aside = aside

    def write(self, path: Path, content: bytes, *, durable: bool = True) -> None:
        """Replace a file; readers see the old content or the new.

        :param durable: Whether it must survive a power cut once this returns.
        """
        with self.written(content, durable=durable) as aside:
            _with_parent(path, lambda: os.replace(aside, path))  # noqa: PTH105 - os.* are what the tests interrupt
        if durable:
            fsync_directory(path.parent)

    def put_if_absent(self, path: Path, content: bytes, *, durable: bool = True) -> bool:
        """Create a file unless its name is taken; return whether this call created it."""
        with self.written(content, durable=durable) as aside:
            try:
                _with_parent(path, lambda: os.link(aside, path))
            except FileExistsError:
                return False
        if durable:
            fsync_directory(path.parent)
        return True

    def point_link(self, link: Path, target: str, *, durable: bool = False) -> None:
        """Make a symbolic link, or point an existing one elsewhere, in one step."""
        if link.is_symlink() and os.readlink(link) == target:  # noqa: PTH115 - the text, not a Path
            return
        aside = self._name()
        _with_parent(aside, lambda: aside.symlink_to(target))
        try:
            os.replace(aside, link)  # noqa: PTH105
        finally:
            aside.unlink(missing_ok=True)
        if durable:
            fsync_directory(link.parent)

    @contextmanager
    def written(self, content: bytes, *, durable: bool) -> Iterator[Path]:
        """Give a complete file that has no name of its own yet; it is gone afterwards."""
        self._clean()
        aside = self._name()
        try:
            descriptor = _with_parent(aside, lambda: os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            yield aside
        finally:
            aside.unlink(missing_ok=True)

    def _name(self) -> Path:
        return self._aside / secrets.token_hex(12)

    def _clean(self) -> None:
        try:
            left = list(os.scandir(self._aside))
        except FileNotFoundError:
            return
        for item in left:
            with contextlib.suppress(FileNotFoundError):  # its writer, or another cleaner, was quicker
                if time.time() - item.stat(follow_symlinks=False).st_mtime > ASIDE_SECONDS:
                    os.unlink(item.path)  # noqa: PTH108


def fsync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Make a directory and its parents durably; one that exists is left alone."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    fsync_directory(directory.parent)


def _with_parent(path: Path, action: Callable[[], Result]) -> Result:
    """Do something in a directory, which is made when it turns out to be missing: it seldom is."""
    try:
        return action()
    except FileNotFoundError:
        make_directory(path.parent)
        return action()
