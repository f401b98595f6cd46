"""The connection test tries the file system instead of believing its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.adapters.repository.posix_suitability import check_suitable, mount_of
from airflow_model_ops.core.errors import RepositoryUnsuitable

MOUNTS = """\
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:45 / {root} rw,relatime shared:2 - {kind} server:/export rw,{options}
41 22 0:46 / {root}-other rw - tmpfs tmpfs rw
"""


def mounts(root: Path, *, kind: str, options: str = "vers=4.2,hard") -> str:
    return MOUNTS.format(root=str(root).replace(" ", r"\040"), kind=kind, options=options)


def test_an_ordinary_directory_is_suitable_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    PosixRepository(tmp_path).check_suitable()
    assert list(tmp_path.iterdir()) == []


def _link_replaces(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _link_is_forbidden(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def _rename_replaces_directories(rename: Callable[..., None]) -> Callable[..., None]:
    def replace(source: Path, target: Path) -> None:
        if target.is_dir():
            shutil.rmtree(target)
        rename(source, target)

    return replace


def _rename_copies(source: Path, target: Path) -> None:
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def _unsupported(*_: object, **__: object) -> Any:
    raise OSError(95, "Operation not supported")


def _ignored(*_: object, **__: object) -> None:
    return None


@pytest.mark.parametrize(
    ("function", "behaviour", "complaint"),
    [
        ("link", _link_replaces, "link replaces a name that is taken, so two writers could win the same log entry"),
        ("link", _link_is_forbidden, r"link fails \(Operation not permitted\)"),
        ("rename", _rename_replaces_directories(os.rename), "rename replaces a directory that is not empty"),
        ("rename", _rename_copies, "rename does not replace a file"),
        ("symlink", _unsupported, r"symbolic link fails \(Operation not supported\)"),
        ("fsync", _unsupported, r"sync of a directory fails \(Operation not supported\)"),
        ("utime", _ignored, "files do not take time stamps"),
    ],
)
def test_a_file_system_that_breaks_a_promise_is_refused_by_its_kind_and_the_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, behaviour: Callable[..., Any], complaint: str
) -> None:
    monkeypatch.setattr(os, function, behaviour)
    with pytest.raises(RepositoryUnsuitable, match=complaint) as caught:
        check_suitable(tmp_path, mounts=mounts(tmp_path, kind="fuse.s3fs"))
    assert f"of kind 'fuse.s3fs', mounted at {tmp_path}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_all_that_does_not_work_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _link_is_forbidden)
    monkeypatch.setattr(os, "symlink", _unsupported)
    with pytest.raises(RepositoryUnsuitable, match=r"link fails .*; symbolic link fails .*\. Use a local disk, or NFS"):
        check_suitable(tmp_path)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(
        RepositoryUnsuitable, match=r"is not writable: .*Read-only file system.*give this user the right"
    ):
        check_suitable(tmp_path)


@pytest.mark.parametrize("options", ["vers=4.2,hard", "vers=3,lookupcache=all"])
def test_nfs_that_remembers_absent_names_is_refused_with_the_mount_option(tmp_path: Path, options: str) -> None:
    with pytest.raises(RepositoryUnsuitable, match=r"'nfs4'.*mount it with lookupcache=positive"):
        check_suitable(tmp_path, mounts=mounts(tmp_path, kind="nfs4", options=options))


@pytest.mark.parametrize("option", ["lookupcache=pos", "lookupcache=none", "noac"])
def test_nfs_that_asks_the_server_for_absent_names_is_suitable(tmp_path: Path, option: str) -> None:
    check_suitable(tmp_path, mounts=mounts(tmp_path, kind="nfs4", options=f"vers=4.2,{option}"))
    assert list(tmp_path.iterdir()) == []


def test_the_innermost_mount_counts_and_names_may_hold_spaces(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    (root / "below").mkdir(parents=True)
    table = mounts(root, kind="nfs4")
    assert mount_of(root / "below", mounts=table).kind == "nfs4"
    assert mount_of(root / "below", mounts=table).point == str(root)
    assert mount_of(tmp_path, mounts=table).kind == "ext4"
    assert mount_of(tmp_path, mounts="").kind == "unknown"
