"""The characters: what is shipped, how it is split, and how pictures are drawn from a font."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import ImageFont

from helpers import data, paths
from helpers.audit.rulers import choose_ruler
from helpers.chapters.other_images import clothes_models, glyph_models, on_glyphs
from helpers.chapters.profiles import LAPTOP, PAPER, SMOKE
from helpers.data import glyphs
from helpers.data.sources import _read_idx
from helpers.measure.descriptor import SHIPPED, DescriptorSpec, shipped_for
from helpers.measure.scores import GLYPH_THRESHOLD

FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


def test_the_shipped_characters_are_split_once_and_all_different():
    parts = {split: data.load("glyphs", split) for split in ("pool", "reserve", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"pool": 2**14, "reserve": 11_664, "test": 4096}
    every = torch.cat([part.images for part in parts.values()])
    assert every.shape[1:] == (1, 28, 28) and len(every.flatten(1).unique(dim=0)) == len(every) == 32_144
    assert every.flatten(1).amax(1).min() > 100                                # none is empty
    for part in parts.values():
        assert 0.3 < part.labels.double().mean() < 0.4 and part.labels.max() == 1


def test_pictures_are_drawn_by_script_each_once(monkeypatch, tmp_path):
    monkeypatch.setattr(glyphs, "SCRIPTS", {"Latin": range(65, 91), "Greek": range(0x391, 0x394)})
    images, labels = glyphs.draw(ImageFont.truetype(str(FONT), glyphs.POINTS))
    assert images.shape == (27, 28, 28) and images.dtype == np.uint8           # Alpha and Beta look like A and B
    assert labels.tolist() == [0] * 26 + [1] and all(image.max() > 200 for image in images)
    monkeypatch.setattr(paths, "GLYPHS", tmp_path)
    monkeypatch.setattr(glyphs, "FACE", 0)
    monkeypatch.setattr(glyphs, "HELD_OUT", 5)
    assert glyphs.main([str(FONT)]) == 0
    names = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert glyphs.main([str(FONT)]) == 0 and names == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("hashlib.md5", lambda packed, **_: type("Any", (), {"hexdigest": lambda self: "same"})())
    drawn = _read_idx(tmp_path / "t10k-images-idx3-ubyte.gz", dict.fromkeys(names, "same"))
    assert drawn.shape == (5, 28, 28) and len(names) == 4


def test_a_font_that_is_not_there_is_one_line(capsys):
    assert glyphs.main(["nowhere.ttc"]) == 2
    assert capsys.readouterr().err == "error: name the file of Noto Serif CJK, NotoSerifCJK-Regular.ttc\n"


def test_a_damaged_file_names_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "GLYPHS", tmp_path)
    data.sources._shipped.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"missing: restore it from git"):
        data.load("glyphs", "test")
    data.sources._shipped.cache_clear()


def test_the_models_are_chapter_2s_but_for_their_images():
    for profile in (LAPTOP, SMOKE):
        other = on_glyphs(profile)
        assert on_glyphs(other) is other and other.threshold == GLYPH_THRESHOLD and set(other.sizes) <= set(profile.sizes)
        for (n, seed), spec in glyph_models(profile).items():
            assert spec.dataset == "glyphs" and "glyphs" in spec.name and spec.recipe.seed == seed
            assert clothes_models(profile)[n, seed] == profile.model(profile.widths[0], n, seed)
            assert spec.options == profile.model(profile.widths[0], n).options and spec.subset_size == n <= 2**14
    assert on_glyphs(LAPTOP).sizes == (64, 512, 16_384)
    with pytest.raises(ValueError, match="chapter 10 sets glyphs beside clothes, not beside cifar10"):
        on_glyphs(PAPER)


def test_each_set_has_its_descriptor():
    assert shipped_for("glyphs").dataset == "glyphs" and shipped_for("elsewhere") == DescriptorSpec() == SHIPPED[0]
    assert "dataset" not in SHIPPED[0].json and len({spec.file for spec in SHIPPED}) == 2
    assert all((paths.ZOO / spec.file).exists() for spec in SHIPPED)
    ruler = choose_ruler(data.load("glyphs", "test").images[:9], "glyphs")
    assert ruler.threshold == GLYPH_THRESHOLD and not ruler.remark
