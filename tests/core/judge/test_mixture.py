"""The engine of all processes: what it keeps goes on bit for bit, and late bets never run out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.mixture import Mixture, geometric_grid, pack, unpack
from airflow_model_ops.core.judge.processes import (
    RatioHarm,
)
from tests.core.judge.streams import Arms, arms_of, streams

ROUNDING = 1e-9


@given(st.lists(st.floats(), max_size=50))
def test_packed_numbers_come_back_bit_for_bit(numbers: list[float]) -> None:
    assert np.array(unpack(pack(numbers))).tobytes() == np.array(numbers, dtype=float).tobytes()


@given(stream=streams, stop=st.integers(0, 8))
def test_a_mixture_goes_on_bit_for_bit_from_what_it_wrote(stream: Arms, stop: int) -> None:
    straight, broken = RatioHarm(max_ratio=1.1), RatioHarm(max_ratio=1.1)
    for index, (canary, baseline, phi) in enumerate(arms_of(stream)):
        if index == stop:
            written = json.dumps(broken.mixture.to_json())
            broken = RatioHarm(max_ratio=1.1)
            broken.mixture.restore(json.loads(written))
        for process in (straight, broken):
            process.mixture.open_slot()
            process.fold(canary, baseline, phi=phi)
    assert broken.mixture.to_json() == straight.mixture.to_json()


def test_what_another_set_of_bets_wrote_is_refused() -> None:
    with pytest.raises(InvalidState, match="2 components where 3 are used"):
        Mixture(components=3).restore(Mixture(components=2).to_json())


def test_wealth_that_waits_for_a_late_onset_never_runs_out_and_never_grows_by_itself() -> None:
    mixture = Mixture(components=2, onset=True)
    for _ in range(10_000):
        before = list(mixture.wealth)
        mixture.open_slot()
        assert all(now > then for now, then in zip(mixture.wealth, before, strict=True))
    assert mixture.log_e == pytest.approx(0, abs=ROUNDING)


def test_a_geometric_grid_has_its_ends_and_even_factors() -> None:
    grid = geometric_grid(0.5, 8.0, 5)
    assert grid == pytest.approx((0.5, 1, 2, 4, 8))


def test_counts_that_cannot_be_are_refused() -> None:
    for n, bad in ((1, 2), (-1, -1), (3, -1)):
        with pytest.raises(InvalidState, match="is no count"):
            Counts(n, bad)
    assert Counts(3, 1) + Counts(2, 1) == Counts(5, 2)
    assert (Counts().rate, Counts(4, 1).rate) == (0, 0.25)
