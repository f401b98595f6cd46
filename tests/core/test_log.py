"""Log entries: they survive storing, and an edit, a gap, a swap or a newer schema is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import (
    FIRST_DIGEST,
    Entry,
    EntryKind,
    FactKind,
    Origin,
    check_chain,
    fact,
    transition,
)
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.transitions import Action, hold, rollback
from airflow_model_ops.core.versioning import Version

V = Callable[[int], Version]

PERSON = Actor(kind=ActorKind.PERSON, name="ada")
ORIGIN = Origin(actor=PERSON, run={"dag_id": "model_rollback", "run_id": "manual", "task_id": "roll", "try": "1"})
AT = "2023-06-01T12:00:00+00:00"


@pytest.fixture
def log(serving: ServingState, v: V) -> list[Entry]:
    """A rollback, the fact that it was applied, and a hold."""
    back = rollback(serving, actor=PERSON, reason="slow")
    first = transition(back, origin=ORIGIN, at=AT, write_id="w1").after(None)
    second = fact(
        FactKind.APPLIED,
        reason="v2 serves",
        origin=replace(ORIGIN, request="apply-1"),
        at=AT,
        write_id="w2",
        version=v(2),
        release=Fence(release="r4", attempt=2),
        evidence="evidence/r4/1.json",
        detail={"split": {"200000000": 100.0}, "servers": ["a", "b"]},
    ).after(first)
    third = transition(hold(back.state, actor=PERSON, reason="wait"), origin=ORIGIN, at=AT, write_id="w3")
    return [first, second, third.after(second)]


def stored(entries: list[Entry]) -> list[Entry]:
    return [Entry.from_bytes(entry.to_bytes()) for entry in entries]


def check_all(entries: list[Entry]) -> None:
    previous = None
    for entry in entries:
        check_chain(entry, previous)
        previous = entry


class TestNumbers:
    def test_sequence_has_no_gaps_and_generation_is_the_newest_transition(self, log: list[Entry]) -> None:
        assert [(entry.sequence, entry.generation) for entry in log] == [(1, 1), (2, 1), (3, 3)]

    def test_facts_before_the_first_transition_have_generation_0(self, v: V) -> None:
        pushed = fact(FactKind.PUSHED, reason="push", origin=ORIGIN, at=AT, write_id="w", version=v(1)).after(None)
        assert (pushed.sequence, pushed.generation, pushed.previous_digest) == (1, 0, FIRST_DIGEST)

    def test_a_transition_names_its_action_and_a_fact_none(self, log: list[Entry]) -> None:
        assert [entry.action for entry in log] == [Action.ROLLBACK, None, Action.HOLD]
        assert [entry.is_transition for entry in log] == [True, False, True]


class TestStoring:
    def test_entries_survive_storing_and_keep_their_digests(self, log: list[Entry]) -> None:
        read = stored(log)
        assert read == log
        assert [entry.digest for entry in read] == [entry.digest for entry in log]
        check_all(read)

    @given(reason=st.text(), name=st.text())
    def test_any_text_survives_even_half_a_surrogate_pair_out_of_a_file_name(self, reason: str, name: str) -> None:
        """An abort quotes an error, an error quotes a file name, and the abort must be committed all the same."""
        for odd in (reason, reason + "\udcff"):
            entry = fact(FactKind.VERDICT, reason=odd, origin=ORIGIN, at=AT, write_id=name, detail={"x": odd})
            assert Entry.from_bytes(entry.after(None).to_bytes()) == entry.after(None)

    def test_equal_entries_have_equal_bytes_whatever_the_order_of_their_details(self, log: list[Entry]) -> None:
        turned = replace(log[1], detail=dict(reversed(log[1].detail.items())))
        assert turned.to_bytes() == log[1].to_bytes()

    def test_keys_that_a_later_version_adds_do_not_break_the_chain(self, log: list[Entry]) -> None:
        """Digests are over the stored bytes, not over what this version would write."""
        data = {**json.loads(log[0].to_bytes()), "colour": "blue"}
        first = Entry.from_bytes(json.dumps(data).encode())
        second = log[1].after(first)
        check_all([first, *stored([second])])
        assert second.previous_digest != log[0].digest

    def test_a_changed_copy_of_a_stored_entry_does_not_keep_the_old_bytes(self, log: list[Entry]) -> None:
        read = stored(log)[0]
        changed = replace(read, reason="another")
        assert json.loads(changed.to_bytes())["reason"] == "another"
        assert changed.digest != read.digest


class TestChain:
    @pytest.mark.parametrize(
        ("key", "value"),
        [("reason", "nothing to see"), ("actor", {"kind": "automation", "name": "guard"}), ("at", "2020-01-01")],
    )
    def test_an_edit_shows_at_the_next_entry(self, log: list[Entry], key: str, value: Any) -> None:
        edited = json.dumps({**json.loads(log[0].to_bytes()), key: value}).encode()
        with pytest.raises(InvalidState, match="log entry 2 does not follow entry 1: its previous_digest"):
            check_all([Entry.from_bytes(edited), *log[1:]])

    def test_even_an_added_space_shows(self, log: list[Entry]) -> None:
        with pytest.raises(InvalidState, match="the log was edited, or an entry is lost"):
            check_all([Entry.from_bytes(log[0].to_bytes() + b" "), *log[1:]])

    def test_a_gap_shows(self, log: list[Entry]) -> None:
        with pytest.raises(InvalidState, match="log entry 3 does not follow entry 1: its sequence is 3, not 2"):
            check_all([log[0], log[2]])

    def test_a_lost_first_entry_shows(self, log: list[Entry]) -> None:
        with pytest.raises(InvalidState, match="log entry 2 does not follow entry 0: its sequence is 2, not 1"):
            check_all(log[1:])

    def test_a_swap_shows(self, log: list[Entry]) -> None:
        swapped = [log[0], replace(log[2], sequence=2, generation=2), replace(log[1], sequence=3, generation=2)]
        with pytest.raises(InvalidState, match="its previous_digest is"):
            check_all(swapped)

    def test_a_forged_generation_shows(self, log: list[Entry]) -> None:
        with pytest.raises(InvalidState, match="its generation is 2, not 1"):
            check_all([log[0], replace(log[1], generation=2)])

    def test_a_first_entry_that_names_a_former_one_shows(self, log: list[Entry]) -> None:
        with pytest.raises(InvalidState, match="does not follow entry 0: its previous_digest"):
            check_chain(replace(log[0], previous_digest="f" * 64), None)


class TestRefused:
    def test_a_newer_schema_is_refused_with_the_cure(self, log: list[Entry]) -> None:
        newer = json.dumps({**json.loads(log[0].to_bytes()), "schema": 2}).encode()
        with pytest.raises(InvalidState, match="log entry 1 has schema 2; this package reads 1: upgrade it"):
            Entry.from_bytes(newer)

    @pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b'{"schema": 1}'])
    def test_bytes_that_are_no_entry_are_refused_and_shown(self, content: bytes) -> None:
        with pytest.raises(InvalidState, match="log entry cannot be read"):
            Entry.from_bytes(content)

    @pytest.mark.parametrize(
        "change",
        [{"kind": "rumour"}, {"actor": {"kind": "cat", "name": "x"}}, {"release": {"id": "r"}}, {"version": 5}],
    )
    def test_an_entry_with_a_part_that_makes_no_sense_is_refused(
        self, log: list[Entry], change: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidState, match="log entry cannot be read"):
            Entry.from_bytes(json.dumps({**json.loads(log[0].to_bytes()), **change}).encode())

    def test_a_transition_without_a_state_cannot_be_made(self, log: list[Entry]) -> None:
        with pytest.raises(InvalidState, match=r"log entry 1 \(transition 'rollback'\) has no serving state"):
            replace(log[0], state=None)

    def test_a_fact_with_a_state_cannot_be_made(self, log: list[Entry], serving: ServingState) -> None:
        with pytest.raises(InvalidState, match=r"\(fact 'applied'\) has a serving state; .* facts carry none"):
            replace(log[1], kind=EntryKind.FACT, state=serving)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("name", "dance"),
        ("name", ["hold"]),
        ("kind", None),
        ("at", "yesterday"),
        ("at", None),
        ("at", 5),
        ("sequence", "1"),
        ("sequence", 1.0),
        ("sequence", True),
        ("generation", None),
        ("generation", 7),
        ("generation", -1),
        ("detail", None),
        ("detail", ["a"]),
        ("run", "run"),
        ("actor", "ada"),
        ("actor", {"kind": "person", "name": None}),
        ("release", {"id": "r1", "attempt": "1"}),
        ("release", "r1"),
        ("version", {"name": "v", "number": float("inf")}),
        ("version", {"name": "v", "number": 2**63}),
        ("version", "v1"),
        ("state", "serving"),
        ("state", ["serving"]),
    ],
)
def test_an_entry_with_an_odd_part_is_refused_as_a_whole(log: list[Entry], part: str, value: Any) -> None:
    data = json.loads(log[0].to_bytes())
    with pytest.raises(InvalidState):
        Entry.from_bytes(json.dumps({**data, part: value}).encode())


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("fleet", None),
        ("stable", {"name": "v", "number": float("inf")}),
        ("canary", {"version": {"name": "v", "number": "9"}, "percent": "10"}),
        ("canary", "v9"),
        ("golden", {"version": {"name": "v", "number": "9"}, "by_person": "yes"}),
        ("hold", {"by": 5, "reason": "x"}),
        ("hold", "ada"),
        ("release", {"id": "r", "attempt": None, "version": {"name": "v", "number": "9"}, "started_at": "x"}),
        ("ended", {"release": "r", "attempt": "1"}),
        ("earlier", 5),
        ("keep_warm", 1.5),
        ("keep_warm", True),
    ],
)
def test_a_state_with_an_odd_part_is_refused_as_a_whole(serving: ServingState, part: str, value: Any) -> None:
    with pytest.raises(InvalidState):
        ServingState.from_json({**serving.to_json(), part: value})


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b'"x"', b"[" * 100_000])
def test_what_is_no_entry_at_all_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidState):
        Entry.from_bytes(content)
