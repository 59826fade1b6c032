"""picture.py: figures as PNGs that say where their photographs are, and what dark pages show of them."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from helpers.report import picture, plots
from helpers.report.style import BLUE, panels


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def pixels(stored, mode="RGBA"):
    return np.asarray(Image.open(io.BytesIO(stored)).convert(mode)).astype(int)


def rows():
    """A block of dark pictures: -1 is black."""
    return plots.image_rows({"block": {"a long label": np.full((12, 28, 28), -1.0), "b": np.full((12, 28, 28), -1.0)}})


def test_a_picture_says_where_its_photographs_are_at_twice_the_page_s_resolution():
    stored = picture.png(rows())
    (left, top, right, bottom), = picture.fields_of(stored)
    found = pixels(stored)
    height, width = found.shape[:2]
    assert width > 1.8 * 9 * 96
    black = (found[..., :3].sum(2) == 0)
    y, x = (slice(round(a * n), round(b * n)) for a, b, n in ((top, bottom, height), (left, right, width)))
    assert black[y, x].mean() > 0.9 and black.sum() - black[y, x].sum() < 0.01 * black.sum()


def test_nothing_that_is_drawn_is_cut_off():
    found = pixels(picture.png(rows()), "L")
    for edge in (found[0], found[-1], found[:, 0], found[:, -1]):
        assert edge.min() == 255


def test_on_dark_pages_ink_is_light_on_nothing_and_photographs_stay():
    stored = picture.smaller(picture.png(rows()))
    light, shown = pixels(stored), pixels(picture.dark(stored))
    assert light.shape == shown.shape
    (left, top, right, bottom), = picture.fields_of(stored)
    height, width = light.shape[:2]
    y, x = (slice(round(a * n) + 2, round(b * n) - 2) for a, b, n in ((top, bottom, height), (left, right, width)))
    assert np.abs(light[y, x] - shown[y, x]).max() < 24 and shown[y, x, 3].min() == 255
    label = np.s_[:, :x.start - 8]
    assert shown[0, 0, 3] < 8 and light[label][..., :3].min() < 40                  # paper, and black text
    ink = shown[label][shown[label][..., 3] > 200]
    assert len(ink) and ink[:, :3].min() > 200


def test_colors_keep_their_hue():
    figure, axes = panels(1, 1, 2)
    axes[0, 0].plot([0, 1], [0, 1], color=BLUE, linewidth=30)
    shown = pixels(picture.dark(picture.png(figure)))
    strong = shown[shown[..., 3] > 240][:, :3]
    colored = strong[strong.max(1) - strong.min(1) > 40]
    assert len(colored) and (colored[:, 2] > colored[:, 1]).all() and (colored[:, 1] > colored[:, 0]).all()
    assert colored.min() > 60                                           # lighter than on white: red is 0 there


@pytest.mark.parametrize("shade, alpha", [(0, 1), (255, 0), (136, 119 / 255)])
def test_gray_is_a_mixture_of_paper_and_black(shade, alpha):
    found = picture.light_ink(np.full((1, 3), shade / 255))[0]
    assert found[3] == pytest.approx(alpha, abs=1e-6)
    assert shade == 255 or found[:3] == pytest.approx(picture.BRIGHTEST)


def test_other_pictures_have_no_dark_variant():
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    assert picture.fields_of(file.getvalue()) is None and picture.fields_of(b"none") is None
    with pytest.raises(ValueError, match="where its fields are"):
        picture.dark(file.getvalue())
