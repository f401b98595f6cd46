"""What a SavedModel directory holds: its files, checked, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from airflow_model_ops.core.errors import NotASavedModel

GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
"""The file that makes a directory a SavedModel is one of these."""
_STREAMS = 2
"""Files that are hashed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A regular file of the directory.

    :param name: Its relative POSIX path.
    :param path: Where it is read from; differs from the name's place if that is a link within the directory.
    """

    name: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All regular files, and all directories below the top one as relative paths, parents first."""

    files: tuple[SourceFile, ...]
    directories: tuple[str, ...]

    @property
    def size(self) -> int:
        """Total size of the files in bytes."""
        return sum(file.size for file in self.files)


def digest_of_files(files: Mapping[str, str]) -> str:
    """Return the digest of a version from its files' digests: SHA-256 over names and digests, sorted by name, in hex."""
    text = json.dumps(dict(files), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def saved_model_contents(directory: Path) -> Contents:
    """Return what a SavedModel directory holds.

    :raises NotASavedModel: if it is not one, holds anything but files and directories, or a link leads out of it.
    """
    try:
        root = directory.resolve(strict=True)
    except (OSError, RuntimeError):
        raise NotASavedModel(
            f"{str(directory)!r} does not exist; give the directory that model.export() wrote"
        ) from None
    if not root.is_dir():
        raise NotASavedModel(f"{str(directory)!r} is not a directory; give the directory that model.export() wrote")
    files: list[SourceFile] = []
    directories: list[str] = []
    for found in _walk(root):
        if isinstance(found, SourceFile):
            files.append(found)
        else:
            directories.append(found)
    if not any(file.name in GRAPHS for file in files):
        raise NotASavedModel(
            f"{str(directory)!r} holds no {' or '.join(GRAPHS)}; give the directory that model.export() wrote, not its parent"
        )
    return Contents(files=tuple(sorted(files, key=lambda file: file.name)), directories=tuple(directories))


def hash_files(contents: Contents) -> dict[str, str]:
    """Return the SHA-256 of each file in hex, by name."""
    with ThreadPoolExecutor(_STREAMS, thread_name_prefix="hash") as pool:
        digests = pool.map(lambda file: hash_file(file.path), contents.files)
        return dict(zip((file.name for file in contents.files), digests, strict=True))


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _walk(root: Path) -> Iterator[SourceFile | str]:
    waiting = [""]
    while waiting:
        above = waiting.pop()
        with os.scandir(root / above) as items:
            for item in sorted(items, key=lambda item: item.name):
                name = f"{above}{_checked(item.name, root)}"
                if item.is_dir(follow_symlinks=False):
                    yield name
                    waiting.append(f"{name}/")
                else:
                    yield _source_file(root, name)


def _source_file(root: Path, name: str) -> SourceFile:
    path = root / name
    if path.is_symlink():
        path = _inside(root, name)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotASavedModel(
            f"{name!r} in {str(root)!r} is neither a file nor a directory of files; a version holds nothing else: remove it"
        )
    return SourceFile(name=name, path=path, size=status.st_size)


def _inside(root: Path, name: str) -> Path:
    """Return the file that a link within the directory points to."""
    try:
        path = (root / name).resolve(strict=True)
    except (OSError, RuntimeError):
        raise NotASavedModel(f"link {name!r} in {str(root)!r} leads nowhere; remove it") from None
    if not path.is_relative_to(root):
        raise NotASavedModel(
            f"link {name!r} in {str(root)!r} leads out of it, to {str(path)!r}; put the file itself there"
        )
    return path


def _checked(name: str, root: Path) -> str:
    """Refuse names that are no plain text: they could not be written down in a manifest or as an object's key."""
    usable = name.isprintable() and "\\" not in name
    try:
        name.encode()
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise NotASavedModel(
            f"file name {name!r} in {str(root)!r} has characters that are not printable UTF-8, or a backslash; rename it"
        )
    return name
