"""Training: one loop for every model.

The loop knows a network, an objective and images, nothing else. Its randomness is counter-based: what happens in step k
depends on (seed, k) and the weights alone, so that a run that was killed and started again from its last checkpoint ends
with bit-equal weights. What comes out is not the last weights but their exponential moving average (EMA), here with the
power-function profile of Karras et al. 2024, Sec. 3.1, whose window grows with the run:

    ema_k = beta_k ema_{k-1} + (1 - beta_k) w_k,    beta_k = (1 - 1/k)^(1/r - 1)

so that the average reaches back over about a fraction r of the run, however long it is. Used by `zoo.py`.
"""

import copy
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; the defaults are the book's (its protocol page has the table of what was tried).

    steps    optimizer steps
    batch    images a step, drawn with replacement
    rate     Adam's peak learning rate, after a linear warm-up of `warmup` steps, then a cosine to 0
    muon     the same for Muon (Jordan et al. 2024), which orthogonalizes the updates of convolutions and attention; biases,
             norms and what the network calls `outer` stay with Adam; 0 leaves everything to Adam
    ema      length of the moving average as a fraction of the run
    bf16     run the network in bfloat16 (autocast); weights, loss and optimizer stay float32
    label_dropout  probability that an image's label is hidden, so that a conditional network learns to do without: the
             network's last class, "no label", stands for it (Ho & Salimans 2022)
    """

    steps: int
    batch: int = 64
    rate: float = 3e-3
    muon: float = 0.0
    warmup: int = 200
    beta1: float = 0.9
    beta2: float = 0.99
    ema: float = 0.1
    bf16: bool = True
    seed: int = 0
    label_dropout: float = 0.0

    def rate_factor(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0, as a fraction of the peak."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def seed_at(self, step: int) -> int:
        """The seed of step `step`: its random numbers depend on (seed, step) alone."""
        return (self.seed * 1_000_003 + step) % 2**32


class Progress(NamedTuple):
    """What the loop yields after a step: how many are done, and the loss of the last one."""

    step: int
    loss: float


class Optimizer:
    """Adam and Muon side by side, each on its parameters.

    torch's Muon takes matrices only, so a convolution's weight (c_out, c_in, k, k) is given to it as the view
    (c_out, c_in k k), which shares its memory.
    """

    def __init__(self, network: nn.Module, recipe: Recipe):
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        hidden = {n for n, p in named if recipe.muon and p.ndim > 1 and not network.outer & set(n.split("."))}
        self.matrices = [p for n, p in named if n in hidden]
        self.views = [p.detach().flatten(1) for p in self.matrices]
        others = [p for n, p in named if n not in hidden]
        self.parts: list[torch.optim.Optimizer] = []
        if others:
            self.parts.append(torch.optim.Adam(others, recipe.rate, betas=(recipe.beta1, recipe.beta2), fused=True))
        if self.matrices:
            self.parts.append(torch.optim.Muon(self.views, recipe.muon, weight_decay=0.0))
        self.peaks = [part.param_groups[0]["lr"] for part in self.parts]

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak rates, from the gradients, which it then drops."""
        for view, p in zip(self.views, self.matrices):
            view.grad = None if p.grad is None else p.grad.flatten(1)
            p.grad = None
        for part, peak in zip(self.parts, self.peaks):
            part.param_groups[0]["lr"] = peak * factor
            part.step()
            part.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """The moments, as named tensors."""
        return {f"{i}.{j}.{name}": t for i, part in enumerate(self.parts)
                for j, moments in part.state_dict()["state"].items() for name, t in moments.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over moments that `tensors` gave."""
        for i, part in enumerate(self.parts):
            state = part.state_dict()
            for name, t in tensors.items():
                owner, index, moment = name.split(".")
                if int(owner) == i:
                    state["state"].setdefault(int(index), {})[moment] = t
            part.load_state_dict(state)


class State:
    """Weights, their EMA, the optimizer's moments, the step, the loss curve and the time spent: all a run must not lose."""

    def __init__(self, network: nn.Module, recipe: Recipe):
        self.network, self.ema, self.step = network, copy.deepcopy(network).requires_grad_(False), 0
        self.losses, self.seconds = torch.zeros(recipe.steps), torch.zeros((), dtype=torch.float64)
        self.optimizer = Optimizer(network, recipe)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors."""
        parts = {"network": self.network.state_dict(), "ema": self.ema.state_dict(),
                 "optimizer": self.optimizer.tensors(), "run": {"losses": self.losses, "seconds": self.seconds}}
        return {f"{part}.{name}": t.contiguous() for part, tensors in parts.items() for name, t in tensors.items()}

    def save(self, path: Path, key: str) -> None:
        """Write a checkpoint; a reader sees the old one or the new one, never a half."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(self.tensors(), temporary, metadata={"step": str(self.step), "key": key})
        os.replace(temporary, path)

    def load(self, path: Path, key: str) -> None:
        """Go on from a checkpoint. ValueError if it is damaged or of another run."""
        try:
            with safe_open(path, "pt") as file:
                header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
        except Exception as error:
            raise ValueError(f"checkpoint {path} is damaged ({error}): delete it and train again") from error
        if header.get("key") != key:
            raise ValueError(f"checkpoint {path} belongs to another run: delete it and train again")
        self.step, self.losses, self.seconds = int(header["step"]), tensors["run.losses"], tensors["run.seconds"]
        self.network.load_state_dict(_part(tensors, "network"))
        self.ema.load_state_dict(_part(tensors, "ema"))
        self.optimizer.load(_part(tensors, "optimizer"))


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, step: int, length: float) -> None:
    """ema <- beta ema + (1 - beta) w with beta = (1 - 1/step)^(1/length - 1); the first step copies."""
    beta = (1 - 1 / step) ** (1 / length - 1)
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - beta)


def train(state: State, objective, images: Tensor, labels: Tensor | None, recipe: Recipe, checkpoint: Path | None = None,
          key: str = "", every: float = 60.0, check_every: int = 1) -> Iterator[Progress]:
    """Train `state.network` on `images` (N, C, H, W) in [-1, 1]; yields a `Progress` each `check_every` steps.

    With `checkpoint`, the run goes on from that file if it is there, writes it each `every` seconds and at the end.
    `check_every` is how often the loss is brought to the host and tested: 1 on a CPU, some tens on a GPU.
    FloatingPointError if the loss is not finite: the last good checkpoint stays.
    """
    device = images.device
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint, key)
    saved = clock = time.monotonic()
    cast = torch.autocast(device.type, torch.bfloat16) if recipe.bf16 else nullcontext()
    state.network.train()
    while state.step < recipe.steps:
        seed = recipe.seed_at(state.step)
        generator = torch.Generator(device).manual_seed(seed)
        index = torch.randint(len(images), (recipe.batch,), generator=generator, device=device)
        with cast, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)                  # dropout knows the global generator only
            label = None if labels is None else hide(labels[index], recipe.label_dropout, state.network, generator)
            loss = objective.loss(state.network, images[index], label, generator, state.step / recipe.steps)
        checked = (state.step + 1) % check_every == 0 or state.step + 1 == recipe.steps
        if checked and not math.isfinite(value := loss.item()):
            raise FloatingPointError(f"the loss is {value} at step {state.step}: lower the learning rate"
                                     + (f"; the last good state is {checkpoint}" if checkpoint else ""))
        _step(state, loss, recipe)
        if checked:
            state.losses[state.step - 1] = value
            state.seconds += time.monotonic() - clock
            clock = time.monotonic()
        if checkpoint is not None and checked and (time.monotonic() - saved > every or state.step == recipe.steps):
            state.save(checkpoint, key)
            saved = time.monotonic()
        if checked:
            yield Progress(state.step, value)


def hide(labels: Tensor, probability: float, network: nn.Module, generator: torch.Generator) -> Tensor:
    """labels (B,), each replaced by the network's "no label" with this probability; 0 draws no random numbers."""
    if not probability:
        return labels
    hidden = torch.rand(len(labels), generator=generator, device=labels.device) < probability
    return labels.masked_fill(hidden, network.classes)


def _step(state: State, loss: Tensor, recipe: Recipe) -> None:
    loss.backward()
    state.optimizer.step(recipe.rate_factor(state.step))
    state.step += 1
    update_ema(state.ema, state.network, state.step, recipe.ema)


def summarize(losses: Tensor, points: int = 20) -> str:
    """The loss curve (steps,) as JSON: the mean over each of `points` equal parts of the run, 4 significant digits."""
    parts = losses.tensor_split(min(points, len(losses)))
    return json.dumps([float(f"{p.mean().item():.4g}") for p in parts])
