"""Counts drawn for the tests of processes."""

from __future__ import annotations

from hypothesis import strategies as st

from airflow_model_ops.core.judge.counts import Counts

Arms = list[tuple[int, int, float, float, float]]

streams = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 4_000), st.floats(0, 1), st.floats(0, 1), st.floats(1, 5)),
    min_size=1,
    max_size=8,
)


def arms_of(stream: Arms) -> list[tuple[Counts, Counts, float]]:
    """Make counts of drawn numbers; few of the events are bad."""
    return [
        (Counts(n_c, round(n_c * bad_c**4)), Counts(n_b, round(n_b * bad_b**4)), phi)
        for n_c, n_b, bad_c, bad_b, phi in stream
    ]
