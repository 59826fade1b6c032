"""python -m helpers.zoo: exit codes, and one line where something is wrong."""

import dataclasses
import errno
import os
import shutil

import pytest

from helpers import paths
from helpers.chapters.profiles import SMOKE
from helpers.measure.descriptor import SHIPPED, DescriptorSpec
from helpers.models.training import Recipe
from helpers.zoo import __main__ as commands
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import train_model

SPEC = ModelSpec(subset_size=4, options=(("multipliers", (1, 2)), ("width", 4)), recipe=Recipe(steps=2, batch=2))
OTHER = dataclasses.replace(SPEC, subset_size=8)


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """A profile of two models, of which the zoo has one; everything is in a temporary folder."""
    monkeypatch.setattr(paths, "ZOO", tmp_path / "shipped")
    monkeypatch.setattr(paths, "CHECKPOINTS", tmp_path / "checkpoints")
    paths.ZOO.mkdir()
    for spec in SHIPPED:
        shutil.copy(paths.DATA / "zoo" / spec.file, paths.ZOO)
    profile = dataclasses.replace(SMOKE, zoo=tmp_path / "zoo")
    monkeypatch.setattr(commands, "find_profile", lambda name: profile)
    monkeypatch.setattr(commands, "all_models", lambda profile: [SPEC, OTHER])
    train_model(SPEC, profile.zoo, checkpoints=paths.CHECKPOINTS)
    return profile


def run(capsys, *words):
    code = commands.main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def test_list_names_a_damaged_file_and_lists_the_rest(profile, capsys):
    assert run(capsys, "list")[0] == 0
    (profile.zoo / OTHER.file).write_bytes(b"damaged")
    code, out, errors = run(capsys, "list")
    assert code == 1 and len(out.splitlines()) == 4 and f"{SPEC.key}) | 2 |" in out and f"{OTHER.key}) | damaged" in out
    assert len(errors) == 1 and errors[0].startswith(f"error: {OTHER.file} is damaged")


def test_train_says_that_a_file_is_damaged_and_what_to_do(profile, capsys):
    (profile.zoo / SPEC.file).write_bytes(b"damaged")
    code, _, errors = run(capsys, "train")
    assert code == 1 and len(errors) == 1 and "is damaged" in errors[0] and "delete" in errors[0]
    assert not (profile.zoo / OTHER.file).exists()


@pytest.mark.parametrize("action", ["verify", "train"])
@pytest.mark.parametrize("damage", [lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: b"", lambda raw: raw[:-5]])
def test_the_descriptor_is_looked_at_too(profile, capsys, action, damage):
    train_model(OTHER, profile.zoo, checkpoints=paths.CHECKPOINTS)
    path = paths.ZOO / DescriptorSpec().file
    assert run(capsys, action) == (0, "", [])
    path.write_bytes(damage(path.read_bytes()))
    code, _, errors = run(capsys, action)
    assert code == 1 and len(errors) == 1 and errors[0].startswith(f"error: {path.name} is damaged")


def test_verify_names_what_is_missing(profile, capsys):
    (paths.ZOO / DescriptorSpec().file).unlink()
    code, _, errors = run(capsys, "verify")
    assert code == 1 and len(errors) == 2 and all("is missing" in line for line in errors)


def test_train_removes_what_killed_writes_left(profile, capsys):
    train_model(OTHER, profile.zoo, checkpoints=paths.CHECKPOINTS)
    for folder in (profile.zoo, paths.CHECKPOINTS):
        (folder / "a.99999999.tmp").touch()
        (folder / f"b.{os.getppid()}.tmp").touch()
    assert run(capsys, "train")[0] == 0
    assert [p.name for f in (profile.zoo, paths.CHECKPOINTS) for p in f.glob("*.tmp")] == [f"b.{os.getppid()}.tmp"] * 2


@pytest.mark.parametrize("error, code, line", [
    (KeyboardInterrupt(), 130, "stopped; run again to go on"),
    (OSError(errno.ENOSPC, "No space left on device", "a.tmp"), 1, "error: a.tmp: No space left on device"),
    (PermissionError(errno.EACCES, "Permission denied", "zoo"), 1, "error: zoo: Permission denied"),
    (FloatingPointError("the loss is nan\nat step 3"), 1, "error: the loss is nan"),
    (commands.SafetensorError("I/O error: No space left"), 1, "error: I/O error: No space left")])
def test_an_error_is_one_line(profile, capsys, monkeypatch, error, code, line):
    def fail(*args):
        raise error

    monkeypatch.setattr(commands, "train_all", fail)
    assert run(capsys, "train") == (code, "", [line])


def test_a_zoo_that_cannot_be_written_is_one_line(profile, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(commands, "find_profile", lambda name: dataclasses.replace(profile, zoo=tmp_path / "file" / "zoo"))
    code, _, errors = run(capsys, "train", "--jobs", "1")
    assert code == 1 and len(errors) == 1 and "Not a directory" in errors[0]


@pytest.mark.parametrize("words, line", [
    (["train", "--jobs", "0"], "error: jobs must be 1 or more"), (["list", "--jobs", "-2"], "error: jobs must be 1 or more"),
    (["list", "--profile", "palm"], "error: unknown profile 'palm': choose from laptop, smoke, paper")])
def test_wrong_usage_is_one_line_that_says_what_is_right(capsys, words, line):
    code, out, errors = run(capsys, *words)
    assert code == 2 and not out and len(errors) == 1 and errors[0].startswith(line)
