"""Figures of scores: every number and interval in its place and in sight, a legend entry a series, no warnings."""

import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from helpers.measure.bootstrap import Score, wilson
from helpers.report import score_plots
from helpers.report.style import COLORS, GRAY, MARKERS

LOW, HALF, MOST = (wilson(value, 100) for value in (0.1, 0.5, 0.9))
BEYOND = Score(2.5, -0.75, 4.0, 2)                             # an error, or a cosine: not a share
ROWS = {"first": {"a": {"new": HALF, "chance": LOW}, "b": {"new": MOST, "chance": LOW}, "c": {"other": MOST}},
        "second": {"a": {"new": MOST, "chance": LOW}}}
LINES = {"first": {"seeds": ((4, 16, 64), (LOW, HALF, MOST)), "widths": ((4, 64), (MOST, LOW))},
         "second": {"seeds": ((4, 16), (MOST, HALF)), "chance": ((4, 16), (LOW, LOW))}}
POINTS = {"first": {"deeper": [(0.2, MOST, "1"), (0.4, HALF, "2"), (0.8, LOW, "")], "attention": [(0.3, LOW, "att")]},
          "second": {"deeper": [(0.5, LOW, "3")], "low rank": [(0.6, HALF, "lora")]}}


@pytest.fixture(autouse=True)
def no_window_and_no_warnings():
    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


def legend(figure):
    """The texts of a figure's one legend; it is drawn, so that what comes up in drawing comes up here."""
    figure.canvas.draw()
    assert isinstance(figure, Figure) and len(figure.legends) == 1 and figure.get_facecolor() == (1, 1, 1, 1)
    return [text.get_text() for text in figure.legends[0].get_texts()]


def bars(axis):
    """Ends of the vertical intervals of an axis, one array (points, 2) for each line that has them."""
    return [np.array([segment[:, 1] for segment in c.get_segments()]) for c in axis.collections]


def ends(*scores):
    return [(score.low, score.high) for score in scores]


def test_rows_have_a_panel_each_a_row_each_and_one_legend_for_all():
    figure = score_plots.score_rows(ROWS, "RP", grays=("chance",))
    assert legend(figure) == ["new", "chance", "other"]
    assert [axis.get_title() for axis in figure.axes] == ["first", "second"]
    assert [[text.get_text() for text in axis.get_yticklabels()] for axis in figure.axes] == [["a", "b", "c"], ["a"]]
    assert {axis.get_xlabel() for axis in figure.axes} == {"RP"}
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > 2 and top < 0                                      # the first row is at the top


def test_a_row_s_dots_lie_on_their_intervals():
    figure = score_plots.score_rows(ROWS, "RP", grays=("chance",))
    first, second = figure.axes
    assert len(first.get_lines()) == len(first.collections) == 5 and len(second.get_lines()) == 2
    expected = [(HALF, 0), (LOW, 0), (MOST, 1), (LOW, 1), (MOST, 2)]
    for interval, dot, (score, y) in zip(first.collections, first.get_lines(), expected, strict=True):
        np.testing.assert_allclose(interval.get_segments()[0], [(score.low, y), (score.high, y)])
        assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([score.value], [y])
        assert to_hex(interval.get_color()[0]) == dot.get_color().lower()


def test_a_series_has_one_color_and_marker_in_all_panels_and_those_in_gray_use_up_no_color():
    first, second = (axis.get_lines() for axis in score_plots.score_rows(ROWS, "RP", grays=("chance",)).axes)
    assert [dot.get_color() for dot in first] == [COLORS[0], GRAY, COLORS[0], GRAY, COLORS[1]]
    assert [dot.get_color() for dot in second] == [COLORS[0], GRAY]
    assert [dot.get_marker() for dot in first] == [MARKERS[k] for k in (0, 2, 0, 2, 1)]
    plain = score_plots.score_rows(ROWS, "RP").axes[0].get_lines()
    assert [dot.get_color() for dot in plain] == [COLORS[k] for k in (0, 1, 0, 1, 2)]


def test_panels_share_one_legend_and_one_scale():
    figure = score_plots.score_panels(LINES, "images $N$", "share", (4, 16, 64))
    assert legend(figure) == ["seeds", "widths", "chance"]
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("first", "second") and first.get_ylim() == second.get_ylim()
    assert first.get_ylabel() == "share" and {axis.get_xlabel() for axis in figure.axes} == {"images $N$"}
    for axis in figure.axes:
        assert axis.get_xscale() == "log" and list(axis.get_xticks()) == [4, 16, 64]
        assert [text.get_text() for text in axis.get_xticklabels()] == ["4", "16", "64"] and axis.get_legend() is None


def test_a_panel_s_lines_go_through_its_values_and_its_bars_are_the_intervals():
    figure = score_plots.score_panels(LINES, "N", "share", (4, 16, 64))
    lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() != "None"]
    assert [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in lines] == [
        ([4, 16, 64], [0.1, 0.5, 0.9]), ([4, 64], [0.9, 0.1])]
    for found, scores in zip(bars(figure.axes[0]), ((LOW, HALF, MOST), (MOST, LOW)), strict=True):
        np.testing.assert_allclose(found, ends(*scores))
    np.testing.assert_allclose(bars(figure.axes[1])[0], ends(MOST, HALF))


def test_marks_of_a_panel_may_say_something_else_on_a_scale_that_is_not_logarithmic():
    figure = score_plots.score_panels({"": {"a": ((0.25, 1.25), (LOW, MOST))}}, "w", "share", (0.25, 1.25), log=False,
                                      text=["0", "1"])
    assert legend(figure) == ["a"] and figure.axes[0].get_xscale() == "linear"
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0", "1"]
    assert list(figure.axes[0].get_xticks()) == [0.25, 1.25]


def test_a_scatter_joins_the_points_of_a_series_and_names_each():
    figure = score_plots.scatter(POINTS, "GL", "RP")
    assert legend(figure) == ["deeper", "attention", "low rank"]
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == ["1", "2", "att"]
    assert [text.xy for text in first.texts] == [(0.2, 0.9), (0.4, 0.5), (0.3, 0.1)]
    joined, single = (line for line in first.get_lines() if line.get_marker() in MARKERS[:2])
    assert joined.get_xdata().tolist() == [0.2, 0.4, 0.8] and joined.get_linestyle() == "-"
    assert single.get_xdata().tolist() == [0.3] and single.get_linestyle() == "None"
    np.testing.assert_allclose(np.concatenate(bars(first)), ends(MOST, HALF, LOW, LOW))
    np.testing.assert_allclose(np.concatenate(bars(second)), ends(LOW, HALF))
    assert first.get_ylabel() == "RP" and second.get_xlabel() == "GL" and first.get_ylim() == second.get_ylim()


@pytest.mark.parametrize("log", [False, True])
def test_a_scatter_s_scale_is_as_asked(log):
    figure = score_plots.scatter(POINTS, "GL", "RP", log=log)
    legend(figure)
    assert {axis.get_xscale() for axis in figure.axes} == {"log" if log else "linear"}


@pytest.mark.parametrize("score, low, high", [(HALF, -0.03, 1.03), (BEYOND, -0.75 - 0.03 * 4.75, 4 + 0.03 * 4.75)])
def test_shares_are_shown_from_0_to_1_and_what_goes_beyond_is_in_sight(score, low, high):
    rows = score_plots.score_rows({"": {"a": {"x": score}}}, "")
    lines = score_plots.score_panels({"": {"a": ((1, 2), (LOW, score))}}, "", "", (1, 2))
    points = score_plots.scatter({"": {"a": [(1.0, LOW, ""), (2.0, score, "")]}}, "", "")
    for found in (rows.axes[0].get_xlim(), lines.axes[0].get_ylim(), points.axes[0].get_ylim()):
        assert found == pytest.approx((low, high))


def test_an_interval_that_does_not_hold_its_value_is_drawn_to_its_value():
    """Rounding can put a value a hair outside; matplotlib refuses a bar of negative length."""
    off = Score(0.5, 0.5 + 1e-12, 0.6, 10)
    for figure in (score_plots.score_panels({"": {"a": ((1, 2), (off, MOST))}}, "", "", (1, 2)),
                   score_plots.scatter({"": {"a": [(1.0, off, ""), (2.0, MOST, "")]}}, "", "")):
        np.testing.assert_allclose(bars(figure.axes[0])[0], [(0.5, 0.6), (MOST.low, MOST.high)])
