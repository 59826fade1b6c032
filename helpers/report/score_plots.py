"""Figures that any chapter can draw of its scores: rows of dots, curves in panels. Takes arrays, computes nothing.

The look (size, colors, white background) is that of `style.py`. Used in chapters 3 to 5.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.measure.bootstrap import Score
from helpers.report.style import GRAY, MARKERS, intervals, legend_below, looks, name_points, panels

Lines = Mapping[str, tuple[Sequence[float], Sequence[Score]]]
MOST_TICKS = 6                          # on a panel's axis; more would touch


def _limits(scores: Iterable[Score]) -> tuple[float, float]:
    """Of an axis: [0, 1] and some room, and further where an interval goes further, as an error's or a cosine's may."""
    ends = [0.0, 1.0, *(end for score in scores for end in (score.low, score.value, score.high))]
    room = 0.03 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room


def _log_ticks(axis: Axes) -> None:
    """A logarithmic axis with few plain numbers: 1, 2 and 5 times powers of ten, 1 and 3 or 1 where it is longer."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    for parts in ((1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [part * 10.0**k for k in powers for part in parts if low <= part * 10.0**k <= high]
        if len(ticks) <= MOST_TICKS:
            break
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def score_rows(panels_of: Mapping[str, Mapping[str, Mapping[str, Score]]], label: str,
               grays: Sequence[str] = ()) -> Figure:
    """Dots with their intervals: {panel title: {row: {series: Score}}}; the series named in `grays` are drawn in gray."""
    most = max(len(rows) for rows in panels_of.values())
    figure, axes = panels(1, len(panels_of), 1.1 + 0.27 * most)
    names = list(dict.fromkeys(name for rows in panels_of.values() for row in rows.values() for name in row))
    look = looks([name for name in names if name not in grays])
    free = [marker for marker in MARKERS if marker not in {of["marker"] for of in look.values()}]
    look |= {name: {"color": GRAY, "marker": marker} for name, marker in zip(grays, (*free, *MARKERS))}
    handles = {}
    for axis, (title, rows) in zip(axes.flat, panels_of.items()):
        for y, row in enumerate(rows.values()):
            for name, score in row.items():
                mark, *_ = intervals(axis, [y], [score], across=True, **look[name])
                handles[name] = mark                               # in the legend without its bar
        axis.set_yticks(range(len(rows)), rows, fontsize=8)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(label)
        axis.set_xlim(*_limits(score for row in rows.values() for score in row.values()))
        axis.grid(axis="x", linewidth=0.4)
    legend_below(figure, handles)
    return figure


def score_panels(panels_of: Mapping[str, Lines], x: str, y: str, ticks: Sequence[float], log: bool = True,
                 text: Sequence[str] | None = None, height: float = 3.4) -> Figure:
    """Scores over a number, {panel title: {line: (x, scores)}}, with one legend for all panels.

    ticks, text   where the axis has its marks, and what they say (None: the numbers)
    """
    figure, axes = panels(1, len(panels_of), height, sharey=True)
    look, handles = looks(list(dict.fromkeys(name for lines in panels_of.values() for name in lines))), {}
    for axis, (title, lines) in zip(axes.flat, panels_of.items()):
        for name, (at, scores) in lines.items():
            handles[name] = intervals(axis, at, scores, **look[name])                  # one look for a line in all panels
        if log:
            axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, text or [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel(x)
        axis.set_title(title, fontsize=10)
    axes[0, 0].set_ylabel(y)
    axes[0, 0].set_ylim(*_limits(s for lines in panels_of.values() for _, scores in lines.values() for s in scores))
    legend_below(figure, handles)
    return figure


def scatter(panels_of: Mapping[str, Mapping[str, Sequence[tuple[float, Score, str]]]], x: str, y: str,
            log: bool = False, joined: bool = True) -> Figure:
    """Scores over a measured number: {panel title: {series: [(x, Score, text)]}}; texts are annotated.

    joined   whether the points of a series are
    """
    figure, axes = panels(1, len(panels_of), 3.9, sharey=True)
    look, handles = looks(list(dict.fromkeys(name for series in panels_of.values() for name in series))), {}
    named: list[tuple[Axes, float, float, str]] = []
    for axis, (title, series) in zip(axes.flat, panels_of.items()):
        for name, points in series.items():
            handles[name] = intervals(axis, [p[0] for p in points], [p[1] for p in points], **look[name], linewidth=1,
                                      linestyle="-" if joined and len(points) > 1 else "none")
            named += [(axis, place, score.value, text) for place, score, text in points]
        if log:
            _log_ticks(axis)
        axis.set_xlabel(x)
        axis.set_title(title, fontsize=10)
    axes[0, 0].set_ylabel(y)
    axes[0, 0].set_ylim(*_limits(p[1] for series in panels_of.values() for points in series.values() for p in points))
    legend_below(figure, handles)
    name_points(figure, named)
    return figure
