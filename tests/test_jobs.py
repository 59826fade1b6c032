"""Many models at once: order, jobs, and processes that end with the one that started them."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors import safe_open

from helpers import paths
from helpers.models.training import Recipe
from helpers.zoo import jobs
from helpers.zoo.inventory import verify
from helpers.zoo.jobs import default_jobs, train_all
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import train_model

SPEC = ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=3, batch=4))
LONG = [dataclasses.replace(SPEC, subset_size=n, recipe=Recipe(steps=200, batch=4)) for n in (16, 32)]

# The command line on the models of LONG, with a checkpoint after every step.
PROGRAM = """
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from helpers import paths
from helpers.chapters.profiles import SMOKE
from helpers.zoo import ModelSpec, __main__ as commands

if __name__ == "__main__":
    zoo, paths.CHECKPOINTS = Path(sys.argv[1]) / "zoo", Path(sys.argv[1]) / "checkpoints"
    commands.find_profile = lambda name: replace(SMOKE, zoo=zoo)
    commands.all_models = lambda profile: [ModelSpec.parse(text) for text in sys.argv[2:]]
    commands.train_all = partial(commands.train_all, every=0.0)
    sys.exit(commands.main(["train", "--jobs", "2"]))
"""


@contextlib.contextmanager
def training(folder, specs, before=()):
    """The process that trains these models, in a session of its own, when each has a checkpoint; those `before` are done."""
    (folder / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, "program.py", str(folder), *(spec.json for spec in (*before, *specs))], cwd=folder, text=True,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not all((folder / "checkpoints" / f"{spec.key}.safetensors").exists() for spec in specs):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.02)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def step_of(folder, spec):
    with safe_open(folder / "checkpoints" / f"{spec.key}.safetensors", "pt") as file:
        return int(file.metadata()["step"])


def test_workers_end_with_their_parent_and_the_run_goes_on_to_bit_equal_weights(tmp_path):
    """The output's end is seen when every process that could write to it is gone."""
    with training(tmp_path, LONG) as process:
        process.kill()
        output, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL and "Traceback" not in output
    assert all(0 < step_of(tmp_path, spec) < 200 for spec in LONG) and not list((tmp_path / "zoo").iterdir())
    spec, checkpoints = LONG[0], tmp_path / "checkpoints"
    resumed = train_model(spec, tmp_path / "zoo", checkpoints=checkpoints)
    whole = train_model(spec, tmp_path / "fresh", checkpoints=tmp_path / "none")
    hashes = []
    for path in (resumed, whole):
        with safe_open(path, "pt") as file:
            hashes.append(file.metadata()["sha256"])
    assert hashes[0] == hashes[1]


def test_ctrl_c_ends_everything_in_one_line(tmp_path):
    """A terminal sends it to every process of the group; one of these has trained a model, and said so."""
    endless = [dataclasses.replace(spec, recipe=Recipe(steps=100_000, batch=4)) for spec in LONG]
    with training(tmp_path, endless, before=[SPEC]) as process:
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and output.strip().splitlines()[-1] == "stopped; run again to go on"
    assert output.strip().splitlines()[:-1] == [line for line in output.splitlines() if line.startswith("1 of 3 models")]
    assert all(step_of(tmp_path, spec) > 0 for spec in endless) and (tmp_path / "zoo" / SPEC.file).exists()


def test_the_first_model_that_fails_ends_the_others_and_is_the_error(tmp_path):
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / f"{SPEC.key}.safetensors").write_bytes(b"not a checkpoint")
    endless = dataclasses.replace(SPEC, recipe=Recipe(steps=100_000, batch=4))
    with pytest.raises(ValueError, match="checkpoint .* is damaged.*delete it and train again"):
        train_all([endless, SPEC], 2, tmp_path / "zoo", checkpoints=checkpoints)


def test_what_is_there_is_checked_before_anything_is_trained(tmp_path):
    (tmp_path / SPEC.file).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"{SPEC.file} is damaged.*delete"):
        train_all([*LONG, SPEC], 2, tmp_path, checkpoints=tmp_path / "checkpoints")
    assert [path.name for path in tmp_path.iterdir()] == [SPEC.file]


def test_parents_are_trained_before_what_starts_from_them_and_the_log_counts_models(tmp_path, capfd):
    slow = dataclasses.replace(SPEC, recipe=Recipe(steps=30, batch=4))
    first = dataclasses.replace(SPEC, init_from=slow.key)
    specs = [slow, first, dataclasses.replace(SPEC, init_from=first.key)]
    assert train_all(specs, 2, tmp_path / "zoo", checkpoints=tmp_path / "c") == [spec.file for spec in specs]
    assert verify(specs, tmp_path / "zoo") == [] and train_all(specs, 2, tmp_path / "zoo") == []
    lines = capfd.readouterr().err.splitlines()
    assert [line.rpartition(", loss")[0] for line in lines] == [
        f"{k} of 3 models: {spec.name}, step {spec.recipe.steps} of {spec.recipe.steps}" for k, spec in enumerate(specs, 1)]


@pytest.mark.parametrize("gpus, expected", [(0, 1), (1, 1), (4, 4)])
def test_one_job_a_gpu_and_one_a_core(monkeypatch, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert default_jobs("cuda") == default_jobs("cuda:0") == expected
    assert 1 <= default_jobs("cpu") <= os.cpu_count()


def test_each_job_has_a_gpu_of_its_own(monkeypatch):
    used = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(jobs, "train_stages", lambda specs, zoo, device, *_, **__: used.append(device))
    for slot in range(3):
        jobs._train_alone((SPEC,), paths.ZOO, "cuda", paths.CHECKPOINTS, 60.0, slot, "1 of 3")
    assert used == ["cuda:0", "cuda:1", "cuda:0"]


@pytest.mark.parametrize("count", [0, -3])
def test_no_jobs_at_all_are_an_error(count):
    with pytest.raises(ValueError, match="jobs must be 1 or more"):
        train_all([SPEC], count)
