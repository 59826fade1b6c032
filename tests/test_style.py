"""Marks with intervals, drawn in one way: where they lie, how they are joined, and what a legend shows of them."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from helpers.measure.bootstrap import Score, wilson
from helpers.report import plots, score_plots, style, system_plots

SCORES = [wilson(0.5, 100), wilson(0.9, 100), Score(0.5, 0.5 + 1e-12, 0.6, 10)]       # the last: rounding put it outside
ENDS = [*((s.low, s.high) for s in SCORES[:2]), (0.5, 0.6)]


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("across", [False, True])
def test_intervals_lie_on_their_values(across):
    figure, axes = style.panels(1, 1, 2.0)
    line, caps, (bars,) = style.intervals(axes[0, 0], [1, 2, 4], SCORES, across=across, color=style.BLUE, marker="s")
    place, value = (line.get_ydata(), line.get_xdata()) if across else (line.get_xdata(), line.get_ydata())
    assert place.tolist() == [1, 2, 4] and value.tolist() == [0.5, 0.9, 0.5]
    segments = np.array(bars.get_segments())                                # (3, 2 ends, x and y)
    np.testing.assert_allclose(segments[:, :, 0 if across else 1], ENDS)
    np.testing.assert_allclose(segments[:, :, 1 if across else 0], [(1, 1), (2, 2), (4, 4)])
    assert line.get_linestyle() == ("None" if across else "-") and line.get_marker() == "s" and len(caps) == 2 * (not across)


def test_styles_say_what_the_caller_does_not_and_no_more():
    figure, axes = style.panels(1, 1, 2.0)
    line = style.intervals(axes[0, 0], [1], SCORES[:1], linestyle=":", linewidth=3, markersize=9)[0]
    assert (line.get_linestyle(), line.get_linewidth(), line.get_markersize()) == (":", 3, 9)


def test_a_legend_below_names_every_handle():
    figure, axes = style.panels(1, 2, 2.0)
    handles = {name: style.intervals(axes[0, 0], [1], SCORES[:1]) for name in ("a", "b")}
    style.legend_below(figure, handles)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_every_figure_is_as_wide_as_the_book_and_white():
    figure, axes = style.panels(2, 3, 4.0)
    assert figure.get_size_inches().tolist() == [style.WIDTH, 4.0] and axes.shape == (2, 3)
    assert figure.get_facecolor() == (1, 1, 1, 1) and not axes[1, 2].spines["top"].get_visible()


def test_no_two_of_many_lines_look_alike_and_the_first_seven_have_colors_of_their_own():
    looks = [tuple(style.turn(k).values()) for k in range(21)]
    assert len(set(looks)) == 21 and len({color for color, _ in looks[:7]}) == 7


def test_no_line_is_left_out_because_there_are_many():
    lines = {f"line {k}": ((1, 2), SCORES[:2]) for k in range(9)}
    axis = system_plots.solver_curves(lines, lines, 0.5).axes[0]
    assert len(axis.get_lines()[::3]) == 9 == len(axis.get_legend().get_texts())
    rows = {f"line {k}": SCORES[0] for k in range(9)}
    assert len(score_plots.score_rows({"": {"a": rows}}, "").axes[0].get_lines()) == 9
    axis = plots.histograms({f"line {k}": np.zeros(3) for k in range(9)}, 0.5).axes[0]
    assert len(axis.get_legend().get_texts()) == 9
    t = np.linspace(0, 1, 3)
    axis = plots.calibration(t, t, (16,), t[None], {f"line {k}": t for k in range(9)}, 0.5).axes[2]
    assert len(axis.get_legend().get_texts()) == 9


def test_rows_of_dots_need_a_null_each():
    with pytest.raises(ValueError):
        system_plots.dots([("a", "kernel", *SCORES[:2])] * 2, [(0.1, 0.1)], ("", ""))
