"""What no sampler, closed form, operator or guidance can work with: each is refused before the work, and told apart."""

from math import inf, nan

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser, EquivariantDenoiser, GaussianDenoiser, LocalDenoiser, MaskDenoiser
from helpers.closed_form.mixture import MixtureDenoiser
from helpers.closed_form.nearest import nearest_images
from helpers.closed_form.oracle import noise_of, time_of, velocity
from helpers.closed_form.random_matrix import effective_noise, map_split
from helpers.denoiser import denoising_error
from helpers.guidance import DPS, ClassifierFreeGuidance
from helpers.kernels import kernel
from helpers.noise import initial_noise
from helpers.operators import Pool, box, gaussian_blur, make_operator, motion_blur, random_mask
from helpers.samplers import sample
from helpers.samplers.hybrid import hybrids
from helpers.samplers.sampling import karras_sigmas, nfe
from helpers.samplers.time_steps import own_sigmas

S, ZEROS = (1, 8, 8), torch.zeros(12).long()
gen = torch.Generator().manual_seed(0)
x0 = torch.rand(12, 1, 8, 8, generator=gen) * 2 - 1
z = torch.randn(5, 1, 8, 8, generator=gen)
D = GaussianDenoiser.fit(x0)

# What is called, and a part of what it says: (kind, call, words).
HOSTILE = [
    ("noise", lambda: initial_noise([-1], S), "sample number must be a whole number from 0 to 2^64"),
    ("noise", lambda: initial_noise([0], (1, -28, 28)), "the shape of a noise is made of whole numbers from"),
    ("noise", lambda: initial_noise([0.5], S), "sample number must be a whole number from 0 to 2^64"),
    ("noise", lambda: initial_noise([0], S, seed=-1), "seed must be a whole number from 0 to 2^64 - 1"),
    ("noise", lambda: initial_noise([2**70], S), "sample number must be a whole number from 0 to 2^64"),
    ("noise", lambda: initial_noise(["0"], S), "sample number must be a whole number from 0 to 2^64"),
    ("noise", lambda: initial_noise([0], S, seed=1.5), "seed must be a whole number from 0 to 2^64 - 1"),
    ("sampler", lambda: sample(D, z, "heunn"), "unknown solver 'heunn'"),
    ("sampler", lambda: sample(D, z, steps=0), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, steps=-3), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, steps=2.5), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, steps="18"), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, sigma_min=0.0), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, sigma_min=-1.0), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, sigma_min=90.0), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, sigma_max=nan), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, sigma_max=inf), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: sample(D, z, batch=0), "batch must be at least 1, or None for all images at"),
    ("sampler", lambda: sample(D, z, batch=-1), "batch must be at least 1, or None for all images at"),
    ("sampler", lambda: sample(D, z * nan), "z holds NaN or infinity"),
    ("sampler", lambda: sample(D, z.int()), "z must be floats"),
    ("sampler", lambda: sample(D, z[0]), "z must be floats"),
    ("sampler", lambda: sample(D, z.numpy()), "z must be a tensor"),
    ("sampler", lambda: sample(D, z[..., :3]), "x must be (B, 1, 8, 8), got (5, 1, 8, 3)"),
    ("sampler", lambda: sample(lambda x, s, label=None: x[:, :, :2], z), "the denoiser answered"),
    ("sampler", lambda: karras_sigmas(0), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: karras_sigmas(18, 2.0, 1.0), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: karras_sigmas(18, rho=0.0), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: karras_sigmas(18, -0.1), "need whole steps >= 1, 0 < sigma_min < sigma_max"),
    ("sampler", lambda: nfe("heunn"), "unknown solver 'heunn'"),
    ("sampler", lambda: nfe("heun", 0), "a run has at least one step"),
    ("sampler", lambda: own_sigmas("palm", 18), "unknown kernel 'palm'"),
    ("sampler", lambda: own_sigmas("vp", 0), "a kernel's own time steps go from sigma_max to"),
    ("hybrid", lambda: hybrids(D, D, z, [0, 99], [80.0, 1.0, 0.1]), "sigmas must be two or more noise levels that fall"),
    ("hybrid", lambda: hybrids(D, D, z, [0], [0.1, 80.0]), "sigmas must be two or more noise levels that fall"),
    ("hybrid", lambda: hybrids(D, D, z, [], [80.0, 1.0]), "sigmas must be two or more noise levels that fall"),
    ("kernel", lambda: kernel("edmm"), "unknown kernel 'edmm'"),
    ("kernel", lambda: kernel(""), "unknown kernel ''"),
    ("kernel", lambda: kernel(None), "unknown kernel None"),
    ("empirical", lambda: EmpiricalDenoiser(x0[:0]), "images must be"),
    ("empirical", lambda: EmpiricalDenoiser(x0[0]), "images must be"),
    ("empirical", lambda: EmpiricalDenoiser(x0 * inf), "images must be finite"),
    ("empirical", lambda: EmpiricalDenoiser(x0.int()), "images must be uint8 or floats in [-1, 1], not"),
    ("empirical", lambda: EmpiricalDenoiser(x0.numpy()), "images must be a tensor"),
    ("empirical", lambda: EmpiricalDenoiser("images"), "images must be a tensor"),
    ("empirical", lambda: EmpiricalDenoiser(x0, labels=torch.zeros(3)), "labels must be"),
    ("empirical", lambda: EmpiricalDenoiser(x0, labels=torch.zeros(len(x0), 2).long()), "labels must be"),
    ("empirical", lambda: EmpiricalDenoiser(x0, labels=-torch.ones(len(x0)).long()),
     "labels must be 0 to k-1, with an image for each of"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z, -1.0), "sigma is a number from 0 on, or a tensor with one"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z, nan), "sigma is a number from 0 on, or a tensor with one"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z, torch.ones(3)), "sigma must be one number or one for each of the 5"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z, torch.ones(len(z), 2)),
     "sigma must be one number or one for each of the 5"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z, "1"), "sigma is a number from 0 on, or a tensor with one"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z, None), "sigma is a number from 0 on, or a tensor with one"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z[0], 1.0), "x must be (B, 1, 8, 8), got (1, 8, 8)"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z.repeat(1, 3, 1, 1), 1.0), "x must be (B, 1, 8, 8), got (5, 3, 8, 8)"),
    ("empirical", lambda: EmpiricalDenoiser(x0)(z.long(), 1.0), "x must be floats"),
    ("empirical", lambda: EmpiricalDenoiser(x0, labels=ZEROS)(z, 1.0, 5), "this denoiser knows the classes 0 to 0"),
    ("empirical", lambda: EmpiricalDenoiser(x0, labels=ZEROS)(z, 1.0, "0"),
     "label must be whole numbers, one for each image or"),
    ("empirical", lambda: EmpiricalDenoiser(x0, labels=ZEROS)(z, 1.0, torch.zeros(3).long()),
     "label must have one entry for each of the 5 images,"),
    ("gaussian", lambda: GaussianDenoiser.fit(x0[:0]), "images must be"),
    ("gaussian", lambda: GaussianDenoiser.fit(x0 * nan), "images must be finite"),
    ("gaussian", lambda: GaussianDenoiser(torch.zeros(1, 2, 2), torch.eye(3)), "mean must be"),
    ("gaussian", lambda: GaussianDenoiser(torch.zeros(4), torch.eye(4)), "mean must be"),
    ("gaussian", lambda: GaussianDenoiser(torch.zeros(1, 2, 2), -torch.eye(4)),
     "covariance must be positive semidefinite"),
    ("gaussian", lambda: GaussianDenoiser(torch.zeros(1, 2, 2), torch.triu(torch.ones(4, 4))),
     "covariance must be symmetric"),
    ("gaussian", lambda: GaussianDenoiser(torch.zeros(1, 2, 2), torch.eye(4) * nan), "covariance must be finite"),
    ("gaussian", lambda: D.flow(z[0], 80.0), "x must be (B, 1, 8, 8), got (1, 8, 8)"),
    ("gaussian", lambda: D.flow(z, 0.0), "a flow goes from sigma_max down to sigma_min >= 0"),
    ("gaussian", lambda: D.flow(z, -80.0), "a flow goes from sigma_max down to sigma_min >= 0"),
    ("gaussian", lambda: D.flow(z, nan), "a flow goes from sigma_max down to sigma_min >= 0"),
    ("gaussian", lambda: D.flow(z, 80.0, 90.0), "a flow goes from sigma_max down to sigma_min >= 0"),
    ("mixture", lambda: MixtureDenoiser(torch.tensor([1.0]), torch.zeros(2, 1, 1, 2), torch.eye(2)[None]),
     "1 weights need means"),
    ("mixture", lambda: MixtureDenoiser(torch.tensor([-1.0]), torch.zeros(1, 1, 1, 2), torch.eye(2)[None]),
     "weights must be"),
    ("mixture", lambda: MixtureDenoiser(torch.tensor([1.0]), torch.zeros(1, 1, 1, 2), torch.zeros(1, 2, 2)),
     "covariances must be positive definite"),
    ("mixture", lambda: MixtureDenoiser(torch.tensor([]), torch.zeros(0, 1, 1, 2), torch.zeros(0, 2, 2)),
     "weights must be"),
    ("local", lambda: LocalDenoiser(x0, 0)(z, 1.0), "a window is an odd whole number of pixels, 1 or more"),
    ("local", lambda: LocalDenoiser(x0, -3)(z, 1.0), "a window is an odd whole number of pixels, 1 or more"),
    ("local", lambda: LocalDenoiser(x0, 4)(z, 1.0), "a window is an odd whole number of pixels, 1 or more"),
    ("local", lambda: LocalDenoiser(x0, 2.5)(z, 1.0), "a window is an odd whole number of pixels, 1 or more"),
    ("local", lambda: LocalDenoiser(x0[:0], 3), "images must be"),
    ("local", lambda: LocalDenoiser(x0, lambda s: None)(z, 1.0), "a window is an odd whole number of pixels, 1 or more"),
    ("local", lambda: MaskDenoiser(x0, D, share=2.0), "share is a part of the largest entry, in [0, 1]"),
    ("local", lambda: EquivariantDenoiser(x0, 2)(z, 1.0), "a window is an odd whole number of pixels, 1 or more"),
    ("nearest", lambda: nearest_images(z, x0, k=0), "k must be from 1 to 12, the number of images"),
    ("nearest", lambda: nearest_images(z, x0, k=99), "k must be from 1 to 12, the number of images"),
    ("nearest", lambda: nearest_images(z, x0[:0]), "images must be"),
    ("nearest", lambda: nearest_images(z[:, :, :3], x0), "x must be (B, 1, 8, 8), got (5, 1, 3, 8)"),
    ("oracle", lambda: velocity(D, z, 1.0), "a velocity has a time between 0"),
    ("oracle", lambda: velocity(D, z, 0.0), "a velocity has a time between 0"),
    ("oracle", lambda: velocity(D, z, -0.5), "a velocity has a time between 0"),
    ("oracle", lambda: velocity(D, z, nan), "a velocity has a time between 0"),
    ("oracle", lambda: noise_of(2.0), "a time is above 0"),
    ("oracle", lambda: time_of(-1.0), "a noise level is at least 0"),
    ("matrix", lambda: effective_noise(torch.tensor([1.0, 2.0]), 0, torch.tensor(1.0)),
     "the number of images must be whole, 1 or more"),
    ("matrix", lambda: map_split(torch.tensor([-1.0, 2.0]), 10), "eigenvalues must be"),
    ("matrix", lambda: map_split(torch.tensor([1.0]), 10, nodes=0), "an integral needs 2 nodes or more"),
    ("operator", lambda: make_operator("palm", S), "unknown operator 'palm'"),
    ("operator", lambda: make_operator("", S), "unknown operator ''"),
    ("operator", lambda: box(S, 0), "the side of a box in images"),
    ("operator", lambda: box(S, 99), "the side of a box in images"),
    ("operator", lambda: random_mask(S, 1.5, 0), "need a share from 0 to 1"),
    ("operator", lambda: random_mask(S, -0.1, 0), "need a share from 0 to 1"),
    ("operator", lambda: random_mask(S, nan, 0), "need a share from 0 to 1"),
    ("operator", lambda: Pool(S, 3), "the factor must divide height and width"),
    ("operator", lambda: Pool(S, 0), "the factor must divide height and width"),
    ("operator", lambda: gaussian_blur(S, 0.0), "the standard deviation of a blur must be positive"),
    ("operator", lambda: gaussian_blur(S, -1.0), "the standard deviation of a blur must be positive"),
    ("operator", lambda: motion_blur(S, 0), "a motion must be 2 pixels long or more"),
    ("operator", lambda: box(S, 4)(z[0]), "x must be (B, 1, 8, 8), got (1, 8, 8)"),
    ("operator", lambda: box(S, 4)(z[:, :, :5]), "x must be (B, 1, 8, 8), got (5, 1, 5, 8)"),
    ("guidance", lambda: DPS(D, box(S, 4), box(S, 4)(z), -1.0), "the guidance strength must be positive"),
    ("guidance", lambda: ClassifierFreeGuidance(D, nan), "guidance strength must be a number of at least 0"),
    ("denoiser", lambda: denoising_error(D, x0, []), "a denoising error is a mean over images at noise"),
    ("denoiser", lambda: denoising_error(D, x0[:0], [1.0]), "a denoising error is a mean over images at noise"),
    ("denoiser", lambda: denoising_error(D, x0, [1.0], batch=0), "a denoising error is a mean over images at noise"),
]


@pytest.mark.parametrize("call, words", [pytest.param(call, words, id=f"{kind} {k}") for k, (kind, call, words) in
                                         enumerate(HOSTILE)])
def test_it_is_refused_in_one_line_that_says_what_is_wrong(call, words):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400
