"""The equivariant local machine: a patch is known by what it shows, and no longer by where it was.

A convolution does the same everywhere. If a pixel's answer may depend on its k x k window alone *and* must not depend on
where the pixel is, the best answer weighs the patches of all images at all places,

    D(x)[p] = sum_{i, q} w_iq y_i[q],     w = softmax_{i, q}( -|x[O_p] - y_i[O_q]|^2 / (2 sigma^2) ).

A network that pads with zeros sees where the border is: only patches that the border cuts in the same way are compared.
Kamb & Ganguli 2025, their equivariant local score machine with broken equivariance at the border. In the middle of an image
all places are alike; in a corner one place is left, and the machine is the `LocalDenoiser` there. Used in chapter 7.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.closed_form.images import check_images, check_input, decode
from helpers.closed_form.local import Window, one_each, window_size
from helpers.denoiser import Denoiser, Label, Sigma, resident


class EquivariantDenoiser(Denoiser):
    """Each pixel from all patches of all images that the border cuts as it cuts the pixel's own window.

    images   (N, C, H, W), uint8 in 0..255 or floats in [-1, 1]; every place of each is a candidate, so a few hundred is many
    window   k >= 1, odd, or k(sigma)
    chunk    distances held at a time

    Distances come from products, in float64 where those are subtracted. Labels are ignored.
    """

    def __init__(self, images: Tensor, window: Window, chunk: int = 2**23):
        super().__init__()
        floats = decode(check_images(images)).float().view(images.shape) if images.dtype == torch.uint8 else images
        self.register_buffer("images", floats)
        self.window, self.chunk = window, chunk

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type."""
        check_input(x, self.images.shape[1:])
        levels, answers = one_each(sigma, len(x)), torch.empty_like(x)
        for level in dict.fromkeys(levels):
            at = torch.tensor([s == level for s in levels], device=x.device)
            answers[at] = self._answer(x[at], level)
        return answers

    def _answer(self, x: Tensor, sigma: float) -> Tensor:
        k = window_size(self.window, sigma)
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        images = resident(self, "images", x).to(precise.dtype)
        answer = torch.empty_like(precise)
        for rows in alike(x.shape[2], k):
            for columns in alike(x.shape[3], k):
                seen, known = (patches(part, rows, columns, k) for part in (precise, images))
                value = images[:, :, rows][..., columns].movedim(1, -1).reshape(len(known), -1)     # (candidates, C)
                found = self._posterior_mean(seen, known, value, sigma)                             # (queries, C)
                part = found.view(len(x), len(rows), len(columns), -1).movedim(-1, 1)
                answer[:, :, rows[:, None], columns] = part
        return answer.to(x.dtype)

    def _posterior_mean(self, seen: Tensor, known: Tensor, value: Tensor, sigma: float) -> Tensor:
        """sum_j w_j value_j with w = softmax_j(-|seen - known_j|^2 / (2 sigma^2)): (n, d), (m, d), (m, C) -> (n, C)."""
        half, var = 0.5 * known.double().square().sum(1), max(sigma, 1e-9) ** 2
        means = []
        for part in seen.split(max(1, self.chunk // len(known))):
            logits = torch.addmm(-half, part.double(), known.double().T) / var                      # |seen|^2 cancels
            w = (logits - logits.amax(1, keepdim=True)).to(seen.dtype).exp_()
            means.append((w @ value) / w.sum(1, keepdim=True))
        return torch.cat(means)


def alike(side: int, k: int) -> list[Tensor]:
    """Coordinates in groups whose windows of k the border cuts alike: each near a border by itself, the middle together."""
    i, r = torch.arange(side), k // 2
    before, after = i.clamp_max(r), (side - 1 - i).clamp_max(r)
    _, group = (before * (r + 1) + after).unique(return_inverse=True)
    return [i[group == g] for g in range(int(group.max()) + 1)]


def patches(images: Tensor, rows: Tensor, columns: Tensor, k: int) -> Tensor:
    """The k x k windows around some places, zero beyond the border: (n, C, H, W) -> (n * rows * columns, C k k)."""
    r = k // 2
    first, last = (int(rows[0]), int(columns[0])), (int(rows[-1]), int(columns[-1]))
    padded = F.pad(images, (r, r, r, r))[:, :, first[0]:last[0] + k, first[1]:last[1] + k]
    return F.unfold(padded, k).movedim(1, 2).flatten(0, 1)
