"""What no profile can mean, told before a model is trained for it: a ValueError names the field and what it may be."""

import math
from collections.abc import Iterable

from helpers.chapters.profile import Profile
from helpers.models.devices import find_device

# What is needed, for messages.
RISING = "{} whole numbers of 1 or more are needed, each above the one before"
WHOLE = "a whole number of {} or more is needed"
PAIR = 'a dataset and a list of classes (empty: all) are needed, such as ["fashion-mnist", [0, 1]]'


def refuse_nonsense(profile: Profile) -> None:
    """A ValueError for the first field whose value makes no experiment, whatever the data."""
    tuning = profile.finetuning
    _check_numbers(profile)
    for name, values, least in (("sizes", profile.sizes, 2), ("few", profile.few, 1),
                                ("finetuning.sizes", tuning.sizes, 1), ("finetuning.few", tuning.few, 1)):
        _require(_rising(values, least), name, RISING.format(("one or more", "two or more")[least - 1]), values)
    _require(_rising(profile.systems.rounds[::-1], 1), "systems.rounds",
             "whole numbers of 1 or more are needed, each below the one before", profile.systems.rounds)
    for name, pair, least in (("widths", profile.widths, 1), ("seeds", profile.seeds, 0)):
        _require(_whole(pair, least) and len(set(pair)) == len(pair) == 2, name,
                 f"two unequal whole numbers of {least} or more are needed", pair)
    for name, pair in (("finetuning.source", tuning.source), ("finetuning.target", tuning.target)):
        _require(len(pair) == 2 and isinstance(pair[0], str) and _whole(pair[1], 0), name, PAIR, pair)
    for name in ("options", "objective_options"):
        pairs = getattr(profile, name)
        _require(all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in pairs), name,
                 "pairs of a name and a value are needed", pairs)


def _check_numbers(profile: Profile) -> None:
    for name, least in (("half", 1), ("samples", 2), ("solver_steps", 1), ("held_out", 2), ("grid", 2), ("align_steps", 1)):
        _require(_whole([getattr(profile, name)], least), name, WHOLE.format(least), getattr(profile, name))
    _require(_whole([profile.finetuning.pool], 1), "finetuning.pool", WHOLE.format(1), profile.finetuning.pool)
    _require(math.isfinite(profile.threshold) and -1 <= profile.threshold <= 1, "threshold",
             "a similarity from -1 to 1 is needed", profile.threshold)
    try:
        find_device(profile.device)
    except RuntimeError:                                # not here, and perhaps where the profile goes
        pass
    except ValueError as error:
        raise ValueError(f"device: {profile.device!r} {error}") from error
    _require(bool(profile.name.strip()) and not set(profile.name) & {"/", "\0"}, "name", "the name of a file is needed",
             profile.name)


def _require(sensible: bool, name: str, what: str, value) -> None:
    if not sensible:
        raise ValueError(f"{name}: {what}, got {value!r}")


def _whole(values: Iterable, least: int) -> bool:
    return isinstance(values, list | tuple) and all(type(v) is int and least <= v < 2**63 for v in values)


def _rising(values: tuple, least: int) -> bool:
    return len(values) >= least and _whole(values, 1) and all(a < b for a, b in zip(values, values[1:]))
