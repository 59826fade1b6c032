"""The noise of sample i depends on (seed, i) alone."""

import math

import numpy as np
import pytest
import torch

from helpers import noise
from helpers.noise import initial_noise, noise_path, standard_normal

SHAPE = (1, 28, 28)


def test_noise_depends_on_seed_and_index_alone():
    z = initial_noise(range(8), SHAPE)
    assert z.shape == (8, *SHAPE) and z.dtype == torch.float32
    assert torch.equal(initial_noise([5, 2], SHAPE), z[[5, 2]])
    assert not torch.equal(initial_noise([0], SHAPE, seed=1), z[:1])


def test_known_numbers():
    """Pinned: a change of machine, numpy or code that moves the noise breaks every shared result."""
    assert standard_normal(0, 0, 4).tolist() == pytest.approx(
        [2.2844414847774095, -1.5494507935122228, 1.9245853823567463, -0.6637518111511655], rel=1e-12)
    assert standard_normal(3, 7, 3).tolist() == pytest.approx(
        [-0.20895341639421924, -0.054249015385792264, -1.9000291066366786], rel=1e-12)


def test_equals_the_transform_computed_by_hand():
    raw = [int(r) for r in np.random.Philox(key=np.array([2, 9], dtype=np.uint64)).random_raw(2)]
    u, v = (((r >> 11) + 0.5) / 2**53 for r in raw)
    radius = math.sqrt(-2 * math.log(u))
    assert standard_normal(2, 9, 2).tolist() == pytest.approx([radius * math.cos(2 * math.pi * v),
                                                               radius * math.sin(2 * math.pi * v)], rel=1e-12)


def test_bits_of_zero_are_a_number_too(monkeypatch):
    """ln u is taken of u = 2^-54 at least, and of 1 - 2^-54 at most."""
    for bits, radius in ((0, math.sqrt(108 * math.log(2))), (2**64 - 1, 0.0)):
        monkeypatch.setattr(noise, "random_bits", lambda seed, index, count, b=bits: np.full(count, b, dtype=np.uint64))
        assert np.hypot(*standard_normal(0, 0, 2)) == pytest.approx(radius, abs=1e-7)


def test_moments_and_independence():
    z = initial_noise(range(500), SHAPE).flatten(1).double()
    count = z.numel()
    assert abs(z.mean()) < 4 / math.sqrt(count)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / count)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / count)
    gram = (z @ z.T / 784).fill_diagonal_(0)                          # different samples: correlation 0 +- 1/28
    assert gram.abs().max() < 6 / 28
    assert abs((z[:, :392] * z[:, 392:]).mean()) < 4 / math.sqrt(count / 2)


def test_bad_input():
    with pytest.raises(ValueError, match="no samples"):
        initial_noise([], SHAPE)
    for bad in (-1, 1.5, 2**70, 2**64, "0", None):
        for name, call in (("seed", lambda k: initial_noise([0], SHAPE, seed=k)),
                           ("sample number", lambda k: initial_noise([k], SHAPE))):
            with pytest.raises(ValueError, match=rf"^{name} must be a whole number from 0 to 2\^64 - 1, got {bad}$"):
                call(bad)


def test_whole_numbers_of_any_kind_are_the_same_seed():
    z = initial_noise([3], (2,), seed=7)
    assert all(torch.equal(z, initial_noise(index, (2,), seed))
               for index, seed in ((torch.tensor([3]), torch.tensor(7)), (np.array([3], dtype=np.uint8), np.int64(7))))
    assert initial_noise([0], (2,), seed=2**64 - 1).isfinite().all()


def test_a_noise_path_is_the_same_for_everybody_who_walks_on_it():
    first, again, other = noise_path(1, (3, *SHAPE)), noise_path(1, (3, *SHAPE)), noise_path(2, (3, *SHAPE))
    assert torch.equal(first(4), again(4)) and torch.equal(first(4), first(4))
    steps = [path(i) for path in (first, other) for i in range(20)]
    gram = torch.corrcoef(torch.stack(steps).flatten(1)).fill_diagonal_(0)       # no two alike: correlation 0 +- 1/48
    assert gram.abs().max() < 6 / (3 * 784) ** 0.5 and abs(torch.stack(steps).var() - 1) < 0.03


def test_a_noise_path_is_pinned():
    assert torch.equal(noise_path(2, (5,))(3), torch.randn(5, generator=torch.Generator().manual_seed(2003)))


def test_noise_paths_do_not_run_into_each_other():
    for step in (1000, -1, 1.5):
        with pytest.raises(ValueError, match=f"^the step of a noise path must be a whole number from 0 to 999, got {step}$"):
            noise_path(1, SHAPE)(step)
    for number in (-1, 1.001, 2**70):
        with pytest.raises(ValueError, match=rf"^the number of a noise path .* from 0 to 2\^53, got {number}$"):
            noise_path(number, SHAPE)
    assert noise_path(2**53, (2,))(999).isfinite().all()
