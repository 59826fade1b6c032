"""The zoo: round trip, parents and teachers, damaged and foreign files, two processes at once, no pickle."""

import dataclasses
import errno
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from helpers import paths
from helpers.data import load, to_uint8
from helpers.models.fewstep import Distillation
from helpers.models.training import Recipe
from helpers.noise import initial_noise
from helpers.samplers import sample
from helpers.zoo import drawn
from helpers.zoo import store as zoo
from helpers.zoo.inventory import table, verify
from helpers.zoo.spec import ModelSpec, build
from helpers.zoo.store import find, load_denoiser
from helpers.zoo.weights import write_weights

SPEC = ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=3, batch=4))
once = functools.cache(load)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(zoo, "load_dataset", once)                     # reading the images takes longer than training
    return tmp_path / "zoo"


def test_train_then_load_gives_the_same_denoiser(folder):
    first = load_denoiser(SPEC, zoo=folder)
    x = torch.randn(4, 1, 28, 28)
    assert torch.equal(load_denoiser(SPEC, zoo=folder, train=False)(x, 1.0), first(x, 1.0))
    assert [p.name for p in folder.iterdir()] == [SPEC.file]
    header = zoo.read(folder / SPEC.file)[1]
    assert header["spec"] == SPEC.json and header["images_seen"] == "12" and float(header["seconds"]) >= 0


def still(spec):
    """The same spec with a learning rate of next to nothing: what comes out is what went in."""
    return dataclasses.replace(spec, recipe=Recipe(steps=2, batch=4, rate=1e-30))


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
        assert objective.student == Distillation(steps=dict(spec.objective_options)["steps"], base=8)
        assert torch.equal(objective.teacher(x, 0.7), teacher(x, 0.7)) and not objective.teacher.training
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), teacher.network.parameters()))
        student = load_denoiser(spec, zoo=folder)
        assert student.objective == objective.student
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


def test_a_parent_s_file_that_holds_another_model_is_an_error(folder):
    """By whatever name it came there: its weights are whole, and its header says that they are another model's."""
    other = dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, seed=5))
    child = tuned("attention")
    for spec in (SPEC, child, other):
        zoo.train_model(spec, zoo=folder)
    (folder / other.file).replace(folder / SPEC.file)
    for attempt in (lambda: load_denoiser(child, zoo=folder), lambda: zoo.train_model(tuned("lora"), zoo=folder),
                    lambda: find(SPEC.key, folder)):
        with pytest.raises(ValueError, match=rf"{SPEC.file} holds another model.*{other.key}.*make zoo"):
            attempt()


def test_the_whole_chain_of_parents_is_checked(folder):
    """A part on a part: the first model is under both, and a wrong one is seen from the end."""
    middle = tuned("attention")
    last = dataclasses.replace(middle, init_from=middle.key, trainable="bias-norm")
    other = dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, seed=5))
    for spec in (SPEC, middle, last, other):
        zoo.train_model(spec, zoo=folder)
    load_denoiser(last, zoo=folder, train=False)
    (folder / other.file).replace(folder / SPEC.file)
    with pytest.raises(ValueError, match=f"{SPEC.file} holds another model"):
        load_denoiser(last, zoo=folder)


@pytest.mark.parametrize("text", ["{}", SPEC.json.replace('"unet"', '"net"'), "spec", '{"options": 3}', "[]"])
def test_a_parent_whose_header_names_no_model_is_an_error(folder, text):
    write_weights(folder / SPEC.file, build(SPEC), text, {}, half=True)
    with pytest.raises(ValueError, match="names no model in its header.*make zoo"):
        find(SPEC.key, folder)


def test_a_hint_fits_the_folder(tmp_path):
    """Git can restore the shipped zoo and no other."""
    for folder, restorable in ((paths.ZOO, True), (tmp_path, False)):
        hint = zoo._hint(folder / SPEC.file)
        assert ("git checkout" in hint) == restorable and "train it with `make zoo`" in hint and "delete" not in hint
    (tmp_path / SPEC.file).touch()
    assert zoo._hint(tmp_path / SPEC.file).startswith(f"delete {tmp_path / SPEC.file} and train it again with `make zoo`")


def tuned(trainable, **changes):
    """A spec that goes on from SPEC's weights with a part of the network, on other images."""
    return dataclasses.replace(SPEC, subset_size=8, subset_start=100, init_from=SPEC.key, trainable=trainable,
                               recipe=Recipe(steps=4, batch=4, warmup=1), **changes)


@pytest.fixture
def ended(folder, monkeypatch):
    """The states in which training ended, by spec; the zoo holds SPEC."""
    states, write = {}, zoo.write

    def keep(path, spec, state):
        states[spec] = state
        write(path, spec, state)

    monkeypatch.setattr(zoo, "write", keep)
    zoo.train_model(SPEC, zoo=folder)
    return states


@pytest.mark.parametrize("trainable, tensors", [("attention", 6), ("last1", 16), ("bias-norm", 48), ("lora", 30)])
def test_a_partly_trained_model_s_file_holds_what_was_trained_and_nothing_else(folder, ended, trainable, tensors):
    spec = tuned(trainable)
    stored = load_file(zoo.train_model(spec, zoo=folder))
    assert set(stored) == {name for name, p in ended[spec].network.named_parameters() if p.requires_grad}
    assert len(stored) == tensors
    assert (folder / spec.file).stat().st_size < (folder / SPEC.file).stat().st_size


@pytest.mark.parametrize("trainable", ["attention", "last1", "bias-norm", "lora"])
def test_a_partly_trained_model_gets_the_rest_from_its_parent(folder, ended, trainable):
    spec = tuned(trainable)
    learned = set(load_file(zoo.train_model(spec, zoo=folder)))
    loaded, before, trained = weights(spec, folder), weights(SPEC, folder), ended[spec].ema.state_dict()
    assert set(loaded) == set(trained)
    for name, tensor in loaded.items():
        assert torch.equal(tensor, trained[name].half().float() if name in learned else trained[name])
        old = before.get(name.replace("parametrizations.weight.original", "weight"))
        assert (old is not None and torch.equal(tensor, old)) == (name not in learned)


@pytest.mark.parametrize("trainable", ["attention", "lora"])
def test_a_partly_trained_model_answers_as_it_did_when_training_ended(folder, ended, trainable):
    spec, x = tuned(trainable), torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    denoiser, parent = load_denoiser(spec, zoo=folder), load_denoiser(SPEC, zoo=folder)
    y, c = denoiser.network(x, torch.zeros(4)), torch.zeros(4)
    rounding = (y - ended[spec].ema.eval()(x, c)).abs().max()
    assert rounding < 0.02 * (y - parent.network(x, c)).abs().max()
    assert not any(p.requires_grad for p in denoiser.parameters()) and not denoiser.training


def test_the_low_rank_start_depends_on_the_seed_and_leaves_the_global_generator_alone(folder):
    zoo.train_model(SPEC, zoo=folder)
    spec = tuned("lora")
    other = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, seed=1))
    before = torch.get_rng_state()
    networks = [zoo._start(s, folder, "cpu")[0] for s in (spec, other, spec)]
    assert torch.equal(torch.get_rng_state(), before)
    a, b, again = (network.middle.blocks[0].conv1.parametrizations.weight[0].down for network in networks)
    assert torch.equal(a, again) and not torch.equal(a, b)


def test_loading_a_low_rank_model_leaves_the_global_generator_alone(folder):
    for spec in (SPEC, tuned("lora")):
        zoo.train_model(spec, zoo=folder)
    before = torch.get_rng_state()
    load_denoiser(tuned("lora"), zoo=folder, train=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_partly_trained_model_needs_its_parent_to_be_trained_and_to_be_loaded(folder):
    spec = tuned("attention")
    zoo.train_model(SPEC, zoo=folder)
    zoo.train_model(spec, zoo=folder)
    (folder / SPEC.file).unlink()
    for attempt in (lambda: load_denoiser(spec, zoo=folder), lambda: zoo.train_model(tuned("lora"), zoo=folder)):
        with pytest.raises(FileNotFoundError, match="no model 68d6e949fb25, from which another one starts.*make zoo"):
            attempt()


def test_a_file_that_lacks_a_tensor_is_an_error(folder):
    network = build(SPEC)
    others = set(network.state_dict()) - {"stem.weight"}
    write_weights(folder / SPEC.file, network, SPEC.json, {}, half=True, only=others)
    with pytest.raises((RuntimeError, ValueError), match="stem.weight"):
        load_denoiser(SPEC, zoo=folder)


def test_a_model_of_some_classes_sees_the_pool_s_images_of_them_in_order():
    images, labels = zoo.training_images(dataclasses.replace(SPEC, classes=(7, 2), subset_size=50, subset_start=10))
    pool = once("fashion-mnist", "pool")
    chosen = (pool.labels == 2) | (pool.labels == 7)
    assert torch.equal(labels, pool.labels[chosen][10:60]) and set(labels.tolist()) == {2, 7}
    assert torch.equal(images, pool.x0[chosen][10:60])


def test_more_images_of_a_class_than_there_are_is_a_clear_error():
    with pytest.raises(ValueError, match=r"^fashion-mnist has 3\d{3} images: 5000 from number 0 on are not to be had"):
        zoo.training_images(dataclasses.replace(SPEC, classes=(4,), subset_size=5000))
    with pytest.raises(ValueError, match=r"has no class \[12\]"):
        zoo.training_images(dataclasses.replace(SPEC, classes=(4, 12)))


@pytest.mark.parametrize("conditional, dropout, rows", [(True, 0.0, {3, 7}), (True, 1.0, {10}), (False, 0.0, {10})])
def test_a_conditional_model_is_told_the_classes_and_another_is_not(folder, conditional, dropout, rows):
    """What was asked for can be read off the rows of the label's embedding that moved."""
    recipe = Recipe(steps=6, batch=8, warmup=1, label_dropout=dropout)
    spec = dataclasses.replace(SPEC, options=(("classes", 10), *SPEC.options), conditional=conditional, classes=(3, 7),
                               recipe=recipe)
    zoo.train_model(spec, zoo=folder)
    moved = (weights(spec, folder)["label.weight"] - build(spec).label.weight.detach().half().float()).abs().amax(1)
    assert set(moved.nonzero().flatten().tolist()) == rows


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


def test_who_waits_for_another_trainer_says_so(folder, capsys):
    lock = FileLock(zoo.CHECKPOINTS / f"{SPEC.key}.lock")
    zoo.CHECKPOINTS.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with lock:
            waiting = pool.submit(zoo.train_model, SPEC, folder)
            time.sleep(1)
            assert not waiting.done()
        assert waiting.result(timeout=60).exists()
    assert capsys.readouterr().err == f"waiting for another process that trains {SPEC.name} ({SPEC.key}) ...\n"


def test_what_a_killed_write_left_is_removed(folder):
    for place in (folder, zoo.CHECKPOINTS):
        place.mkdir()
        (place / f"{SPEC.name}.99999999.tmp").touch()
    path = zoo.train_model(SPEC, zoo=folder)
    assert list(folder.iterdir()) == [path] and not list(zoo.CHECKPOINTS.glob("*.tmp"))


def test_a_checkpoint_of_other_tensors_is_called_damaged(folder):
    """Its key fits, and what it holds does not."""
    zoo.CHECKPOINTS.mkdir()
    path = zoo.CHECKPOINTS / f"{SPEC.key}.safetensors"
    for header in ({"key": SPEC.key, "step": "1"}, {"key": SPEC.key}):
        save_file({"run.losses": torch.zeros(3), "run.seconds": torch.zeros(())}, path, header)
        with pytest.raises(ValueError, match=f"checkpoint {path} is damaged.*delete it and train again") as error:
            zoo.train_model(SPEC, zoo=folder)
        assert "\n" not in str(error.value)


def test_a_full_disk_while_a_checkpoint_is_written_leaves_the_last_one_and_nothing_else(folder, monkeypatch):
    writes, write = [], Path.write_bytes

    def full(path, raw):
        writes.append(write(path, raw[:100] if writes else raw))
        if len(writes) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        zoo.train_model(SPEC, zoo=folder, every=0.0)
    with safe_open(zoo.CHECKPOINTS / f"{SPEC.key}.safetensors", "pt") as file:
        assert file.metadata()["step"] == "1"
    assert not list(zoo.CHECKPOINTS.glob("*.tmp")) and not list(folder.iterdir())


def test_another_zoo_has_what_the_shipped_one_has_and_trains_only_the_rest(folder, monkeypatch):
    """A profile of one's own takes most of its models from the book's."""
    shipped = folder.parent / "shipped"
    monkeypatch.setattr(paths, "ZOO", shipped)
    zoo.train_model(SPEC)
    before = (shipped / SPEC.file).stat().st_mtime_ns
    child = tuned("attention")
    assert load_denoiser(child, zoo=folder).classes == load_denoiser(SPEC, zoo=folder, train=False).classes
    assert [p.name for p in folder.iterdir()] == [child.file] and [p.name for p in shipped.iterdir()] == [SPEC.file]
    assert zoo.train_model(SPEC, zoo=folder) == shipped / SPEC.file and (shipped / SPEC.file).stat().st_mtime_ns == before
    assert verify([SPEC, child], folder) == [] and "not trained" not in table([SPEC, child], folder)


def test_a_part_is_not_put_on_a_parent_that_was_trained_again_to_other_weights(folder):
    """On another machine the same spec ends in other bits. A file from before this was noted is taken as it is."""
    child, path = tuned("attention"), folder / tuned("attention").file
    for spec in (SPEC, child):
        zoo.train_model(spec, zoo=folder)
    header, network = zoo.read(path)[1], build(SPEC)
    write_weights(folder / SPEC.file, network, SPEC.json, {}, half=True)
    with pytest.raises(ValueError, match=f"{child.file} goes with other weights of its parent {SPEC.key}.*make zoo"):
        load_denoiser(child, zoo=folder)
    save_file(load_file(path), path, {name: text for name, text in header.items() if name != "parent"})
    assert torch.equal(weights(child, folder)["stem.weight"], network.stem.weight.detach().half().float())


def test_a_student_learns_from_the_images_that_its_teacher_draws(folder, tmp_path, monkeypatch):
    kept, shipped = tmp_path / "kept", tmp_path / "shipped"
    monkeypatch.setattr(drawn.drawn_images, "__defaults__", ((shipped, kept),))
    teacher = load_denoiser(SPEC, zoo=folder)
    student = dataclasses.replace(SPEC, teacher=SPEC.key, subset_size=5)
    images, labels = zoo.training_images(student, folder)
    z = initial_noise(range(5), (1, 28, 28), drawn.SEED)
    expected = to_uint8(sample(teacher, z, solver="dpmpp3m", steps=18))
    assert (to_uint8(images).int() - expected.int()).abs().max() <= 1 and labels.tolist() == [-1] * 5
    larger = zoo.training_images(dataclasses.replace(student, subset_size=7), folder)[0]
    assert torch.equal(larger[:5], images) and len(larger) == 7                 # only the two new ones are drawn
    drawn.keep(torch.full((9, 1, 28, 28), 3, dtype=torch.uint8), shipped / f"{SPEC.key}.npz")
    assert (to_uint8(zoo.training_images(student, folder)[0]) == 3).all()       # the larger file is the one that is read
    assert load_denoiser(student, zoo=folder).network is not None and student.parents == {SPEC.key}
    with pytest.raises(ValueError, match="no labels"):
        dataclasses.replace(student, classes=(1,))
    with pytest.raises(FileNotFoundError, match="has no model 0123456789ab"):
        zoo.training_images(dataclasses.replace(student, teacher="0123456789ab"), folder)
