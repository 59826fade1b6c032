"""The package behind the book, small enough to read from end to end.

Its rooms teach the theory in this order, and import from earlier ones alone:

    paths, parallel      where things are; two small networks at a time
    data, noise          images as one tensor; the noise that two models share
    denoiser             what a denoiser is
    kernels, samplers    coordinates of diffusion models; from noise to an image
    operators            measurements of an image
    adapters             a reader's own network as a denoiser
    closed_form          denoisers without training: N images, a Gaussian, a Gaussian given a measurement
    guidance             denoisers led by a class or by a measurement
    models               networks, what they are trained to predict, and the loop that trains them
    zoo                  from the description of a model to its trained denoiser
    measure              how images are compared, and how sure that is
    report               claims, verdicts, tables, figures; a notebook from a chapter's text
    chapters             the sizes and models of the book's chapters, and the desk at which they work
    audit                the book's measurements of a reader's own models
    run                  the driver: python -m helpers.run 2

The ten names that a reader needs can be had from here: `from helpers import sample, load_denoiser`.
"""

from importlib import import_module

_HOMES = {
    "load": "data", "initial_noise": "noise", "EmpiricalDenoiser": "closed_form", "GaussianDenoiser": "closed_form",
    "sample": "samplers", "ModelSpec": "zoo", "load_denoiser": "zoo",
    "rp_score": "measure.scores", "gl_score": "measure.scores", "mae_score": "measure.scores",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    """One of the ten names, looked up when it is asked for: torch takes seconds to load, and the driver's errors none."""
    if name not in _HOMES:
        raise AttributeError(f"helpers has no {name!r}; its rooms are modules, and its names {', '.join(_HOMES)}")
    return getattr(import_module(f"helpers.{_HOMES[name]}"), name)
