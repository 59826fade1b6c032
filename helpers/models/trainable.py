"""Partial fine-tuning: which of a pretrained network's parameters go on learning.

    all         every one
    attention   the attention layers, as the paper does (after Moon et al. 2022)
    bias-norm   biases and the scales of norms (Zaken et al. 2022 call it BitFit)
    lora        a low-rank addition B A to every matrix and every convolution kernel (Hu et al. 2022)
    last1 ...   the output and the last, last two, ... levels on the way up; one more than there are: the middle, too

The others stay as the parent left them, and are not stored again: a fine-tuned model's file holds what was trained.
Used in chapter 5.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

RANK = 4


class LowRank(nn.Module):
    """W + B A for W (c_out, ...), seen as a matrix: A (rank, c_in k k) random, B (c_out, rank) zero at the start."""

    def __init__(self, weight: Tensor, rank: int = RANK):
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.down = nn.Parameter(torch.randn(rank, columns) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)


def add_low_rank(network: nn.Module) -> None:
    """Give every convolution and linear layer between input and output its low-rank addition."""
    layers = [layer for name, layer in network.named_modules()
              if isinstance(layer, nn.Conv2d | nn.Linear) and not network.outer & set(name.split("."))]
    network.outer = network.outer | {"parametrizations"}      # Adam's, as is usual for low-rank factors
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight))


def _learns(trainable: str, name: str, p: Tensor, levels: int) -> bool:
    """Whether the parameter of this name goes on learning."""
    if trainable == "bias-norm":
        return p.ndim == 1
    if trainable == "attention":
        return "attention" in name
    if trainable == "lora":
        return "parametrizations.weight.0" in name
    last = int(trainable.removeprefix("last"))
    parts = ["head", *(f"up.{level}" for level in range(last)), *(["middle"] if last > levels else [])]
    return any(name.startswith(f"{part}.") for part in parts)


def restrict(network: nn.Module, trainable: str) -> nn.Module:
    """The network, changed in place, such that only what `trainable` names goes on learning.

    ValueError for an unknown name, or one that leaves this network nothing to learn.
    """
    if trainable == "all":
        return network
    if not re.fullmatch(r"attention|bias-norm|lora|last[1-9]", trainable):
        raise ValueError(f"unknown part {trainable!r}: choose from all, attention, bias-norm, lora, last1, last2, ...")
    if trainable == "lora":
        add_low_rank(network)
    levels = len(getattr(network, "up", ()))
    for name, p in network.named_parameters():
        p.requires_grad_(_learns(trainable, name, p, levels))
    if not any(p.requires_grad for p in network.parameters()) or trainable.startswith("last") and not levels:
        raise ValueError(f"{type(network).__name__} has no {trainable!r} part to train")
    return network
