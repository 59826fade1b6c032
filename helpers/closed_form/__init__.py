"""Denoisers that need no training: the best answer is known in closed form.

    N training images, each with probability 1/N    EmpiricalDenoiser    Theorem 1: a softmax over the images
    a Gaussian                                      GaussianDenoiser     the Wiener filter, linear in x
    a mixture of Gaussians                          MixtureDenoiser      a mean of Wiener filters
    a Gaussian, given a measurement                 gaussian_posterior   a Gaussian again
    N images, a window at a time                    LocalDenoiser        local machines: new images from pieces of old ones

The first returns training images, so it stands for the memorization regime. The second is the linear baseline: what models
share because they share the data's mean and covariance.
"""

from helpers.closed_form.empirical import EmpiricalDenoiser
from helpers.closed_form.equivariant import EquivariantDenoiser
from helpers.closed_form.gaussian import GaussianDenoiser
from helpers.closed_form.local import LocalDenoiser, MaskDenoiser, PatchDenoiser
from helpers.closed_form.mixture import MixtureDenoiser
from helpers.closed_form.nearest import nearest_images
from helpers.closed_form.posterior import GaussianPosterior, gaussian_posterior

__all__ = ["EmpiricalDenoiser", "EquivariantDenoiser", "GaussianDenoiser", "GaussianPosterior", "LocalDenoiser",
           "MaskDenoiser", "MixtureDenoiser", "PatchDenoiser", "gaussian_posterior", "nearest_images"]
