"""Chapter 6's rules: many small networks learn images that obey a rule, and what they draw is looked at all the time.

What was counted is kept in `data/rules.json`; `python -m helpers.chapters.rules` trains them again, in about half an hour on
two cores.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from helpers import paths
from helpers.data.parity import PIXELS, SIDE, are_among, groups_of, groups_right, images_of_rule
from helpers.denoiser import NetworkDenoiser
from helpers.models.ensemble import Ensemble
from helpers.models.objectives import EDMObjective
from helpers.noise import initial_noise
from helpers.parallel import side_by_side
from helpers.samplers import sample

FILE = paths.ROOT / "data" / "rules.json"
COUNTS = ("copies", "valid", "groups")
OBJECTIVE = EDMObjective(sigma_data=1.0, p_mean=-0.4, p_std=1.2)


@dataclass(frozen=True)
class Plan:
    """groups G, training set sizes N and seeds, one network for each triple; the rest is the same for all.

    steps     of Adam, of `batch` images each, at the rate `rate` after a warm-up of a hundred
    width     of the MLP's three hidden layers
    samples   initial noises, the same at each look; looks are half an octave of steps apart
    """

    groups: tuple[int, ...] = (2, 3, 4, 6)
    sizes: tuple[int, ...] = (64, 128, 256, 512)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 2**14
    batch: int = 64
    rate: float = 2e-3
    width: int = 256
    samples: int = 256

    @property
    def looks(self) -> list[int]:
        """Numbers of steps at which samples are drawn: 16, 23, 32, ... up to all."""
        return [k for k in (round(2 ** (j / 2)) for j in range(8, 60)) if k <= self.steps]


def train(plan: Plan, group: int) -> list[dict]:
    """The networks of one rule: for each, at each look, how many samples were copies, how many of the others obeyed the
    rule, and how many groups were right in these others, counted over all of them."""
    keys = [(n, seed) for n in plan.sizes for seed in plan.seeds]
    generator = torch.Generator().manual_seed(group)
    known = [images_of_rule(n, group, torch.Generator().manual_seed(1000 * seed + n)) for n, seed in keys]
    network = Ensemble(len(keys), PIXELS, plan.width, 2, generator)
    z = initial_noise(range(plan.samples), (1, SIDE, SIDE)).repeat(len(keys), 1, 1, 1)
    runs = [{"group": group, "n": n, "seed": seed, "copies": [], "valid": [], "groups": []} for n, seed in keys]
    for _ in _looks(plan, network, known, generator):
        drawn = sample(NetworkDenoiser(network, OBJECTIVE), z, solver="heun", steps=12, batch=len(z)).chunk(len(keys))
        for run, images, x0 in zip(runs, drawn, known):
            copied, right = are_among(images, x0), groups_right(images, group)
            run["copies"].append(int(copied.sum()))
            run["valid"].append(int((right == groups_of(group))[~copied].sum()))
            run["groups"].append(int(right[~copied].sum()))
    return runs


def _looks(plan: Plan, network: Ensemble, known: list[Tensor], generator: torch.Generator) -> Iterator[int]:
    """Train the networks; stops at each of the plan's looks."""
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.rate, betas=(0.9, 0.99))
    for step in range(1, plan.steps + 1):
        for part in optimizer.param_groups:
            part["lr"] = plan.rate * min(1.0, step / 100)
        x0 = torch.cat([x[torch.randint(len(x), (plan.batch,), generator=generator)] for x in known])
        optimizer.zero_grad()
        (OBJECTIVE.loss(network, x0, None, generator) * network.count).backward()      # each network's own mean
        optimizer.step()
        if step in plan.looks:
            yield step


def record(plan: Plan = Plan(), file: Path = FILE) -> None:
    """Train all and write what was counted."""
    runs = [run for found in side_by_side(lambda group: train(plan, group), plan.groups) for run in found]
    lines = ",\n".join(json.dumps(run) for run in runs)
    head = json.dumps({"plan": asdict(plan), "looks": plan.looks})
    file.write_text(f'{head[:-1]}, "runs": [\n{lines}\n]}}\n', encoding="utf-8")


def read(file: Path = FILE) -> tuple[Plan, dict[tuple[int, int, int], dict[str, Tensor]]]:
    """The plan, and by (G, N, seed): counts (looks,) as `train` has them."""
    found = json.loads(file.read_text(encoding="utf-8"))
    plan = Plan(**{name: tuple(value) if isinstance(value, list) else value for name, value in found["plan"].items()})
    return plan, {(run["group"], run["n"], run["seed"]): {name: torch.tensor(run[name]) for name in COUNTS}
                  for run in found["runs"]}


if __name__ == "__main__":
    record()
