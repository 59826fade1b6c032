"""Chapter 1's figures: each shows the numbers it was given, and the paper's matrix beside ours."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from helpers.measure.bootstrap import wilson
from helpers.report import paper, system_plots

HALF, MOST = wilson(0.5, 100), wilson(0.9, 100)


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def test_the_matrix_prints_every_number_and_the_paper_s():
    ours = np.array([[np.nan, 0.25, 1.0], [0.5, np.nan, 0.0], [0.75, 0.125, np.nan]])
    figure = system_plots.matrix(ours, ["a", "b", "c"], ["reference", "kernel", "baseline"])
    left, right = figure.axes
    assert [t.get_text() for t in left.texts] == [".25", "1", ".50", ".75", ".12"]
    assert len(right.texts) == 42 and right.texts[0].get_text() == f"{paper.SIMILARITY[0][1]:.2f}".lstrip("0")
    assert left.get_yticklabels()[1].get_color() == system_plots.AXES["kernel"]


def test_dots_show_values_intervals_and_chance():
    figure = system_plots.dots([("a", "kernel", HALF, MOST)], [(0.1, 0.2)], ("RP", "share"))
    left, right = figure.axes
    (interval,), (value, chance) = left.collections, left.get_lines()
    np.testing.assert_allclose(interval.get_segments()[0][:, 0], [HALF.low, HALF.high])
    assert value.get_xdata()[0] == 0.5 and chance.get_xdata()[0] == 0.1
    assert right.get_lines()[0].get_xdata()[0] == 0.9 and right.get_xlabel() == "share"


def test_curves_are_where_they_should_be():
    lines = {"heun": ((5, 11), (HALF, MOST))}
    figure = system_plots.solver_curves(lines, lines, 0.7)
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == [0.5, 0.9]
    assert figure.axes[1].get_lines()[-1].get_ydata()[0] == 0.7
    assert [t.get_text() for t in figure.axes[1].get_legend().get_texts()] == ["both exact"]
    figure = system_plots.churn_curves({"shared": ((0, 4), (HALF, MOST))}, "churn")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0", "4"]
    paths = {"EDM": (np.array([80.0, 1.0]), np.array([[0.0, 1.0]])), "VP": (np.array([100.0, 1.0]), np.array([[0.0, 1.0]]))}
    figure = system_plots.kernel_curves(paths, {"EDM": [HALF, MOST]}, (8, 16))
    assert figure.axes[0].get_lines()[1].get_marker() == "s" and figure.axes[0].xaxis_inverted()


def test_planes_put_a_across_and_b_upwards():
    index = np.array([[0, 2], [1, 1]])                         # index[i, j] is the cell at a = ticks[i], b = ticks[j]
    figure = system_plots.planes({"m": [(index, np.ones((2, 2)))]}, ["flat"], (0.0, 1.0))
    image = figure.axes[0].images[0]
    assert image.get_array().tolist() == [[0, 1], [2, 1]] and image.origin == "lower"
