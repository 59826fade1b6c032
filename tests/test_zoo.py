"""The zoo: round trip, parents and teachers, damaged and foreign files, two processes at once, no pickle."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import keeper, zoo
from helpers.fewstep import Distillation
from helpers.profiles import PROFILES, all_models, two_regimes
from helpers.samplers import sample
from helpers.specs import ModelSpec, build
from helpers.training import Recipe
from helpers.zoo import find, load_denoiser

SPEC = ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=3, batch=4))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "CHECKPOINTS", tmp_path / "checkpoints")
    return tmp_path / "zoo"


def test_train_then_load_gives_the_same_denoiser(folder):
    first = load_denoiser(SPEC, zoo=folder)
    x = torch.randn(4, 1, 28, 28)
    assert torch.equal(load_denoiser(SPEC, zoo=folder, train=False)(x, 1.0), first(x, 1.0))
    assert [p.name for p in folder.iterdir()] == [SPEC.file]
    header = zoo.read(folder / SPEC.file)[1]
    assert header["spec"] == SPEC.json and header["images_seen"] == "12" and float(header["seconds"]) >= 0


def still(spec):
    """The same spec with a learning rate of 0: what comes out is what went in."""
    return dataclasses.replace(spec, recipe=Recipe(steps=2, batch=4, rate=0.0))


def weights(spec, folder):
    return load_denoiser(spec, zoo=folder, train=False).network.state_dict()


def test_a_model_starts_from_its_parent_s_weights(folder):
    zoo.train_model(SPEC, zoo=folder)
    child = still(dataclasses.replace(SPEC, subset_size=32, init_from=SPEC.key))
    orphan = still(dataclasses.replace(SPEC, subset_size=32))
    for spec in (child, orphan):
        zoo.train_model(spec, zoo=folder)
    parent, untrained = weights(SPEC, folder), {name: t.half().float() for name, t in build(orphan).state_dict().items()}
    for name, tensor in weights(child, folder).items():
        assert torch.equal(tensor, parent[name]) and torch.equal(weights(orphan, folder)[name], untrained[name])
    assert any(not torch.equal(parent[name], untrained[name]) for name in parent)


def distilled(parent, steps):
    return dataclasses.replace(SPEC, objective="distillation", objective_options=(("base", 8), ("steps", steps)),
                               recipe=Recipe(steps=2, batch=4, warmup=1), init_from=parent.key)


def test_a_student_gets_its_teacher_and_its_start_from_the_round_before(folder):
    """Two rounds: each teacher is the denoiser that the zoo holds, and the student needs none to be sampled."""
    first, x = distilled(SPEC, 4), torch.randn(3, 1, 28, 28)
    second = distilled(first, 2)
    for spec, parent in ((first, SPEC), (second, first)):
        teacher = load_denoiser(parent, zoo=folder)
        network, objective = zoo._start(spec, folder, "cpu")
        assert objective == dataclasses.replace(Distillation(steps=dict(spec.objective_options)["steps"], base=8),
                                                teacher=objective.teacher)
        assert torch.equal(objective.teacher(x, 0.7), teacher(x, 0.7)) and not objective.teacher.training
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), teacher.network.parameters()))
        student = load_denoiser(spec, zoo=folder)
        assert student.objective.teacher is None
        assert any(not torch.equal(a, b) for a, b in zip(student.parameters(), teacher.parameters()))
        images = sample(student, x, **student.sampling)
        d = x * 80
        for s, t in zip(student.sampling["sigmas"], student.sampling["sigmas"][1:]):
            d = student(d, s) + t / s * (d - student(d, s))
        torch.testing.assert_close(images, d, rtol=1e-4, atol=1e-4)
    assert not torch.equal(objective.teacher(x, 0.7), load_denoiser(SPEC, zoo=folder)(x, 0.7))


def test_a_model_is_found_by_its_key_and_a_missing_parent_is_a_clear_error(folder):
    child = dataclasses.replace(SPEC, init_from=SPEC.key)
    for attempt in (lambda: find(SPEC.key, folder), lambda: zoo.train_model(child, zoo=folder)):
        with pytest.raises(FileNotFoundError, match="no model 68d6e949fb25, from which another one starts.*make zoo"):
            attempt()
    zoo.train_model(SPEC, zoo=folder)
    assert find(SPEC.key, folder) == SPEC
    assert zoo.train_model(child, zoo=folder).name == child.file and find(child.key, folder) == child


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


def test_the_keeper_trains_parents_before_what_starts_from_them(tmp_path):
    slow = dataclasses.replace(SPEC, recipe=Recipe(steps=30, batch=4))
    first = distilled(slow, 4)
    specs = [slow, first, distilled(first, 2)]
    assert keeper.train_all(specs, 2, tmp_path) == [spec.file for spec in specs]
    assert keeper.verify(specs, tmp_path) == []


def test_the_shipped_zoo_is_whole():
    assert keeper.verify(all_models(PROFILES["laptop"])) == []


def test_the_list_of_the_shipped_zoo_is_up_to_date():
    assert keeper.table(all_models(PROFILES["laptop"])) in (zoo.paths.DATA / "README.md").read_text()


def test_the_shipped_zoo_is_small():
    assert sum(p.stat().st_size for p in zoo.paths.ZOO.iterdir()) < 100e6


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
    network = build(PROFILES["paper"].model(64, 2**6))
    assert 10e6 < sum(p.numel() for p in network.parameters()) < 20e6
    assert network(torch.randn(1, 3, 32, 32), torch.zeros(1)).shape == (1, 3, 32, 32)
