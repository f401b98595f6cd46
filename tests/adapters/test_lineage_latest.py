"""The newest serving state, and what served at a time where much else happened between, asked of the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core import transitions
from airflow_model_ops.core.log import FactKind
from tests.adapters.lineage_story import ADA, V1, V2, Story, manifest_of

pytestmark = pytest.mark.integration


def test_the_newest_state_is_one_look_up_whatever_the_log_says_last(tmp_path: Path) -> None:
    settings = LedgerSettings(path=tmp_path / "mlmd.sqlite")
    story = Story()
    story.releases(V1, id="r1", steps=(100.0,))
    story.decides(transitions.pin_golden(story.state, version=V1, actor=ADA), actor=ADA)
    story.releases(V2, id="r2", steps=(5.0,))
    generation = story.log.stored[-2].sequence
    MlmdLedger(settings).catch_up("digits", story.log, manifest_of)

    latest = LedgerQueries(settings).latest("digits")

    assert (latest.stable, latest.golden, latest.canary) == (V2.name, V1.name, None)
    assert (latest.sequence, latest.generation, latest.versions) == (len(story.log.stored), generation, 2)
    assert latest.at == story.log.stored[-1].at


def test_a_model_that_is_not_recorded_has_no_newest_state(tmp_path: Path) -> None:
    settings = LedgerSettings(path=tmp_path / "mlmd.sqlite")
    MlmdLedger(settings).ping()

    latest = LedgerQueries(settings).latest("unheard-of")

    assert (latest.sequence, latest.stable) == (0, None)


def test_what_served_is_found_however_many_pushes_lie_between_its_application_and_the_moment(tmp_path: Path) -> None:
    settings = LedgerSettings(path=tmp_path / "mlmd.sqlite")
    story = Story()
    story.releases(V1, id="r1", steps=(100.0,))
    confirmed = story.log.stored[-1]
    for number in range(120):
        story.happens(FactKind.PUSHED, V2, f"push {number}")
    story.decides(transitions.pin_golden(story.state, version=V1, actor=ADA), actor=ADA)
    story.happens(FactKind.PUSHED, V2, "one more before the pin is applied")
    moment = story.log.stored[-1].at
    story.is_applied()
    MlmdLedger(settings).catch_up("digits", story.log, manifest_of)

    before, after = (LedgerQueries(settings).served_at("digits", at=at) for at in (moment, story.log.stored[-1].at))

    assert [(share.version, share.percent) for share in before.split] == [(V1.name, 100.0)]
    assert (before.confirmed_at, before.changing) == (confirmed.at, False)
    assert after.confirmed_at == story.log.stored[-1].at
    assert after.because is not None
    assert after.because.name == "pin_golden"
