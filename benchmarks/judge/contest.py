"""All judges on the same releases: how often each rolls back a healthy one, and how soon a bad one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.judge.chart import Mark, Panel, draw_chart
from benchmarks.judge.contenders import KAYENTA, OURS, Contender, field, tuned_argo
from benchmarks.judge.day import batch_size, judge_days, rate_of
from benchmarks.judge.judges import Outcome
from benchmarks.judge.ours import SETTINGS
from benchmarks.judge.profiles import Profile
from benchmarks.judge.rates import Rate, median_delay, minutes, rolled_back
from benchmarks.judge.report import Finding, Report, Table
from benchmarks.judge.scenes import Scene
from benchmarks.judge.thresholds import tune_argo
from benchmarks.judge.traffic import draw
from benchmarks.judge.work import Workers

HOUR, DAY = 3_600.0, 86_400.0
_SHOWN = ((10.0, 0.01), (100.0, 0.01), (1000.0, 0.01))
"""What the picture shows: as many as it has shapes."""
_KNOWN_HOURS = (0.5, 6.0, 24.0)
GOAL = "found no later than by Kayenta and by Argo tuned by an oracle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One traffic and base rate, with the limit an oracle gives Argo for it."""

    rps: float
    base: float
    argo_limit: float

    @property
    def words(self) -> str:
        """How the tables call it."""
        return f"{self.rps:g} rps, base {100 * self.base:g} %"

    def scene(self, ratio: float = 1.0) -> Scene:
        """Return an hour of steady traffic with a canary of this ratio."""
        return Scene(
            name=f"hour {self.words} x{ratio:g}",
            rps=self.rps,
            base=self.base,
            ratio=ratio,
            seconds=HOUR,
            calibration_seconds=DAY,
        )


def run(workers: Workers, profile: Profile, report: Report) -> str:
    """Hold the contest, add its tables and its goal to the report, and give the picture."""
    cells = [_cell(workers, profile, rps=rps, base=base) for rps, base in profile.contest_cells]
    delays = {cell: _delays(workers, profile, cell) for cell in cells}
    for cell, by_ratio in delays.items():
        report.findings += [_finding(cell, ratio, found) for ratio, found in by_ratio.items() if ratio >= 2]
    report.tables.append(_delay_table(profile, delays))
    steady = {cell: _false_rates(workers, profile, cell, cell.scene()) for cell in cells}
    rough = {
        cell: _false_rates(workers, profile, cell, _rough_day(cell)) for cell in cells if cell.base == profile.base
    }
    report.tables += [_calibration_table(workers, profile)] if profile.beyond else []
    healthy = "healthy canaries rolled back"
    report.tables.append(_false_table(f"An hour of steady traffic: {healthy}", steady))
    report.tables.append(_false_table(f"A day that swings, with three incidents of both arms: {healthy}", rough))
    panels = [
        _panel("false: in an hour of steady traffic", steady, delays),
        _panel("false: in a day that swings, with 3 incidents", rough, delays),
    ]
    return draw_chart(panels, alpha=SETTINGS.alpha)


def _rough_day(cell: Cell) -> Scene:
    return replace(cell.scene(), name=f"rough day {cell.words}", seconds=DAY, diurnal=True, incidents=3)


def _cell(workers: Workers, profile: Profile, *, rps: float, base: float) -> Cell:
    """Let the oracle tune Argo on healthy releases of their own, which no table uses."""
    cell = Cell(rps=rps, base=base, argo_limit=math.nan)
    scene = replace(cell.scene(), name=f"oracle {cell.words}")
    healthy = (draw(scene, seed=workers.seed, run=run) for run in range(profile.oracle_runs))
    return replace(cell, argo_limit=tune_argo(healthy, false_rate=SETTINGS.alpha))


Delays = Mapping[str, Sequence[Outcome]]


def _delays(workers: Workers, profile: Profile, cell: Cell) -> dict[float, Delays]:
    everyone = field(base=cell.base, argo_limit=cell.argo_limit)
    return {
        ratio: {each.name: _outcomes(workers, profile, each, cell.scene(ratio)) for each in everyone}
        for ratio in profile.ratios
    }


def _outcomes(workers: Workers, profile: Profile, contender: Contender, scene: Scene) -> list[Outcome]:
    return workers.outcomes(contender.make, scene, runs=profile.delay_runs)


def _finding(cell: Cell, ratio: float, found: Delays) -> Finding:
    tuned = tuned_argo(cell.argo_limit).name
    mine, theirs = median_delay(found[OURS.name]), {name: median_delay(found[name]) for name in (KAYENTA.name, tuned)}
    words = ", ".join(f"{name} {minutes(delay)}" for name, delay in theirs.items())
    return Finding(
        goal=GOAL,
        cell=f"{cell.words}, x{ratio:g}",
        rule="median delay <= both",
        measured=f"ours {minutes(mine)}, {words}",
        holds=all(mine <= delay for delay in theirs.values()),
    )


def _delay_table(profile: Profile, delays: Mapping[Cell, Mapping[float, Delays]]) -> Table:
    names = list(next(iter(next(iter(delays.values())).values())))
    rows = [
        [cell.words, f"x{ratio:g}", *(_found(found[name]) for name in names)]
        for cell, by_ratio in delays.items()
        for ratio, found in by_ratio.items()
    ]
    note = (
        f"Share of {profile.delay_runs} releases rolled back within the hour and the median minute (`never`: less than half); "
        "the canary gets 10 %, one look a minute. A judge that rolls back healthy canaries finds bad ones early, too: read it "
        "with the tables below. Ours knows the noise of the day before, the oracle "
        f"{profile.oracle_runs:,} healthy releases of just this traffic and base rate."
    )
    return Table(
        title="Bad canaries: found how often, how soon", head=["traffic", "canary", *names], rows=rows, note=note
    )


def _found(outcomes: Sequence[Outcome]) -> str:
    return f"{100 * rolled_back(outcomes).share:.0f} %, {minutes(median_delay(outcomes))}"


def _calibration_table(workers: Workers, profile: Profile) -> Table:
    """Show what little knowledge of the noise costs where events are few."""
    rows = []
    for rps, base in ((1.0, 0.01), (10.0, 0.001), (10.0, 0.01)):
        for ratio in (3.0, 5.0, 10.0):
            cell = Cell(rps=rps, base=base, argo_limit=math.nan)
            scenes = [replace(cell.scene(ratio), calibration_seconds=hours * HOUR) for hours in _KNOWN_HOURS]
            found = [_found(_outcomes(workers, profile, OURS, scene)) for scene in scenes]
            rows.append([cell.words, f"x{ratio:g}", *found])
    note = (
        "With fewer than about twenty bad requests in control the noise is not known, and ours judges with the stated default, "
        "a dispersion of 2: there it loses against an oracle. Calibrate longer, or state the check's `dispersion`."
    )
    head = ["traffic", "canary", *(f"{hours:g} h of calibration" for hours in _KNOWN_HOURS)]
    return Table(title="Ours, by how long the noise was measured before", head=head, rows=rows, note=note)


def _false_rates(workers: Workers, profile: Profile, cell: Cell, scene: Scene) -> dict[str, Rate]:
    rates = {}
    for each in field(base=cell.base, argo_limit=cell.argo_limit):
        if each is OURS:
            judged = workers.batches(judge_days, scene, runs=profile.healthy_runs, size=batch_size(scene))
            rates[each.name] = rate_of(judged)
            continue
        slow = each is KAYENTA and scene.seconds > HOUR
        runs = profile.slow_runs if slow else profile.rival_runs
        rates[each.name] = rolled_back(workers.outcomes(each.make, scene, runs=runs))
    return rates


def _false_table(title: str, rates: Mapping[Cell, Mapping[str, Rate]]) -> Table:
    names = list(next(iter(rates.values())))
    rows = [[name, *(str(by_name[name]) for by_name in rates.values())] for name in names]
    note = "In brackets the 95 % interval of the simulation (Clopper-Pearson), in percent."
    return Table(title=title, head=["judge", *(cell.words for cell in rates)], rows=rows, note=note)


def _panel(
    title: str, rates: Mapping[Cell, Mapping[str, Rate]], delays: Mapping[Cell, Mapping[float, Delays]]
) -> Panel:
    marks = [
        Mark(judge=name, group=cell.words, delay_minutes=median_delay(delays[cell][2.0][name]) / 60, false_rate=rate)
        for cell, by_name in rates.items()
        if (cell.rps, cell.base) in _SHOWN
        for name, rate in by_name.items()
    ]
    return Panel(title=title, marks=marks, latest_minutes=60.0)
