"""Recipes: how a model is trained, as a value. What a recipe cannot mean is refused when it is written down.

Used by every chapter that trains, and by `training.py`, which carries a recipe out.
"""

import math
from dataclasses import dataclass

DECAYS = ("cosine", "none")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; the defaults are the book's (its protocol page has the table of what was tried).

    steps    optimizer steps
    batch    images a step, drawn with replacement
    rate     Adam's peak learning rate, after a linear warm-up of `warmup` steps
    decay    what follows the warm-up: "cosine" to 0 at the end of the run; "none": the peak rate to the end, so that a
             run of k steps is the beginning of every longer one
    muon     the same for Muon (Jordan et al. 2024), which orthogonalizes the updates of convolutions and attention; biases,
             norms and what the network calls `outer` stay with Adam; 0 leaves everything to Adam
    ema      length of the moving average as a fraction of the run
    bf16     run the network in bfloat16 (autocast) where the processor is the faster for it, else in float32; weights, loss
             and optimizer are float32 always
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
    decay: str = "cosine"

    def __post_init__(self):
        for name, least in (("steps", 1), ("batch", 1), ("warmup", 0), ("seed", -(2**63))):
            if type(value := getattr(self, name)) is not int or value < least:
                raise ValueError(f"a recipe's {name} must be a whole number" + (f" of {least} or more" * (name != "seed"))
                                 + f", got {value!r}")
        for name, fits, meaning in (
                ("rate", 0 < self.rate < math.inf, "above 0"), ("muon", 0 <= self.muon < math.inf, "0 or more"),
                ("beta1", 0 <= self.beta1 < 1, "from 0 to below 1"), ("beta2", 0 <= self.beta2 < 1, "from 0 to below 1"),
                ("ema", 0 < self.ema < 1, "between 0 and 1"),
                ("label_dropout", 0 <= self.label_dropout <= 1, "from 0 to 1")):
            if not fits:
                raise ValueError(f"a recipe's {name} must be {meaning}, got {getattr(self, name)!r}")
        if self.decay not in DECAYS:
            raise ValueError(f"a recipe's decay must be one of {', '.join(DECAYS)}, got {self.decay!r}")

    def rate_factor(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0, as a fraction of the peak."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        if self.decay == "none":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def seed_at(self, step: int) -> int:
        """The seed of step `step`: its random numbers depend on (seed, step) alone."""
        return (self.seed * 1_000_003 + step) % 2**32
