"""Alignment: the fair control for generators whose latent can be turned without anyone noticing.

A GAN or a VAE draws x = G(u) from u ~ N(0, I). That law does not change under u -> Q u for any orthogonal Q, and neither
does what the generator is trained on: two equally good generators may differ by a Q, and then disagree on every u. To ask
whether they agree *up to* that symmetry, find the best Q first:

    Q* = argmin_{Q orthogonal} E_u |G1(u) - G2(Q u)|^2,      and compare G1(u) with G2(Q* u) on other u.

If v ~ Q u were known, Q would be the polar factor of E[v u^T] (`procrustes`). It is not, but a ridge regression from G2's
images to G2's latents estimates it: v = R G1(u). From there, and from other starts, gradient descent along
Q = exp(A - A^T) Q0, which is orthogonal whatever A is, goes downhill in the images themselves (`align`). A diffusion
model needs none of this. `turned` does all of it for two trained denoisers. Used in chapter 1.
"""

from collections.abc import Callable

import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from helpers.denoiser import DenoiserLike, Label, Sigma, Wrapper, resident

Images = Callable[[Tensor], Tensor]                 # G: latents (B, k) -> images (B, C, H, W)


def procrustes(u: Tensor, v: Tensor) -> Tensor:
    """argmin_Q |u Q^T - v|_F over orthogonal Q: with v^T u = W S V^T, Q = W V^T. Points (n, k), (n, k) -> (k, k).

    Rotations and reflections alike (Schönemann 1966); scipy's, in float64, the result in u's type and place. If v^T u has
    not full rank, one of several. ValueError unless u and v are of one shape (n, k) and finite.
    """
    if u.ndim != 2 or u.shape != v.shape or not u.numel():
        raise ValueError(f"procrustes needs two sets of points of one shape (n, k), got {tuple(u.shape)}, {tuple(v.shape)}")
    if not (u.isfinite().all() and v.isfinite().all()):
        raise ValueError("procrustes got NaN or infinity")
    transposed, _ = orthogonal_procrustes(u.detach().double().cpu().numpy(), v.detach().double().cpu().numpy())
    return torch.from_numpy(transposed.T.copy()).to(u)


@torch.no_grad()
def _render(generate: Images, u: Tensor, batch: int = 256) -> Tensor:
    return torch.cat([generate(part).float() for part in u.split(batch)])           # (n, C, H, W)


def misfit(first: Images, second: Images, q: Tensor, u: Tensor) -> float:
    """E|G1(u) - G2(Q u)|^2 per pixel on latents u (n, k), Q (k, k): what `align` makes small."""
    return (_render(first, u) - _render(second, u @ q.T)).square().mean().item()


def latent_regression(images: Tensor, u: Tensor, ridge: float = 1e-3) -> Callable[[Tensor], Tensor]:
    """Ridge regression from images (n, C, H, W) to their latents u (n, k): a function from images (m, C, H, W) to (m, k).

    min_R |X R - u|^2 + ridge tr(X^T X) / D |R|^2, X (n, D) the centered images; in closed form, float64.
    """
    rows = images.flatten(1).double()                                               # (n, D)
    mean, latent_mean = rows.mean(0), u.double().mean(0)
    rows = rows - mean
    gram = rows.T @ rows                                                            # (D, D)
    gram.diagonal().add_(ridge * gram.trace() / len(gram) + torch.finfo(torch.float64).tiny)
    weights = torch.linalg.solve(gram, rows.T @ (u.double() - latent_mean))         # (D, k)
    return lambda x: (latent_mean + (x.flatten(1).double() - mean) @ weights).to(u.dtype)


def _descend(second: Images, u: Tensor, x: Tensor, start: Tensor, steps: int, batch: int, rate: float,
             generator: torch.Generator) -> Tensor:
    """Adam on A in Q = exp(A - A^T) start, towards G2(Q u) = x: latents (n, k), images (n, C, H, W) -> Q (k, k)."""
    a = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.Adam([a], rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        index = torch.randint(len(u), (batch,), generator=generator, device=generator.device).to(u.device)
        with torch.enable_grad():
            q = torch.matrix_exp(a - a.T) @ start
            loss = (second(u[index] @ q.T) - x[index]).square().mean()
        a.grad, = torch.autograd.grad(loss, a)      # of A alone: the generators' weights get none
        optimizer.step()
        schedule.step()
    return (torch.matrix_exp(a - a.T) @ start).detach()


def _starts(u: Tensor, v: Tensor, restarts: int, generator: torch.Generator) -> list[Tensor]:
    """Where descent begins: Procrustes, Procrustes mirrored, the identity, and random ones, `restarts` of them.

    Descent never changes det Q = +-1, so both signs are tried; the mirror turns over the direction that u and v say
    least about.
    """
    k = u.shape[1]
    guess = procrustes(u, v)
    least = torch.linalg.svd(v.double().T @ u.double())[2][-1].to(u)                # (k,)
    mirror = torch.eye(k).to(u) - 2 * torch.outer(least, least)
    random = [torch.linalg.qr(torch.randn(k, k, generator=generator, device=generator.device).to(u))[0]
              for _ in range(restarts)]
    return [guess, guess @ mirror, torch.eye(k).to(u), *random]


def align(first: Images, second: Images, latent: int, generator: torch.Generator, n: int = 2048, held_out: int = 512,
          steps: int = 160, batch: int = 64, restarts: int = 1, rate: float = 0.03,
          device: str | torch.device = "cpu") -> Tensor:
    """Q (latent, latent), orthogonal, with the least E|G1(u) - G2(Q u)|^2 that descent finds: G1(u) pairs with G2(Q u).

    first, second   G1 and G2: latents u (B, latent) -> images (B, C, H, W), differentiable
    n, held_out     random latents to fit on, and others to choose on; a chapter's noises are neither
    steps, batch, rate   of Adam for the two best starts; a quarter of the steps has shown which these are
    restarts        random starts, besides Procrustes, its mirror image and the identity
    device          where the generators are; the latents are drawn where `generator` is, and moved there

    On the held-out latents Q is never worse than the identity: that is among the candidates as it is. The minimum need
    not be the global one, so try a second generator; and a G2 of which Q is known, G1(Q^T u), shows what could be found.
    ValueError if the generators' images differ in shape or are not finite.
    """
    drawn = torch.randn(n + held_out, latent, generator=generator, device=generator.device)
    u, chosen_on = drawn.to(device).split([n, held_out])
    x, y = _render(first, u), _render(second, u)
    if x.shape != y.shape or not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError(f"align needs finite images of one shape, got {tuple(x.shape)} and {tuple(y.shape)}")

    def best(found: list[Tensor], count: int) -> list[Tensor]:
        scores = torch.tensor([misfit(first, second, q, chosen_on) for q in found]).nan_to_num(nan=torch.inf)
        return [found[i] for i in scores.argsort(stable=True)[:count]]

    def descend(found: list[Tensor], steps: int) -> list[Tensor]:
        return [_descend(second, u, x, q, steps, batch, rate, generator) for q in found]

    starts = _starts(u, latent_regression(y, u)(x), restarts, generator)
    scouted = descend(starts, steps // 4)
    finished = descend(best(scouted, 2), steps)
    return best([torch.eye(latent).to(u), *starts, *scouted, *finished], 1)[0]


class Rotated(Wrapper):
    """D'(sigma z, sigma) = D(sigma z', sigma): z' is z with its first `latent` pixels u replaced by Q u.

    The generator of `denoiser` after its latent is turned by Q (latent, latent); x (B, C, H, W) is not modified. It is
    sampled like any other. ValueError unless Q is orthogonal.
    """

    def __init__(self, denoiser: DenoiserLike, q: Tensor, latent: int):
        super().__init__(denoiser)
        if q.shape != (latent, latent) or not torch.allclose(q @ q.T, torch.eye(latent).to(q), atol=1e-4):
            raise ValueError(f"need an orthogonal matrix ({latent}, {latent}), got {tuple(q.shape)}")
        self.latent = latent
        self.register_buffer("q", q)

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        u, rest = x.flatten(1).split([self.latent, x.shape[1:].numel() - self.latent], dim=1)
        v = u @ resident(self, "q", x).to(x.dtype).T
        return self.denoiser(torch.cat([v, rest], dim=1).view_as(x), sigma, label=label)


def generator_of(denoiser: DenoiserLike) -> Images:
    """G of a GAN's or a VAE's denoiser, also of one whose latent was turned: latents u (B, k) -> images (B, C, H, W).

    ValueError for a denoiser without a generator.
    """
    if isinstance(denoiser, Rotated):
        inner = generator_of(denoiser.denoiser)
        return lambda u: inner(u @ resident(denoiser, "q", u).to(u.dtype).T)
    network = getattr(denoiser, "network", None)
    if not hasattr(network, "generator"):
        raise ValueError(f"{type(denoiser).__name__} has no latent: only a GAN or a VAE can be turned")
    return network.generator


def turned(first: DenoiserLike, second: DenoiserLike, latent: int, generator: torch.Generator, **options) -> Rotated:
    """`second` with its latent turned, so that its images are as near to those of `first` as `align` can bring them.

    latent    length k of both latents; other arguments are those of `align`
    """
    q = align(generator_of(first), generator_of(second), latent, generator, **options)
    return Rotated(second, q, latent)
