"""candidates.py: what a denoiser remembers of the last steps saves time, and never changes an answer."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser, empirical
from helpers.closed_form.candidates import look
from helpers.closed_form.images import decode
from helpers.samplers import sample

N = 600


def scattered(n=N, seed=0):
    """Far-apart images of 8x8 pixels: at a low noise level one alone matters to an x."""
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def forgetful(images, labels=None):
    """The same denoiser without a memory, and without candidates."""
    denoiser = EmpiricalDenoiser(images, labels, chunk=64)
    denoiser._plan = lambda x, var, label: (None, torch.float64)
    return denoiser


def noises(n=16, seed=1):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def counted(denoiser, calls):
    """The denoiser, noting for each call how many rows of images its logits looked at."""
    inner = denoiser.logits

    def logits(*arguments, **options):
        calls.append(0)
        for y, values in inner(*arguments, **options):
            calls[-1] += len(y)
            yield y, values
    denoiser.logits = logits
    return denoiser


def counted_looks(monkeypatch):
    """What `look` answered, each time that a denoiser called it."""
    looks = []
    monkeypatch.setattr(empirical, "look", lambda *arguments: looks.append(look(*arguments)) or looks[-1])
    return looks


def test_a_descent_looks_at_few_images_and_ends_where_the_plain_form_does(monkeypatch):
    images, calls = scattered(), []
    remembering = counted(EmpiricalDenoiser(images, chunk=64), calls)
    plain, errors = forgetful(images), []

    def compared(x, sigma, label=None):
        found, expected = remembering(x, sigma), plain(x, sigma)
        errors.append(((found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)).max())
        return found
    looks = counted_looks(monkeypatch)
    sample(compared, noises())
    assert len(errors) == 35 and max(errors) < 1e-5
    assert calls[0] == N and max(calls[-12:]) < N / 8, calls      # before, at high noise levels, all of them matter
    assert 1 <= len(looks) < 5, len(looks)                         # most steps needed none of their own


def test_what_was_asked_before_changes_no_answer():
    """Other noise levels, other x, other batches, other labels, in any order: as a fresh denoiser, to float64's digits."""
    images, labels = scattered().double(), torch.arange(N) % 3
    worn, plain = EmpiricalDenoiser(images, labels, chunk=64), forgetful(images, labels)
    g, x0 = torch.Generator().manual_seed(3), images[:16]
    for _ in range(60):
        sigma = 10 ** (4 * torch.rand((), generator=g).item() - 3)
        size = int(torch.randint(1, 17, (), generator=g))
        x = x0[torch.randperm(16, generator=g)[:size]] + sigma * noises(size, 5).double()
        label = None if torch.rand((), generator=g) < 0.5 else torch.randint(3, (size,), generator=g)
        torch.testing.assert_close(worn(x, sigma, label), plain(x, sigma, label), rtol=1e-10, atol=1e-10)
    assert 1 <= len(worn._vicinities) <= worn.VICINITIES


def test_an_image_of_nan_stays_alone():
    """A row that is NaN gives NaN, before and after others, and the rows beside it are what they would be without it."""
    images, x = scattered(), noises(4)
    worn, plain = EmpiricalDenoiser(images, chunk=64), forgetful(images)
    x[2] = torch.nan
    for sigma in (0.05, 3.0, 0.05):
        found = worn(x, sigma)
        assert found[2].isnan().all()
        torch.testing.assert_close(found, plain(x, sigma), rtol=1e-5, atol=1e-5, equal_nan=True)
        assert worn(x[:2], sigma).isfinite().all()


def test_threads_share_a_denoiser():
    images = scattered()
    shared = EmpiricalDenoiser(images, chunk=64)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: sample(shared, noises(seed=seed)), range(8)))
    for seed, x in enumerate(found):
        torch.testing.assert_close(x, sample(forgetful(images), noises(seed=seed)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.3])
def test_no_image_outside_is_nearer_than_said_and_the_set_is_no_more_trusted_far_away(sigma):
    images = scattered()
    y, x, var = decode(images), (images[:4] + sigma * noises(4)).flatten(1), torch.full((1, 1), sigma**2).double()
    found = look(x, var, None, images, 0.5 * y.square().sum(1), None, 64)
    outside = torch.ones(N, dtype=torch.bool).index_fill(0, found.index, False)
    distances = torch.cdist(x.double(), y)
    assert 4 <= len(found.index) < N / 4 and (distances[:, outside] >= found.radius).all()
    assert torch.equal(found.nearest, y[distances.argmin(1)])
    assert found.suffices(x, var, None, N) and found.suffices(0.9 * x + 0.1 * images[:4].flatten(1), var, None, N)
    assert not found.suffices(x.flip(0), var, None, N) and not found.suffices(x, 1e4 * var, None, N)
    assert not found.suffices(x[:2], var, None, N) and not found.suffices(x, var, torch.zeros(4).long(), N)


def test_where_many_matter_all_are_looked_at():
    images = scattered()
    halves = 0.5 * decode(images).square().sum(1)
    assert look(noises().flatten(1), torch.full((1, 1), 25.0).double(), None, images, halves, None, 64) is None
    assert look(torch.full((1, 64), torch.nan), torch.ones(1, 1).double(), None, images, halves, None, 64) is None
