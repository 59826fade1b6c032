"""What a chapter would find missing after minutes, asked for before it starts."""

from pathlib import Path

import torch

from helpers import paths
from helpers.chapters.profile import Profile
from helpers.chapters.profiles import find_profile
from helpers.data import KNOWN, load, shipped
from helpers.measure.descriptor import load_descriptor, shipped_for
from helpers.report.files import refuse_unwritable
from helpers.report.kernel import UsageError
from helpers.zoo.spec import build


def refuse_unready(name: str, notebooks: Path) -> None:
    """A UsageError unless there is such a profile, and its device, data, descriptor and a place for its models.

    notebooks: the folder that chapters run in, where a relative path of the profile begins.
    """
    try:
        profile = find_profile(name)
        profile.torch_device()
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(str(error)) from error
    if profile.dataset not in KNOWN:
        refuse_unfit(profile)
    if profile.dataset in shipped():
        folder, files = shipped()[profile.dataset]
        for file in files:
            refuse_missing(folder / file, "restore it from git")
    if profile.descriptor is None:
        refuse_missing(paths.ZOO / shipped_for(profile.dataset).file, "restore it from git, or run `make zoo`")
    else:
        refuse_missing(notebooks / profile.descriptor, "put SSCD's TorchScript file there")
    if profile.zoo != paths.ZOO:    # the shipped zoo is complete; any other is trained on first use
        refuse_unwritable(profile.zoo / "model.safetensors")


def refuse_unfit(profile: Profile) -> None:
    """A UsageError unless a reader's folder has the images that the profile wants, in the form that its networks read."""
    try:
        train, test = (load(profile.dataset, split) for split in ("train", "test"))
        build(profile.model(profile.widths[0], profile.sizes[0])).eval()(test.images[:1].float(), torch.zeros(1))
        if profile.descriptor is None:
            load_descriptor()(test.images[:1])
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    wanted = max(*profile.sizes, 2 * profile.half)
    if len(train) < wanted or len(test) < profile.held_out:
        raise UsageError(f"{profile.dataset} has {len(train)} images to train on and {len(test)} to test on, but profile "
                         f"{profile.name!r} wants {wanted} (sizes, half) and {profile.held_out} (held_out): set these "
                         "lower in the profile's file, or add images")


def refuse_missing(file: Path, hint: str) -> None:
    """A UsageError that says what to do, unless the file is there."""
    if not file.is_file():
        raise UsageError(f"{file} is missing: {hint}")
