"""Models that are stages of one run: one run writes them all, each as if it had been trained alone."""

import dataclasses
import functools

import pytest
import torch
from safetensors.torch import load_file

from helpers.data import load
from helpers.models.training import Recipe
from helpers.zoo import store as zoo
from helpers.zoo.jobs import train_all
from helpers.zoo.prefixes import by_run, stages_of_one_run
from helpers.zoo.spec import ModelSpec

RUN = [ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)),
                 recipe=Recipe(steps=steps, batch=4, warmup=2, muon=0.02, decay="none")) for steps in (2, 5, 9)]
COSINE = dataclasses.replace(RUN[0], recipe=dataclasses.replace(RUN[0].recipe, decay="cosine"))
once = functools.cache(load)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "load_dataset", once)
    return {"zoo": tmp_path / "zoo", "checkpoints": tmp_path / "checkpoints"}


def same(one, other):
    one, other = load_file(one), load_file(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each stage trained in a run of its own."""
    place = tmp_path_factory.mktemp("alone")
    return [zoo.train_model(spec, place / "zoo", checkpoints=place / "checkpoints") for spec in RUN]


def test_one_run_writes_what_each_stage_alone_would_be(folders, alone):
    files = zoo.train_stages(RUN[::-1], **folders)
    assert [file.name for file in files] == [spec.file for spec in RUN] and all(map(same, files, alone))
    headers = [zoo.read(file, spec)[1] for file, spec in zip(files, RUN)]
    assert [header["images_seen"] for header in headers] == ["8", "20", "36"]
    assert not list(folders["checkpoints"].glob("*.safetensors"))


@pytest.mark.parametrize("killed_at", [1, 2, 4, 5, 7, 9])
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_stages(folders, alone, monkeypatch, killed_at):
    """Right after a checkpoint, and before the file of the stage, if it was one."""
    def killed(state, path, key):
        save(state, path, key)
        if state.step == killed_at:
            raise KeyboardInterrupt
    save = zoo.training.State.save
    with monkeypatch.context() as patch:
        patch.setattr(zoo.training.State, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            zoo.train_stages(RUN, every=0.0, **folders)
    assert all(map(same, zoo.train_stages(RUN, **folders), alone))


def test_a_stage_whose_file_is_gone_is_trained_again_though_the_run_is_beyond_it(folders, alone, monkeypatch):
    def killed(state, path, key):
        save(state, path, key)
        if state.step == 7:
            raise KeyboardInterrupt
    save = zoo.training.State.save
    with monkeypatch.context() as patch:
        patch.setattr(zoo.training.State, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            zoo.train_stages(RUN, every=0.0, **folders)
    (folders["zoo"] / RUN[1].file).unlink()
    assert all(map(same, zoo.train_stages(RUN, **folders), alone))


def test_specs_that_are_no_stages_of_one_run_are_refused():
    other = dataclasses.replace(RUN[0], subset_size=32)
    assert stages_of_one_run(RUN[::-1]) == tuple(RUN) and by_run([*RUN, other, COSINE]) == [tuple(RUN), (other,), (COSINE,)]
    for specs in ([RUN[0], other], [RUN[1], COSINE], []):
        with pytest.raises(ValueError, match='differ in the recipe.s steps alone and have decay "none"'):
            stages_of_one_run(specs)


def test_the_names_of_stages_say_their_steps_and_old_names_stay():
    assert [spec.name for spec in RUN] == ["unet8-n16-k2-s0", "unet8-n16-k5-s0", "unet8-n16-k9-s0"]
    assert COSINE.name == "unet8-n16-s0" and '"decay"' not in COSINE.json
    with pytest.raises(ValueError, match="decay must be one of cosine, none, got 'linear'"):
        Recipe(steps=2, decay="linear")


def test_many_processes_train_the_stages_of_a_run_together(folders, alone):
    files = train_all([*RUN, COSINE], 2, folders["zoo"], checkpoints=folders["checkpoints"])
    assert sorted(files) == sorted(spec.file for spec in [*RUN, COSINE])
    assert all(same(folders["zoo"] / spec.file, one) for spec, one in zip(RUN, alone))
