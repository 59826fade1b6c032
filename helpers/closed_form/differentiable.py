"""The optimal denoiser of N images as one step of automatic differentiation, with the gradient that is known of it.

    D(x) = E[x0 | x],    J = dD/dx = Cov[x0 | x] / sigma^2 = J^T

`backward`, torch.func's vjp, grad and jacrev, and their forward-mode siblings jvp and jacfwd all ask for J g. Under vmap,
the examples of a batch join the batch of images. Differentiable once.
"""

from torch import Tensor
from torch.autograd import Function

from helpers.denoiser import Sigma


class PosteriorMean(Function):
    """D(x, sigma, label) of an `EmpiricalDenoiser`: (B, C, H, W) -> (B, C, H, W)."""

    @staticmethod
    def forward(x: Tensor, denoiser, sigma: Sigma, label: Tensor | None) -> Tensor:
        return denoiser.mean(x, sigma, label)[0].to(x.dtype).view_as(x)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        x, *ctx.asked = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx, g: Tensor):
        return _Pull.apply(g, *ctx.saved_tensors, *ctx.asked), None, None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_) -> Tensor:
        return _Pull.apply(tangent, *ctx.saved_tensors, *ctx.asked)

    @staticmethod
    def vmap(info, in_dims: tuple, x: Tensor, denoiser, sigma: Sigma, label: Tensor | None):
        x, sigma, label = _join(info.batch_size, (x, sigma, label), (in_dims[0], *in_dims[2:]))
        return PosteriorMean.apply(x, denoiser, sigma, label).unflatten(0, (info.batch_size, -1)), 0


class _Pull(Function):
    """J g for g (B, C, H, W) at x (B, C, H, W)."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, denoiser, sigma: Sigma, label: Tensor | None) -> Tensor:
        return denoiser.pull(g.flatten(1), x, sigma, label).to(g.dtype).view_as(g)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError("an empirical denoiser is differentiable once: its second derivative is not known here")

    jvp = backward

    @staticmethod
    def vmap(info, in_dims: tuple, g: Tensor, x: Tensor, denoiser, sigma: Sigma, label: Tensor | None):
        g, x, sigma, label = _join(info.batch_size, (g, x, sigma, label), (*in_dims[:2], *in_dims[3:]))
        return _Pull.apply(g, x, denoiser, sigma, label).unflatten(0, (info.batch_size, -1)), 0


def _join(size: int, values: tuple, dims: tuple) -> list:
    """The `size` examples of vmap in one batch: (size, B, ...) -> (size B, ...); what all share is repeated."""
    def join(value, dim: int | None):
        if not isinstance(value, Tensor) or (dim is None and value.numel() == 1):
            return value
        moved = value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
        return moved.flatten(0, 1) if moved.ndim > 1 else moved.repeat_interleave(count)

    first, dim = values[0], dims[0]
    count = first.shape[0] if dim is None else first.movedim(dim, 0).shape[1]
    return [join(value, dim) for value, dim in zip(values, dims, strict=True)]
