"""Draw the counts of a scene: seeded, so that any single run can be drawn again by its number alone."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.judge.scenes import Fault, Scene

DAY = 86_400.0
CANARY, STABLE, CONTROL = range(3)

_INCIDENT_SECONDS, _INCIDENT_FACTOR = 360.0, 5.0

Whole = NDArray[np.int64]
Real = NDArray[np.floating[Any]]


class Arm(NamedTuple):
    """What one arm did in one interval."""

    samples: int
    bad: int


class Seen(NamedTuple):
    """What a judge is shown of one interval.

    ``fault`` says what hid the truth from it; ``canary_only`` that it hid the canary's alone.
    """

    end: float
    percent: float
    canary: Arm
    stable: Arm
    control: Arm
    fault: Fault | None = None
    canary_only: bool = False

    @property
    def baseline(self) -> Arm:
        """Stable and control together: they are one version."""
        return Arm(self.stable.samples + self.control.samples, self.stable.bad + self.control.bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """All intervals of one run, by columns; the second axis of ``samples`` and ``bad`` is canary, stable, control.

    :param ends: Seconds since the release began, at each interval's end.
    """

    scene: Scene
    ends: Real
    percents: Real
    samples: Whole
    bad: Whole
    faulty: NDArray[np.bool_]

    def __iter__(self) -> Iterator[Seen]:
        rows = zip(
            self.ends.tolist(),
            self.percents.tolist(),
            self.samples.tolist(),
            self.bad.tolist(),
            self.faulty.tolist(),
            strict=True,
        )
        fault = self.scene.faulty
        for end, percent, samples, bad, hit in rows:
            canary, stable, control = map(Arm, samples, bad)
            hidden = (fault.kind, fault.canary_only) if fault is not None and hit else (None, False)
            yield Seen(end, percent, canary, stable, control, *hidden)


def draw(scene: Scene, *, seed: int, run: int) -> Drawn:
    """Draw one run of a scene."""
    return _draw(scene, np.random.default_rng(_entropy(scene, seed=seed, run=run)))


def draw_history(scene: Scene, *, seed: int, run: int) -> Drawn:
    """Draw what stable and control did before the release: the same world without a canary."""
    before = dataclasses.replace(
        scene,
        seconds=scene.calibration_seconds,
        ramp=scene.ramp[:1],
        faulty=None,
        incidents=0,
        ratio=1.0,
        canary_base=None,
    )
    drawn = _draw(before, np.random.default_rng([*_entropy(scene, seed=seed, run=run), 1]))
    drawn.samples[:, CANARY] = 0
    drawn.bad[:, CANARY] = 0
    return dataclasses.replace(drawn, ends=drawn.ends - scene.calibration_seconds)


def _entropy(scene: Scene, *, seed: int, run: int) -> list[int]:
    return [seed, zlib.crc32(scene.name.encode()), run]


def _draw(scene: Scene, random: np.random.Generator) -> Drawn:
    ends = scene.peek_seconds * np.arange(1, scene.peeks + 1)
    middles = ends - scene.peek_seconds / 2
    phase = random.uniform(0, DAY)
    percents = _percents(scene, middles)
    traffic, base = _swing(scene, middles, phase=phase)
    base = base * _incident_factors(scene, middles, random)
    arms = np.stack([percents, 100 - 2 * percents, percents], axis=1) / 100
    samples = random.poisson(traffic[:, None] * scene.peek_seconds * arms)
    rates = np.stack([_canary_rates(scene, middles, base), base, base], axis=1)
    bad = random.binomial(samples, np.minimum(rates * _bursts(scene, middles, random), 1.0))
    return Drawn(
        scene=scene, ends=ends, percents=percents, samples=samples, bad=bad, faulty=_hits(scene, middles, random)
    )


def _percents(scene: Scene, middles: Real) -> Real:
    starts, percents = (np.array(column) for column in zip(*scene.ramp, strict=True))
    return percents[np.searchsorted(starts, middles, side="right") - 1].astype(float)


def _swing(scene: Scene, middles: Real, *, phase: float) -> tuple[Real, Real]:
    """Give requests per second and stable's bad rate; the error rate is highest a quarter of a day after the traffic."""
    if not scene.diurnal:
        return np.full_like(middles, scene.rps), np.full_like(middles, scene.base)
    angle = 2 * np.pi * (middles + phase) / DAY
    return scene.rps * (1 + 0.6 * np.sin(angle)), scene.base * (1 + 0.5 * np.cos(angle))


def _incident_factors(scene: Scene, middles: Real, random: np.random.Generator) -> Real:
    factors = np.ones_like(middles)
    for start in random.uniform(0, scene.seconds, size=scene.incidents):
        factors[(middles >= start) & (middles < start + _INCIDENT_SECONDS)] = _INCIDENT_FACTOR
    return factors


def _canary_rates(scene: Scene, middles: Real, base: Real) -> Real:
    rates = base * np.where(middles >= scene.onset_seconds, scene.ratio, 1.0)
    return rates if scene.canary_base is None else np.full_like(rates, scene.canary_base)


def _bursts(scene: Scene, middles: Real, random: np.random.Generator) -> Real:
    """Give each arm's own factor for each interval: gamma with mean 1, constant for a burst's length."""
    if scene.burst_cv2 == 0:
        return np.ones((len(middles), 3))
    blocks = (middles // scene.burst_seconds).astype(int)
    shape = 1 / scene.burst_cv2
    factors: Real = random.gamma(shape, scene.burst_cv2, size=(blocks[-1] + 1, 3))
    taken: Real = factors[blocks]
    return taken


def _hits(scene: Scene, middles: Real, random: np.random.Generator) -> NDArray[np.bool_]:
    if scene.faulty is None:
        return np.zeros(len(middles), dtype=bool)
    coins: NDArray[np.bool_] = random.random(len(middles)) < scene.faulty.share
    return coins & (middles >= scene.faulty.from_seconds)
