"""The picture: false-rollback rate against detection delay, one mark per judge and traffic, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.judge.rates import Rate

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 420, 330, 70, 70, 70
_LOWEST, _HIGHEST = 0.0005, 1.0
_COLOURS = ("#1b6ca8", "#c0392b", "#d68910", "#7d3c98", "#148f77", "#5d6d7e", "#a04000", "#212f3d", "#f1a7b5")
_SHAPES = ("circle", "square", "diamond")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One judge under one traffic.

    :param group: What shares a shape, e.g. the traffic.
    :param delay_minutes: Median; infinite: more than half were never found.
    """

    judge: str
    group: str
    delay_minutes: float
    false_rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture beside others, with the same axes."""

    title: str
    marks: Sequence[Mark]
    latest_minutes: float


def draw_chart(panels: Sequence[Panel], *, alpha: float) -> str:
    """Write all panels beside each other; the left upper corner of a panel is bad (false), the lower left is good."""
    judges = list(dict.fromkeys(mark.judge for panel in panels for mark in panel.marks))
    groups = list(dict.fromkeys(mark.group for panel in panels for mark in panel.marks))
    width = _LEFT + len(panels) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + 80 + 20 * math.ceil((len(judges) + len(groups)) / 4)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">',
        "<title>False-rollback rate against detection delay</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(width / 2, 24, "False rollbacks against detection delay: lower and further left is better", size=15),
    ]
    for index, panel in enumerate(panels):
        parts += _panel(panel, left=_LEFT + index * (_WIDTH + _GAP), alpha=alpha, judges=judges, groups=groups)
    parts += _legend(judges, groups)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, *, left: float, alpha: float, judges: list[str], groups: list[str]) -> Iterator[str]:
    yield _text(left + _WIDTH / 2, _TOP - 14, panel.title, size=13)
    yield f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>'
    yield from _axes(left, latest=panel.latest_minutes)
    at_alpha = _y(alpha)
    ends = f'x1="{left}" x2="{left + _WIDTH}" y1="{at_alpha:.1f}" y2="{at_alpha:.1f}"'
    yield f'<line {ends} stroke="#c0392b" stroke-dasharray="5 4"/>'
    yield _text(left + 4, at_alpha - 5, f"alpha = {100 * alpha:g} %", anchor="start", colour="#c0392b")
    for mark in reversed(panel.marks):  # the first judge on top
        x = _x(mark.delay_minutes, left, latest=panel.latest_minutes)
        yield from _mark(mark, x=x, colour=_colour(judges, mark.judge), shape=_SHAPES[groups.index(mark.group) % 3])


def _axes(left: float, *, latest: float) -> Iterator[str]:
    for share in (0.001, 0.01, 0.1, 1.0):
        y = _y(share)
        yield f'<line x1="{left - 4}" x2="{left}" y1="{y:.1f}" y2="{y:.1f}" stroke="#555"/>'
        yield _text(left - 8, y + 4, f"{100 * share:g} %", anchor="end")
    yield _text(left - 8, _y(0.0) + 4, "0", anchor="end")
    for minute in (1, 2, 5, 10, 20, 60, math.inf):
        x = _x(minute, left, latest=latest)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP + _HEIGHT}" y2="{_TOP + _HEIGHT + 4}" stroke="#555"/>'
        yield _text(x, _TOP + _HEIGHT + 18, "never" if math.isinf(minute) else f"{minute:g}")
    yield _text(
        left + _WIDTH / 2, _TOP + _HEIGHT + 38, "median minutes until a canary that is twice as bad is rolled back"
    )


def _mark(mark: Mark, *, x: float, colour: str, shape: str) -> Iterator[str]:
    y, top, bottom = (_y(share) for share in (mark.false_rate.share, mark.false_rate.high, mark.false_rate.low))
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{colour}" stroke-width="1.5"/>'
    words = escape(f"{mark.judge}, {mark.group}: {mark.false_rate}")
    yield f'<g fill="{colour}" stroke="white">{_shape(shape, x, y)}<title>{words}</title></g>'


def _shape(shape: str, x: float, y: float) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if shape == "diamond" else ""
    return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"{turn}/>'


def _legend(judges: list[str], groups: list[str]) -> Iterator[str]:
    entries = [(judge, _colour(judges, judge), "circle") for judge in judges]
    entries += [(group, "#777", _SHAPES[index % 3]) for index, group in enumerate(groups)]
    for index, (words, colour, shape) in enumerate(entries):
        x, y = _LEFT + (index % 4) * 235, _TOP + _HEIGHT + 66 + 20 * (index // 4)
        yield f'<g fill="{colour}">{_shape(shape, x, y)}</g>'
        yield _text(x + 12, y + 4, words, anchor="start")


def _colour(judges: list[str], judge: str) -> str:
    return _COLOURS[judges.index(judge) % len(_COLOURS)]


def _x(minutes: float, left: float, *, latest: float) -> float:
    """Give the place on a logarithmic axis from half a minute on, whose right end is "never"."""
    if math.isinf(minutes):
        return left + 0.96 * _WIDTH
    part = math.log(max(minutes, 0.5) / 0.5) / math.log(latest / 0.5)
    return left + 0.86 * _WIDTH * min(part, 1.0)


def _y(share: float) -> float:
    """Give the place on a logarithmic axis whose lower end is 0."""
    if share < _LOWEST:
        return _TOP + 0.97 * _HEIGHT
    part = math.log(share / _LOWEST) / math.log(_HIGHEST / _LOWEST)
    return _TOP + _HEIGHT * (0.93 - 0.9 * part)


def _text(x: float, y: float, words: str, *, anchor: str = "middle", size: int = 12, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(words)}</text>'
