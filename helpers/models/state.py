"""What a training run must not lose: weights, their moving average, the optimizer's moments, the loss curve.

What comes out of a run is not the last weights but their exponential moving average (EMA), here with the power-function
profile of Karras et al. 2024, Sec. 3.1, whose window grows with the run:

    ema_k = beta_k ema_{k-1} + (1 - beta_k) w_k,    beta_k = (1 - 1/k)^(1/r - 1)

so that the average reaches back over about a fraction r of the run, however long it is. Used by `training.py`.
"""

import copy
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from helpers.models.recipe import Recipe


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
        device = next(network.parameters()).device
        self.losses, self.seconds = torch.zeros(recipe.steps, device=device), torch.zeros((), dtype=torch.float64)
        self.optimizer = Optimizer(network, recipe)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors."""
        parts = {"network": self.network.state_dict(), "ema": self.ema.state_dict(),
                 "optimizer": self.optimizer.tensors(), "run": {"losses": self.losses, "seconds": self.seconds}}
        return {f"{part}.{name}": t.contiguous() for part, tensors in parts.items() for name, t in tensors.items()}

    def require_finite(self) -> None:
        """FloatingPointError if a weight, an average or a moment is NaN or infinite."""
        for name, t in self.tensors().items():
            if not t.isfinite().all():
                raise FloatingPointError(f"{name} is not finite after step {self.step - 1}: lower the learning rate")

    def save(self, path: Path, key: str) -> None:
        """Write a checkpoint; a reader sees the old one or the new one, never a half. OSError if the disk is full."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            # Not save_file: it has temporary files of its own, whose names do not say who left them.
            temporary.write_bytes(save(self.tensors(), {"step": str(self.step), "key": key}))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def load(self, path: Path, key: str) -> None:
        """Go on from a checkpoint. ValueError if it is damaged or of another run."""
        try:
            with safe_open(path, "pt") as file:
                header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
            mine = header.get("key") == key
            if mine:
                self._take(header, tensors)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"checkpoint {path} is damaged ({reason}): delete it and train again") from error
        if not mine:
            raise ValueError(f"checkpoint {path} belongs to another run: delete it and train again")

    def _take(self, header: dict[str, str], tensors: dict[str, Tensor]) -> None:
        self.step, self.seconds = int(header["step"]), tensors["run.seconds"]
        self.losses.copy_(tensors["run.losses"])
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
