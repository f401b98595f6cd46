"""What people write as it is kept and shown."""

from __future__ import annotations

import pytest

from airflow_model_ops.core.log import EntryKind, FactKind, Origin, fact, transition
from airflow_model_ops.core.plain_text import plain_text
from airflow_model_ops.core.standing import hold
from airflow_model_ops.core.state import Actor, ActorKind, ServingState

ADA = Actor(kind=ActorKind.PERSON, name="ada")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("für Zoë: 10 % 🙂\u200d, ratio ≤ 1.5", "für Zoë: 10 % 🙂\u200d, ratio ≤ 1.5"),
        ("too slow\r\n\tfor us\u2028now", "too slow for us now"),
        ("\x1b[2Jgone", "�[2Jgone"),
        ("NUL\x00, f\udcfcr, \u202edesrever", "NUL�, f�r, �desrever"),
    ],
)
def test_only_what_is_text_stays(text: str, plain: str) -> None:
    assert plain_text(text) == plain
    plain_text(text).encode()


def test_no_reason_brings_anything_else_into_a_log() -> None:
    decision = hold(ServingState(fleet="main"), actor=ADA, reason="f\udcfcr\x1b[2J")
    origin = Origin(actor=ADA)
    entry = transition(decision, origin=origin, at="2023-06-01T12:00:00+00:00", write_id="1")
    assert entry.kind is EntryKind.TRANSITION
    assert "f�r�[2J" in entry.reason
    assert entry.state is not None
    assert entry.state.hold is not None
    assert entry.state.hold.reason == "f�r�[2J"
    noted = fact(FactKind.VERDICT, reason="a\x00b", origin=origin, at="2023-06-01T12:00:00+00:00", write_id="2")
    assert noted.reason == "a�b"
