"""One model's log as a story that is told entry by entry: nothing of it is kept but the state and the newest entries.

The same seed tells the same story. Decisions are made by the rules of the package, so no state in it is made up.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow_model_ops.core import transitions
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact, transition
from airflow_model_ops.core.retention import choose_retired
from airflow_model_ops.core.state import Actor, ActorKind, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Version
from benchmarks.lineage.pipelines import Source

RELEASED_EVERY = 20
"""One version in so many is released. The others wait until a newer one takes their place, and are retired when they are old."""
HARMED, UNDECIDED, ROLLED_BACK = 0.05, 0.05, 0.05
"""Shares of the releases that end in an abort with quarantine, in one without, and in a rollback by a person."""
KEEP_LAST = 5
RETIRED_EVERY = 2
"""Old versions are retired after so many releases."""
MIX = (
    f"every version is pushed, one in {RELEASED_EVERY} is released: validated, canary 10 % and 50 % with a verdict each, promoted "
    f"({100 * HARMED:g} % harm, {100 * UNDECIDED:g} % are aborted, {100 * ROLLED_BACK:g} % are rolled back later), each change "
    f"applied; all are retired by keep_last {KEEP_LAST}"
)

_MOST_QUARANTINED = 5
_STEPS = (10.0, 50.0)
_BETWEEN = timedelta(seconds=15)
_AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release")
_ADA = Actor(kind=ActorKind.PERSON, name="ada")


class StoryLog:
    """A model's :class:`~airflow_model_ops.core.ports.Log` that is told while it is read, and can be read any number of times."""

    def __init__(self, source: Source, *, versions: int, seed: int) -> None:
        self._source = source
        self._versions = versions
        self._seed = seed

    def last(self) -> Entry | None:
        """Return the newest entry; tells the whole story."""
        newest = None
        for entry in self.entries():
            newest = entry
        return newest

    def read(self, sequence: int) -> Entry | None:
        """Return one entry; tells the story up to it."""
        return next((entry for entry in self.entries() if entry.sequence == sequence), None)

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Tell the story, from the entry behind ``after`` on."""
        told = _Telling(source=self._source, chance=random.Random(f"{self._seed}/{self._source.model}"))
        for ordinal in range(self._versions):
            yield from (entry for entry in told.of_version(ordinal) if entry.sequence > after)

    def put_if_absent(self, entry: Entry) -> bool:
        """Refuse: a story is told, not written."""
        raise NotImplementedError(f"entry {entry.sequence} cannot be written: this log is generated")


@dataclass(kw_only=True)
class _Telling:
    source: Source
    chance: random.Random
    state: ServingState = field(default_factory=lambda: ServingState(fleet="main"))
    present: list[Version] = field(default_factory=list)
    newest: Entry | None = None
    entries: list[Entry] = field(default_factory=list)
    ordinal: int = 0

    def of_version(self, ordinal: int) -> list[Entry]:
        """Return the entries from this version's push up to the next one's."""
        self.ordinal, self.entries = ordinal, []
        version = self.source.version(ordinal)
        released = ordinal % RELEASED_EVERY == 0
        self._pushed(version)
        if released:
            self._validated(version)
            self._release(version)
            self._keep_house()
        return self.entries

    def _pushed(self, version: Version) -> None:
        manifest = self.source.manifest_of(version)
        reason = f"{version} pushed, {manifest.size} bytes in {len(manifest.files)} files"
        self._happens(FactKind.PUSHED, version, reason, detail={"digest": manifest.digest})
        self.present.append(version)

    def _validated(self, version: Version) -> None:
        accuracy = self.source.manifest_of(version).metrics["accuracy"]
        detail = {"blessed": True, "accuracy": accuracy, "stable_accuracy": 0.95, "details": {"examples": 1000}}
        self._happens(FactKind.VALIDATED, version, f"accuracy {accuracy:.3f} on 1000 examples", detail=detail)

    def _release(self, version: Version) -> None:
        name = f"release__{version.name}"
        fence = Fence(release=name, attempt=1)
        live = LiveRelease(id=name, attempt=1, version=version, started_at=self._now())
        fate = self.chance.random()
        first = self.state.stable is None
        for percent in _STEPS:
            decision = (
                transitions.shift(self.state, fence=fence, percent=percent)
                if self.state.release
                else transitions.start_canary(self.state, release=live, percent=percent)
            )
            self._decides(decision, fence=fence)
            bad = not first and fate < HARMED + UNDECIDED
            self._judged(version, fence, percent=percent, verdict=_verdict(fate) if bad else "SAFE")
            if bad:
                harmed = fate < HARMED
                self._decides(
                    transitions.abort(self.state, reason=_verdict(fate), fence=fence, harmed=harmed), fence=fence
                )
                return
            if first:
                break  # it got all traffic at once
        self._decides(transitions.promote(self.state, fence=fence, version=version, proof="shown safe"), fence=fence)
        if not first and self.chance.random() < ROLLED_BACK:
            self._decides(transitions.rollback(self.state, reason="complaints", actor=_ADA), actor=_ADA)

    def _judged(self, version: Version, fence: Fence, *, percent: float, verdict: str) -> None:
        """Record a verdict in the form of the step check's own."""
        asked = self.chance.randrange(5_000, 50_000)
        shown = {"n": asked, "bad": asked // (20 if verdict == "HARM" else 100)}
        beside = {"n": 9 * asked, "bad": 9 * asked // 100}
        ratio = shown["bad"] * beside["n"] / (shown["n"] * beside["bad"])
        assessment = {
            "check": "errors",
            "verdict": verdict,
            "reason": f"errors: canary {shown['bad']} of {shown['n']}, stable {beside['bad']} of {beside['n']}",
            "skipped": False,
            "muted": False,
            "suspicious": False,
            "numbers": {"canary": shown, "stable": beside, "ratio": ratio, "dispersion": 1.1, "confidence": 0.99},
        }
        detail = {
            "verdict": verdict,
            "result": "passed" if verdict == "SAFE" else "aborted",
            "percent": percent,
            "assessments": [assessment],
            "taken_in": 30,
        }
        evidence = f"evidence/{fence.release}/1.json"
        self._happens(FactKind.VERDICT, version, f"{verdict}: errors", fence=fence, evidence=evidence, detail=detail)

    def _keep_house(self) -> None:
        """Lift what has long been quarantined, and retire what is old, as the nightly maintenance does."""
        if len(self.state.quarantined) > _MOST_QUARANTINED:
            oldest = self.state.quarantined[0]
            self._decides(transitions.lift(self.state, version=oldest, reason="looked into", actor=_ADA), actor=_ADA)
        if self.ordinal // RELEASED_EVERY % RETIRED_EVERY:
            return
        old = choose_retired(self.state, present=self.present, keep_last=KEEP_LAST)
        if not old:
            return
        gone, reason = self.state.retired, f"keep_last {KEEP_LAST}"
        self._decides(transitions.retire(self.state, versions=old, reason=reason, forget=gone))
        for version in old:
            self.present.remove(version)
            self._happens(FactKind.RETIRED, version, f"the files of {version} are deleted")

    def _happens(
        self,
        kind: FactKind,
        version: Version | None,
        reason: str,
        *,
        fence: Fence | None = None,
        evidence: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        origin = Origin(actor=_AUTOMATION, run=self._run())
        at, write_id = self._now(), self._write_id()
        self._add(
            fact(
                kind,
                reason=reason,
                origin=origin,
                at=at,
                write_id=write_id,
                version=version,
                release=fence,
                evidence=evidence,
                detail=detail,
            )
        )

    def _decides(self, decision: Decision, *, actor: Actor = _AUTOMATION, fence: Fence | None = None) -> None:
        """Commit a decision and record that it is applied."""
        origin = Origin(actor=actor, run={} if actor.is_person else self._run())
        at, write_id = self._now(), self._write_id()
        self._add(transition(decision, origin=origin, at=at, write_id=write_id, release=fence))
        self.state = decision.state
        split = {str(version.number): percent for version, percent in self.state.split}
        generation = self.newest.generation if self.newest else 0
        detail = {"generation": generation, "split": split, "action": decision.action.value}
        self._happens(FactKind.APPLIED, decision.version, f"generation {generation} serves", fence=fence, detail=detail)

    def _run(self) -> dict[str, str]:
        run = f"scheduled__{self.source.pushed_at(self.ordinal).isoformat()}"
        return {"dag_id": f"{self.source.model}_release", "run_id": run, "task_id": "release", "try": "1"}

    def _now(self) -> str:
        at = self.source.pushed_at(self.ordinal) + len(self.entries) * _BETWEEN
        return at.isoformat(timespec="milliseconds")

    def _write_id(self) -> str:
        return f"{self.newest.sequence + 1 if self.newest else 1:032x}"

    def _add(self, entry: Entry) -> None:
        # From bytes, as a repository gives it: the ledger keeps these bytes.
        self.newest = Entry.from_bytes(entry.after(self.newest).to_bytes())
        self.entries.append(self.newest)


def _verdict(fate: float) -> str:
    return "HARM" if fate < HARMED else "UNDECIDED"
