"""The zoo: trained models by name. From a `ModelSpec`, which says all that decides a model's weights, to its denoiser."""

from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import load_denoiser

__all__ = ["ModelSpec", "load_denoiser"]
