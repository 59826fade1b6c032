"""What a chapter would find missing after minutes, asked for before it starts."""

from pathlib import Path

import torch

from helpers import paths
from helpers.chapters.models import all_models
from helpers.chapters.profile import Profile
from helpers.chapters.profiles import PROFILES, find_profile, shape_of
from helpers.data import KNOWN, load, shipped
from helpers.measure.descriptor import load_descriptor, shipped_for
from helpers.report.files import refuse_unwritable
from helpers.report.kernel import UsageError
from helpers.zoo.rehearsal import kinds
from helpers.zoo.spec import build, make_objective


def refuse_unready(name: str, notebooks: Path) -> None:
    """A UsageError unless there is such a profile, and its device, data, descriptor and a place for its models.

    notebooks: the folder that chapters run in, where a relative path of the profile begins.
    """
    try:
        profile = find_profile(name)
        profile.torch_device()
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(str(error)) from error
    if name not in PROFILES:
        refuse_unfit(profile)
    if profile.dataset in shipped():
        folder, files = shipped()[profile.dataset]
        for file in files:
            refuse_missing(folder / file, "restore it from git")
    if profile.descriptor is None:
        refuse_missing(paths.ZOO / shipped_for(profile.dataset).file, "restore it from git, or run `make zoo`")
    else:
        refuse_missing(notebooks / profile.descriptor, "put SSCD's TorchScript file there")
        try:
            load_descriptor(notebooks / profile.descriptor)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if profile.zoo != paths.ZOO:    # the shipped zoo is complete; any other is trained on first use
        refuse_unwritable(profile.zoo / "model.safetensors")


def refuse_unfit(profile: Profile) -> None:
    """A UsageError unless a reader's profile makes sense, its models can be built, and its images are there, enough of them
    and in the form that its networks read."""
    try:
        refuse_unbuildable(profile)
        if profile.dataset not in KNOWN:
            image = load(profile.dataset, "test").images[:1]
            build(profile.model(profile.widths[0], profile.sizes[0])).eval()(image.float(), torch.zeros(1))
            if profile.descriptor is None:
                load_descriptor()(image)
        refuse_too_few(profile)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def refuse_unbuildable(profile: Profile) -> None:
    """A ValueError unless each kind of model that chapters use can be built, and its network reads images of the profile's
    form. Nothing is computed: sizes alone are followed, through networks without numbers."""
    image, level = torch.zeros(1, *shape_of(profile), device="meta"), torch.zeros(1, device="meta")
    for spec in kinds(all_models(profile)):
        try:
            objective = make_objective(spec.objective, **dict(spec.objective_options))
            network = build(spec).eval().to("meta")
            if hasattr(objective, "denoise"):
                network(image, level)
        except NotImplementedError:                     # by a network whose sizes depend on numbers
            pass
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"model {spec.name} cannot be built: {error}") from error


def refuse_too_few(profile: Profile) -> None:
    """A ValueError unless the sets that are here have as many images as the profile trains on and holds out."""
    tuning = profile.finetuning
    most = max(*profile.sizes, *profile.few, 2 * profile.half)
    for name, classes, split, wanted, fields in (
            (profile.dataset, (), "pool", most, "sizes, few, half"),
            (profile.dataset, (), "test", profile.held_out, "held_out"),
            (*tuning.source, "pool", tuning.pool, "finetuning.pool"),
            (*tuning.target, "pool", max(*tuning.sizes, *tuning.few), "finetuning.sizes, few")):
        if name in KNOWN and name not in shipped():
            continue                                    # downloaded on first use
        found = load(name, split)
        found = found.of_classes(list(classes)) if classes else found
        if len(found) < wanted:
            raise ValueError(f"{name} has {len(found)} images to {'test' if split == 'test' else 'train'} on, but profile "
                             f"{profile.name!r} wants {wanted} ({fields}): set these lower in its file, or add images")


def refuse_missing(file: Path, hint: str) -> None:
    """A UsageError that says what to do, unless the file is there."""
    if not file.is_file():
        raise UsageError(f"{file} is missing: {hint}")
