"""A caption as what a network is told: W (e_k - m) / s + b in place of a row of an embedding table.

e_k is the sentence embedding of caption k, frozen; m is the mean of the table's embeddings and s such that an entry of
(e_k - m) / s has unit variance, so that W, drawn with variance 1 / 384, begins like a table's rows. Captions that mean alike
are told alike, and a caption that was never trained on is told, too. Only "no caption", a vector of its own, is learned
without words. Used in chapter 9.
"""

import copy

import torch
from torch import Tensor, nn

from helpers.data.captions import DIM, embeddings
from helpers.denoiser import NetworkDenoiser


class Words(nn.Module):
    """label (B,) -> (B, dim): numbers of the captions in a table of `data/captions.py`; the number after the last: none.

    captions   how many the table has: ValueError if not so many, for a network that was told otherwise would go on
    """

    def __init__(self, table: str, captions: int, dim: int):
        super().__init__()
        vectors = embeddings(table)
        if captions != len(vectors):
            raise ValueError(f"the table {table!r} has {len(vectors)} captions: say classes={len(vectors)}, not {captions}")
        self.mean, self.scale = vectors.mean(0), (vectors - vectors.mean(0)).square().mean().sqrt()
        self.register_buffer("vectors", self.standardized(vectors), persistent=False)
        self.linear, self.none = nn.Linear(DIM, dim), nn.Parameter(torch.randn(dim))
        nn.init.normal_(self.linear.weight, std=DIM**-0.5)
        nn.init.zeros_(self.linear.bias)

    @property
    def num_embeddings(self) -> int:
        """Captions and "none", as `nn.Embedding` counts its rows."""
        return len(self.vectors) + 1

    def standardized(self, vectors: Tensor) -> Tensor:
        """(e - m) / s with the table's m and s: (n, 384) -> same."""
        return (vectors - self.mean) / self.scale

    def forward(self, label: Tensor) -> Tensor:
        told = self.linear(self.vectors[label.clamp(max=len(self.vectors) - 1)])
        return torch.where((label < len(self.vectors))[:, None], told, self.none)


def label_table(classes: int, dim: int, words: str | None = None) -> nn.Module | None:
    """What turns a label into a vector: a table of `classes` + 1 rows, or `Words`; None for 0 classes."""
    if words is None:
        return nn.Embedding(classes + 1, dim) if classes else None
    return Words(words, classes, dim)


def reworded(denoiser: NetworkDenoiser, vectors: Tensor) -> NetworkDenoiser:
    """The same denoiser with other captions: label k then means vectors[k], (n, 384) of unit norm, as `encode` gives them.

    ValueError for a denoiser that was not trained on captions, or vectors of another length.
    """
    found = next((m for m in denoiser.modules() if isinstance(m, Words)), None)
    if found is None or vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != DIM:
        raise ValueError(f"a model of captions and vectors (n, {DIM}) are needed, got {tuple(vectors.shape)} for "
                         + ("one" if found else "a model that was trained without captions"))
    network = copy.deepcopy(denoiser.network)
    layer = next(m for m in network.modules() if isinstance(m, Words))
    layer.vectors = layer.standardized(vectors).to(layer.vectors)
    network.classes = len(vectors)
    return NetworkDenoiser(network, denoiser.objective).requires_grad_(False).eval()
