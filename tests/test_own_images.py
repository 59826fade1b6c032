"""A reader's own images, from a folder and a few lines of TOML to what a chapter finds."""

import json

import numpy as np
import pytest
from PIL import Image

from helpers import paths, run
from helpers.chapters.profiles import SMOKE, find_profile
from helpers.chapters.ready import refuse_unready
from helpers.report.kernel import UsageError

PROFILE = """base = "smoke"
dataset = "photos"
zoo = "zoo"
sizes = [2, 4, 8]
half = 4
samples = 20
held_out = 4
solver_steps = 2
[recipe]
steps = 2
"""


@pytest.fixture
def mine(tmp_path):
    """mine.toml beside a folder of 40 small color photographs."""
    (tmp_path / "photos").mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (40, 5, 7, 3), dtype=np.uint8)):
        Image.fromarray(pixels).resize((35, 25)).save(tmp_path / "photos" / f"{i}.jpg")
    (tmp_path / "mine.toml").write_text(PROFILE)
    return tmp_path / "mine.toml"


def change(path, old, new):
    """Replace a part of the profile."""
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_folder_is_found_from_the_file_and_brought_to_what_the_networks_read(mine, monkeypatch):
    monkeypatch.chdir(paths.NOTEBOOKS)                                 # where chapters run
    profile, photos = find_profile(str(mine)), mine.parent / "photos"
    assert profile.dataset == f"{photos}@1x28x28" and profile.zoo == mine.parent / "zoo"
    monkeypatch.setenv("HOME", str(mine.parent))
    for name, form in (("~/photos", "@1x28x28"), (str(photos), "@1x28x28"), ("photos@1x14x14", "@1x14x14"),
                       ("./photos", "@1x28x28")):
        mine.write_text(f'dataset = "{name}"\n')
        assert find_profile("~/mine.toml").dataset == f"{photos}{form}"
    mine.write_text('base = "paper"\ndataset = "photos"\n')
    assert find_profile(str(mine)).dataset == f"{photos}@3x32x32"


def test_a_known_set_is_no_folder(mine):
    change(mine, '"photos"', '"fashion-mnist"')
    assert find_profile(str(mine)).dataset == SMOKE.dataset


@pytest.mark.parametrize("old, new, words", [
    ('"photos"', '"fotos"', "fotos is not there"),
    ("[2, 4, 8]", "[2, 4, 99]", r"28x28 has 3\d images to train on, but profile 'mine' wants 99 \(sizes, few, half\)"),
    ("half = 4", "half = 30", r"wants 60 \(sizes, few, half\)"),
    ("held_out = 4", "held_out = 39", r"to test on, but profile 'mine' wants 39 \(held_out\): set"),
    ('"photos"', '"photos@3x28x28"', r"this network reads images \(B, 1, H, W\) with B >= 1, got \(1, 3, 28, 28\)"),
    ('"photos"', '"photos@1x27x27"', "patches of 2 x 2 pixels do not divide"),
    ('"photos"', '"photos@1x32x32"', r"the shipped descriptor reads images \(B, 1, 28, 28\)"),
])
def test_what_does_not_fit_is_refused_before_the_work(mine, old, new, words):
    change(mine, old, new)
    with pytest.raises(UsageError, match=words) as error:
        refuse_unready(str(mine), paths.NOTEBOOKS)
    assert "\n" not in str(error.value)


def test_a_damaged_image_is_refused_before_the_work(mine):
    (mine.parent / "photos" / "7.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"7\.jpg is not an image, or is damaged"):
        refuse_unready(str(mine), paths.NOTEBOOKS)


def test_chapter_2_trains_on_a_folder_and_says_what_it_found(mine, tmp_path):
    shipped = {path.name for path in paths.ZOO.glob("*.safetensors")}
    assert run.main(["2", "--profile", str(mine), "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "02-two-regimes-profile-mine.json").read_text())
    trained = {path.name for path in (tmp_path / "zoo").glob("*.safetensors")}
    assert len(trained) == found["measurements"]["models_trained"] > 10 and not trained & shipped
    assert len(found["claims"]) >= 15 and found["parameters"]["profile"] == str(mine)
    assert (tmp_path / "out" / "02-two-regimes-profile-mine.ipynb").exists() and not (tmp_path / "out" / "data").exists()
