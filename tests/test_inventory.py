"""What the zoo holds: lists that survive damage, the shipped zoo, and what cleaning leaves."""

import subprocess
from dataclasses import replace

import pytest
import torch

from helpers import paths
from helpers.chapters.models import all_models
from helpers.chapters.profiles import PROFILES, SMOKE
from helpers.chapters.two_regimes import two_regimes
from helpers.measure.descriptor import SHIPPED
from helpers.models.training import Recipe
from helpers.zoo.inventory import core_hours, damaged, stored_parameters, table, verify
from helpers.zoo.spec import ModelSpec, build
from helpers.zoo.weights import write_weights

SPECS = [ModelSpec(subset_size=n, options=(("multipliers", (1, 2)), ("width", 4)), recipe=Recipe(steps=3, batch=4))
         for n in (4, 8, 16)]


def put(spec, folder):
    write_weights(folder / spec.file, build(spec), spec.json,
                  {"losses": "[2.0, 0.5]", "seconds": "90", "images_seen": "12"}, half=True)


def test_a_file_s_parameters_are_counted_not_the_network_s(tmp_path):
    network = build(SPECS[0])
    put(SPECS[0], tmp_path)
    assert stored_parameters(SPECS[0], tmp_path) == sum(p.numel() for p in network.parameters())
    part = {name for name in network.state_dict() if name.startswith("up.")}
    write_weights(tmp_path / SPECS[1].file, network, SPECS[1].json, {}, only=part)
    assert stored_parameters(SPECS[1], tmp_path) == sum(network.state_dict()[name].numel() for name in part) > 0


def test_stages_of_one_run_cost_what_the_last_of_them_does(tmp_path):
    stages = [replace(SPECS[0], recipe=Recipe(steps=steps, batch=4, decay="none")) for steps in (6, 3)]
    for spec in [*stages, SPECS[1]]:
        put(spec, tmp_path)
    assert core_hours([*stages, SPECS[1]], tmp_path) == 0.05 and core_hours(stages[1:], tmp_path) == 0.025


def test_what_is_missing_damaged_or_foreign_is_named_and_the_rest_is_listed(tmp_path):
    first, second, third = SPECS
    put(first, tmp_path)
    put(second, tmp_path)
    assert verify(SPECS[:2], tmp_path) == [] == damaged(SPECS, tmp_path) and core_hours(SPECS[:2], tmp_path) == 0.05
    assert verify(SPECS[:1], tmp_path) == [f"{second.file} is no model of this profile"]
    (tmp_path / second.file).write_bytes(b"not a model")
    missing, = (line for line in verify(SPECS, tmp_path) if third.file in line)
    assert "is missing: train it with `make zoo`" in missing and "delete" not in missing
    broken, = damaged(SPECS, tmp_path)
    assert broken in verify(SPECS, tmp_path) and f"{second.file} is damaged" in broken and "delete" in broken
    assert [row.split(" | ", 1)[1] for row in table(SPECS, tmp_path).splitlines()[2:]] == [
        "3 | 95,940 | 12 | 1.5 | 0.5 |".replace("95,940", f"{sum(p.numel() for p in build(first).parameters()):,}"),
        "damaged | | | | |", "not trained | | | | |"]


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path):
    (tmp_path / SPECS[0].file).mkdir()
    assert damaged(SPECS, tmp_path) == [f"{tmp_path / SPECS[0].file} cannot be read: Is a directory"]


def test_the_shipped_zoo_is_whole():
    others = frozenset(spec.file for spec in SHIPPED)
    assert verify(all_models(PROFILES["laptop"]), others=others) == []


def test_the_list_of_the_shipped_zoo_is_up_to_date():
    assert table(all_models(PROFILES["laptop"])) in (paths.DATA / "README.md").read_text()


def test_the_shipped_zoo_is_small():
    assert sum(p.stat().st_size for p in paths.ZOO.iterdir()) < 200 * 2**20


def costly():
    """What takes hours to make again: the models of every profile but the smallest, checkpoints, downloads."""
    zoos = [profile.zoo for profile in PROFILES.values() if profile.name != "smoke"]
    return [folder.relative_to(paths.ROOT) for folder in (*zoos, paths.CHECKPOINTS, paths.DOWNLOADS)]


def test_clean_removes_what_a_build_makes_and_nothing_costly(tmp_path):
    (tmp_path / "Makefile").write_text((paths.ROOT / "Makefile").read_text())
    for folder in (*costly(), "_build/html", SMOKE.zoo.relative_to(paths.ROOT)):
        (tmp_path / folder).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert all((tmp_path / folder).is_dir() for folder in costly()) and not (tmp_path / "_build").exists()


def test_git_ignores_what_this_machine_made_and_keeps_the_shipped_zoo(tmp_path):
    (tmp_path / ".gitignore").write_text((paths.ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    local = [str(folder / "x") for folder in costly() if folder != paths.ZOO.relative_to(paths.ROOT)]
    names = [*local, f"data/zoo/{SPECS[0].name}.123.tmp", f"data/zoo/{SPECS[0].file}"]
    done = subprocess.run(["git", "check-ignore", *names], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == names[:-1]


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
