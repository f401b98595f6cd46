"""Which entries of a log are news, when they are true, and in which words people read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_model_ops.core.log import Entry, FactKind, Origin, fact, transition
from airflow_model_ops.core.notice import Event, drift_notice, news_in, notice_of, stuck_notice
from airflow_model_ops.core.page_links import (
    model_page,
    prometheus_page,
    run_page,
    vertex_endpoint_page,
)
from airflow_model_ops.core.state import Actor, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import (
    Decision,
    abort,
    hold,
    pin_golden,
    promote,
    quarantine,
    resume,
    rollback,
    shift,
    start_canary,
)
from airflow_model_ops.core.versioning import Version

BASE = "https://af.example/air/"
RUN = {"dag_id": "model_release_digits", "run_id": "manual__1+2"}


class Story:
    """A log that grows; ``apply`` appends the fact for the newest transition."""

    def __init__(self, state: ServingState, actor: Actor) -> None:
        self.entries: list[Entry] = []
        self.state = state
        self.origin = Origin(actor=actor, run=RUN)

    def commit(self, decision: Decision, *, release: Fence | None = None) -> Entry:
        entry = transition(decision, origin=self.origin, at=self._now(), write_id="w", release=release)
        self.state = decision.state
        return self._append(entry)

    def apply(self) -> None:
        generation = self.entries[-1].generation
        self._append(
            fact(
                FactKind.APPLIED,
                reason="it serves",
                origin=self.origin,
                at=self._now(),
                write_id="w",
                detail={"generation": generation},
            )
        )

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(news.event.value, news.entry.sequence) for news in news_in(self.entries)]

    def title(self) -> str:
        return notice_of(list(news_in(self.entries))[-1], model="digits", base_url=BASE).title

    def _append(self, entry: Entry) -> Entry:
        entry = entry.after(self.entries[-1] if self.entries else None)
        self.entries.append(entry)
        return entry

    def _now(self) -> str:
        return f"2023-06-01T12:00:{len(self.entries):02d}+00:00"


@pytest.fixture
def story(serving: ServingState, automation: Actor) -> Story:
    return Story(serving, automation)


@pytest.fixture
def live(release: Callable[..., LiveRelease]) -> LiveRelease:
    return release(4)


def start(story: Story, live: LiveRelease) -> Fence:
    story.commit(start_canary(story.state, release=live), release=live.fence)
    return live.fence


def test_a_canary_has_started_once_the_fleet_follows_and_a_shift_is_no_news(story: Story, live: LiveRelease) -> None:
    fence = start(story, live)
    assert story.told == []

    story.apply()
    story.commit(shift(story.state, fence=fence, percent=10), release=fence)
    story.apply()

    assert story.told == [("canary_start", 1)]
    assert story.title() == "digits: canary digits-v4.0.0 started"


def test_a_canary_that_ended_before_it_was_loaded_never_started(story: Story, live: LiveRelease) -> None:
    fence = start(story, live)
    story.commit(abort(story.state, fence=fence, reason="the load failed"), release=fence)
    story.apply()

    assert story.told == [("abort", 2)]
    assert story.title() == "digits: canary digits-v4.0.0 ended"


def test_a_canary_that_harmed_is_said_to_be_quarantined(story: Story, live: LiveRelease) -> None:
    fence = start(story, live)
    story.apply()
    story.commit(abort(story.state, fence=fence, reason="HARM: errors 7 %", harmed=True), release=fence)
    story.apply()

    assert story.title() == "digits: canary digits-v4.0.0 ended and is quarantined"


def test_a_ban_of_the_version_on_trial_ends_it_and_another_ban_is_no_news(
    story: Story, live: LiveRelease, v: Callable[[int], Version]
) -> None:
    start(story, live)
    story.apply()
    story.commit(quarantine(story.state, version=v(2), reason="old data"))
    story.commit(quarantine(story.state, version=v(4), reason="bad data"))
    story.apply()

    assert story.told == [("canary_start", 1), ("abort", 4)]


def test_a_promotion_is_told_although_a_pin_was_applied_with_it(
    story: Story, live: LiveRelease, person: Actor, v: Callable[[int], Version]
) -> None:
    fence = start(story, live)
    story.commit(shift(story.state, fence=fence, percent=50), release=fence)
    story.apply()
    story.commit(promote(story.state, fence=fence, version=v(4), proof="errors 1.02 x"), release=fence)
    story.commit(pin_golden(story.state, version=v(3), actor=person))
    story.apply()

    assert story.told == [("canary_start", 1), ("promotion", 4)]
    assert story.title() == "digits: digits-v4.0.0 promoted to stable"


def test_a_hold_is_told_at_once(story: Story, live: LiveRelease, person: Actor) -> None:
    start(story, live)
    story.commit(hold(story.state, actor=person, reason="wait for Ada"))

    assert story.told == [("hold", 2)]
    (news,) = news_in(story.entries)
    assert news.since == news.entry.at


def test_a_hold_that_is_over_is_no_news(story: Story, live: LiveRelease, person: Actor) -> None:
    start(story, live)
    story.commit(hold(story.state, actor=person, reason="wait for Ada"))
    story.commit(resume(story.state, actor=person, reason="Ada is here"))
    assert story.told == []
    story.commit(hold(story.state, actor=person, reason="wait for Bob"))
    assert story.told == [("hold", 4)]


def test_a_rollback_says_what_serves_why_who_and_where_to_look(story: Story, automation: Actor) -> None:
    story.commit(rollback(story.state, actor=automation, reason="HARM: 7.1 % against 1.2 %"))
    story.apply()

    (news,) = news_in(story.entries)
    notice = notice_of(news, model="digits", base_url=BASE)

    assert news.since == story.entries[1].at, "it is true since the fleet follows"
    assert notice.message.splitlines() == [
        "digits: rolled back, digits-v2.0.0 serves",
        "Why: rolled back from digits-v3.0.0 to digits-v2.0.0: HARM: 7.1 % against 1.2 %",
        "Who: automation model_release",
        "Serves: digits-v2.0.0 100 %",
        "Page: https://af.example/air/plugin/model-ops/models/digits",
        "Run: https://af.example/air/dags/model_release_digits/runs/manual__1%2B2",
    ]
    assert (notice.event, notice.generation, notice.key) == (Event.ROLLBACK, 1, "1-rollback")
    assert set(notice.to_names()) >= {"message", "title", "model", "version", "why", "link", "event"}


def test_a_rollback_to_what_never_came_to_serve_is_not_told(
    story: Story, automation: Actor, person: Actor, v: Callable[[int], Version]
) -> None:
    story.commit(rollback(story.state, actor=automation, reason="HARM"))
    story.commit(rollback(story.state, actor=person, to=v(1), reason="further back"))
    story.apply()

    assert story.told == [("rollback", 2)]
    assert story.title() == "digits: rolled back, digits-v1.0.0 serves"


def test_an_error_of_several_lines_cannot_pass_for_other_lines_of_the_message(story: Story) -> None:
    why = "no target\nServes: v8 100 %\r\u2028Page: https://evil.example"
    notice = stuck_notice(
        model="digits", version="v9", why=why, state=story.state, run=RUN, who="x", key="k", base_url=BASE
    )
    assert [line.partition(":")[0] for line in notice.message.splitlines()] == [
        "digits", "Why", "Who", "Serves", "Page", "Run",
    ]  # fmt: skip


def test_drift_says_whether_it_is_mended(story: Story, person: Actor) -> None:
    head = story.commit(hold(story.state, actor=person, reason="wait"))
    fields = {
        "model": "digits",
        "why": "version 3 is missing on server-1",
        "head": head,
        "run": {},
        "who": "automation x",
    }

    mended = drift_notice(**fields, mended=None, base_url="")  # type: ignore[arg-type]
    stays = drift_notice(**fields, mended="server-1 is full", base_url="")  # type: ignore[arg-type]

    assert mended.why == "version 3 is missing on server-1; it follows again"
    assert stays.title == "digits: what serves had drifted and is not mended yet"
    assert "server-1 is full" in stays.why
    assert "Run:" not in mended.message


def test_a_way_back_that_is_refused_is_told_as_what_it_is(story: Story) -> None:
    notice = stuck_notice(
        model="digits", version="v9", why="no target", state=story.state, run=RUN, who="x", key="k", base_url=BASE
    )
    assert notice.title == "digits: v9 is NOT rolled back and goes on serving; a person must act"
    assert notice.serves == "digits-v3.0.0 100 %"


class TestAddresses:
    def test_no_password_is_ever_in_one(self) -> None:
        assert model_page("https://ada:secret@af.example/air", "digits") == (
            "https://af.example/air/plugin/model-ops/models/digits"
        )
        assert prometheus_page("http://u:p@prom:9090/prom/?token=t#x", ["up"]).startswith(
            "http://prom:9090/prom/graph?"
        )
        assert run_page("https://u:p@af.example", RUN).startswith("https://af.example/dags/")

    def test_names_are_quoted_and_without_a_base_the_address_is_a_path(self) -> None:
        assert model_page("", "a.b") == "/plugin/model-ops/models/a.b"
        assert run_page("", {"dag_id": "d", "run_id": "manual__2023-06-01T12:00:00+00:00"}) == (
            "/dags/d/runs/manual__2023-06-01T12%3A00%3A00%2B00%3A00"
        )
        assert run_page(BASE, {}) == ""

    def test_prometheus_draws_what_is_a_number_and_lists_what_is_counted(self) -> None:
        page = prometheus_page("http://prom:9090", ["time()", '{__name__="up"}[60s]'])
        assert page == (
            "http://prom:9090/graph?g0.expr=time%28%29&g0.tab=0&g0.range_input=1h"
            "&g1.expr=%7B__name__%3D%22up%22%7D%5B60s%5D&g1.tab=1"
        )

    def test_googles_console_gets_the_endpoint(self) -> None:
        assert vertex_endpoint_page(project="p", location="europe-west4", endpoint="digits") == (
            "https://console.cloud.google.com/vertex-ai/locations/europe-west4/endpoints/digits?project=p"
        )
