"""Does a file system keep the promises the repository rests on? Tried, not assumed: what the connection test asks."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_files import fsync_directory
from airflow_model_ops.adapters.repository.posix_versions import remove_tree
from airflow_model_ops.core.errors import RepositoryUnsuitable

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_CLOCK_SECONDS = 3600.0
"""How far a stamp may be from this host's clock before it cannot be a time at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Where a directory is mounted from. Source: proc_pid_mountinfo(5)."""

    point: str
    kind: str
    options: frozenset[str]

    @property
    def hides_new_files(self) -> bool:
        """Whether a host may go on not seeing a file that another one made: NFS remembers names that were absent.

        Source: nfs(5), lookupcache.
        """
        fresh = {"noac", "actimeo=0", "lookupcache=none", "lookupcache=pos", "lookupcache=positive"}
        return self.kind.startswith("nfs") and not self.options & fresh


def mount_of(directory: Path, *, mounts: str | None = None) -> Mount:
    """Return the mount a directory is on; its kind is ``unknown`` where the kernel does not tell."""
    if mounts is None:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace") if _MOUNTS.exists() else ""
    best = Mount(point="/", kind="unknown", options=frozenset())
    place = directory.resolve()
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), before.split()[4])
        if place.is_relative_to(point) and len(point) >= len(best.point):
            kind, _, options = after.split(" ", 2)
            best = Mount(point=point, kind=kind, options=frozenset(options.split(",")))
    return best


def check_suitable(root: Path, *, mounts: str | None = None) -> None:
    """Try in a directory of its own below the root whatever the repository does; nothing is left behind.

    :param mounts: The kernel's list of mounts, if not the present one.
    :raises RepositoryUnsuitable: naming the kind of file system and all that does not work.
    """
    mount = mount_of(root, mounts=mounts)
    place = root / f".suitability-{secrets.token_hex(8)}"
    try:
        place.mkdir()
    except OSError as error:
        raise RepositoryUnsuitable(
            f"repository {str(root)!r} ({mount.kind}, mounted at {mount.point}) is not writable: {error}; give this user the "
            "right to write there"
        ) from error
    try:
        faults = [fault for trial in _TRIALS if (fault := _fault(trial, place))]
    finally:
        remove_tree(place)
    if mount.hides_new_files:
        faults.append(
            "a host may not see for up to a minute what another one wrote, as the mount remembers absent names: mount it "
            "with lookupcache=positive"
        )
    if faults:
        raise RepositoryUnsuitable(
            f"repository {str(root)!r} is on a file system of kind {mount.kind!r}, mounted at {mount.point}, that cannot keep a "
            f"log: {'; '.join(faults)}. Use a local disk, or NFS mounted with lookupcache=positive; for buckets use object "
            "storage itself, not a mounted one"
        )


def _fault(trial: Callable[[Path], str | None], place: Path) -> str | None:
    try:
        return trial(place)
    except OSError as error:
        return f"{trial.__name__.removeprefix('_try_').replace('_', ' ')} fails ({error.strerror or error})"


def _try_link(place: Path) -> str | None:
    first, second, name = place / "first", place / "second", place / "name"
    first.write_bytes(b"first")
    second.write_bytes(b"second")
    os.link(first, name)
    try:
        os.link(second, name)
    except FileExistsError:
        return None if name.read_bytes() == b"first" else "link changed a file that it refused to replace"
    return "link replaces a name that is taken, so two writers could win the same log entry"


def _try_rename_of_a_file(place: Path) -> str | None:
    old, new = place / "old", place / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    os.rename(new, old)  # noqa: PTH104 - as the repository does it
    return None if old.read_bytes() == b"new" and not new.exists() else "rename does not replace a file"


def _try_rename_of_a_directory(place: Path) -> str | None:
    staged, taken = place / "staged", place / "taken"
    for directory in (staged, taken):
        directory.mkdir()
        (directory / "file").write_bytes(directory.name.encode())
    try:
        os.rename(staged, taken)  # noqa: PTH104
    except OSError:
        os.rename(staged, place / "free")  # noqa: PTH104
        moved = (place / "free" / "file").read_bytes() == b"staged" and not staged.exists()
        return None if moved else "rename does not move a directory"
    return "rename replaces a directory that is not empty, so a version could be overwritten"


def _try_symbolic_link(place: Path) -> str | None:
    link, other = place / "link", place / "other-link"
    link.symlink_to("one")
    other.symlink_to("two")
    os.replace(other, link)  # noqa: PTH105
    return None if os.readlink(link) == "two" else "rename does not replace a symbolic link"  # noqa: PTH115


def _try_time_stamp(place: Path) -> str | None:
    file = place / "stamped"
    file.write_bytes(b"")
    os.utime(file, (0, 0))
    released = file.stat().st_mtime
    os.utime(file)
    touched = file.stat().st_mtime
    works = released < _CLOCK_SECONDS and touched - released > _CLOCK_SECONDS
    return None if works else "files do not take time stamps, so a fleet lock could not fall to the next worker"


def _try_sync_of_a_directory(place: Path) -> None:
    fsync_directory(place)


_TRIALS = (
    _try_link,
    _try_rename_of_a_file,
    _try_rename_of_a_directory,
    _try_symbolic_link,
    _try_time_stamp,
    _try_sync_of_a_directory,
)
