"""Arranged images: sorted by the component that they are said to be, pixels permuted alike; and specs that ask for it."""

import numpy as np
import pytest
import torch

from helpers.data import Dataset, load
from helpers.data.arranged import by_pc2, shuffle_pixels, shuffled
from helpers.zoo import ModelSpec
from helpers.zoo.store import training_images


def drawn(n=200):
    """Images of 4 x 4 whose second component is the top left pixel, the first the bottom right one."""
    rng = np.random.default_rng(0)
    x = rng.integers(118, 138, (n, 1, 4, 4))
    x[:, 0, 0, 0], x[:, 0, 3, 3] = rng.permutation(n) % 100 + 70, rng.permutation(n) % 200 + 20
    return Dataset("drawn", torch.from_numpy(x).to(torch.uint8), torch.arange(n))


def test_images_are_sorted_by_their_second_component():
    data = drawn()
    found = by_pc2(data)
    assert sorted(found.labels.tolist()) == data.labels.tolist()
    top, bottom = found.images[:100, 0].double(), found.images[100:, 0].double()
    assert (top - bottom).mean(0)[0, 0] > 40                            # the component itself, its sign that of its pixel
    assert (top - bottom).mean(0).abs().flatten()[1:].max() < 20        # and no other
    assert torch.equal(data.images[found.labels], found.images)         # images and labels move together


def test_pixels_are_permuted_alike_and_back():
    data = drawn(5)
    mixed = shuffled(data)
    assert torch.equal(mixed.labels, data.labels) and not torch.equal(mixed.images, data.images)
    assert torch.equal(shuffle_pixels(mixed.images, back=True), data.images)
    assert torch.equal(shuffle_pixels(data.x0)[3], shuffle_pixels(data.x0[3:4])[0])
    color = torch.arange(2 * 3 * 16).view(2, 3, 4, 4)
    assert torch.equal(shuffle_pixels(color)[0, 1] - 16, shuffle_pixels(color)[0, 0])      # channels go together


@pytest.mark.parametrize("how", ["by-pc2", "shuffled-pixels"])
def test_a_spec_learns_from_the_arranged_pool_and_has_a_name_and_key_of_its_own(how):
    plain, spec = ModelSpec(subset_size=8, subset_start=16), ModelSpec(subset_size=8, subset_start=16, arranged=how)
    assert spec.key != plain.key and how in spec.name and "arranged" not in plain.json
    assert ModelSpec.parse(spec.json) == spec
    x0, labels = training_images(spec)
    wanted = {"by-pc2": by_pc2, "shuffled-pixels": shuffled}[how](load("fashion-mnist", "pool")).first(8, 16)
    assert torch.equal(x0, wanted.x0) and torch.equal(labels, wanted.labels)


@pytest.mark.parametrize("wrong, said", [
    ({"arranged": "sorted"}, "by-pc2, shuffled-pixels"),
    ({"arranged": "by-pc2", "classes": (1,)}, "neither a teacher, captions nor classes")])
def test_what_cannot_be_arranged_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        ModelSpec(**wrong)
