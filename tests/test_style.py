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


def test_what_a_name_says_of_a_system_gives_it_the_same_look_in_every_figure():
    first = style.looks(["pairs", "U-ViT", "plain CNN", "two seeds"])
    second = style.looks(["two seeds of a network", "U-Net and U-ViT", "other noise", "Gaussian map"])
    assert first["U-ViT"] == second["U-Net and U-ViT"] == {"color": style.GREEN, "marker": "^"}
    assert first["two seeds"] == second["two seeds of a network"] == {"color": style.BLUE, "marker": "o"}
    assert second["other noise"]["color"] == second["Gaussian map"]["color"] == style.GRAY
    assert first["pairs"]["color"] == style.BLACK


def test_no_two_lines_of_a_figure_look_alike():
    names = ["U-ViT", "U-ViT, other seed", "U-Net", "another seed", *"abcdefg"]
    found = style.looks(names)
    assert list(found) == names and len({tuple(look.values()) for look in found.values()}) == len(names)
    assert len({look["color"] for look in style.looks([*"abcdefg"]).values()}) == 7
    many = style.looks(["U-Net", *map(str, range(40))])
    assert len({tuple(look.values()) for look in many.values()}) == 41


def test_texts_hide_neither_points_nor_each_other():
    figure, axes = style.panels(1, 2, 3.0)
    points = [(axes[0, i], x, y, text) for i, row in enumerate((
        [(0.5, 0.5, "one"), (0.51, 0.5, "another"), (0.5, 0.51, "a third"), (0.1, 0.1, "")], [(0.5, 0.5, "alone")]))
        for x, y, text in row]
    for axis, x, y, _ in points:
        axis.plot([x], [y], "o")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
    style.name_points(figure, points)
    figure.draw_without_rendering()
    notes = [note for axis in figure.axes for note in axis.texts]
    assert [note.get_text() for note in notes] == ["one", "another", "a third", "alone"]
    boxes = [note.get_window_extent() for note in notes]
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)                             # itself
    marks = [axis.transData.transform((x, y)) for axis, x, y, _ in points]
    assert not any(box.contains(*mark) for box in boxes for mark in marks)


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
