"""Judges what was measured by the goals, and shows it in tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.judge.report import Finding, Report, Table
from benchmarks.lineage.measures import Answered, Measured
from benchmarks.lineage.stories import MIX
from benchmarks.lineage.timing import shown

JUDGED_FROM = 100_000
"""From how many versions on the guide's way must be so much slower; below it, its cost is mostly the opening."""
SLOWER = 100.0


def report_of(measured: Sequence[Measured]) -> Report:
    """Return goals and tables of all ledgers, smallest first."""
    report = Report(findings=[finding for each in measured for finding in _findings(each)])
    report.tables += [_writing(measured), _questions(measured), *map(_beside_the_floor, measured), _contests(measured)]
    return report


def _findings(measured: Measured) -> Iterator[Finding]:
    size = f"{measured.ledger.versions:,} versions"
    for each in measured.answered:
        goal = each.question.goal_ms
        if goal is not None:
            yield Finding(
                goal=f"{each.question.name} is answered at once",
                cell=size,
                rule=f"median < {goal:g} ms, opening the store included",
                measured=f"{each.ours} ms",
                holds=each.ours.median < goal,
            )
    yield Finding(
        goal="answers are those of the logs",
        cell=size,
        rule="latest stable of every model, ancestry of random versions",
        measured=measured.wrong[0] if measured.wrong else "all",
        holds=not measured.wrong,
    )
    for contest in measured.contests:
        judged = measured.ledger.versions >= JUDGED_FROM
        yield Finding(
            goal=f"{contest.name}: the guide's way gives the same answer, slower",
            cell=size,
            rule=f"same answer, >= {SLOWER:g} times slower" if judged else "same answer",
            measured=f"{'same' if contest.same else 'OTHER'}, {contest.ratio:,.0f} times",
            holds=contest.same and (contest.ratio >= SLOWER or not judged),
        )


def _writing(measured: Sequence[Measured]) -> Table:
    rows = [
        [
            f"{each.ledger.versions:,}",
            f"{each.ledger.entries:,}",
            f"{each.ledger.seconds - each.ledger.telling_seconds:,.1f}",
            f"{each.ledger.entries_per_second:,.0f}",
            f"{each.ledger.bytes / 1e6:,.0f}",
            f"{each.ledger.floor_per_second / each.ledger.entries_per_second:,.0f}",
        ]
        for each in measured
    ]
    note = (
        f"Over {len(measured[0].ledger.models)} models. The mix: {MIX}. Recorded by the real recorder; generating the logs is "
        "not counted. The floor writes only the entries' bytes under their keys, with plain sqlite3, 100 per transaction."
    )
    head = ["versions", "entries", "seconds", "entries/s", "MB", "times the floor"]
    return Table(title="Recording into an empty ledger", head=head, rows=rows, note=note)


def _questions(measured: Sequence[Measured]) -> Table:
    names = [each.question.name for each in measured[0].answered]
    rows = [[name, *(str(_named(each, name).ours) for each in measured)] for name in names]
    rows += [
        ["a fresh process: imports and latest stable", *(str(each.fresh) for each in measured)],
        ["floor: a MetadataStore opened", *(str(each.opening) for each in measured)],
        ["floor: one artifact by name, store open", *(str(each.by_name) for each in measured)],
    ]
    runs = measured[0].answered[0].ours.runs
    note = (
        f"Median / 95th percentile in ms of {runs} questions about random models, versions and moments; each opens the store, as "
        "the hook does, in a process that has imported ML Metadata. The file is in the page cache."
    )
    sizes = [f"{each.ledger.versions:,} versions" for each in measured]
    return Table(title="Questions", head=["question", *sizes], rows=rows, note=note)


def _beside_the_floor(measured: Measured) -> Table:
    rows = [
        [
            each.question.name,
            str(each.ours),
            shown(each.ours.processor or 0.0),
            str(each.kept_open),
            str(each.floor),
            f"{each.ours.median / each.floor.median:,.0f}",
        ]
        for each in measured.answered
    ]
    head = [
        "question",
        "ours",
        "its processor time",
        "ours, store kept open",
        "the same rows by plain sqlite3",
        "times the floor",
    ]
    return Table(title=f"Beside the floor: {measured.ledger.versions:,} versions, ms", head=head, rows=rows)


def _contests(measured: Sequence[Measured]) -> Table:
    rows = [
        [contest.name, f"{each.ledger.versions:,}", str(contest.theirs), str(contest.ours), f"{contest.ratio:,.0f}"]
        for each in measured
        for contest in each.contests
    ]
    note = (
        "The guide's way fetches everything of a type with `get_artifacts_by_type`, then filters and sorts in Python: the "
        "serving states for the first question, the versions for the second."
    )
    head = ["question", "versions", "guide's way, ms", "ours, ms", "times slower"]
    return Table(title="The guide's way", head=head, rows=rows, note=note)


def _named(measured: Measured, name: str) -> Answered:
    return next(each for each in measured.answered if each.question.name == name)
