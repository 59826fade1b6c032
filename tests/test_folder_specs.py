"""A model that learns from a reader's folder is named by the images in it, and by nothing else of the folder."""

import dataclasses
import json
import shutil

import pytest
import torch
from PIL import Image

from helpers.data import load
from helpers.models.training import Recipe
from helpers.zoo import store
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import load_denoiser, train_model, training_images

SPEC = ModelSpec(subset_size=6, options={"multipliers": (1, 2), "width": 4}, recipe=Recipe(steps=2, batch=4))
replace = dataclasses.replace


def write(path, gray):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), gray).save(path)


@pytest.fixture
def photos(tmp_path):
    """Eight images to train on, two to test on."""
    for i in range(8):
        write(tmp_path / "photos" / "train" / f"{i}.png", 10 * i)
    for i in range(2):
        write(tmp_path / "photos" / "test" / f"{i}.png", 200 + i)
    return tmp_path / "photos"


def spec(folder, form="@1x8x8"):
    return replace(SPEC, dataset=f"{folder}{form}")


def test_the_key_is_that_of_the_images(photos, tmp_path, monkeypatch):
    first = spec(photos)
    assert first.key != SPEC.key and json.loads(first.json)["images"] == first.images and len(first.images) == 16
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert spec("photos") == spec("~/photos") == first                 # one folder has one name
    shutil.copytree(photos, tmp_path / "moved")
    assert spec(tmp_path / "moved").key == first.key and spec(tmp_path / "moved").images == first.images
    assert len({first.key, spec(photos, "@3x8x8").key, spec(photos, "@1x4x4").key}) == 3


@pytest.mark.parametrize("change", ["pixels", "added", "removed", "order", "class"])
def test_a_changed_folder_is_another_model(photos, change):
    before, train = spec(photos), photos / "train"
    if change == "pixels":
        write(train / "3.png", 99)
    if change == "added":
        write(train / "8.png", 99)
    if change == "removed":
        (train / "3.png").unlink()
    if change == "order":                                              # other images are now the first N
        (train / "0.png").rename(train / "9.png")
    if change == "class":                                              # the same images in the same order
        (train / "z").mkdir()
        (train / "7.png").rename(train / "z" / "7.png")
    assert spec(photos).key != before.key


def test_what_no_model_learns_from_changes_nothing(photos):
    before = spec(photos)
    write(photos / "test" / "9.png", 250)
    (photos / "train" / "notes.txt").write_text("mine")
    (photos / "train" / "7.png").rename(photos / "train" / "8.png")    # still the last
    assert spec(photos) == before


def test_another_dataset_has_no_hash_of_the_folder_left(photos):
    assert replace(spec(photos), dataset="fashion-mnist") == SPEC and SPEC.images is None
    assert replace(spec(photos), images="0" * 16) == spec(photos)      # it is found, not given


def test_a_folder_that_is_not_there_is_no_spec(photos):
    with pytest.raises(ValueError, match="gone is not there"):
        spec(photos / "gone")


def test_a_header_brings_the_model_back_without_the_folder(photos):
    first = spec(photos)
    shutil.rmtree(photos)
    back = ModelSpec.parse(first.json)
    assert back.json == first.json and back.file == first.file and replace(back, subset_size=4).images == first.images


def test_a_changed_folder_trains_anew_and_a_moved_one_does_not(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHECKPOINTS", tmp_path / "checkpoints")
    zoo, x = tmp_path / "zoo", torch.randn(2, 1, 8, 8)
    first = load_denoiser(spec(photos), zoo=zoo)(x, 1.0)
    moved = spec(photos.rename(tmp_path / "moved"))
    assert torch.equal(load_denoiser(moved, zoo=zoo, train=False)(x, 1.0), first)
    write(tmp_path / "moved" / "train" / "3.png", 99)
    with pytest.raises(FileNotFoundError):
        load_denoiser(spec(tmp_path / "moved"), zoo=zoo, train=False)
    assert not torch.equal(load_denoiser(spec(tmp_path / "moved"), zoo=zoo)(x, 1.0), first)
    assert len(list(zoo.glob("*.safetensors"))) == 2


def test_a_model_of_a_folder_can_be_a_parent(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHECKPOINTS", tmp_path / "checkpoints")
    parent = spec(photos)
    train_model(parent, zoo=tmp_path / "zoo")
    child = replace(parent, init_from=parent.key, subset_size=4, recipe=replace(parent.recipe, steps=1))
    assert load_denoiser(child, zoo=tmp_path / "zoo")(torch.randn(1, 1, 8, 8), 1.0).isfinite().all()


def test_training_sees_the_images_of_the_spec_or_stops(photos):
    planned = spec(photos)
    images, labels = training_images(planned)
    assert torch.equal(images, load(f"{photos}@1x8x8", "pool").first(6).x0) and labels.tolist() == [0] * 6
    write(photos / "train" / "3.png", 99)
    with pytest.raises(ValueError, match="are not those that .* was to learn from: they were changed meanwhile"):
        training_images(planned)
