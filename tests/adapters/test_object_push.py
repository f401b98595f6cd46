"""Pushing to a bucket: a version is complete or invisible, of one content, whoever races and whatever is killed."""

from __future__ import annotations

import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.manifests import STAGING_SECONDS
from airflow_model_ops.adapters.repository.object_repository import ObjectRepository
from airflow_model_ops.core.errors import RepositoryUnavailable, VersionAltered, VersionExists, VersionNotFound
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.versioning import VersionNaming
from tests.adapters.memory_store import CHANGES, MemoryStore
from tests.waits import until

NAMING = VersionNaming()
VERSION, LATER = NAMING.parse("v-20230601-120000"), NAMING.parse("v-20230601-120001")
PLACE = f"digits/versions/{VERSION.number}/"
GRAPH = f"{PLACE}saved_model.pb"
SOON_DEAD, ALIVE = 0.1, 60.0
"""For how long a claim counts without a renewal: where nobody else is alive, and where a busy machine may stop one for a while."""


class Killed(BaseException):
    """The process is gone: nothing of it cleans up behind it."""


class Clock:
    """The store's clock."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "export")


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """As long as the first one, with one file of another name."""
    return write_model(tmp_path / "other", graph=b"GRAPH", weights=b"WEIGHTS", asset="other.txt")


def write_model(
    directory: Path, *, graph: bytes = b"graph", weights: bytes = b"weights", asset: str = "words.txt"
) -> Path:
    (directory / "variables").mkdir(parents=True)
    (directory / "assets").mkdir()
    (directory / "saved_model.pb").write_bytes(graph)
    (directory / "variables" / "variables.index").write_bytes(b"index")
    (directory / "variables" / "variables.data-00000-of-00001").write_bytes(weights)
    (directory / "assets" / asset).write_bytes(b"words")
    return directory


def repository_at(store: MemoryStore, *, claim_seconds: float = SOON_DEAD) -> ObjectRepository:
    """A process of its own: it knows nothing from before."""
    return ObjectRepository(store, claim_seconds=claim_seconds)


def request_for(directory: Path) -> PushRequest:
    return PushRequest(directory=directory, created="2023-06-01T12:00:00Z")


def push(store: MemoryStore, directory: Path, *, claim_seconds: float = SOON_DEAD) -> str:
    return repository_at(store, claim_seconds=claim_seconds).push("digits", VERSION, request_for(directory)).digest


def digest_of(directory: Path) -> str:
    return ObjectRepository(MemoryStore()).digest_of(directory)


def kill_at(store: MemoryStore, number: int, *, with_effect: bool) -> MemoryStore:
    """A view of the bucket whose process dies at a change, from 1: before it, or when it has had its effect."""
    view, count, dead = store.view(), itertools.count(1), threading.Event()

    def before(call: str, key: str) -> None:
        if dead.is_set():
            raise Killed
        if is_step(call, key) and next(count) == number:
            dead.set()
            if not with_effect:
                raise Killed

    def after(*_: str) -> None:
        if dead.is_set():
            raise Killed

    view.before, view.after = before, after
    return view


def files_of(store: MemoryStore) -> dict[str, bytes]:
    return {key.removeprefix(PLACE): store.content(key) for key in store.stored_keys(PLACE)}


def files_in(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def left(store: MemoryStore) -> list[str]:
    """What is there beside versions and manifests."""
    return [key for key in store.stored_keys() if not key.startswith(("digits/versions/", "digits/manifests/"))]


def changes_of_a_push(directory: Path) -> int:
    store = MemoryStore()
    push(store, directory)
    return sum(is_step(call, key) for call, key in store.calls)


def is_step(call: str, key: str) -> bool:
    """Whether a call is a change that each push makes: how often it renews its claim, the machine's load decides."""
    return call in CHANGES and not (call == "put" and "/claims/" in key)


CRASHES = list(itertools.product(range(1, 10), [False, True]))


def test_the_crashes_below_are_all_there_are(model: Path) -> None:
    assert changes_of_a_push(model) == len(CRASHES) / 2


def test_a_push_leaves_the_files_and_the_manifest_alone_and_stores_the_graph_last(
    store: MemoryStore, model: Path
) -> None:
    push(store, model)
    assert files_of(store) == files_in(model)
    assert left(store) == []
    stored = [key for call, key in store.calls if call == "upload" and key.startswith(PLACE)]
    assert (stored[-1], stored.count(GRAPH), len(stored)) == (GRAPH, 1, 4)
    commit = store.calls.index(("put_if_absent", f"digits/manifests/{VERSION.name}.json"))
    assert [key for call, key in store.calls[commit:] if call == "upload"] == [GRAPH]


@pytest.mark.parametrize(("number", "with_effect"), CRASHES)
def test_a_killed_push_shows_nothing_half_done_and_is_finished_by_the_next_one(
    store: MemoryStore, model: Path, number: int, with_effect: bool
) -> None:
    with pytest.raises(Killed):
        push(kill_at(store, number, with_effect=with_effect), model)
    if GRAPH in store.stored_keys():
        assert files_of(store) == files_in(model)
    assert (repository_at(store).versions("digits") == (VERSION,)) is (GRAPH in store.stored_keys())
    before = store.stored_keys(PLACE)
    again = store.view()
    assert push(again, model) == digest_of(model)
    assert files_of(store) == files_in(model)
    assert left(store) == []
    repository_at(store).verify("digits", VERSION)
    assert not [key for call, key in again.calls if call == "delete" and key in before]  # what was there stays


@pytest.mark.parametrize(("number", "with_effect"), CRASHES)
def test_a_killed_push_of_other_content_gives_way_or_has_the_name(
    store: MemoryStore, model: Path, other_model: Path, number: int, with_effect: bool
) -> None:
    with pytest.raises(Killed):
        push(kill_at(store, number, with_effect=with_effect), model)
    is_committed = f"digits/manifests/{VERSION.name}.json" in store.stored_keys()
    if is_committed:
        with pytest.raises(VersionExists, match="exists with other content"):
            push(store, other_model)
    else:
        assert push(store, other_model) == digest_of(other_model)
    assert files_of(store) == files_in(model if is_committed else other_model)
    assert [key for key in left(store) if "/staged/" not in key] == []
    repository_at(store).verify("digits", VERSION)


@pytest.mark.parametrize(("number", "with_effect"), CRASHES)
def test_what_a_killed_push_left_is_finished_or_gone_a_day_later(
    store: MemoryStore, clock: Clock, model: Path, number: int, with_effect: bool
) -> None:
    with pytest.raises(Killed):
        push(kill_at(store, number, with_effect=with_effect), model)
    clock.now += STAGING_SECONDS + 1
    repository_at(store).push("digits", LATER, request_for(model))
    assert left(store) == []
    is_committed = f"digits/manifests/{VERSION.name}.json" in store.stored_keys()
    assert files_of(store) == (files_in(model) if is_committed else {})


def test_what_a_push_left_a_minute_ago_is_not_cleaned_away_but_finished_if_committed(
    store: MemoryStore, clock: Clock, model: Path
) -> None:
    with pytest.raises(Killed):
        push(kill_at(store, 5, with_effect=True), model)
    there = store.stored_keys()
    clock.now += 60
    repository_at(store).push("digits", LATER, request_for(model))
    assert set(there) <= set(store.stored_keys())


@pytest.mark.parametrize("number", range(1, 10))
def test_a_push_that_was_believed_dead_wakes_up_and_mixes_nothing(
    store: MemoryStore, model: Path, other_model: Path, number: int
) -> None:
    """All it does from some change on happens after the other push has ended."""
    with woken_at(store, number) as (view, wake):
        sleeper = ThreadPoolExecutor(1).submit(outcome, view, model)
        until(lambda: wake.reached.is_set() or sleeper.done(), what="the push reaches its change")
        other = outcome(store.view(), other_model)
        wake.allowed.set()
        ended = sleeper.result(timeout=60)
    assert sorted([ended, other], key=str) == sorted(
        ["refused", digest_of(model if ended != "refused" else other_model)]
    )
    winner = model if ended != "refused" else other_model
    assert files_of(store) == files_in(winner)
    assert repository_at(store).manifest("digits", VERSION).digest == digest_of(winner)
    repository_at(store).verify("digits", VERSION)


@pytest.mark.parametrize("number", range(1, 26))
def test_a_take_over_that_was_believed_dead_too_wakes_up_and_mixes_nothing(
    store: MemoryStore, model: Path, other_model: Path, tmp_path: Path, number: int
) -> None:
    """It was about to clear the place of a dead push, and another one has filled it since."""
    third = write_model(tmp_path / "third", graph=b"Graph", weights=b"Weights", asset="third.txt")
    with pytest.raises(Killed):
        push(kill_at(store, 4, with_effect=True), model)
    with woken_at(store, number) as (view, wake):
        sleeper = ThreadPoolExecutor(1).submit(outcome, view, other_model)
        until(lambda: wake.reached.is_set() or sleeper.done(), what="the push reaches its change")
        other = outcome(store.view(), third)
        wake.allowed.set()
        ended = sleeper.result(timeout=60)
    assert sorted([ended, other]).count("refused") == 1
    winner = other_model if ended != "refused" else third
    whole = files_in(winner)
    assert files_of(store).items() <= whole.items()  # a late deletion may have hit a file, but none is another's
    if files_of(store) != whole:
        with pytest.raises(VersionAltered):
            repository_at(store).verify("digits", VERSION)
    assert push(store, winner) == digest_of(winner)
    assert files_of(store) == whole
    repository_at(store).verify("digits", VERSION)


def test_what_a_dead_push_writes_late_is_gone_before_the_graph_is_stored_and_after_it(
    store: MemoryStore, model: Path
) -> None:
    """Its last request arrives at the worst moments, and nobody is left to withdraw it."""
    view, whole = store.view(), files_in(model)
    worst = {f"{PLACE}variables/variables.index", f"digits/manifests/{VERSION.name}.json", GRAPH}

    def write_late(call: str, key: str) -> None:
        if key in worst:
            worst.remove(key)
            store.overwrite(f"{PLACE}assets/late-{len(worst)}.txt", b"late")

    def look(call: str, key: str) -> None:
        if (call, key) == ("upload", GRAPH):
            assert files_of(store) == {name: content for name, content in whole.items() if name != "saved_model.pb"}

    view.after, view.before = write_late, look
    assert push(view, model) == digest_of(model)
    assert not worst
    assert files_of(store) == whole


def test_who_finishes_a_dead_push_removes_what_does_not_belong_to_it(
    store: MemoryStore, model: Path, other_model: Path
) -> None:
    with pytest.raises(Killed):
        push(kill_at(store, 6, with_effect=True), model)
    store.overwrite(f"{PLACE}assets/other.txt", b"late")
    with pytest.raises(VersionExists, match="exists with other content"):
        push(store, other_model)
    assert files_of(store) == files_in(model)


@pytest.mark.parametrize("harm", ["wrong", "missing", "no copy"])
def test_a_committed_push_that_cannot_be_finished_stays_invisible_until_its_content_comes_again(
    store: MemoryStore, clock: Clock, model: Path, other_model: Path, harm: str
) -> None:
    with pytest.raises(Killed):
        push(kill_at(store, 6, with_effect=True), model)
    if harm == "wrong":
        store.overwrite(f"{PLACE}assets/words.txt", b"sdrow")
    elif harm == "missing":
        store.remove(f"{PLACE}assets/words.txt")
    else:
        store.remove(store.stored_keys("digits/staged/")[0])
    with pytest.raises(VersionExists, match="exists with other content"):
        push(store, other_model)
    clock.now += STAGING_SECONDS + 1
    repository_at(store).push("digits", LATER, request_for(model))
    assert repository_at(store).versions("digits") == (LATER,)
    assert push(store, model) == digest_of(model)
    assert files_of(store) == files_in(model)
    assert left(store) == []


def test_concurrent_pushes_of_one_content_share_the_work(store: MemoryStore, model: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        digests = pool.map(lambda _: push(store.view(), model, claim_seconds=ALIVE), range(8))
        assert {*digests} == {digest_of(model)}
    assert files_of(store) == files_in(model)
    assert left(store) == []


@pytest.mark.parametrize("attempt", range(5))
def test_of_concurrent_pushes_of_two_contents_one_wins_whole(
    store: MemoryStore, model: Path, other_model: Path, attempt: int
) -> None:
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(
            pool.map(lambda directory: outcome(store.view(), directory, claim_seconds=ALIVE), [model, other_model] * 3)
        )
    winner = model if digest_of(model) in outcomes else other_model
    assert sorted(outcomes) == sorted([digest_of(winner)] * 3 + ["refused"] * 3)
    assert files_of(store) == files_in(winner)
    assert [key for key in left(store) if "/claims/" in key] == []
    repository_at(store).verify("digits", VERSION)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_order_of_all_requests_one_content_wins_and_none_is_mixed_in(
    store: MemoryStore, model: Path, other_model: Path, tmp_path: Path, seed: int
) -> None:
    """Claims are worth nothing here: each request takes longer than a claim lasts, so all believe one another dead."""
    third = write_model(tmp_path / "third", graph=b"Graph", weights=b"Weights", asset="third.txt")
    chance = random.Random(seed)

    def outcome_among_slow_requests(directory: Path) -> str:
        view = store.view()
        view.before = view.after = lambda *_: time.sleep(chance.choice((0, 0, 0.001, 0.004)))
        try:
            return ObjectRepository(view, claim_seconds=0.002).push("digits", VERSION, request_for(directory)).digest
        except VersionExists:
            return "refused"
        except RepositoryUnavailable:
            return "disturbed"

    with ThreadPoolExecutor(5) as pool:
        models = [model, other_model, third, model, other_model]
        outcomes = list(pool.map(outcome_among_slow_requests, models))
    winner = {digest_of(directory): directory for directory in models}.get(
        repository_at(store).manifest("digits", VERSION).digest
    )
    assert winner is not None
    assert {*outcomes} <= {digest_of(winner), "refused", "disturbed"}
    assert files_of(store).items() <= files_in(winner).items()
    assert push(store, winner) == digest_of(winner)
    assert files_of(store) == files_in(winner)
    repository_at(store).verify("digits", VERSION)


def test_a_push_of_other_content_is_refused_while_one_is_alive(
    store: MemoryStore, model: Path, other_model: Path
) -> None:
    seconds = 4.0  # it is renewed four times as often
    with woken_at(store, 4, renews=True) as (view, wake):
        alive = ThreadPoolExecutor(1).submit(outcome, view, model, claim_seconds=seconds)
        assert wake.reached.wait(60)
        with pytest.raises(
            VersionExists, match=r"just being pushed with other content by .*; choose a new name, or push again"
        ):
            push(store.view(), other_model, claim_seconds=seconds)
        wake.allowed.set()
        assert alive.result(timeout=60) == digest_of(model)
    assert files_of(store) == files_in(model)


def test_objects_that_nobody_pushed_are_never_touched(
    store: MemoryStore, clock: Clock, model: Path, other_model: Path
) -> None:
    """A fleet may serve them."""
    for name, content in files_in(other_model).items():
        store.overwrite(PLACE + name, content)
    with pytest.raises(VersionExists, match=r"versions/20230601120000/ holds objects without a manifest"):
        push(store, model)
    clock.now += 2 * STAGING_SECONDS
    repository_at(store).push("digits", LATER, request_for(model))
    assert files_of(store) == files_in(other_model)
    assert repository_at(store).versions("digits") == (LATER,)


def test_what_a_server_could_load_is_never_cleared_away_though_its_place_is_claimed(
    store: MemoryStore, clock: Clock, model: Path, other_model: Path
) -> None:
    """Somebody copied a model by hand to where a push had died, or spoilt a claim."""
    with pytest.raises(Killed):
        push(kill_at(store, 1, with_effect=True), model)
    for name, content in files_in(other_model).items():
        store.overwrite(PLACE + name, content)
    with pytest.raises(VersionExists, match="holds objects without a manifest"):
        push(store, model)
    store.overwrite(store.stored_keys("digits/claims/")[0], b"spoilt")
    clock.now += 2 * STAGING_SECONDS
    repository_at(store).push("digits", LATER, request_for(model))
    assert files_of(store) == files_in(other_model)
    assert push(store, other_model) == digest_of(other_model)
    assert files_of(store) == files_in(other_model)
    assert left(store) == []


def test_objects_that_nobody_pushed_are_taken_over_by_a_push_of_the_very_same_files(
    store: MemoryStore, model: Path
) -> None:
    for name, content in files_in(model).items():
        store.overwrite(PLACE + name, content)
    tokens = {found.key: found.token for found in store.list(PLACE)}
    assert push(store, model) == digest_of(model)
    assert {found.key: found.token for found in store.list(PLACE)} == tokens
    assert repository_at(store).versions("digits") == (VERSION,)
    repository_at(store).verify("digits", VERSION)


@pytest.mark.parametrize("name", ["saved_model.pb", "assets/words.txt"])
def test_a_push_puts_back_what_somebody_deleted_by_hand(store: MemoryStore, model: Path, name: str) -> None:
    push(store, model)
    store.remove(PLACE + name)
    push(store, model)
    assert files_of(store) == files_in(model)
    repository_at(store).verify("digits", VERSION)


@pytest.mark.parametrize(("number", "with_effect"), list(itertools.product(range(1, 6), [False, True])))
def test_a_killed_deletion_is_finished_by_the_next_one(
    store: MemoryStore, model: Path, number: int, with_effect: bool
) -> None:
    """The manifest is marked first, then the graph goes: no server loads what goes away."""
    push(store, model)
    with pytest.raises(Killed):
        repository_at(kill_at(store, number, with_effect=with_effect)).delete("digits", VERSION)
    if files_of(store) != files_in(model):
        assert GRAPH not in store.stored_keys()
        assert repository_at(store).versions("digits") == ()
    repository_at(store).delete("digits", VERSION)
    assert (files_of(store), left(store)) == ({}, [])
    with pytest.raises(VersionExists, match="was retired"):
        push(store, model)


@pytest.mark.parametrize("number", range(1, 10))
def test_a_version_that_is_deleted_while_a_push_of_it_sleeps_does_not_come_back(
    store: MemoryStore, model: Path, number: int
) -> None:
    with woken_at(store, number) as (view, wake):
        sleeper = ThreadPoolExecutor(1).submit(outcome, view, model)
        until(lambda: wake.reached.is_set() or sleeper.done(), what="the push reaches its change")
        push(store.view(), model)
        repository_at(store.view()).delete("digits", VERSION)
        wake.allowed.set()
        ended = sleeper.result(timeout=60)
    assert ended in {"refused", digest_of(model)}
    assert GRAPH not in store.stored_keys()
    assert repository_at(store).versions("digits") == ()
    with pytest.raises(VersionNotFound):
        repository_at(store).check_files("digits", VERSION)


class Wake:
    """When a sleeping process is there, and when it may go on."""

    def __init__(self) -> None:
        self.reached, self.allowed = threading.Event(), threading.Event()


class woken_at:  # noqa: N801 - reads as a sentence where it is used
    """A view of the bucket whose process stops before a change, from 1, all its threads with it, until it is woken."""

    def __init__(self, store: MemoryStore, number: int, *, renews: bool = False) -> None:
        self._view, self._wake = store.view(), Wake()
        count = itertools.count(1)

        def before(call: str, _: str) -> None:
            if renews and threading.current_thread().name.startswith("renew"):
                return
            if call in CHANGES and next(count) == number:
                self._wake.reached.set()
            if self._wake.reached.is_set():
                assert self._wake.allowed.wait(60)

        self._view.before = before

    def __enter__(self) -> tuple[MemoryStore, Wake]:
        return self._view, self._wake

    def __exit__(self, *_: object) -> None:
        self._wake.allowed.set()


def outcome(store: MemoryStore, directory: Path, *, claim_seconds: float = SOON_DEAD) -> str:
    """Push; return the digest, or that it was refused."""
    try:
        return push(store, directory, claim_seconds=claim_seconds)
    except VersionExists:
        return "refused"
