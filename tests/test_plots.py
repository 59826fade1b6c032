"""Figures: each shows the numbers it was given, on white, with a label for every line."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from helpers.measure.bootstrap import wilson
from helpers.report import plots

SIZES = (16, 64, 256)
SCORES = [wilson(v, 100) for v in (0.1, 0.5, 0.9)]
LABELS = {name: name for name in plots.STYLES}


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def lines(figure):
    return [line for axis in figure.axes for line in axis.get_lines()]


def test_two_regimes_shows_ours_and_the_paper_s_numbers():
    figure = plots.two_regimes(SIZES, {"widths": SCORES, "null": SCORES}, {"small": SCORES}, LABELS)
    rp, rp_paper, gl, gl_paper = figure.axes
    assert rp.get_lines()[0].get_ydata().tolist() == [0.1, 0.5, 0.9]
    assert rp_paper.get_lines()[0].get_ydata()[-1] == 0.672 and gl_paper.get_lines()[2].get_ydata()[7] == 0.30
    assert [t.get_text() for t in rp.get_legend().get_texts()] == ["widths", "null"]
    assert figure.get_facecolor() == (1, 1, 1, 1)


def test_intervals_are_drawn_where_they_are():
    figure = plots.theory(SIZES, {"small": SCORES}, {"large": SCORES}, LABELS)
    segments = figure.axes[0].collections[0].get_segments()
    np.testing.assert_allclose([s[:, 1] for s in segments], [(s.low, s.high) for s in SCORES])


def test_image_rows_shows_every_image_once_in_its_place():
    a, b = np.stack([np.full((4, 4), v) for v in (-0.5, 0.0, 0.5)]), np.full((3, 4, 4), -1.0)
    figure = plots.image_rows({"few": {"a": a, "b": b}, "many": {"a": a}})
    few, many = (axis.images[0].get_array() for axis in figure.axes)
    assert few.shape == (10, 15) and many.shape == (5, 15)                  # a white line below and right of each image
    assert few[:4, 5:9].max() == few[:4, 5:9].min() == 0.0 and few[5:9, :4].max() == -1.0 and few[4, 0] == 1.0
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["few", "many"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["a", "b"]


def test_the_other_figures_draw_what_they_are_given():
    t, falling = np.linspace(0, 1, 5), np.linspace(1, 0, 5)
    figure = plots.calibration(t, falling, SIZES, np.stack([falling] * 3), {"blur": falling}, 0.9)
    assert sum(np.array_equal(line.get_ydata(), falling) for line in lines(figure)) == 4
    figure = plots.threshold_sweep(t, {16: falling, 64: falling}, {16: t, 64: t}, 0.9)
    assert sum(np.array_equal(line.get_ydata(), falling) for line in lines(figure)) == 2
    figure = plots.losses([0.1, 1.0], {16: {"small train": np.array([0.1, 0.2])}}, LABELS)
    assert lines(figure)[0].get_ydata().tolist() == [0.1, 0.2]
    figure = plots.histograms({"same": np.zeros(10)}, 0.9)
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "same"
