"""The home page's figures show what chapters 1 and 2 have stored: the right pictures, and curves of the right height."""

import base64
import io
import json
import re
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from helpers.chapters.profiles import PROFILES
from helpers.paths import NOTEBOOKS
from helpers.report import hero, record
from helpers.report.readme import chapter_file

NAMES = [name for names in hero.SYSTEMS.values() for name in names]
FOUND = {"rp_widths": [0.5, 0, 0.25], "rp_null": [0, 0, 0], "gl_small": [0, 1, 1], "gl_large": [0, 0.5, 1]}


def address(image):
    packed = io.BytesIO()
    image.save(packed, "PNG")
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"


def picture(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def content(labels, columns=9, size=2):
    """A stored figure whose picture (row, column) has gray 20 * row + column."""
    sheet = Image.new("L", (columns * size, len(labels) * size))
    for row in range(len(labels)):
        for column in range(columns):
            sheet.paste(20 * row + column, (column * size, row * size, (column + 1) * size, (row + 1) * size))
    return {"blocks": [{"title": "all", "labels": labels}], "sheet": address(sheet), "size": [columns, len(labels)]}


def test_each_row_shows_its_systems_pictures_of_the_first_noises_with_clear_gaps():
    labels = [*reversed(NAMES), "another"]
    tree = ET.fromstring(hero.systems(content(labels), "Below."))
    assert [row.text for row in tree.iter("span")] == NAMES and tree.find("figcaption").text == "Below."
    for name, image in zip(NAMES, tree.iter("img")):
        strip = picture(image.get("src"))
        side = 2 * hero.SCALE
        assert strip.size == (hero.NOISES * (side + hero.GAP) - hero.GAP, side) and name in image.get("alt")
        shown = [strip.getpixel((k * (side + hero.GAP), 0)) for k in range(hero.NOISES)]
        assert shown == [(20 * labels.index(name) + k, 255) for k in range(hero.NOISES)]
        assert strip.getpixel((side, 0))[1] == 0


def test_a_system_that_the_chapter_has_not_stored_is_named():
    with pytest.raises(ValueError, match="no pictures of GAN, VAE: change SYSTEMS"):
        hero.systems(content(NAMES[:-2]), "")


def test_a_notebook_without_its_figure_is_named(tmp_path):
    notebook = tmp_path / "n.ipynb"
    page = f'<div data-kind="pictures">{hero.OPENING}{{"size": [1, 2]}}</script></div>'
    notebook.write_text(json.dumps({"cells": [{}, {"outputs": [{"data": {"text/html": page}}]}]}))
    assert hero.stored_pictures(notebook) == {"size": [1, 2]}
    notebook.write_text(json.dumps({"cells": [{}]}))
    with pytest.raises(ValueError, match="n.ipynb has stored no figure"):
        hero.stored_pictures(notebook)


def heights(figure, name):
    """The shares that the lines of a class have at each size, read off their points."""
    inner = hero.HEIGHT - hero.TOP - hero.BOTTOM
    lines = [line.get("points").split() for line in ET.fromstring(figure).iter("polyline") if line.get("class") == name]
    return [[1 - (float(point.split(",")[1]) - hero.TOP) / inner for point in line] for line in lines]


def test_curves_are_as_high_as_the_numbers_and_sizes_stand_by_their_logarithms():
    figure = hero.regimes((16, 64, 1024), FOUND, "Below.")
    for name, keys in (("rp", ("rp_widths",)), ("gl", ("gl_small", "gl_large")), ("null", ("rp_null",))):
        assert heights(figure, name) == [pytest.approx(FOUND[key], abs=0.001) for key in keys]
    at = [float(circle.get("cx")) for circle in ET.fromstring(figure).iter("circle")]
    assert (at[1] - at[0]) / (at[2] - at[0]) == pytest.approx(1 / 3, abs=0.001)
    assert "50% of the noises at first, 0% at 64 images and 25% at the end" in figure


def test_curves_of_another_length_are_refused():
    with pytest.raises(ValueError, match="another length than its 2 sizes"):
        hero.regimes((16, 64), FOUND, "")


def test_both_figures_can_be_drawn_of_what_is_stored():
    stored = hero.stored_pictures(NOTEBOOKS / f"{chapter_file(1)}.ipynb")
    rows = re.findall(r"<span>(.*?)</span>", hero.systems(stored, ""))
    assert rows == NAMES
    results = record.read(2)
    found, sizes = results["measurements"], PROFILES[results["parameters"]["profile"]].sizes
    figure = hero.regimes(sizes, found, "")
    assert heights(figure, "rp") == [pytest.approx(found["rp_widths"], abs=0.001)] and len(figure) < 6000
