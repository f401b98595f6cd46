from __future__ import annotations

from pathlib import Path

import pytest

from airflow_model_ops.model_server.model_list import All, Latest, ModelEntry, Specific, VersionPolicy
from airflow_model_ops.model_server.path_source import PathSource, parse_version, scan
from airflow_model_ops.model_server.status import Code, StatusError


def numbers(base: Path, policy: VersionPolicy) -> list[int]:
    return [version.number for version in scan(ModelEntry(name="digits", base_path=str(base), policy=policy))]


def directories(base: Path, *names: str) -> None:
    for name in names:
        (base / name).mkdir()


@pytest.mark.parametrize(
    ("child", "number"),
    [
        ("20230601120000", 20230601120000),
        ("00000123", 123),
        (" 7 ", 7),
        ("+5", 5),
        ("-5", -5),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("v-20230601-120000", None),
        ("123.tmp", None),
        ("1.0", None),
        ("", None),
        ("1_000", None),
        ("٣", None),
    ],
)
def test_a_directory_name_is_a_version_when_all_of_it_is_an_int64(child: str, number: int | None) -> None:
    assert parse_version(child) == number


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Latest(), [10]),
        (Latest(num_versions=0), [10]),
        (Latest(num_versions=2), [10, 9]),
        (Latest(num_versions=9), [10, 9, 2]),
        (All(), [10, 2, 9]),
        (Specific(versions=(2, 9)), [2, 9]),
        (Specific(), []),
    ],
)
def test_each_policy_picks_its_versions(tmp_path: Path, policy: VersionPolicy, expected: list[int]) -> None:
    directories(tmp_path, "2", "9", "10", ".tmp-11", "v-20230601-120000")
    assert numbers(tmp_path, policy) == expected


def test_a_specific_version_that_is_missing_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    directories(tmp_path, "1", "0002")
    found = scan(ModelEntry(name="m", base_path=str(tmp_path), policy=Specific(versions=(1, 2, 3))))
    assert [(version.number, version.path.name) for version in found] == [(1, "1"), (2, "0002")]


def test_of_two_names_for_one_number_the_one_without_zeros_is_served(tmp_path: Path) -> None:
    directories(tmp_path, "00000123", "123")
    (found,) = scan(ModelEntry(name="m", base_path=str(tmp_path)))
    assert found.path.name == "123"


def test_files_and_links_with_a_number_for_a_name_are_aspired_too(tmp_path: Path) -> None:
    directories(tmp_path, "model")
    (tmp_path / "5").write_text("not a directory")
    (tmp_path / "6").symlink_to(tmp_path / "model")
    assert numbers(tmp_path, All()) == [5, 6]


def test_a_missing_base_path_is_an_error_that_names_path_and_model(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match=r"Could not find base path .*gone for servable digits") as caught:
        numbers(tmp_path / "gone", Latest())
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_one_missing_base_path_freezes_the_updates_of_every_model(tmp_path: Path) -> None:
    directories(tmp_path, "1")
    told: list[tuple[str, list[int]]] = []
    source = PathSource(aspire=lambda name, versions: told.append((name, [v.number for v in versions])))
    present = ModelEntry(name="present", base_path=str(tmp_path))
    absent = ModelEntry(name="absent", base_path=str(tmp_path / "gone"))

    source.update([present, absent])
    assert not source.poll()
    assert told == []

    (tmp_path / "gone").mkdir()
    assert source.poll()
    assert told == [("present", [1]), ("absent", [])]


def test_a_model_that_left_the_list_loses_its_versions_at_once_and_without_a_poll(tmp_path: Path) -> None:
    told: list[tuple[str, list[int]]] = []
    source = PathSource(aspire=lambda name, versions: told.append((name, [v.number for v in versions])))
    source.update([ModelEntry(name="a", base_path=str(tmp_path)), ModelEntry(name="b", base_path=str(tmp_path))])
    source.update([ModelEntry(name="b", base_path=str(tmp_path))])
    assert told == [("a", [])]
