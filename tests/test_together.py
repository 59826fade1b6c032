"""One model on several devices: real processes of a torchrun on this machine."""

import dataclasses
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file

from helpers import paths
from helpers.models import devices
from helpers.models.gan_vae import GAN
from helpers.models.objectives import EDMObjective
from helpers.models.training import Recipe
from helpers.zoo import together
from helpers.zoo.inventory import verify
from helpers.zoo.spec import ModelSpec

SPEC = ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)),
                 recipe=Recipe(steps=12, batch=6, bf16=False, decay="none"))
STAGE = dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, steps=5))
CHILD = dataclasses.replace(SPEC, init_from=STAGE.key, objective="flow", trainable="last1", conditional=False,
                            recipe=dataclasses.replace(SPEC.recipe, steps=4))
OTHER = dataclasses.replace(SPEC, objective="consistency", recipe=dataclasses.replace(SPEC.recipe, steps=2))
GANS = dataclasses.replace(SPEC, network="pair", options=(("width", 4),), objective="gan", recipe=OTHER.recipe)

# The command line, with a checkpoint after every step. The first process keeps its float32 weights, the others theirs; the
# first may be killed when it has saved a step, the last one when it begins one.
PROGRAM = """
import os, signal, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from safetensors.torch import save_file
from helpers import paths
from helpers.chapters.profiles import SMOKE
from helpers.models.devices import Together
from helpers.models.state import State
from helpers.zoo import ModelSpec, __main__ as commands, store, together

rank, write, save, along, loss = os.environ.get("RANK", "0"), store.write, State.save, together.train, Together.loss

def keep(key, network):
    save_file({name: t.contiguous() for name, t in network.state_dict().items()}, f"{key}-{rank}.safetensors")

def write_and_keep(path, spec, state):
    keep(spec.key, state.network)
    write(path, spec, state)

def along_and_keep(state, *arguments, **options):
    yield from along(state, *arguments, **options)
    keep(f"step-{state.step}", state.network)

def save_or_die(state, path, key):
    save(state, path, key)
    die_at(state.step, "0")

def loss_or_die(self, *arguments):
    die_at(round(12 * arguments[-1]), str(int(os.environ["WORLD_SIZE"]) - 1))
    return loss(self, *arguments)

def die_at(step, who):
    if os.environ.get("DIE") == f"{who} at {step}" and rank == who:
        os.kill(os.getpid(), signal.SIGKILL)

store.write, State.save, together.train, Together.loss = write_and_keep, save_or_die, along_and_keep, loss_or_die
commands.find_profile = lambda name: replace(SMOKE, zoo=Path("zoo").absolute())
commands.all_models = lambda profile: [ModelSpec.parse(text) for text in sys.argv[1:]]
commands.train_together = partial(commands.train_together, every=0.0)
if __name__ == "__main__":
    sys.exit(commands.main(["train", "--checkpoints", "checkpoints"]))
"""


@contextmanager
def started(folder, *specs, processes, **environment):
    """A run of this many processes."""
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(PROGRAM)
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    with subprocess.Popen([sys.executable, *start, "program.py", *(spec.json for spec in specs)], cwd=folder, text=True,
                          env=os.environ | {"PYTHONPATH": str(paths.ROOT), "OMP_NUM_THREADS": "1"} | environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()


def train(folder, *specs, processes=3, **environment):
    """What the run of this many processes said, and its exit code."""
    with started(folder, *specs, processes=processes, **environment) as process:
        return process.communicate(timeout=200)[0], process.returncode


def weights(folder, name, rank=0):
    return load_file(folder / f"{name}-{rank}.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def errors(output):
    return [line for line in output.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three processes: two stages, a child that starts from one and is named before it, and others."""
    folder = tmp_path_factory.mktemp("whole")
    output, code = train(folder, CHILD, STAGE, GANS, SPEC, OTHER)
    assert code == 0, output
    return folder, output


def test_three_processes_take_the_same_steps_and_learn_what_one_does(whole, tmp_path):
    folder, output = whole
    assert verify([CHILD, STAGE, GANS, SPEC, OTHER], folder / "zoo") == []
    assert not list((folder / "checkpoints").glob("*.safetensors"))
    lines = [line.split(", step")[0] for line in output.splitlines() if "models: " in line]
    assert lines == [f"4 of 5 models: {SPEC.name}", f"1 of 5 models: {CHILD.name}", f"3 of 5 models: {GANS.name}",
                     f"5 of 5 models: {OTHER.name}"]
    assert train(tmp_path, CHILD, STAGE, SPEC, GANS, OTHER, processes=1)[1] == 0
    for spec in (SPEC, CHILD, OTHER):
        assert all(equal(weights(folder, spec.key), weights(folder, f"step-{spec.recipe.steps}", rank)) for rank in (1, 2))
    for spec in (STAGE, SPEC, CHILD, OTHER, GANS):
        for name, expected in weights(tmp_path, spec.key).items():
            torch.testing.assert_close(weights(folder, spec.key)[name], expected, rtol=0, atol=2e-4)
    assert equal(weights(folder, GANS.key), weights(tmp_path, GANS.key))


def test_when_a_process_dies_all_end_and_the_run_goes_on_to_bit_equal_weights(whole, tmp_path):
    output, code = train(tmp_path, SPEC, DIE="0 at 5")
    assert code != 0 and errors(output) == []
    output, code = train(tmp_path, SPEC, DIE="2 at 9")
    assert code != 0 and errors(output) == ["error: a process that trains with this one has ended: run again to go on"]
    with safe_open(tmp_path / "checkpoints" / f"{SPEC.key}.safetensors", "pt") as file:
        assert file.metadata()["step"] == "9"
    assert train(tmp_path, SPEC)[1] == 0
    assert equal(weights(tmp_path, SPEC.key), weights(whole[0], SPEC.key))
    assert all(equal(weights(tmp_path, "step-12", rank), weights(whole[0], SPEC.key)) for rank in (1, 2))


def test_a_batch_that_the_processes_do_not_divide_is_one_line(tmp_path):
    odd = dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, batch=3))
    output, code = train(tmp_path, odd, processes=2)
    assert code != 0 and errors(output) == ["error: a batch of 3 images cannot be shared by 2 processes: start a number of "
                                            "them that divides it"]


def test_a_run_that_is_interrupted_says_so_once_and_soon(tmp_path):
    endless = dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, steps=10**6))
    with started(tmp_path, endless, processes=2) as process:
        checkpoint = tmp_path / "checkpoints" / f"{endless.key}.safetensors"
        while not checkpoint.exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=25)[0]
    assert process.returncode != 0 and output.count("stopped; run again to go on") == 1 and errors(output) == []


class Masks:
    """A loss that is what the global generator gives, as dropout's masks are."""

    def loss(self, network, x0, label, generator, progress):
        return torch.rand(3)


def test_each_process_has_masks_of_its_own(monkeypatch):
    def drawn(rank, seed):
        monkeypatch.setattr(dist, "get_rank", lambda: rank)
        torch.manual_seed(seed)
        return devices.Together(Masks(), torch.nn.Identity()).loss(None, torch.zeros(1), None, None)

    with torch.random.fork_rng(devices=[]):
        assert torch.equal(drawn(0, 7), torch.rand(3, generator=torch.Generator().manual_seed(7)))
        assert len({tuple(drawn(rank, seed).tolist()) for rank in (0, 1, 2) for seed in (7, 8)}) == 6


def test_what_asks_parts_of_a_network_and_what_trains_alone_stay_as_they_are(monkeypatch):
    alone, network = EDMObjective(), torch.nn.Linear(1, 1)
    assert devices.together(alone, network) is alone and together.is_first() and not together.started_by_torchrun()
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    gan = GAN()
    assert devices.together(gan, network) is gan and isinstance(devices.together(alone, network), devices.Together)


def test_more_processes_than_gpus_are_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(RuntimeError, match=r"^4 processes cannot share 2 GPUs: start one a GPU, --nproc-per-node 2$"):
        devices.join("cuda")
