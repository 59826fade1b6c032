"""Figures of maps from a plane of noises to a plane of pictures: where a map carries a wheel of colors.

Takes arrays and computes nothing. Used in chapter 7.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.report.style import BLACK, panels

COMPASS = ("o", "s", "^", "D")                     # a quarter turn apart, beside the colors
RINGS = (0.2, 0.5, 0.8)                            # the shares of the noises that lie within the rings drawn


def _wheel(axis: Axes, points: np.ndarray) -> None:
    """Points (rings, angles, 2), colored by the angle of their noise, three rings as lines and four marks on the middle."""
    rings, angles = points.shape[:2]
    colors = 0.85 * colormaps["hsv"](np.arange(angles) / angles)[:, :3]
    axis.scatter(*points.reshape(-1, 2).T, c=np.tile(colors, (rings, 1)), s=5, linewidths=0)
    for ring in (points[int(share * rings)] for share in RINGS):
        axis.plot(*np.concatenate([ring, ring[:1]]).T, color=BLACK, linewidth=0.9)
    middle = points[int(RINGS[1] * rings)]
    for k, marker in enumerate(COMPASS):
        axis.plot(*middle[k * angles // 4], marker=marker, color="white", markeredgecolor=BLACK, markersize=6)


def map_panels(maps: Mapping[str, np.ndarray], columns: int = 4, limit: float = 2.9) -> Figure:
    """A panel for each map (rings, angles, 2) under its title, in rows of `columns`, on axes from -limit to limit."""
    rows = -(-len(maps) // columns)
    figure, axes = panels(rows, columns, 2.35 * rows)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, points) in zip(axes.flat, maps.items()):
        _wheel(axis, np.asarray(points))
        axis.set_title(title, fontsize=10)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    return figure
