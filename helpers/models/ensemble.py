"""Many small networks in one: the same MLP several times, each with its own weights and its own images, one matrix product
for all. On a CPU a hundred of them train in the time of a few. Used in chapter 6.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Ensemble(nn.Module):
    """`count` residual MLPs of one size; a batch is theirs in equal parts, in their order.

    x (count * B, C, H, W), c_noise (count * B,), label None -> (count * B, C, H, W), as the networks of `architectures.py`.

    pixels   C * H * W; width, blocks   units of a hidden layer, and residual layers after the first
    """

    FREQUENCIES = 16                             # of the noise level's sines and cosines

    def __init__(self, count: int, pixels: int, width: int, blocks: int, generator: torch.Generator):
        super().__init__()
        self.count = count
        sizes = [pixels + 2 * self.FREQUENCIES, *[width] * (blocks + 1), pixels]
        shapes = list(zip(sizes, sizes[1:]))
        self.weights = nn.ParameterList(torch.randn(count, *shape, generator=generator) / shape[0] ** 0.5
                                        for shape in shapes)
        self.biases = nn.ParameterList(torch.zeros(count, 1, shape[1]) for shape in shapes)
        nn.init.zeros_(self.weights[-1])         # D begins as c_skip x, as for the U-Net
        self.register_buffer("frequencies", torch.linspace(-2, 3, self.FREQUENCIES).exp())

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        if len(x) % self.count:
            raise ValueError(f"{self.count} networks need as many equal parts of a batch, got {len(x)} images")
        phase = c_noise[:, None] * self.frequencies
        h = torch.cat([x.flatten(1), phase.sin(), phase.cos()], 1).unflatten(0, (self.count, -1))
        h = F.silu(self._layer(0, h))
        for k in range(1, len(self.weights) - 1):
            h = h + F.silu(self._layer(k, h))
        return self._layer(-1, h).reshape(x.shape)

    def _layer(self, k: int, h: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[k], h, self.weights[k])
