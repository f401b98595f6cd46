"""The serving state: what one model's fleet should serve. Values only; ``transitions.py`` holds the rules that change it.

The state is the whole truth that apply needs; it is stored in every transition of the log, so the newest one alone
tells what to serve.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.versioning import Version

_T = TypeVar("_T")

PERCENT_STEP = 0.01
"""The finest share of traffic: one hundredth of a percent, what the router's TEN_THOUSAND denominator can say."""

LARGEST_HOLD_BACK = 50.0
"""The largest share of traffic that the version before stable may keep, in percent."""

STABLE, CANARY, GOLDEN = "stable", "canary", "golden"
"""The labels, as links in the repository and as version labels on the servers."""


class ActorKind(StrEnum):
    """Who asks for a change."""

    PERSON = "person"
    AUTOMATION = "automation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks for a change, e.g. the signed-in user or ``model_release``."""

    kind: ActorKind
    name: str

    @property
    def is_person(self) -> bool:
        """Whether a person asks."""
        return self.kind is ActorKind.PERSON

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version on trial and its share of traffic in percent, 0 (loaded, no traffic) to 100."""

    version: Version
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdback:
    """The version that was stable before a promotion and keeps a small share, so that late harm can be judged against it.

    It belongs to the watch of the release that promoted stable, see :attr:`ServingState.promoted_by`.

    :param percent: Its share of traffic, above 0 to :data:`LARGEST_HOLD_BACK`.
    :param until: When the watch is meant to end, ISO 8601 in UTC, for people to read; ``None``: nobody said. What really
        ends it is the watch, or its lease when nobody watches.
    """

    version: Version
    percent: float
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The known-good version, and whether a person pinned it: the automation never rolls back past a person's pin."""

    version: Version
    by_person: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Who stopped the automation from shifting and promoting, and why.

    :param by_person: Whether a person did. The automation's own hold waits for a person and ends with its release.
    """

    by: str
    reason: str
    by_person: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The release and attempt an actor belongs to. If they are not the live ones, the actor is late and does nothing."""

    release: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRelease:
    """The one release that may change traffic now.

    :param started_at: When this attempt started, ISO 8601 in UTC; fences callbacks of an earlier run.
    """

    id: str
    attempt: int
    version: Version
    started_at: str

    @property
    def fence(self) -> Fence:
        """What its actors show to prove they belong to it."""
        return Fence(release=self.id, attempt=self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingState:
    """The desired state of one model.

    :param fleet: The fleet that serves the model.
    :param earlier: Versions that were stable before, oldest first; rollback goes back along it.
    :param left: Versions that were stable and were rolled back from: kept, but never an automatic target.
    :param quarantined: Never a candidate or an automatic target until a person lifts them.
    :param retired: Versions whose deletion is committed and perhaps not finished.
    :param ended: The release that ended last: a late retry of it must not start it again.
    :param holdback: The former stable version while the release that took its place is watched; never beside a canary.
    :param promoted_by: The release that made stable what it is, whose watch may take it back; ``None`` after a way back, for
        an adopted version, and for what was promoted before this was recorded.
    :param keep_warm: How many of ``earlier`` stay loaded, so that the way back takes seconds.
    :raises InvalidState: if the parts contradict one another.
    """

    fleet: str
    stable: Version | None = None
    canary: Canary | None = None
    golden: Golden | None = None
    earlier: tuple[Version, ...] = ()
    left: tuple[Version, ...] = ()
    quarantined: tuple[Version, ...] = ()
    retired: tuple[Version, ...] = ()
    hold: Hold | None = None
    release: LiveRelease | None = None
    ended: Fence | None = None
    holdback: Holdback | None = None
    promoted_by: Fence | None = None
    keep_warm: int = 1

    def __post_init__(self) -> None:
        problems = list(_contradictions(self))
        if problems:
            raise InvalidState(f"serving state on fleet {self.fleet!r} contradicts itself: {'; '.join(problems)}")

    @property
    def split(self) -> tuple[tuple[Version, float], ...]:
        """The versions that get traffic and their shares in percent, stable first; empty when nothing serves."""
        beside = self.canary or self.holdback
        if beside is None or beside.percent == 0:
            return ((self.stable, 100.0),) if self.stable else ()
        if self.stable is None or beside.percent == 100:
            return ((beside.version, 100.0),)
        return (self.stable, round(100.0 - beside.percent, 2)), (beside.version, beside.percent)

    @property
    def labels(self) -> dict[str, Version]:
        """The labels and the versions they point to."""
        golden = self.golden.version if self.golden else None
        canary = self.canary.version if self.canary else None
        pairs = ((STABLE, self.stable), (CANARY, canary), (GOLDEN, golden))
        return {label: version for label, version in pairs if version is not None}

    @property
    def warm(self) -> tuple[Version, ...]:
        """Every version that must be loaded: those with a label or traffic and the nearest rollback targets, lowest first."""
        usable = [version for version in self.earlier if version not in self.quarantined]
        nearest = usable[len(usable) - min(self.keep_warm, len(usable)) :]
        held_back = (self.holdback.version,) if self.holdback else ()
        return tuple(sorted({*self.labels.values(), *held_back, *nearest}))

    @property
    def promoted(self) -> tuple[Version, ...]:
        """Every version that was stable and is not retired, the present one included, lowest number first."""
        present = (self.stable,) if self.stable else ()
        return tuple(sorted({*self.earlier, *self.left, *present}))

    @property
    def leased(self) -> Fence | None:
        """The release that somebody looks after by a lease: the live one, or the one whose watch holds a version back."""
        if self.release is not None:
            return self.release.fence
        return self.promoted_by if self.holdback else None

    def is_live(self, fence: Fence) -> bool:
        """Whether an actor with this fence belongs to the live release and its present attempt."""
        return self.release is not None and self.release.fence == fence

    def to_json(self) -> dict[str, Any]:
        """Return the form that is stored in the log."""
        return {
            "fleet": self.fleet,
            "stable": _version_json(self.stable),
            "canary": {"version": self.canary.version.to_json(), "percent": self.canary.percent}
            if self.canary
            else None,
            "golden": (
                {"version": self.golden.version.to_json(), "by_person": self.golden.by_person} if self.golden else None
            ),
            "earlier": _versions_json(self.earlier),
            "left": _versions_json(self.left),
            "quarantined": _versions_json(self.quarantined),
            "retired": _versions_json(self.retired),
            "hold": _hold_json(self.hold),
            "release": _release_json(self.release),
            "ended": _fence_json(self.ended),
            "holdback": _holdback_json(self.holdback),
            "promoted_by": _fence_json(self.promoted_by),
            "keep_warm": self.keep_warm,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ServingState:
        """Read what :meth:`to_json` wrote.

        :raises InvalidState: if a part is missing or makes no sense.
        """
        try:
            canary, golden, hold, release, ended = (
                data[key] for key in ("canary", "golden", "hold", "release", "ended")
            )
            holdback, promoted_by = data.get("holdback"), data.get("promoted_by")  # the first states lack them
            return cls(
                fleet=_checked(str, data["fleet"], "fleet"),
                stable=Version.from_json(data["stable"]) if data["stable"] else None,
                canary=_canary(canary) if canary else None,
                golden=_golden(golden) if golden else None,
                earlier=_versions(data["earlier"]),
                left=_versions(data["left"]),
                quarantined=_versions(data["quarantined"]),
                retired=_versions(data["retired"]),
                hold=_hold(hold) if hold else None,
                release=_release(release) if release else None,
                ended=_fence(ended) if ended else None,
                holdback=_holdback(holdback) if holdback else None,
                promoted_by=_fence(promoted_by) if promoted_by else None,
                keep_warm=_checked(int, data["keep_warm"], "keep_warm"),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise InvalidState(f"stored serving state cannot be read ({error!r}): {data!r}") from error


def _contradictions(state: ServingState) -> Iterable[str]:
    if state.canary:
        yield from _canary_contradictions(state, state.canary)
    if state.holdback:
        yield from _holdback_contradictions(state, state.holdback)
    if state.golden and state.golden.version in state.quarantined:
        yield f"golden {state.golden.version} is quarantined"
    for place, versions in (("serving", state.warm), ("earlier", state.earlier), ("left", state.left)):
        yield from (f"{place} version {version} is retired" for version in versions if version in state.retired)
    if state.stable in {*state.earlier, *state.left}:
        yield f"stable {state.stable} is also listed as an earlier one"
    if state.keep_warm < 0:
        yield f"keep_warm {state.keep_warm} is negative"


def _canary_contradictions(state: ServingState, canary: Canary) -> Iterable[str]:
    if not 0 <= canary.percent <= 100:
        yield f"canary share {canary.percent} % is outside 0 to 100"
    elif round(canary.percent, 2) != canary.percent:
        yield f"canary share {canary.percent} % is finer than {PERCENT_STEP} %"
    if canary.version == state.stable:
        yield f"{canary.version} is both stable and canary"
    if canary.version in state.quarantined:
        yield f"canary {canary.version} is quarantined"
    if state.release and canary.version != state.release.version:
        yield f"canary {canary.version} is not the version {state.release.version} of release {state.release.id!r}"


def _holdback_contradictions(state: ServingState, holdback: Holdback) -> Iterable[str]:
    held = f"{holdback.version}, which is held back,"
    if not 0 < holdback.percent <= LARGEST_HOLD_BACK:
        yield f"hold-back share {holdback.percent} % is not above 0 and at most {LARGEST_HOLD_BACK:g}"
    elif round(holdback.percent, 2) != holdback.percent:
        yield f"hold-back share {holdback.percent} % is finer than {PERCENT_STEP} %"
    if state.canary or state.release:
        yield f"{held} serves beside a live release"
    if state.stable is None or state.promoted_by is None:
        yield f"{held} has no promotion that it belongs to"
    if holdback.version not in state.earlier:
        yield f"{held} is no earlier stable version"
    if holdback.version in state.quarantined:
        yield f"{held} is quarantined"


def _version_json(version: Version | None) -> dict[str, str] | None:
    return version.to_json() if version else None


def _versions_json(versions: Iterable[Version]) -> list[dict[str, str]]:
    return [version.to_json() for version in versions]


def _versions(data: list[dict[str, Any]]) -> tuple[Version, ...]:
    return tuple(Version.from_json(item) for item in data)


def _hold_json(hold: Hold | None) -> dict[str, Any] | None:
    return {"by": hold.by, "reason": hold.reason, "by_person": hold.by_person} if hold else None


def _hold(data: dict[str, Any]) -> Hold:
    # The first states that were stored say who holds, but not whether that is a person.
    told = data["by"].startswith(f"{ActorKind.PERSON.value} ")
    return Hold(
        by=_checked(str, data["by"], "by"),
        reason=_checked(str, data["reason"], "reason"),
        by_person=_checked(bool, data.get("by_person", told), "by_person"),
    )


def _canary(data: dict[str, Any]) -> Canary:
    return Canary(version=Version.from_json(data["version"]), percent=_percent(data["percent"]))


def _percent(value: Any) -> float:
    return value if isinstance(value, float) else _checked(int, value, "percent")


def _holdback_json(holdback: Holdback | None) -> dict[str, Any] | None:
    if holdback is None:
        return None
    return {"version": holdback.version.to_json(), "percent": holdback.percent, "until": holdback.until}


def _holdback(data: dict[str, Any]) -> Holdback:
    until = data["until"]
    return Holdback(
        version=Version.from_json(data["version"]),
        percent=_percent(data["percent"]),
        until=None if until is None else _checked(str, until, "until"),
    )


def _golden(data: dict[str, Any]) -> Golden:
    by_person = _checked(bool, data["by_person"], "by_person")
    return Golden(version=Version.from_json(data["version"]), by_person=by_person)


def _release(data: dict[str, Any]) -> LiveRelease:
    return LiveRelease(
        id=_checked(str, data["id"], "id"),
        attempt=_checked(int, data["attempt"], "attempt"),
        version=Version.from_json(data["version"]),
        started_at=_checked(str, data["started_at"], "started_at"),
    )


def _fence_json(fence: Fence | None) -> dict[str, Any] | None:
    return {"release": fence.release, "attempt": fence.attempt} if fence else None


def _fence(data: dict[str, Any]) -> Fence:
    return Fence(release=_checked(str, data["release"], "release"), attempt=_checked(int, data["attempt"], "attempt"))


def _checked(kind: type[_T], value: Any, name: str) -> _T:
    """Return a stored value of the right type; JSON's true is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name} {value!r} is not of type {kind.__name__}")
    return value


def _release_json(release: LiveRelease | None) -> dict[str, Any] | None:
    if release is None:
        return None
    return {
        "id": release.id,
        "attempt": release.attempt,
        "version": release.version.to_json(),
        "started_at": release.started_at,
    }
