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
from matplotlib.transforms import Bbox

from helpers.measure.bootstrap import Score
from helpers.report.picture import shown

BLUE, ORANGE, GREEN, PURPLE, GRAY, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#888888", "#000000"
SKY = "#56B4E9"
COLORS = (BLACK, BLUE, ORANGE, GREEN, PURPLE, GRAY, SKY)               # of lines that have no look of their own, in turn
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Of lines whose name has a word in it; of several words the first here counts.
OF_WORDS = {"other noise": (GRAY, "X"), "Gaussian map": (GRAY, "v"), "optimal denoiser": (GREEN, "v"), "U-ViT": (GREEN, "^"),
            "CNN": (ORANGE, "s"), "VP": (PURPLE, "D"), "flow matching": (SKY, "P"), "width": (BLACK, "D"),
            "seed": (BLUE, "o"), "U-Net": (BLUE, "o")}
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
# Where a point's text may stand, in points from it, the best first.
PLACES = ((5, 6), (5, -6), (-5, 6), (-5, -6), (0, 9), (0, -9), (5, 14), (5, -14), (-5, 14), (-5, -14), (5, 22), (5, -22),
          (-5, 22), (-5, -22), (5, 30), (5, -30))
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


def looks(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Color and marker of each line of a figure: what `OF_WORDS` says of its name, unless another line here has that look;
    for the others those of `turn`, colors that are left first."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        look = next((dict(zip(("color", "marker"), of)) for word, of in OF_WORDS.items() if word in name), None)
        if look is not None and look not in found.values():
            found[name] = look
    taken = {look["color"] for look in found.values()}
    left = sorted(range(len(COLORS) * len(MARKERS)), key=lambda k: (k // (2 * len(COLORS)), turn(k)["color"] in taken))
    rest = (look for k in left if (look := turn(k)) not in list(found.values()))
    return {name: found[name] if name in found else next(rest) for name in names}


def turn(k: int) -> dict[str, str]:
    """Color and marker of line k = 0, 1, ...: after seven lines the colors come again, with other markers."""
    return {"color": COLORS[k % len(COLORS)], "marker": MARKERS[(k + k // len(COLORS)) % len(MARKERS)]}


def name_points(figure: Figure, points: Sequence[tuple[Axes, float, float, str]]) -> None:
    """A text at each point (axes, x, y, text), where it hides no point and no other text, if there is such a place near.

    Comes last: what moves the axes later moves the points away from their texts.
    """
    figure.draw_without_rendering()
    at = [axis.transData.transform((x, y)) for axis, x, y, _ in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in at]
    for axis, x, y, text in points:
        if not text:
            continue
        note = axis.annotate(text, (x, y), xytext=PLACES[0], textcoords="offset points", fontsize=8, va="center")
        for across, up in (*PLACES, PLACES[0]):
            note.set_position((across, up))
            note.set_horizontalalignment("left" if across > 0 else "right" if across < 0 else "center")
            if not (box := note.get_window_extent()).count_overlaps(taken):
                break
        taken.append(box)


def legend_below(figure: Figure, handles: Mapping[str, Artist | ErrorbarContainer]) -> None:
    """One legend for all panels, below them, where it hides no line."""
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
