"""How the judge of one release is made, for each kind of judge. All of these can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.judge.judges import Judge
from benchmarks.judge.kayenta import Kayenta
from benchmarks.judge.ours import SETTINGS, Ours
from benchmarks.judge.scenes import Scene
from benchmarks.judge.thresholds import ArgoRollouts, Flagger
from benchmarks.judge.traffic import draw_history
from benchmarks.judge.work import MakeJudge
from benchmarks.judge.ztests import ZTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A judge by the name it has in the tables."""

    name: str
    make: MakeJudge


def ours(scene: Scene, seed: int, run: int) -> Ours:
    """Make our judge, calibrated on what stable and control did before the release."""
    return Ours(scene, history=draw_history(scene, seed=seed, run=run))


def rival(new: Callable[[], Judge], *_release: object) -> Judge:
    """Make a judge that is the same for every release."""
    return new()


def kayenta(scene: Scene, *_run: int) -> Judge:
    """Make Kayenta's judge: one point a minute, a judgement every ten."""
    return Kayenta(every=10, ends=scene.peeks)


def z_fixed(scene: Scene, *_run: int) -> Judge:
    """Make the z-test that is looked at once, at the release's end."""
    return ZTest(alpha=SETTINGS.alpha, at=scene.peeks)


OURS = Contender(name="ours", make=ours)
KAYENTA = Contender(name="Kayenta, every 10 min", make=kayenta)


def tuned_argo(limit: float) -> Contender:
    """Return Argo's rule with the limit that an oracle found, and a failure limit of 3, as in its examples."""
    return Contender(name="Argo, tuned by an oracle", make=_make(ArgoRollouts, limit=limit))


def field(*, base: float, argo_limit: float) -> list[Contender]:
    """Return all judges; those with a limit of their own get it from the base rate, as a team would that knows it."""
    return [
        OURS,
        tuned_argo(argo_limit),
        Contender(name="Argo, 5 %, 5 min", make=_make(ArgoRollouts, limit=0.05, window=5)),
        Contender(name="Argo, 1.5 x base, 1 min", make=_make(ArgoRollouts, limit=1.5 * base)),
        Contender(name="Argo, 1.5 x stable, 1 min", make=_make(ArgoRollouts, limit=1.5, relative=True)),
        Contender(name="Flagger, 1.5 x base", make=_make(Flagger, limit=1.5 * base, threshold=5)),
        KAYENTA,
        Contender(name="z-test, peeked", make=_make(ZTest, alpha=SETTINGS.alpha)),
        Contender(name="z-test, once at the end", make=z_fixed),
    ]


def _make(new: Callable[..., Judge], **settings: float) -> MakeJudge:
    return partial(rival, partial(new, **settings))
