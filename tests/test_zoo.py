"""The zoo: keys, round trip, damaged and foreign files, two processes at once, no pickle."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import keeper, zoo
from helpers.profiles import PROFILES, all_models, two_regimes
from helpers.training import Recipe
from helpers.zoo import ModelSpec, load_denoiser

SPEC = ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=3, batch=4))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "CHECKPOINTS", tmp_path / "checkpoints")
    return tmp_path / "zoo"


def test_the_key_depends_on_everything_and_on_nothing_else():
    assert SPEC.key == dataclasses.replace(SPEC).key
    others = [dataclasses.replace(SPEC, subset_size=17), dataclasses.replace(SPEC, subset_start=1),
              dataclasses.replace(SPEC, recipe=Recipe(steps=3, batch=4, seed=1)),
              dataclasses.replace(SPEC, options=(("width", 8),)), dataclasses.replace(SPEC, dataset="cifar10")]
    assert len({spec.key for spec in [SPEC, *others]}) == 6
    assert SPEC.key == "68d6e949fb25"        # pinned: a change of it orphans the shipped weights


def test_train_then_load_gives_the_same_denoiser(folder):
    first = load_denoiser(SPEC, zoo=folder)
    x = torch.randn(4, 1, 28, 28)
    assert torch.equal(load_denoiser(SPEC, zoo=folder, train=False)(x, 1.0), first(x, 1.0))
    assert [p.name for p in folder.iterdir()] == [SPEC.file]
    header = zoo.read(folder / SPEC.file)[1]
    assert header["spec"] == SPEC.json and header["images_seen"] == "12" and float(header["seconds"]) >= 0


def test_missing_is_an_error_where_training_is_not_wanted(folder):
    with pytest.raises(FileNotFoundError, match="make zoo"):
        load_denoiser(SPEC, zoo=folder, train=False)


def test_damaged_weights(folder):
    path = zoo.train_model(SPEC, zoo=folder)
    whole = path.read_bytes()
    for damaged in (whole[:-50], whole[:-1] + bytes([whole[-1] ^ 1]), b"not a model"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged.*make zoo"):
            load_denoiser(SPEC, zoo=folder)


def test_a_foreign_file_under_a_wrong_name(folder):
    other = dataclasses.replace(SPEC, recipe=Recipe(steps=2, batch=4))
    zoo.train_model(other, zoo=folder).rename(folder / SPEC.file)
    with pytest.raises(ValueError, match="another model"):
        load_denoiser(SPEC, zoo=folder)
    save_file(load_file(folder / SPEC.file), folder / SPEC.file)       # the same weights without a header
    with pytest.raises(ValueError, match="damaged"):
        load_denoiser(SPEC, zoo=folder)


def test_two_trainers_train_a_model_once(folder, monkeypatch):
    runs = []
    write = zoo.write
    monkeypatch.setattr(zoo, "write", lambda path, spec, state: runs.append(path) or write(path, spec, state))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: zoo.train_model(SPEC, zoo=folder), range(2)))
    assert len(runs) == 1


def test_the_keeper_trains_in_processes_lists_and_verifies(tmp_path):
    specs = [SPEC, dataclasses.replace(SPEC, subset_size=32)]
    assert len(keeper.verify(specs, tmp_path)) == 2 and "not trained" in keeper.table(specs, tmp_path)
    assert keeper.train_all(specs, 2, tmp_path) == [spec.file for spec in specs]
    assert keeper.verify(specs, tmp_path) == [] and "not trained" not in keeper.table(specs, tmp_path)
    assert keeper.verify(specs[:1], tmp_path) == [f"{specs[1].file} is no model of this profile"]
    (tmp_path / SPEC.file).write_bytes(b"damaged")
    assert "is damaged" in keeper.verify(specs, tmp_path)[0]


def test_unknown_network():
    with pytest.raises(ValueError, match="unet"):
        zoo.build(dataclasses.replace(SPEC, network="unett"))


def test_the_initial_weights_depend_on_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    a, b = zoo.build(SPEC), zoo.build(dataclasses.replace(SPEC, recipe=Recipe(steps=3, batch=4, seed=1)))
    assert torch.equal(torch.rand(1), expected)
    assert not torch.equal(a.stem.weight, b.stem.weight) and torch.equal(a.stem.weight, zoo.build(SPEC).stem.weight)


def test_the_shipped_zoo_is_whole():
    assert keeper.verify(all_models(PROFILES["laptop"])) == []


def test_the_list_of_the_shipped_zoo_is_up_to_date():
    assert keeper.table(all_models(PROFILES["laptop"])) in (zoo.paths.DATA / "README.md").read_text()


def test_the_shipped_zoo_is_small():
    assert sum(p.stat().st_size for p in zoo.paths.ZOO.iterdir()) < 60e6


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_profiles_name_distinct_models(name):
    models = two_regimes(PROFILES[name])
    assert len({spec.file for spec in models.values()}) == len(models)


def test_a_gpu_profile_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="use profile 'laptop'"):
        PROFILES["paper"].torch_device()


def test_the_paper_profile_builds_networks_of_the_paper_s_size():
    """SongUNet with 64 channels has about 14 M parameters; ours has the same layout."""
    network = zoo.build(PROFILES["paper"].model(64, 2**6))
    assert 10e6 < sum(p.numel() for p in network.parameters()) < 20e6
    assert network(torch.randn(1, 3, 32, 32), torch.zeros(1)).shape == (1, 3, 32, 32)
