"""The zoo's command line.

    python -m helpers.zoo list                     the models of a profile, which are there, what they cost
    python -m helpers.zoo train [--jobs 2]         trains what is missing, one process a core, resumable
    python -m helpers.zoo verify                   checks every file's hash and spec
"""

import argparse
import os
import sys

from helpers import paths
from helpers.chapters.models import all_models
from helpers.chapters.profiles import PROFILES
from helpers.measure import descriptor
from helpers.zoo.fleet import table, train_all, verify
from helpers.zoo.spec import ModelSpec


def main(argv: list[str] | None = None) -> int:
    """list, train or verify the models of a profile; 0, or 1 with a line for each problem on stderr."""
    parser = argparse.ArgumentParser(prog="python -m helpers.zoo", description="The trained models.")
    parser.add_argument("action", choices=("list", "train", "verify"))
    parser.add_argument("--profile", default="laptop", choices=sorted(PROFILES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes, one a core (default: all cores)")
    options = parser.parse_args(argv)
    profile = PROFILES[options.profile]
    specs, problems = all_models(profile), []
    if options.action == "list":
        print(table(specs, profile.zoo))
    elif options.action == "verify":
        problems = verify(specs, profile.zoo, frozenset({descriptor.DescriptorSpec().file}))
    else:
        problems = _train(specs, options.jobs, profile)
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


def _train(specs: list[ModelSpec], jobs: int, profile) -> list[str]:
    try:
        profile.torch_device()
        train_all(specs, jobs, profile.zoo, profile.device)
        if profile.descriptor is None and not (paths.ZOO / descriptor.DescriptorSpec().file).exists():
            descriptor.train()
    except (FloatingPointError, FileNotFoundError, RuntimeError, ValueError) as error:
        return [f"error: {error}"]
    return []


if __name__ == "__main__":
    sys.exit(main())
