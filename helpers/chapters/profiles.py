"""The three profiles of the book, and those of its readers.

A chapter takes the name of one of the three, or of a file, which says what differs from one of them:

    base = "laptop"
    samples = 128
    widths = [8, 16]
"""

import dataclasses
import tomllib
from dataclasses import replace
from pathlib import Path

from helpers import paths
from helpers.chapters.profile import Finetuning, Profile, Systems
from helpers.chapters.sense import refuse_nonsense
from helpers.data import KNOWN
from helpers.measure.scores import SSCD_THRESHOLD
from helpers.models.training import Recipe

LAPTOP = Profile(
    name="laptop", sizes=(2**4, *(2**k for k in range(6, 13)), 2**14, 2**15), widths=(16, 32), half=2**14, samples=512,
    recipe=Recipe(steps=4500, batch=128, rate=3e-3, muon=0.02),
    classifier=Recipe(steps=3000, batch=128, rate=3e-3, muon=0.02),
    systems=Systems(
        cnn={"width": 32, "blocks": 6}, uvit={"dim": 96, "depth": 3, "heads": 3}, mlp={"width": 512}, pair={"width": 16},
        consistency=Recipe(steps=6000, batch=128, rate=3e-3, muon=0.02),
        tuning=Recipe(steps=3000, batch=128, rate=1e-3, muon=0.01), rounds=(32, 16, 8, 4),
        distillation=Recipe(steps=1000, batch=128, rate=1e-3, muon=0.005, warmup=100),
        gan=Recipe(steps=6000, batch=64, rate=1e-3, beta1=0.0, bf16=False), vae=Recipe(steps=6000, batch=128, rate=2e-3)),
    finetuning=Finetuning(
        ("fashion-mnist", (0, 1, 2, 3, 4)), ("fashion-mnist", (5, 6, 7, 8, 9)), 16_000,
        (2**4, 2**6, 2**8, 2**10, 2**12), (2**4, 2**8), Recipe(steps=1000, batch=64, muon=0.02)),
    zoo=paths.ZOO)

SMOKE = Profile(
    name="smoke", sizes=(4, 16, 64), widths=(4, 8), half=16, samples=48, solver_steps=4, held_out=32, few=(16,), grid=5,
    align_steps=8,
    options=(("multipliers", (1, 2)),), recipe=Recipe(steps=8, batch=8, warmup=2, muon=0.02),
    classifier=Recipe(steps=4, batch=8, warmup=2),
    systems=Systems(
        cnn={"width": 8, "blocks": 2}, uvit={"dim": 16, "depth": 1, "heads": 2}, mlp={"width": 32}, pair={"width": 4},
        consistency=Recipe(steps=8, batch=8, warmup=2, muon=0.02), tuning=Recipe(steps=4, batch=8, warmup=2, muon=0.01),
        rounds=(8, 4), distillation=Recipe(steps=4, batch=8, warmup=2, muon=0.005),
        gan=Recipe(steps=4, batch=8, beta1=0.0, bf16=False), vae=Recipe(steps=4, batch=8)),
    finetuning=Finetuning(
        ("fashion-mnist", (0, 1, 2, 3, 4)), ("fashion-mnist", (5, 6, 7, 8, 9)), 64, (4, 16), (16,),
        Recipe(steps=4, batch=8, warmup=2, muon=0.02)),
    zoo=paths.BUILD / "zoo-smoke")

# The released recipe of the paper's Fig. 2 in our loop: CIFAR-10, W = 64, 128, 256 there, of which we take two; 50 M images
# at batch 128, Adam at 1e-3 after a warm-up of 10 M images; networks of about the size of the paper's checkpoints. Never
# run by us: it needs some thousand GPU-hours.
PAPER = Profile(
    name="paper", sizes=tuple(2**k for k in range(6, 16)), widths=(64, 128), half=2**14, samples=10_000, grid=100,
    recipe=Recipe(steps=390_625, batch=128, rate=1e-3, warmup=78_125, beta2=0.999, ema=0.05),
    classifier=Recipe(steps=20_000, batch=128, rate=1e-3),
    systems=Systems(
        cnn={"image_channels": 3, "width": 128, "blocks": 16, "patch": 1},
        uvit={"image_channels": 3, "size": 32, "patch": 2, "dim": 512, "depth": 6, "heads": 8},
        mlp={"image_channels": 3, "size": 32, "width": 2048}, pair={"image_channels": 3, "size": 32, "width": 64},
        consistency=Recipe(steps=400_000, batch=128, rate=1e-4, warmup=10_000, beta2=0.999, ema=0.05),
        tuning=Recipe(steps=50_000, batch=128, rate=1e-4, warmup=1000, beta2=0.999, ema=0.05), rounds=(32, 16, 8, 4),
        distillation=Recipe(steps=50_000, batch=128, rate=1e-4, warmup=1000, beta2=0.999, ema=0.05),
        gan=Recipe(steps=400_000, batch=128, rate=2e-4, beta1=0.0, bf16=False), vae=Recipe(steps=200_000, batch=128)),
    finetuning=Finetuning(
        ("cifar100", ()), ("cifar10", ()), 2**15, tuple(2**k for k in range(6, 16)), (2**6, 2**10),
        Recipe(steps=50_000, batch=128, rate=1e-4, warmup=1000, beta2=0.999, ema=0.05)),
    zoo=paths.LOCAL / "zoo-paper", dataset="cifar10", device="cuda",
    options=(("attention", (False, True, False)), ("blocks", 4), ("dropout", 0.13), ("image_channels", 3),
             ("multipliers", (2, 2, 2)), ("patch", 1)),
    objective_options=(), descriptor="sscd_disc_large.torchscript.pt", threshold=SSCD_THRESHOLD)

# What TOML calls the kinds of fields; paths are texts.
WORDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a list", dict: "a table"}

PROFILES = {profile.name: profile for profile in (LAPTOP, SMOKE, PAPER)}


def find_profile(name: str) -> Profile:
    """A profile by its name, or from a file of one's own. ValueError with the known names otherwise."""
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name).expanduser()
    if path.suffix == ".toml" and path.is_file():
        return read_profile(path)
    raise ValueError(f"unknown profile {name!r}: choose from {', '.join(PROFILES)}, or give a file NAME.toml")


def read_profile(path: Path) -> Profile:
    """The profile that a TOML file describes: `base` names another one, every other line a field that differs from it.

    A table, such as [recipe] or [systems.gan], changes fields of that field. Models that the shipped zoo lacks are
    trained into a folder of the profile's own. `dataset` may be a folder of images: they are brought to the form that the
    profile's networks read, unless its name says another. Relative paths begin at the file, for a chapter runs elsewhere.
    ValueError for anything that is no field, or not of its kind, or makes no experiment.
    """
    path = path.expanduser().resolve()
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is no TOML file ({error})") from error
    base = fields.pop("base", "laptop")
    if not isinstance(base, str) or base not in PROFILES:
        raise ValueError(f"{path.name}: base is one of {', '.join(PROFILES)}, not {base!r}")
    for name in ("dataset", "zoo", "descriptor"):
        if isinstance(value := fields.get(name), str) and value not in KNOWN:
            fields[name] = str(path.parent / Path(value).expanduser())
    start = replace(PROFILES[base], name=path.stem, zoo=paths.LOCAL / f"zoo-{path.stem}")
    profile = _changed(start, fields, path.name)
    try:
        refuse_nonsense(profile)
    except ValueError as error:
        raise ValueError(f"{path.name}, {error}") from error
    return profile if profile.dataset in KNOWN else replace(profile, dataset=_formed(profile))


def _formed(profile: Profile) -> str:
    """The profile's folder of images, with the form that its networks read: /data/photos@1x28x28."""
    if not Path(profile.dataset).is_dir():
        return profile.dataset                      # its name says a form; or it is not there, and whoever loads it says so
    return f"{profile.dataset}@{'x'.join(map(str, shape_of(profile)))}"


def shape_of(profile: Profile) -> tuple[int, int, int]:
    """Channels, height and width of the images that the profile's networks read."""
    size = profile.systems.uvit.get("size", 28)
    return dict(profile.options).get("image_channels", 1), size, size


def _changed(value, fields: dict, where: str):
    """A dataclass with some fields changed, nested tables inside."""
    known = {field.name for field in dataclasses.fields(value)}
    if unknown := sorted(set(fields) - known):
        raise ValueError(f"{where}: no field {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return replace(value, **{name: _value(getattr(value, name), new, f"{where}, {name}") for name, new in fields.items()})


def _value(old, new, where: str):
    """TOML's value as the field's kind: a list becomes a tuple, a table a dataclass or a dictionary, a text a path."""
    if dataclasses.is_dataclass(old) and isinstance(new, dict):
        return _changed(old, new, where)
    if isinstance(old, Path) and isinstance(new, str):
        return Path(new).expanduser()
    if isinstance(old, tuple) and isinstance(new, list):
        return _tuple(new)
    if isinstance(old, dict) and isinstance(new, dict) or old is None and isinstance(new, str):
        return new
    if type(new) is type(old) or isinstance(old, float) and type(new) is int:
        return type(old)(new)
    what = "a table" if dataclasses.is_dataclass(old) else WORDS.get(type(old), "a text")
    raise ValueError(f"{where}: {what} is needed, got {new!r}")


def _tuple(value):
    return tuple(_tuple(v) for v in value) if isinstance(value, list) else value
