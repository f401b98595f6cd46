"""Pushing on POSIX: a version is complete or invisible, whoever races and whatever is killed."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_model_ops.adapters.repository import posix_copy
from airflow_model_ops.adapters.repository.contents import saved_model_contents
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.core.errors import (
    InvalidConfig,
    InvalidState,
    InvalidVersionName,
    NotASavedModel,
    RepositoryUnavailable,
    VersionAltered,
    VersionExists,
    VersionNotFound,
)
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.versioning import Version
from tests.adapters.posix_children import (
    CREATED,
    VERSION,
    delete_killed,
    push_at,
    push_killed,
    request_for,
    run,
    start,
)

LATER = Version(name="v-20230601-120001", number=20230601120001)


def write_model(directory: Path, *, weights: bytes = b"weights") -> Path:
    (directory / "variables").mkdir(parents=True)
    (directory / "assets").mkdir()
    (directory / "saved_model.pb").write_bytes(b"graph")
    (directory / "variables" / "variables.index").write_bytes(b"index")
    (directory / "variables" / "variables.data-00000-of-00001").write_bytes(weights)
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    return root


@pytest.fixture
def repository(root: Path) -> PosixRepository:
    return PosixRepository(root)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "export")


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "other-export", weights=b"other weights")


def versions_directory(root: Path) -> Path:
    return root / "digits" / "versions"


def hidden(root: Path) -> list[str]:
    return [path.name for path in versions_directory(root).glob(".*")]


# What is stored


def test_a_pushed_version_is_stored_whole_with_a_manifest_and_a_link_by_name(
    repository: PosixRepository, root: Path, model: Path
) -> None:
    request = PushRequest(
        directory=model,
        created=CREATED,
        source={"path": "exports/7"},
        dataset_version="2023-05",
        hyperparameters={"rate": 0.1},
        metrics={"accuracy": 0.97},
    )
    manifest = repository.push("digits", VERSION, request)

    place = repository.path("digits", VERSION)
    assert place == versions_directory(root) / "20230601120000"
    assert (versions_directory(root) / VERSION.name).readlink() == Path("20230601120000")
    assert {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()} == set(manifest.files)
    assert (place / "variables" / "variables.data-00000-of-00001").read_bytes() == b"weights"
    assert (place / "assets").is_dir()
    assert repository.manifest("digits", VERSION) == manifest
    assert (manifest.version, manifest.size, manifest.created) == (VERSION, 17, CREATED)
    assert (manifest.dataset_version, manifest.source) == ("2023-05", {"path": "exports/7"})
    assert (manifest.hyperparameters, manifest.metrics) == ({"rate": 0.1}, {"accuracy": 0.97})
    repository.verify("digits", VERSION)
    assert hidden(root) == []


def test_files_of_every_size_arrive_unchanged(
    repository: PosixRepository, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes around the block, and more blocks than are in use at once, with syncs on the way."""
    monkeypatch.setattr(posix_copy, "_BLOCK", 64)
    monkeypatch.setattr(posix_copy, "_SYNC_EVERY", 200)
    for size in (0, 1, 63, 64, 65, 128, 64 * 4, 64 * 4 + 1, 64 * 23 + 5):
        (model / "assets" / str(size)).write_bytes(os.urandom(size))
    repository.push("digits", VERSION, request_for(model))
    stored = repository.path("digits", VERSION)
    for path in (model / "assets").iterdir():
        assert (stored / "assets" / path.name).read_bytes() == path.read_bytes()
    repository.verify("digits", VERSION)


def test_the_digest_of_a_directory_is_the_one_it_gets_as_a_version(repository: PosixRepository, model: Path) -> None:
    digest = repository.digest_of(model)
    assert repository.push("digits", VERSION, request_for(model)).digest == digest
    assert repository.digest_of(repository.path("digits", VERSION)) == digest


@pytest.mark.parametrize("change", ["content", "name", "more", "less"])
def test_the_digest_depends_on_every_name_and_byte(repository: PosixRepository, model: Path, change: str) -> None:
    before = repository.digest_of(model)
    index = model / "variables" / "variables.index"
    if change == "content":
        index.write_bytes(b"Index")
    elif change == "name":
        index.rename(index.with_name("variables.Index"))
    elif change == "more":
        (model / "assets" / "empty").touch()
    else:
        index.unlink()
    assert repository.digest_of(model) != before


def test_others_may_read_a_version_and_nobody_may_write_its_files(repository: PosixRepository, model: Path) -> None:
    (model / "saved_model.pb").chmod(0o600)
    repository.push("digits", VERSION, request_for(model))
    place = repository.path("digits", VERSION)
    assert stat.S_IMODE((place / "saved_model.pb").stat().st_mode) == 0o444
    assert place.stat().st_mode & stat.S_IXUSR


def test_a_text_graph_is_a_saved_model_too(repository: PosixRepository, model: Path) -> None:
    (model / "saved_model.pb").rename(model / "saved_model.pbtxt")
    assert "saved_model.pbtxt" in repository.push("digits", VERSION, request_for(model)).files


def test_links_within_the_directory_are_stored_as_files(
    repository: PosixRepository, tmp_path: Path, model: Path
) -> None:
    (model / "assets" / "copy").symlink_to("../variables/variables.index")
    latest = tmp_path / "latest"
    latest.symlink_to(model)
    repository.push("digits", VERSION, request_for(latest))
    stored = repository.path("digits", VERSION) / "assets" / "copy"
    assert not stored.is_symlink()
    assert stored.read_bytes() == b"index"


# What is refused


def _no_graph(model: Path) -> None:
    (model / "saved_model.pb").unlink()


def _graph_is_a_directory(model: Path) -> None:
    (model / "saved_model.pb").unlink()
    (model / "saved_model.pb").mkdir()


def _graph_below(model: Path) -> None:
    (model / "saved_model.pb").rename(model / "assets" / "saved_model.pb")


def _link_out(model: Path) -> None:
    (model.parent / "secret").write_text("secret")
    (model / "assets" / "leak").symlink_to("../../secret")


def _absolute_link_out(model: Path) -> None:
    (model / "assets" / "leak").symlink_to("/etc/hostname")


def _link_to_a_neighbour_with_the_same_beginning(model: Path) -> None:
    neighbour = model.with_name(model.name + "-secret")
    neighbour.write_text("secret")
    (model / "assets" / "leak").symlink_to(neighbour)


def _linked_directory_out(model: Path) -> None:
    (model / "assets" / "leak").symlink_to("..")
    (model / "assets" / "leak2").symlink_to("../..")


def _link_to_a_directory(model: Path) -> None:
    (model / "assets" / "again").symlink_to("../variables")


def _link_nowhere(model: Path) -> None:
    (model / "assets" / "gone").symlink_to("missing")


def _link_in_a_circle(model: Path) -> None:
    (model / "assets" / "circle").symlink_to("circle")


def _pipe(model: Path) -> None:
    os.mkfifo(model / "assets" / "pipe")


def _newline_in_a_name(model: Path) -> None:
    (model / "assets" / "a\nb").touch()


def _bytes_in_a_name(model: Path) -> None:
    Path(os.fsdecode(os.fsencode(model / "assets") + b"/\xff")).touch()


def _backslash_in_a_name(model: Path) -> None:
    (model / "assets" / "..\\x").touch()


def _gone(model: Path) -> None:
    shutil.rmtree(model)


def _a_file(model: Path) -> None:
    shutil.rmtree(model)
    model.write_bytes(b"graph")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_no_graph, "holds no saved_model.pb"),
        (_graph_is_a_directory, "holds no saved_model.pb"),
        (_graph_below, "holds no saved_model.pb"),
        (_link_out, "link 'assets/leak' .* leads out of it"),
        (_absolute_link_out, "leads out of it"),
        (_link_to_a_neighbour_with_the_same_beginning, "leads out of it"),
        (_linked_directory_out, "'assets/leak' in .* is neither a file|leads out of it"),
        (_link_to_a_directory, "'assets/again' .* is neither a file nor a directory of files"),
        (_link_nowhere, "link 'assets/gone' .* leads nowhere"),
        (_link_in_a_circle, "leads nowhere"),
        (_pipe, "'assets/pipe' .* is neither a file nor a directory"),
        (_newline_in_a_name, "not printable"),
        (_bytes_in_a_name, "not printable"),
        (_backslash_in_a_name, "backslash"),
        (_gone, "does not exist"),
        (_a_file, "is not a directory"),
    ],
)
def test_what_is_no_saved_model_is_refused_and_leaves_nothing(
    repository: PosixRepository, root: Path, model: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(model)
    with pytest.raises(NotASavedModel, match=complaint):
        repository.push("digits", VERSION, request_for(model))
    with pytest.raises(NotASavedModel, match=complaint):
        repository.digest_of(model)
    assert list(root.iterdir()) == []


def test_a_file_that_grows_while_it_is_copied_is_refused_and_leaves_nothing(
    repository: PosixRepository, root: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents_then_grow(directory: Path) -> object:
        contents = saved_model_contents(directory)
        with (model / "saved_model.pb").open("ab") as stream:
            stream.write(b"more")
        return contents

    monkeypatch.setattr("airflow_model_ops.adapters.repository.posix_push.saved_model_contents", contents_then_grow)
    with pytest.raises(NotASavedModel, match=r"saved_model.pb' changed while it was copied; push a finished export"):
        repository.push("digits", VERSION, request_for(model))
    assert (repository.versions("digits"), repository.models(), hidden(root)) == ((), (), [])


@pytest.mark.parametrize("part", ["metrics", "hyperparameters", "source"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_a_manifest_cannot_say_is_refused_before_anything_is_copied(
    repository: PosixRepository, root: Path, model: Path, part: str, value: object
) -> None:
    with pytest.raises(InvalidConfig, match=f"{part} .* cannot be written as JSON"):
        repository.push("digits", VERSION, PushRequest(directory=model, created=CREATED, **{part: {"x": value}}))
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("given", [7, 20230601.0, True, ["digits@7"], "", " ", "digits@7\n", " digits@7"])
def test_a_dataset_version_that_no_one_would_find_again_is_refused_before_anything_is_copied(
    repository: PosixRepository, root: Path, model: Path, given: object
) -> None:
    request = PushRequest(directory=model, created=CREATED, dataset_version=given)  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match=r"dataset_version .* is not a text without white space around it"):
        repository.push("digits", VERSION, request)
    assert list(root.iterdir()) == []


def test_a_manifest_keeps_the_lone_surrogates_of_file_names(repository: PosixRepository, model: Path) -> None:
    odd = os.fsdecode(b"/exports/gr\xf6\xdfe")
    request = PushRequest(
        directory=model, created=CREATED, source={"path": odd}, hyperparameters={odd: odd}, dataset_version=odd
    )
    repository.push("digits", VERSION, request)
    kept = repository.manifest("digits", VERSION)
    assert (kept.source, kept.hyperparameters, kept.dataset_version) == ({"path": odd}, {odd: odd}, odd)


def test_a_manifest_whose_dataset_version_is_a_number_does_not_stop_who_reads_it(
    repository: PosixRepository, root: Path, model: Path
) -> None:
    repository.push("digits", VERSION, request_for(model))
    path = root / "digits" / "manifests" / f"{VERSION.name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset_version": 7}))
    assert repository.manifest("digits", VERSION).dataset_version == "7"


ESCAPES = st.lists(st.sampled_from(["..", ".", "/", "\\", "\0", "a", "v-1", "~", " ", "\n", "%2e"]), max_size=6).map(
    "".join
)


@given(name=ESCAPES | st.text(max_size=12))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_model_version_or_fleet_name_leads_out_of_the_repository(
    tmp_path: Path, repository: PosixRepository, model: Path, name: str
) -> None:
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "repository")}
    for ask in (
        lambda: repository.push(name, VERSION, request_for(model)),
        lambda: repository.push("digits", Version(name=name, number=7), request_for(model)),
        lambda: repository.delete("digits", Version(name=name, number=7)),
        lambda: repository.fleet(name).write("document", b"x"),
        lambda: repository.fleet("main").write(name, b"x"),
        lambda: repository.write_evidence("digits", name, name, b"{}"),
    ):
        try:
            ask()
        except (InvalidConfig, InvalidVersionName, VersionExists):
            continue
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "repository")} == before
    for entry in (tmp_path / "repository").iterdir():
        assert entry.name == "_fleets" or entry.name[0].isalnum()


@pytest.mark.parametrize("model_name", ["_fleets", ".hidden", "_x", "..", "a/b", ""])
def test_reserved_and_escaping_model_names_are_refused(
    repository: PosixRepository, model: Path, model_name: str
) -> None:
    with pytest.raises(InvalidConfig, match="model name"):
        repository.push(model_name, VERSION, request_for(model))
    with pytest.raises(InvalidConfig, match="model name"):
        repository.log(model_name)


@pytest.mark.parametrize(("name", "number"), [("20230601120001", 5), ("v", -1), ("manifest/x", 1), ("", 1)])
def test_a_version_whose_name_could_be_taken_for_something_else_is_refused(
    repository: PosixRepository, model: Path, name: str, number: int
) -> None:
    with pytest.raises(InvalidVersionName, match="cannot be a file name"):
        repository.push("digits", Version(name=name, number=number), request_for(model))


def test_one_name_has_one_number(repository: PosixRepository, model: Path) -> None:
    repository.push("digits", VERSION, request_for(model))
    with pytest.raises(InvalidState, match="is number 20230601120000's, not 5's"):
        repository.push("digits", Version(name=VERSION.name, number=5), request_for(model))


def test_a_directory_that_somebody_put_in_the_place_of_a_version_is_not_overwritten(
    repository: PosixRepository, root: Path, model: Path
) -> None:
    foreign = write_model(versions_directory(root) / str(VERSION.number), weights=b"foreign")
    with pytest.raises(VersionExists, match=r"is there without a manifest.*push that directory itself to take it over"):
        repository.push("digits", VERSION, request_for(model))
    assert (foreign / "variables" / "variables.data-00000-of-00001").read_bytes() == b"foreign"
    assert repository.versions("digits") == ()


def test_a_directory_that_is_in_the_place_of_a_version_already_is_taken_over_without_a_copy(
    repository: PosixRepository, root: Path
) -> None:
    """A fleet that served from hand-copied directories is adopted like this."""
    place = write_model(versions_directory(root) / str(VERSION.number))
    inode = (place / "saved_model.pb").stat().st_ino
    manifest = repository.push("digits", VERSION, request_for(place))
    assert (place / "saved_model.pb").stat().st_ino == inode
    assert repository.versions("digits") == (VERSION,)
    repository.verify("digits", VERSION)
    assert repository.push("digits", VERSION, request_for(place)) == manifest
    assert (versions_directory(root) / VERSION.name).readlink() == Path(place.name)


# The same name again


def test_the_same_content_again_adopts_what_is_there(repository: PosixRepository, root: Path, model: Path) -> None:
    first = repository.push("digits", VERSION, request_for(model))
    inode = repository.path("digits", VERSION).stat().st_ino
    again = PushRequest(directory=model, created="2024-01-01T00:00:00Z", metrics={"accuracy": 0.1})
    assert repository.push("digits", VERSION, again) == first
    assert repository.path("digits", VERSION).stat().st_ino == inode
    assert hidden(root) == []


def test_other_content_under_a_taken_name_is_refused_and_changes_nothing(
    repository: PosixRepository, root: Path, model: Path, other_model: Path
) -> None:
    first = repository.push("digits", VERSION, request_for(model))
    with pytest.raises(VersionExists, match=r"'v-20230601-120000' exists with other content .* choose a new name"):
        repository.push("digits", VERSION, request_for(other_model))
    assert repository.manifest("digits", VERSION) == first
    repository.verify("digits", VERSION)
    assert hidden(root) == []


def test_pushing_again_brings_back_files_that_somebody_removed_by_hand(
    repository: PosixRepository, model: Path, other_model: Path
) -> None:
    repository.push("digits", VERSION, request_for(model))
    shutil.rmtree(repository.path("digits", VERSION))
    assert repository.versions("digits") == ()
    with pytest.raises(VersionExists, match="other content"):
        repository.push("digits", VERSION, request_for(other_model))
    repository.push("digits", VERSION, request_for(model))
    repository.verify("digits", VERSION)


# Deletion


def test_a_deleted_version_is_gone_but_its_manifest_stays(repository: PosixRepository, root: Path, model: Path) -> None:
    manifest = repository.push("digits", VERSION, request_for(model))
    repository.push("digits", LATER, request_for(model))
    repository.delete("digits", VERSION)
    repository.delete("digits", VERSION)
    assert repository.versions("digits") == (LATER,)
    assert repository.manifest("digits", VERSION) == manifest
    with pytest.raises(
        VersionNotFound, match=r"files of 'v-20230601-120000' .* were deleted; choose one of v-20230601-120001"
    ):
        repository.path("digits", VERSION)
    assert sorted(path.name for path in versions_directory(root).iterdir()) == [str(LATER.number), LATER.name]


@pytest.mark.parametrize("content", ["the same", "other"])
def test_a_deleted_versions_name_is_never_used_again(
    repository: PosixRepository, model: Path, other_model: Path, content: str
) -> None:
    repository.push("digits", VERSION, request_for(model))
    repository.delete("digits", VERSION)
    with pytest.raises(VersionExists, match=r"was retired .* choose a new one"):
        repository.push("digits", VERSION, request_for(model if content == "the same" else other_model))
    assert repository.versions("digits") == ()


def test_unknown_versions_are_told_with_the_ones_to_choose_from(repository: PosixRepository, model: Path) -> None:
    for ask in (repository.manifest, repository.path, repository.verify, repository.delete):
        with pytest.raises(VersionNotFound, match="has no version 'v-20230601-120000'; push one first"):
            ask("digits", VERSION)
    repository.push("digits", LATER, request_for(model))
    with pytest.raises(VersionNotFound, match="choose one of v-20230601-120001"):
        repository.path("digits", VERSION)


# Verification


def _writable(path: Path) -> Path:
    path.chmod(0o644)
    return path


@pytest.mark.parametrize(
    ("alter", "complaint"),
    [
        (lambda place: _writable(place / "saved_model.pb").write_bytes(b"grapH"), "different saved_model.pb"),
        (lambda place: (place / "variables" / "variables.index").unlink(), "missing variables/variables.index"),
        (lambda place: (place / "saved_model.pb").unlink(), "holds no saved_model.pb"),
        (lambda place: (place / "assets" / "extra").touch(), "added assets/extra"),
        (lambda place: (place / "assets" / "extra").symlink_to("/etc/hostname"), "leads out of it"),
        (
            lambda place: (place / "variables" / "variables.index").rename(place / "variables" / "moved"),
            "missing variables/variables.index; added variables/moved",
        ),
        (lambda place: [(place / f"x{n}").touch() for n in range(9)], "added x0, x1, x2 and 6 more"),
    ],
)
def test_verification_finds_and_names_what_was_altered(
    repository: PosixRepository, model: Path, alter: Callable[[Path], object], complaint: str
) -> None:
    repository.push("digits", VERSION, request_for(model))
    alter(repository.path("digits", VERSION))
    with pytest.raises(VersionAltered, match=complaint):
        repository.verify("digits", VERSION)


def test_verification_finds_an_altered_manifest(repository: PosixRepository, root: Path, model: Path) -> None:
    digest = repository.push("digits", VERSION, request_for(model)).digest
    path = root / "digits" / "manifests" / f"{VERSION.name}.json"
    path.write_text(path.read_text().replace(digest, "0" * 64))
    with pytest.raises(VersionAltered, match=r"manifest of .* is altered"):
        repository.verify("digits", VERSION)


def test_a_manifest_that_cannot_be_read_is_an_error(repository: PosixRepository, root: Path, model: Path) -> None:
    repository.push("digits", VERSION, request_for(model))
    path = root / "digits" / "manifests" / f"{VERSION.name}.json"
    for content, complaint in ((b"{", "cannot be read"), (b"{}", "cannot be read")):
        path.write_bytes(content)
        with pytest.raises(InvalidState, match=complaint):
            repository.manifest("digits", VERSION)


# Crashes and races


def test_a_full_disk_is_told_and_a_retry_succeeds(
    repository: PosixRepository, root: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(posix_copy, "_sync", fail)
        with pytest.raises(RepositoryUnavailable, match=r"cannot push v-20230601-120000 .*No space left on device"):
            repository.push("digits", VERSION, request_for(model))
    assert (repository.versions("digits"), hidden(root)) == ((), [])
    repository.push("digits", VERSION, request_for(model))
    repository.verify("digits", VERSION)


@pytest.mark.integration
@pytest.mark.parametrize("retry", ["the same", "other"])
def test_a_push_killed_at_any_point_shows_nothing_half_done_and_a_retry_succeeds(
    tmp_path: Path, model: Path, other_model: Path, retry: str
) -> None:
    """After the kill the name is free, or belongs to the killed push; then anybody's retry finishes that."""
    kept = []
    for change in range(1, 200):
        root = tmp_path / "killed" / str(change)
        root.mkdir(parents=True)
        ended = run(push_killed, root, model, change)
        repository = PosixRepository(root)
        seen = repository.versions("digits")
        if seen:
            repository.verify("digits", VERSION)
        assert seen in ((), (VERSION,))
        try:
            repository.push("digits", VERSION, request_for(model if retry == "the same" else other_model))
        except VersionExists:
            assert retry == "other"
        repository.verify("digits", VERSION)
        assert repository.versions("digits") == (VERSION,)
        assert (versions_directory(root) / VERSION.name).readlink() == Path(str(VERSION.number))
        kept.append(repository.manifest("digits", VERSION).digest == repository.digest_of(model))
        if ended == 0:
            break
        assert ended == -9
    assert ended == 0
    assert len(kept) > 15  # there were that many points
    assert kept == sorted(kept)


@pytest.mark.integration
def test_a_deletion_killed_at_any_point_is_finished_by_repeating_it(tmp_path: Path, model: Path) -> None:
    for change in range(1, 100):
        root = tmp_path / "killed" / str(change)
        root.mkdir(parents=True)
        repository = PosixRepository(root)
        repository.push("digits", VERSION, request_for(model))
        ended = run(delete_killed, root, VERSION, change)
        if repository.versions("digits"):
            repository.verify("digits", VERSION)
        repository.delete("digits", VERSION)
        assert list(versions_directory(root).iterdir()) == []
        with pytest.raises(VersionExists, match="was retired"):
            repository.push("digits", VERSION, request_for(model))
        if ended == 0:
            break
        assert ended == -9
    assert ended == 0


@pytest.mark.integration
def test_of_processes_that_push_other_content_under_one_name_one_wins_and_its_twins_adopt(
    tmp_path: Path, root: Path, model: Path, other_model: Path
) -> None:
    repository = PosixRepository(root)
    digests = {repository.digest_of(path): path for path in (model, other_model)}
    moment = time.time() + 1
    answers = [tmp_path / f"answer{number}" for number in range(8)]
    sources = [(model, other_model)[number % 2] for number in range(8)]
    pushers = [start(push_at, moment, root, *pair) for pair in zip(sources, answers, strict=True)]
    for pusher in pushers:
        pusher.join(120)
    assert [pusher.exitcode for pusher in pushers] == [0] * 8

    repository.verify("digits", VERSION)
    winner = repository.manifest("digits", VERSION).digest
    for source, answer in zip(sources, answers, strict=True):
        if source == digests[winner]:
            assert answer.read_text() == winner
        else:
            assert answer.read_text().startswith("refused: version 'v-20230601-120000' exists with other content")
    assert hidden(root) == []


def test_dead_staging_is_removed_after_a_day_and_not_before(
    repository: PosixRepository, root: Path, model: Path
) -> None:
    for name, age in (("dead", 90_000), ("alive", 80_000)):
        staging = write_model(versions_directory(root) / f".staging-v-20230601-115959-{name}")
        os.utime(staging, (time.time() - age,) * 2)
    repository.push("digits", VERSION, request_for(model))
    assert hidden(root) == [".staging-v-20230601-115959-alive"]


def test_cleaning_finishes_a_push_that_was_committed(repository: PosixRepository, root: Path, model: Path) -> None:
    """Its pusher was killed after the commit, nobody retried, and now somebody pushes another version a day later."""
    repository.push("digits", VERSION, request_for(model))
    place = repository.path("digits", VERSION)
    manifest_file = (root / "digits" / "manifests" / f"{VERSION.name}.json").read_text()
    staged = next(part for part in manifest_file.split('"') if part.startswith(".staging-"))
    place.rename(versions_directory(root) / staged)
    (versions_directory(root) / VERSION.name).unlink()
    os.utime(versions_directory(root) / staged, (time.time() - 90_000,) * 2)
    assert repository.versions("digits") == ()

    repository.push("digits", LATER, request_for(model))
    assert repository.versions("digits") == (VERSION, LATER)
    repository.verify("digits", VERSION)
