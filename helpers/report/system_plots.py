"""Figures of chapter 1: many systems side by side. Takes arrays, returns a matplotlib Figure, computes nothing.

The look (size, colors, white background) is that of `style.py`.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from helpers.measure.bootstrap import Score
from helpers.report import paper
from helpers.report.picture import shown
from helpers.report.style import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, WIDTH, intervals, looks, panels, turn

AXES = {"reference": BLACK, "training": BLUE, "architecture": ORANGE, "kernel": GREEN, "procedure": PURPLE,
        "not diffusion": GRAY}
CORNERS = (BLUE, ORANGE, GREEN)


def _heat(axis: Axes, values: np.ndarray, labels: Sequence[str], colors: Sequence[str], size: float) -> None:
    axis.imshow(np.where(values < 0.005, np.nan, values), cmap="Blues", vmin=0, vmax=1)          # next to nothing: white
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and value >= 0.005:
            axis.text(column, row, f"{value:.2f}".lstrip("0") if value < 1 else "1", ha="center", va="center",
                      fontsize=size, color="white" if value > 0.55 else "black")
    ticks = range(len(labels))
    axis.set_xticks(ticks, labels, rotation=90, fontsize=size + 1)
    axis.set_yticks(ticks, labels, fontsize=size + 1)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for text, color in zip([*axis.get_xticklabels(), *axis.get_yticklabels()], [*colors, *colors]):
        text.set_color(color)


def matrix(values: np.ndarray, labels: Sequence[str], axes: Sequence[str]) -> Figure:
    """Ours, identification above the diagonal and RP below, and the paper's Fig. 6 redrawn under it; cells of equal size.

    values (k, k) with NaN on the diagonal; axes[i] says what system i varies and colors its name.
    """
    theirs = np.array(paper.SIMILARITY, dtype=float)
    side = [WIDTH * 0.8 * len(m) / len(values) for m in (values, theirs)]            # inches: one size of cell
    height = sum(side) + 3.0
    figure = shown(plt.figure(figsize=(WIDTH, height), dpi=96, facecolor="white"))
    for m, inches, top, names, colors, title in (
            (values, side[0], height - 0.3, labels, [AXES.get(a, GRAY) for a in axes],
             "this book: identification rate above the diagonal, RP below"),
            (theirs, side[1], side[1] + 0.9, paper.SYSTEMS, [BLACK] * len(theirs),
             "the paper's Fig. 6, redrawn: RP above the diagonal, MAE score below")):
        axis = figure.add_axes((0.19, (top - inches) / height, inches / WIDTH, inches / height))
        _heat(axis, m, names, colors, 8)
        axis.set_title(title, fontsize=10, loc="left")
    return figure


def dots(rows: Sequence[tuple[str, str, Score, Score]], nulls: Sequence[tuple[float, float]],
         names: tuple[str, str]) -> Figure:
    """Two scores for each row, with intervals, and what chance gives: rows of (label, axis, left, right)."""
    figure, axes = panels(1, 2, 0.8 + 0.235 * len(rows), sharey=True)
    for y, ((_, kind, *scores), null) in enumerate(zip(rows, nulls, strict=True)):
        for axis, score, chance in zip(axes.flat, scores, null):
            intervals(axis, [y], [score], across=True, color=AXES.get(kind, GRAY), marker="o")
            axis.plot(chance, y, color="black", marker="|", markersize=8, linestyle="none",
                      label="chance" if y == 0 else None)
    axes[0, 0].set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    for text, row in zip(axes[0, 0].get_yticklabels(), rows):
        text.set_color(AXES.get(row[1], GRAY))
    axes[0, 0].invert_yaxis()
    for axis, name in zip(axes.flat, names):
        axis.set_xlabel(name)
        axis.set_xlim(-0.05, 1.03)
        axis.grid(axis="x", linewidth=0.4)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def kernel_curves(paths: Mapping[str, tuple[np.ndarray, np.ndarray]], ends: Mapping[str, Sequence[Score]],
                  steps: Sequence[int]) -> Figure:
    """The optimal denoiser under several kernels: one coordinate of its paths from some noises, and where they end.

    paths  kernel: (sigma (T,), coordinate (noises, T)), drawn as a line for the first kernel and as marks for the others
    ends   kernel: the share of noises that end at the same image as in an exact solution, for each number of steps
    """
    figure, axes = panels(1, 2, 3.6)
    for k, (name, (sigma, coordinate)) in enumerate(paths.items()):
        style = {"linewidth": 1.4, "marker": None} if k == 0 else {"markersize": 4.5, "linestyle": "none"}
        for i, row in enumerate(coordinate):
            axes[0, 0].plot(sigma, row, label=name if i == 0 else None, **turn(k) | style)
    axes[0, 0].set_xscale("log")
    axes[0, 0].invert_xaxis()
    axes[0, 0].set_xlabel(r"noise level $\sigma$")
    axes[0, 0].set_ylabel(r"one coordinate of $x / \sqrt{1 + \sigma^2}$")
    axes[0, 0].legend(fontsize=8, frameon=False)
    score_lines(axes[0, 1], {name: (steps, scores) for name, scores in ends.items()})
    axes[0, 1].set_xscale("log", base=2)
    axes[0, 1].set_xticks(steps, steps)
    axes[0, 1].minorticks_off()
    axes[0, 1].set_xlabel("time steps")
    axes[0, 1].set_ylabel("same end as the exact path")
    axes[0, 1].legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def score_lines(axis: Axes, lines: Mapping[str, tuple[Sequence[float], Sequence[Score]]]) -> None:
    """Scores over a number, a line each: name: (x, scores), intervals as bars."""
    look = looks(list(lines))
    for name, (x, scores) in lines.items():
        intervals(axis, x, scores, label=name, **look[name])
    axis.set_ylim(-0.03, 1.03)


def solver_curves(itself: Mapping[str, tuple[Sequence[float], Sequence[Score]]],
                  between: Mapping[str, tuple[Sequence[float], Sequence[Score]]], exact: float) -> Figure:
    """RP over the number of network evaluations (NFE): a model against its own exact solution, and two models.

    exact   RP of the two models when both are solved exactly
    """
    figure, axes = panels(1, 2, 3.6, sharey=True)
    for axis, lines in zip(axes.flat, (itself, between)):
        score_lines(axis, lines)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("NFE")
        axis.set_xticks([4, 8, 16, 32, 64, 128], [4, 8, 16, 32, 64, 128])
        axis.minorticks_off()
    level = axes[0, 1].axhline(exact, color=GRAY, linestyle="--", linewidth=1, label="both exact")
    axes[0, 0].set_ylabel("RP")
    axes[0, 0].set_title("one model, against its exact solution", fontsize=10)
    axes[0, 1].set_title("two models, same solver", fontsize=10)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower right")
    axes[0, 1].legend(handles=[level], fontsize=8, frameon=False)
    return figure


def churn_curves(lines: Mapping[str, tuple[Sequence[float], Sequence[Score]]], label: str) -> Figure:
    """RP over the strength of the fresh noise that a stochastic solver adds."""
    figure, axes = panels(1, 1, 3.2)
    score_lines(axes[0, 0], lines)
    ticks = next(iter(lines.values()))[0]
    axes[0, 0].set_xscale("symlog", linthresh=min(t for t in ticks if t > 0))
    axes[0, 0].set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes[0, 0].set_xlim(-0.2 * min(t for t in ticks if t > 0), 1.5 * max(ticks))
    axes[0, 0].minorticks_off()
    axes[0, 0].set_xlabel(label)
    axes[0, 0].set_ylabel("RP")
    axes[0, 0].legend(fontsize=8, frameon=False)
    return figure


def planes(rows: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], titles: Sequence[str],
           extent: tuple[float, float]) -> Figure:
    """A plane through three noises, colored by which corner's image the sample resembles: a row a model.

    rows    model: for each plane, (index (G, G) in 0..2, similarity (G, G)); pale is unlike all three
    extent  the least and the greatest coordinate; the corners lie at (0, 0), (1, 0) and (0, 1)
    """
    figure, axes = panels(len(rows), len(titles), 1.62 * len(rows) + 0.3)
    for line, (name, grids) in zip(axes, rows.items()):
        for axis, (index, similarity) in zip(line, grids):
            axis.imshow(index.T, cmap=ListedColormap(CORNERS), vmin=0, vmax=2, origin="lower", interpolation="nearest",
                        alpha=np.clip((similarity.T - 0.2) / 0.8, 0.05, 1), extent=(*extent, *extent))
            axis.plot([0, 1, 0], [0, 0, 1], "k.", markersize=4)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=9)
    for axis, title in zip(axes[0], titles):
        axis.set_title(title, fontsize=9)
    return figure
