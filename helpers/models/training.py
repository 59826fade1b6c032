"""Training: one loop for everything that learns.

The loop knows a network, an objective and images, nothing else. Its randomness is counter-based: what happens in step k
depends on (seed, k) and the weights alone, so that a run that was killed and started again from its last checkpoint ends
with bit-equal weights. `recipe.py` says how, `state.py` holds what must not be lost; `descend` is the loop itself, which
the copy-detection descriptor shares. Used by the zoo.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helpers.models.recipe import Recipe
from helpers.models.state import State, update_ema

LARGEST = 10.0          # a pixel of training images in [-1, 1], or of toy data, stays below it; one of 0..255 does not


class Progress(NamedTuple):
    """What the loop yields after a step: how many are done, and the loss of the last one."""

    step: int
    loss: float


def descend(loss_of: Callable[[int], Tensor], update: Callable[[int], None], parameters: Iterable[nn.Parameter],
            losses: Tensor, start: int = 0, check_every: int = 1) -> Iterator[Progress]:
    """Steps `start`, start + 1, ... of gradient descent, one an entry of `losses`; yields a `Progress` at each check.

    loss_of(step) is the step's loss, a scalar; update(step) moves the `parameters` by their gradients and drops these.
    losses (steps,) is filled in on its device. Every `check_every` steps, and at the end, what was left there since the last
    check is brought to the host: FloatingPointError before the update, if a loss or a gradient was not finite.
    """
    parameters, steps, begin = list(parameters), len(losses), start
    slopes = torch.zeros_like(losses)                                 # |gradient|_inf of each step
    for step in range(start, steps):
        loss = loss_of(step)
        loss.backward()
        losses[step] = loss.detach()
        slopes[step] = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None], math.inf)
        checked = (step + 1) % check_every == 0 or step + 1 == steps
        if checked:
            value = _require_finite(losses, slopes, begin, step + 1)
            begin = step + 1
        update(step)
        if checked:
            yield Progress(step + 1, value)


def _require_finite(losses: Tensor, slopes: Tensor, begin: int, end: int) -> float:
    """The loss of the last of the steps from `begin` to before `end`. FloatingPointError if one of them went wrong."""
    values, slope = torch.stack([losses[begin:end], slopes[begin:end]]).tolist()
    for step, (loss, largest) in enumerate(zip(values, slope), begin):
        if not (math.isfinite(loss) and math.isfinite(largest)):
            what = f"gradient is {largest}" if math.isfinite(loss) else f"loss is {loss}"
            raise FloatingPointError(f"the {what} at step {step}: lower the learning rate")
    return values[-1]


def train(state: State, objective, images: Tensor, labels: Tensor | None, recipe: Recipe, checkpoint: Path | None = None,
          key: str = "", every: float = 60.0, check_every: int = 1) -> Iterator[Progress]:
    """Train `state.network` on `images` (N, C, H, W) in [-1, 1]; yields a `Progress` each `check_every` steps.

    With `checkpoint`, the run goes on from that file if it is there, writes it each `every` seconds and at the end.
    `check_every` is how often the losses are brought to the host and tested: 1 on a CPU, some tens on a GPU.
    ValueError for images or labels that cannot be learned from. FloatingPointError if loss, gradient or weights are not
    finite: the last good checkpoint stays.
    """
    _require_data(images, labels, state.network)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint, key)
    state.network.train()

    def update(step: int) -> None:
        state.optimizer.step(recipe.rate_factor(step))
        state.step = step + 1
        update_ema(state.ema, state.network, state.step, recipe.ema)

    loop = descend(lambda step: loss_at(step, state.network, objective, images, labels, recipe), update,
                   state.network.parameters(), state.losses, state.step, check_every)
    saved = clock = time.monotonic()
    try:
        for progress in loop:
            state.seconds += time.monotonic() - clock
            clock = time.monotonic()
            last = state.step == recipe.steps
            if last or checkpoint is not None and clock - saved > every:
                state.require_finite()
                if checkpoint is not None:
                    state.save(checkpoint, key)
                saved = time.monotonic()
            yield progress
    except FloatingPointError as error:
        good = f"; the last good state is {checkpoint}" if checkpoint is not None and checkpoint.exists() else ""
        raise FloatingPointError(f"{error}{good}") from None


def loss_at(step: int, network: nn.Module, objective, images: Tensor, labels: Tensor | None, recipe: Recipe) -> Tensor:
    """The loss of step `step`, a scalar: its images, labels and noise depend on (seed, step) alone."""
    device, seed = images.device, recipe.seed_at(step)
    cast = torch.autocast(device.type, torch.bfloat16) if recipe.bf16 and computes_bfloat16(device.type) else nullcontext()
    generator = torch.Generator(device).manual_seed(seed)
    index = torch.randint(len(images), (recipe.batch,), generator=generator, device=device)
    with cast, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)                  # dropout and torchvision's transforms know the global generator only
        label = None if labels is None else hide(labels[index], recipe.label_dropout, network, generator)
        return objective.loss(network, images[index], label, generator, step / recipe.steps)


def computes_bfloat16(device: str) -> bool:
    """Whether a device ("cpu", "cuda") computes in bfloat16 faster than in float32: a processor with AVX2 alone does not, a
    step of a U-Net takes it seven times as long."""
    return device != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2"


def hide(labels: Tensor, probability: float, network: nn.Module, generator: torch.Generator) -> Tensor:
    """labels (B,), each replaced by the network's "no label" with this probability; 0 draws no random numbers."""
    if not probability:
        return labels
    hidden = torch.rand(len(labels), generator=generator, device=labels.device) < probability
    return labels.masked_fill(hidden, network.classes)


def _require_data(images: Tensor, labels: Tensor | None, network: nn.Module) -> None:
    """ValueError for images or labels that cannot be learned from."""
    if images.ndim != 4 or not len(images) or not images.is_floating_point():
        raise ValueError("training needs images (N, C, H, W) with N >= 1 as floats in [-1, 1] (`helpers.data.to_float`), "
                         f"got {tuple(images.shape)} of {images.dtype}")
    if not images.abs().max() < LARGEST:
        raise ValueError(f"training needs images in [-1, 1] without NaN, got values up to {images.abs().max().item():.3g}")
    if labels is None:
        return
    classes = getattr(network, "classes", 0)
    if not classes:
        raise ValueError("this network learns without classes: leave the labels out")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"training needs one int64 label an image, from 0 to {classes - 1} for this network: got "
                         f"{tuple(labels.shape)} of {labels.dtype} for {len(images)} images, "
                         + (f"from {labels.min().item()} to {labels.max().item()}" if labels.numel() else "none"))


def summarize(losses: Tensor, points: int = 20) -> str:
    """The loss curve (steps,) as JSON: the mean over each of `points` equal parts of the run, 4 significant digits."""
    parts = losses.tensor_split(min(points, len(losses)))
    return json.dumps([float(f"{p.mean().item():.4g}") for p in parts])
