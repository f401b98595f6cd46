"""Comparing with the past: whether a promoted version looks worse than stable did before it, when nothing else is left.

Traffic of another hour may differ for reasons of its own, so that no test of this keeps an error bound: it is good for an
alert, and never for a way back.
"""

from __future__ import annotations

import math

from airflow_model_ops.core.checks.definition import Check
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.share_words import percent

SIGMAS = 4.0
"""How many standard errors a promoted version must be beyond what the recorded counts allow."""


def worse_than_recorded(check: Check, now: Counts, recorded: Counts, *, phi: float, subject: str) -> str | None:
    """Say that a version looks worse now than another did while it was recorded, or ``None``.

    :param phi: Overdispersion of the counts.
    :param subject: How the sentence calls the version.
    """
    bad = now.bad + recorded.bad
    if not (bad and recorded.n) or now.n < check.min_samples or now.rate <= check.negligible:
        return None
    share = check.max_ratio * now.n / (check.max_ratio * now.n + recorded.n)
    if now.bad - bad * share < SIGMAS * math.sqrt(phi * bad * share * (1 - share)):
        return None
    return (
        f"{check.name} of {subject} {percent(now.rate)} ({now.bad:,} of {now.n:,}) looks worse than the "
        f"{percent(recorded.rate)} ({recorded.bad:,} of {recorded.n:,}) that were recorded of the version before it; traffic "
        "may have changed since, so this has no error bound and nothing acts on it"
    )
