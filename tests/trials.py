"""What makes two trainings agree: the trials of the protocol page, each two seeds of one U-Net with one thing changed.

    python -m tests.trials average everything        minutes for each on two cores

A row of the page's second table for each name: how often the two are identified with each other, RP at .6, .8 and .88, and
the held-out error at four noise levels, all on chapter 1's noises. Weights go to data/local/trials; what is there is not
trained again.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from helpers import paths
from helpers.chapters.chapter import Chapter
from helpers.chapters.profile import Profile
from helpers.chapters.profiles import PROFILES, find_profile
from helpers.measure.identification import IDENTIFIED
from helpers.zoo import ModelSpec, load_denoiser
from helpers.zoo.jobs import train_all

ZOO = paths.LOCAL / "trials"
SEEDS = (10, 11)                                       # the zoo's are 0 and 1
LEVELS = (("p_mean", 0.6), ("p_std", 1.6))             # of ln sigma in training
SIGMAS = [0.2, 1.0, 5.0, 20.0]
# What is changed: of the recipe, of the network, and of the noise levels.
TRIALS = {
    "nothing": ({}, {}, None),
    "average": ({"ema": 0.3}, {}, None),
    "dropout": ({}, {"dropout": 0.1}, None),
    "wide": ({"steps": 2019}, {"width": 32}, None),
    "everything": ({"ema": 0.3}, {"noise_scale": 60.0}, LEVELS),
}


def specs(name: str, profile: Profile) -> list[ModelSpec]:
    """The two models of a trial: the small U-Net on all images, but for what the trial changes."""
    recipe, options, levels = TRIALS[name]
    base = profile.model(profile.widths[0], profile.sizes[-1])
    return [replace(base, options=dict(base.options) | options, objective_options=levels or base.objective_options,
                    recipe=replace(base.recipe, **recipe, seed=seed)) for seed in SEEDS]


def row(chapter: Chapter, name: str, zoo: Path) -> str:
    """The trial's row, from its two trained models."""
    models = {spec.recipe.seed: load_denoiser(spec, chapter.device, zoo) for spec in specs(name, chapter.profile)}
    comparison = chapter.compare(chapter.noises())
    comparison.add_all(models)
    shares = [comparison.hits(*SEEDS, at=at).mean() for at in (IDENTIFIED, 0.6, 0.8, 0.88)]
    errors = torch.stack(list(chapter.held_out_error(models, SIGMAS, chapter.test.x0[:2000]).values())).mean(0)
    return " | ".join([name, *(f"{share:.2f}" for share in shares), *(f"{error:.3g}" for error in errors)])


def rows(names: list[str], profile: Profile, zoo: Path = ZOO) -> Iterator[str]:
    """A row for each trial; its models are trained first, side by side."""
    chapter = Chapter(1, profile.name, 0)
    for name in names:
        train_all(specs(name, profile), len(SEEDS), zoo, profile.device)
        yield row(chapter, name, zoo)


def main(argv: list[str] | None = None) -> int:
    """Carry out the trials that are named, or all: 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description="What makes two trainings agree?")
    parser.add_argument("names", nargs="*", metavar="trial", help=f"{', '.join(TRIALS)} (all of them)")
    parser.add_argument("--profile", choices=PROFILES, default="laptop")
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.names) - set(TRIALS)):
        parser.error(f"no trial {', '.join(unknown)}: choose from {', '.join(TRIALS)}")
    print("trial | identified | RP at .6 | .8 | .88 | error at .2 | 1 | 5 | 20")
    for line in rows(options.names or list(TRIALS), find_profile(options.profile)):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
