"""The look of all figures: one size, white background, one color for one thing in all chapters, and marks with intervals.

Colors are Okabe & Ito's palette, safe for color blindness, and a marker or line style stands beside every color. Used by
`plots.py` (images, and curves over training sizes), `system_plots.py` (many systems) and `score_plots.py` (any scores).
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from helpers.measure.bootstrap import Score
from helpers.report.picture import shown

BLUE, ORANGE, GREEN, PURPLE, GRAY, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#888888", "#000000"
COLORS = (BLACK, BLUE, ORANGE, GREEN, PURPLE, GRAY, "#56B4E9")         # of lines that are not in STYLES, in turn
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = {
    "small": {"color": BLUE, "marker": "o"},
    "large": {"color": ORANGE, "marker": "s"},
    "widths": {"color": BLACK, "marker": "D"},
    "seeds": {"color": BLUE, "marker": "o", "linestyle": "--"},
    "optimal": {"color": GREEN, "marker": "^"},
    "linear": {"color": GRAY, "marker": "v", "linestyle": "-."},
    "null": {"color": GRAY, "marker": None, "linestyle": ":"},
    "ceiling": {"color": GRAY, "marker": None, "linestyle": (0, (6, 2))},
    "held-out": {"color": PURPLE, "marker": "x", "linestyle": "--"},
}
WIDTH = 8.4                     # inches: on the page, 8 points are 9 pixels


def panels(rows: int, columns: int, height: float, **options) -> tuple[Figure, np.ndarray]:
    """A figure of the book's width with `rows` x `columns` axes, as (Figure, array of Axes)."""
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), dpi=96, facecolor="white", squeeze=False,
                                layout="constrained", **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return shown(figure), axes


def intervals(axis: Axes, at: Sequence[float], scores: Sequence[Score], across: bool = False,
              **style) -> ErrorbarContainer:
    """Scores as marks with their 95 % intervals as bars; what it returns is a handle for a legend.

    Upwards over `at` and joined by a line, or `across` at the heights `at`, each by itself. An interval that rounding has
    put a hair beside its value is drawn up to the value.
    """
    value, low, high = (np.array([getattr(s, part) for s in scores]) for part in ("value", "low", "high"))
    bars = np.clip([value - low, high - value], 0, None)
    if not across:
        look = {"markersize": 5, "capsize": 2, "linewidth": 1.5, "elinewidth": 1, **style}
        return axis.errorbar(at, value, yerr=bars, **look)
    look = {"markersize": 5, "elinewidth": 1.5, "linestyle": "none", **style}
    return axis.errorbar(value, at, xerr=bars, **look)


def turn(k: int) -> dict[str, str]:
    """Color and marker of line k = 0, 1, ...: after seven lines the colors come again, with other markers."""
    return {"color": COLORS[k % len(COLORS)], "marker": MARKERS[(k + k // len(COLORS)) % len(MARKERS)]}


def legend_below(figure: Figure, handles: Mapping[str, Artist | ErrorbarContainer]) -> None:
    """One legend for all panels, below them, where it hides no line."""
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
