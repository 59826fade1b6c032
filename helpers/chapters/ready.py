"""What a chapter would find missing after minutes, asked for before it starts."""

from pathlib import Path

from helpers import paths
from helpers.chapters.profiles import find_profile
from helpers.data import FASHION_MNIST_MD5
from helpers.measure.descriptor import DescriptorSpec
from helpers.report.files import refuse_unwritable
from helpers.report.kernel import UsageError


def refuse_unready(name: str, notebooks: Path) -> None:
    """A UsageError unless there is such a profile, and its device, data, descriptor and a place for its models.

    notebooks: the folder that chapters run in, where a relative path of the profile begins.
    """
    try:
        profile = find_profile(name)
        profile.torch_device()
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(str(error)) from error
    if profile.dataset == "fashion-mnist":
        for file in FASHION_MNIST_MD5:
            refuse_missing(paths.FASHION_MNIST / file, "restore it from git")
    if profile.descriptor is None:
        refuse_missing(paths.ZOO / DescriptorSpec().file, "restore it from git, or run `make zoo`")
    else:
        refuse_missing(notebooks / profile.descriptor, "put SSCD's TorchScript file there")
    if profile.zoo != paths.ZOO:    # the shipped zoo is complete; any other is trained on first use
        refuse_unwritable(profile.zoo / "model.safetensors")


def refuse_missing(file: Path, hint: str) -> None:
    """A UsageError that says what to do, unless the file is there."""
    if not file.is_file():
        raise UsageError(f"{file} is missing: {hint}")
