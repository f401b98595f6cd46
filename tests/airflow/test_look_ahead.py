"""Before a release starts its checks are forecast: told in the log, and refused where the file says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.core.checks import Measurement
from airflow_model_ops.core.state import Fence
from airflow_model_ops.operators.traffic import StartCanaryOperator
from tests.airflow.release_story import YAML, Story, context_of, on_stage

FILE = YAML.replace("margin: 3", "margin: 3, dispersion: 2")
CANNOT = "check 'errors' cannot show a good canary safe at the 10 % step within canary.deadline of 10 min"


def past(*, rps: float) -> Callable[[float, float], tuple[Measurement, Measurement]]:
    """One request in a hundred was bad; a tenth of them went over the control cluster."""

    def counted(requests: int) -> Measurement:
        return Measurement(value=None, samples=requests, bad=requests // 100, age_seconds=1.0)

    return lambda begin, end: (counted(int(0.9 * rps * (end - begin))), counted(int(0.1 * rps * (end - begin))))


@pytest.fixture
def story() -> Iterator[Story]:
    with on_stage(model=parse_model_file(FILE)) as stage:
        yield stage


@pytest.fixture
def strict() -> Iterator[Story]:
    """A model whose file refuses what cannot be decided."""
    with on_stage(model=parse_model_file(f"{FILE}judge: {{undecidable: refuse}}\n")) as stage:
        yield stage


def start(story: Story, **context: Any) -> dict[str, str]:
    story.v(2)
    task = StartCanaryOperator(task_id="load", model=story.model, version="digits-v2.0.0")
    told: dict[str, str] = task.execute(context_of(**context))
    return told


def test_how_long_it_will_take_is_told_in_the_log_of_its_start(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    story.serve(1)
    story.source.past = past(rps=1000)

    start(story)

    told = capsys.readouterr().out
    assert "forecast: errors at 10 %: a canary that is worse than stable is found, at 2 times in about " in told
    assert told.count("forecast: ") == 4
    assert not [line for line in told.splitlines() if "warning" in line and "traffic.py" in line]
    assert story.control().state.release is not None


def test_what_cannot_be_decided_is_a_warning_and_the_release_starts(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    story.serve(1)
    story.source.past = past(rps=10)

    start(story)

    assert f"[warning  ] {CANNOT}" in capsys.readouterr().out
    assert story.control().state.release is not None


def test_where_the_file_says_so_it_is_refused_before_anything_is_committed(strict: Story) -> None:
    strict.serve(1)
    strict.source.past = past(rps=10)
    before = strict.names

    with pytest.raises(AirflowFailException) as refused:
        start(strict)

    assert str(refused.value).startswith(f"digits-v2.0.0 is not released (judge.undecidable): {CANNOT}")
    assert "raise canary.deadline to" in str(refused.value)
    assert strict.names == before
    assert strict.split == {1: 100}
    assert strict.repository.leases("digits") == ()


def test_what_can_be_decided_is_not_refused(strict: Story) -> None:
    strict.serve(1)
    strict.source.past = past(rps=1000)

    start(strict)

    assert strict.control().state.release is not None


def test_one_that_has_waited_for_its_turn_and_is_refused_makes_no_other_wait(strict: Story) -> None:
    strict.serve(1)
    strict.source.past = past(rps=1000)
    strict.start(3, release="other", percent=10)
    with pytest.raises(TaskDeferred):
        start(strict)
    assert [lease.release for lease in strict.repository.leases("digits") if lease.waiting] != []
    strict.source.past = past(rps=1)

    with pytest.raises(AirflowFailException, match="is not released"):
        start(strict)

    assert [lease.release for lease in strict.repository.leases("digits") if lease.waiting] == []


def test_a_live_canary_of_another_release_does_not_make_the_traffic_look_small(strict: Story) -> None:
    """It takes half of the requests; by what is left alone nothing could be decided in time."""
    strict.serve(1)
    strict.start(3, release="other", percent=50)
    strict.clock.advance(3600)
    strict.control().leases.renew(Fence(release="other", attempt=1), strict.v(3))
    strict.source.past = past(rps=25)
    with pytest.raises(TaskDeferred):
        start(strict)

    strict.control().abort(reason="no need", fence=Fence(release="other", attempt=1))
    strict.control().apply(deadline_seconds=5)
    strict.clock.advance(600)
    with pytest.raises(AirflowFailException, match="is not released"):
        start(strict)


@pytest.mark.parametrize("trouble", ["connection refused", None])
def test_a_metric_source_that_is_away_stops_no_start(
    strict: Story, trouble: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    strict.serve(1)
    strict.source.trouble = trouble

    start(strict)

    reason = trouble or "nothing is kept of the past"
    assert f"forecast: errors cannot be forecast: {reason}" in capsys.readouterr().out
    assert strict.control().state.release is not None


def test_a_first_release_starts_without_a_forecast(strict: Story, capsys: pytest.CaptureFixture[str]) -> None:
    start(strict)

    told = "forecast: errors cannot be forecast: there is no stable version whose traffic could be measured"
    assert told in capsys.readouterr().out
    assert strict.source.past_asked == 0


def test_a_retry_of_a_start_that_was_committed_asks_no_more(strict: Story) -> None:
    strict.serve(1)
    strict.source.past = past(rps=1000)
    start(strict)
    strict.source.past = past(rps=1)

    assert start(strict, try_number=2)["release"]
