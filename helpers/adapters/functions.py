"""Networks that are asked about sigma, and any function, as denoisers."""

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from helpers.denoiser import Denoiser, Label, Sigma, broadcast_sigma, known_label

FLOOR = 1e-6                    # stands for sigma = 0: networks are asked for ln sigma
SIGMA_MIN = 0.002               # where the book's samplers end


class EDMDenoiser(Denoiser):
    """D(x, sigma, label) of a network that is one already: net(x, sigma (B,), labels), labels one-hot (B, classes)."""

    def __init__(self, network: Callable, classes: int, one_hot: bool, sampling: Mapping[str, object]):
        super().__init__()
        self.network, self.classes, self.one_hot, self.sampling = network, classes, one_hot, dict(sampling)

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        label, inner = known_label(label, x, self.classes), x.to(type_of(self.network, x))
        if label is not None and self.one_hot:
            label = nn.functional.one_hot(label, self.classes).to(inner.dtype)
        answer = self.network(inner, broadcast_sigma(sigma, inner).clamp_min(FLOOR), label)
        return image_like(answer, x).to(x.dtype)


def from_edm(network: Callable, classes: int | None = None, one_hot: bool = True, sigma_min: float = SIGMA_MIN,
             sigma_max: float = 80.0) -> EDMDenoiser:
    """The denoiser of a preconditioned network net(x, sigma, labels), as in the code of Karras et al. 2022.

    classes               None: the network's `label_dim`, or 0, a network without labels
    one_hot               whether labels go in as one-hot rows, or as numbers (B,); without a label the network gets None
    sigma_min, sigma_max  of sampling; the network's own attributes of these names narrow them, as in that code
    """
    classes = getattr(network, "label_dim", 0) if classes is None else classes
    low, high = getattr(network, "sigma_min", 0.0), getattr(network, "sigma_max", sigma_max)
    return EDMDenoiser(network, classes, one_hot, {"sigma_min": max(sigma_min, low), "sigma_max": min(sigma_max, high)})


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {                # (x, sigma, f) -> D
    "x0": lambda x, sigma, f: f,
    "epsilon": lambda x, sigma, f: x - sigma * f,
    "score": lambda x, sigma, f: x + sigma**2 * f,
}


class FunctionDenoiser(Denoiser):
    """D(x, sigma, label) of any function f(x, sigma) or f(x, sigma, label), which sees x itself and sigma (B,)."""

    def __init__(self, f: Callable, predicts: str, classes: int | None, sampling: Mapping[str, object]):
        super().__init__()
        if predicts not in FORMS:
            raise ValueError(f"a function predicts one of {', '.join(FORMS)}, not {predicts!r}")
        self.f, self.form, self.sampling, self.labels = f, FORMS[predicts], dict(sampling), _takes_label(f)
        self.classes = classes if self.labels else 0

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        label, sigma = known_label(label, x, self.classes), broadcast_sigma(sigma, x)
        answer = self.f(x, sigma, label) if self.labels else self.f(x, sigma)
        return self.form(x, sigma.view(-1, 1, 1, 1), image_like(answer, x)).to(x.dtype)


def from_callable(f: Callable, predicts: str = "x0", classes: int | None = None, **sampling: object) -> FunctionDenoiser:
    """The denoiser of any function f(x, sigma) or f(x, sigma, label), with x = x0 + sigma eps and sigma (B,).

    predicts   "x0", the image; "epsilon", the noise: D = x - sigma f; "score", grad log p: D = x + sigma^2 f
    classes    how many classes it knows; 0 if it takes no third argument, None: nobody knows
    sampling   what `sample` should do, as sigma_min=0.01, sigma_max=50

    ValueError for another prediction; a call raises it for an answer that is no tensor of x's shape.
    """
    return FunctionDenoiser(f, predicts, classes, sampling)


def type_of(network: object, x: Tensor) -> torch.dtype:
    """The type in which a network computes: that of its weights, or x's."""
    weights = network.parameters() if isinstance(network, nn.Module) else ()
    return next((p.dtype for p in weights if p.is_floating_point()), x.dtype)


def image_like(answer: object, x: Tensor) -> Tensor:
    """The answer, after it was seen to be an image like x."""
    if not isinstance(answer, Tensor) or answer.shape != x.shape:
        got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise ValueError(f"asked about images {tuple(x.shape)}, the model answers with {got}: a tensor of the same shape is "
                         "needed")
    return answer


def _takes_label(f: Callable) -> bool:
    """Whether f has a place for a third argument."""
    kinds = [p.kind for p in inspect.signature(f.forward if isinstance(f, nn.Module) else f).parameters.values()]
    places = sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
    return places > 2 or inspect.Parameter.VAR_POSITIONAL in kinds
