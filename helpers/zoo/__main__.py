"""The zoo's command line.

    python -m helpers.zoo list                     the models of a profile, which are there, what they cost
    python -m helpers.zoo train [--jobs 2]         trains what is missing, one process a core or GPU, resumable
    python -m helpers.zoo train --scheduler tcp://host:8786   the same on the workers of a Dask cluster (see cluster.py)
    torchrun --nproc-per-node 4 -m helpers.zoo train   each model on several devices, one model after another
    python -m helpers.zoo verify                   checks every file's hash and spec
    python -m helpers.zoo rehearse --profile paper --images FOLDER
                                                   a training step of each kind of model, on the CPU, nothing written
"""

import argparse
import sys
from pathlib import Path

from safetensors import SafetensorError

from helpers import paths
from helpers.chapters.models import all_models
from helpers.chapters.profile import Profile
from helpers.chapters.profiles import PROFILES, find_profile, shape_of
from helpers.data import load
from helpers.leftovers import remove_leftovers
from helpers.measure import descriptor
from helpers.models.devices import join
from helpers.zoo.cluster import train_on_cluster
from helpers.zoo.inventory import damaged, table, verify
from helpers.zoo.jobs import default_jobs, require_jobs, train_all
from helpers.zoo.rehearsal import kinds, rehearse
from helpers.zoo.together import follow, is_first, let_the_first_speak, started_by_torchrun, train_together

STOPPED = 130                                            # what a shell reports for Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """list, train, verify or rehearse the models of a profile; 0, or 1 with a line for each problem on stderr, 2 for wrong
    usage."""
    parser = argparse.ArgumentParser(prog="python -m helpers.zoo", description="The trained models.")
    parser.add_argument("action", choices=tuple(ACTIONS))
    parser.add_argument("--profile", default="laptop", help=f"{', '.join(PROFILES)}, or a file NAME.toml")
    parser.add_argument("--jobs", type=int, help="models trained at once (default: one a GPU, or one a core)")
    parser.add_argument("--scheduler", help="train: the address of a Dask scheduler whose workers do it, tcp://host:8786")
    parser.add_argument("--checkpoints", type=lambda text: Path(text).expanduser().absolute(), metavar="FOLDER",
                        help="train: their folder; with --scheduler, one that all workers have")
    parser.add_argument("--images", help="rehearse: a folder of images, brought to the profile's form; else its own data")
    parser.add_argument("--steps", type=int, default=1, help="rehearse: steps of each kind of model")
    options = parser.parse_args(argv)
    if options.images is not None and options.action != "rehearse":
        parser.error("--images is for rehearse: a model's own images are those of its profile")
    if options.scheduler is not None and (options.jobs is not None or options.action != "train"):
        parser.error("--scheduler is for train, without --jobs: each of its workers trains one model")
    if started_by_torchrun() and (options.jobs is not None or options.scheduler is not None or options.action != "train"):
        parser.error("torchrun is for train, without --jobs and --scheduler: its processes train one model together")
    if options.steps < 1:
        parser.error(f"--steps must be 1 or more, got {options.steps}")
    try:
        profile = find_profile(options.profile)
        jobs = default_jobs(profile.device) if options.jobs is None else require_jobs(options.jobs)
    except (OSError, ValueError) as error:
        return _fail([_line(error)], 2)
    try:
        return _fail(ACTIONS[options.action](profile, jobs, options), 1)
    except KeyboardInterrupt:
        if is_first():
            print("stopped; run again to go on", file=sys.stderr)
        return STOPPED
    except (FloatingPointError, ImportError, OSError, RuntimeError, SafetensorError, ValueError) as error:
        return _fail([_line(error)], 1)


def _fail(problems: list[str], code: int) -> int:
    if problems:
        let_the_first_speak()
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return code if problems else 0


def _line(error: Exception) -> str:
    """What went wrong in one line; the system's own errors get the file that they are about, without their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error).partition("\n")[0]


def _list(profile: Profile, jobs: int, options: argparse.Namespace) -> list[str]:
    specs = all_models(profile)
    print(table(specs, profile.zoo))
    return damaged(specs, profile.zoo)


def _verify(profile: Profile, jobs: int, options: argparse.Namespace) -> list[str]:
    problems = verify(all_models(profile), profile.zoo, frozenset(spec.file for spec in descriptor.SHIPPED))
    return problems + _of_descriptors(profile)


def _train(profile: Profile, jobs: int, options: argparse.Namespace) -> list[str]:
    if options.scheduler is None:
        profile.torch_device()
    checkpoints, device = options.checkpoints or paths.CHECKPOINTS, profile.device
    if started_by_torchrun():
        device = join(device)
        if not is_first():
            follow(profile.zoo, device, checkpoints)
            return []
    specs = all_models(profile)
    if problems := damaged(specs, profile.zoo) + _of_descriptors(profile, missing=False):
        return problems
    for folder in (profile.zoo, paths.CHECKPOINTS):
        remove_leftovers(folder)
    if started_by_torchrun():
        train_together(specs, profile.zoo, device, checkpoints)
    elif options.scheduler is None:
        train_all(specs, jobs, profile.zoo, device, checkpoints)
    else:
        train_on_cluster(specs, options.scheduler, profile.zoo, device, options.checkpoints)
    for spec in () if profile.descriptor else descriptor.SHIPPED:
        if not (paths.ZOO / spec.file).exists():
            descriptor.train(spec)
    return []


def _rehearse(profile: Profile, jobs: int, options: argparse.Namespace) -> list[str]:
    """A line for each kind of model; whatever fails is a problem, and the others go on."""
    name = profile.dataset
    if options.images is not None:
        name = f"{options.images}@{'x'.join(map(str, shape_of(profile)))}"
    pool, problems = load(name, "pool"), []
    images, labels = pool.x0[:64], pool.labels[:64]
    for spec, same in kinds(all_models(profile)).items():
        try:
            found = rehearse(spec, images, labels, options.steps)
        except (FloatingPointError, RuntimeError, ValueError) as error:
            problems.append(f"{spec.name}: {_line(error)}")
            continue
        print(f"{spec.name} and {len(same) - 1} like it: {found.parameters / 1e6:.2f} million numbers to train, "
              f"{found.training / 1e9:.3g} GFLOP an image in training, loss {found.losses[-1]:.3g}")
    return problems


def _of_descriptors(profile: Profile, missing: bool = True) -> list[str]:
    """What is wrong with the descriptor of a profile, or with the shipped ones; a relative path is one from where chapters
    run. Not `missing`: a shipped one may be made."""
    path, problems = profile.descriptor and paths.NOTEBOOKS / profile.descriptor, []
    for spec in descriptor.SHIPPED[:1] if path else descriptor.SHIPPED:
        try:
            if path or missing or (paths.ZOO / spec.file).exists():
                descriptor.load_descriptor(path, dataset=spec.dataset)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    return problems


ACTIONS = {"list": _list, "train": _train, "verify": _verify, "rehearse": _rehearse}

if __name__ == "__main__":
    sys.exit(main())
