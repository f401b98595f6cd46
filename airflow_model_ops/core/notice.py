"""What people are told of a model: which entries of its log are news, when they are true, and in which words. Pure.

News of traffic is true once a fleet follows it: an entry is told when it, or a later one that still shows what it did, was
applied. A hold is true from its commit on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_model_ops.core.decision import Action
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.page_links import model_page, run_page
from airflow_model_ops.core.state import ServingState


class Event(StrEnum):
    """What people are told of."""

    CANARY_START = "canary_start"
    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTION = "promotion"
    ABORT = "abort"
    DRIFT = "drift"


_EVENTS = {
    Action.START_CANARY: Event.CANARY_START,
    Action.HOLD: Event.HOLD,
    Action.ROLLBACK: Event.ROLLBACK,
    Action.PROMOTE: Event.PROMOTION,
    Action.ABORT: Event.ABORT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message.

    :param generation: The transition it is about; 0: none.
    :param why: The reason in the log, with the judge's sentence if it judged.
    :param who: Who acted.
    :param serves: What serves now, in words.
    :param link: The model's page.
    :param run_link: Airflow's page of the run that acted; empty: no run did.
    :param key: What makes two messages the same one.
    """

    event: Event
    model: str
    title: str
    why: str
    who: str
    serves: str
    link: str
    key: str
    version: str = ""
    run_link: str = ""
    generation: int = 0

    @property
    def message(self) -> str:
        """The whole message as plain text, one line for each thing: a reason cannot pass for another line."""
        lines = [
            self.title,
            f"Why: {' '.join(self.why.split())}",
            f"Who: {self.who}",
            f"Serves: {self.serves}",
            f"Page: {self.link}",
        ]
        return "\n".join([*lines, f"Run: {self.run_link}"] if self.run_link else lines)

    def to_names(self) -> dict[str, Any]:
        """Return the names that a notifier's templates may use."""
        return {
            "event": self.event.value,
            "title": self.title,
            "message": self.message,
            "model": self.model,
            "version": self.version,
            "why": self.why,
            "who": self.who,
            "serves": self.serves,
            "generation": self.generation,
            "link": self.link,
            "run_link": self.run_link,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """An entry that people are to be told of, as which event, and since when that is true, ISO 8601 in UTC."""

    event: Event
    entry: Entry
    since: str

    @property
    def key(self) -> str:
        """What it is told once by."""
        return f"{self.entry.sequence}-{self.event.value}"


def news_in(entries: Sequence[Entry]) -> Iterator[News]:
    """Yield the news in a stretch of a log, oldest first. A release that ended before its canary was loaded never started.

    :param entries: Consecutive ones, oldest first, up to the newest.
    """
    applied = {entry.detail.get("generation"): entry for entry in entries if entry.name == FactKind.APPLIED.value}
    states = [entry for entry in entries if entry.is_transition]
    for place, entry in enumerate(states):
        event = _event_of(entry, before=states[place - 1].state if place else None)
        if event is None:
            continue
        if event is Event.HOLD:
            if _holds_still(states[-1], entry):
                yield News(event=event, entry=entry, since=entry.at)
            continue
        followed = next((later for later in states[place:] if later.sequence in applied), None)
        if followed is not None and followed.state is not None and _still_shows(followed.state, event, entry):
            yield News(event=event, entry=entry, since=applied[followed.sequence].at)


def notice_of(news: News, *, model: str, base_url: str) -> Notice:
    """Return the message about an entry."""
    entry = news.entry
    version = entry.version.name if entry.version is not None else ""
    return Notice(
        event=news.event,
        model=model,
        title=_title(news, model=model, version=version),
        why=entry.reason,
        who=str(entry.origin.actor),
        serves=_serves(entry.state),
        link=model_page(base_url, model),
        key=news.key,
        version=version,
        run_link=run_page(base_url, entry.origin.run),
        generation=entry.sequence,
    )


def drift_notice(
    *, model: str, why: str, mended: str | None, head: Entry, run: Mapping[str, str], who: str, base_url: str
) -> Notice:
    """Return the message that what serves had strayed from what was applied.

    :param mended: ``None``: it follows again; else why it does not.
    :param head: The newest transition.
    """
    ending = "it follows again" if mended is None else f"it does not follow yet: {mended}"
    return Notice(
        event=Event.DRIFT,
        model=model,
        title=f"{model}: what serves had drifted{'' if mended is None else ' and is not mended yet'}",
        why=f"{why}; {ending}",
        who=who,
        serves=_serves(head.state),
        link=model_page(base_url, model),
        key=f"drift-{head.sequence}",
        version=head.state.stable.name if head.state is not None and head.state.stable is not None else "",
        run_link=run_page(base_url, run),
        generation=head.sequence,
    )


def stuck_notice(
    *,
    model: str,
    version: str,
    why: str,
    state: ServingState,
    run: Mapping[str, str],
    who: str,
    key: str,
    base_url: str,
) -> Notice:
    """Return the message that a version should have been taken back and could not: what serves waits for a person."""
    return Notice(
        event=Event.ROLLBACK,
        model=model,
        title=f"{model}: {version} is NOT rolled back and goes on serving; a person must act",
        why=why,
        who=who,
        serves=_serves(state),
        link=model_page(base_url, model),
        key=key,
        version=version,
        run_link=run_page(base_url, run),
    )


def _event_of(entry: Entry, *, before: ServingState | None) -> Event | None:
    action = entry.action
    if action is Action.QUARANTINE:  # a person's ban of the version on trial ends its release
        ended = before is not None and before.release is not None and entry.state is not None
        return Event.ABORT if ended and entry.state is not None and entry.state.release is None else None
    return None if action is None else _EVENTS.get(action)


def _holds_still(newest: Entry, entry: Entry) -> bool:
    """Whether a model is still held as an entry has held it: a hold that is over asks nobody to resume."""
    return newest.state is not None and entry.state is not None and newest.state.hold == entry.state.hold


def _still_shows(state: ServingState, event: Event, entry: Entry) -> bool:
    """Whether the first state that was applied after an entry still shows what the entry did."""
    did = entry.state
    if event is Event.CANARY_START:
        return entry.release is not None and state.is_live(entry.release)
    if event in {Event.PROMOTION, Event.ROLLBACK}:
        return did is not None and state.stable == did.stable
    return True  # a canary that ended has ended, whatever was decided after it


def _title(news: News, *, model: str, version: str) -> str:
    state = news.entry.state
    banned = state is not None and news.entry.version in state.quarantined
    match news.event:
        case Event.CANARY_START:
            return f"{model}: canary {version} started"
        case Event.HOLD:
            return f"{model}: held, nothing is shifted or promoted until a person resumes"
        case Event.PROMOTION:
            return f"{model}: {version} promoted to stable"
        case Event.ABORT:
            return f"{model}: canary {version} ended{' and is quarantined' if banned else ''}"
        case _:
            return f"{model}: rolled back, {_stable(state)} serves"


def _stable(state: ServingState | None) -> str:
    return "nothing" if state is None or state.stable is None else state.stable.name


def _serves(state: ServingState | None) -> str:
    split: Iterable[Any] = () if state is None else state.split
    return ", ".join(f"{version} {percent:g} %" for version, percent in split) or "nothing"
