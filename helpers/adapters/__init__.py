"""Adapters: a reader's own network as a denoiser of this book, D(x, sigma, label=None) -> x0_hat.

    from_diffusers    a pipeline of diffusers, or a network and the scheduler with which it was trained
    load_diffusers    a folder that a pipeline's save_pretrained wrote
    from_edm          a network that is asked net(x, sigma, labels)
    from_callable     any function f(x, sigma) or f(x, sigma, label) that says the image, the noise or the score

`sampling` of each is the range of noise levels on which the network was trained, so that `sample(denoiser, z,
**denoiser.sampling)` starts and ends where it knows its way. Used by `helpers.audit`.
"""

from helpers.adapters.functions import from_callable, from_edm
from helpers.adapters.pipelines import from_diffusers, load_diffusers

__all__ = ["from_callable", "from_diffusers", "from_edm", "load_diffusers"]
