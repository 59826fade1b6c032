"""Training on a Dask cluster: a real scheduler and two real workers on this machine."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import distributed
import pytest
import torch
from safetensors import safe_open

from helpers import paths
from helpers.chapters.profiles import SMOKE
from helpers.models.training import Recipe
from helpers.zoo import __main__ as commands
from helpers.zoo import cluster, worker
from helpers.zoo.cluster import parents_of, train_on_cluster
from helpers.zoo.inventory import verify
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import train_model

SPEC = ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=3, batch=4))
LONG = dataclasses.replace(SPEC, recipe=Recipe(steps=150, batch=4))

# The command line on the given models, with a checkpoint after every step.
PROGRAM = """
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from helpers.chapters.profiles import SMOKE
from helpers.zoo import ModelSpec, __main__ as commands

commands.find_profile = lambda name: replace(SMOKE, zoo=Path("zoo").absolute())
commands.all_models = lambda profile: [ModelSpec.parse(text) for text in sys.argv[2:]]
commands.train_on_cluster = partial(commands.train_on_cluster, every=0.0)
sys.exit(commands.main(["train", "--scheduler", sys.argv[1], "--checkpoints", "checkpoints"]))
"""


class Machines:
    """A scheduler, and workers by their names; each process has a session of its own."""

    def __init__(self, folder):
        self.folder, self.workers, self.count, self.scheduler = folder, {}, 0, None

    def start(self, what, *options, package=paths.ROOT):
        self.count += 1
        command = [sys.executable, "-m", "dask", what, *map(str, options), "--no-dashboard"]
        with (self.folder / f"{self.count}.log").open("w") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
                                    env=os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"})

    def two(self):
        """A scheduler and two workers that live."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.end()
            file = self.folder / f"{self.count}.json"
            self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file)
            wait_for(file.exists)
            self.address = json.loads(file.read_text())["address"]
        self.workers = {name: process for name, process in self.workers.items() if process.poll() is None}
        while len(self.workers) < 2:
            name = f"worker-{self.count}"
            self.workers[name] = self.start("worker", self.address, "--nthreads", 1, "--no-nanny", "--name", name)
        self.wait_for_workers(2)

    def wait_for_workers(self, count):
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def kill(self, process, how=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.wait(20)

    def end(self):
        for process in filter(None, (*self.workers.values(), self.scheduler)):
            self.kill(process)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    machines = Machines(tmp_path_factory.mktemp("machines"))
    yield machines
    machines.end()


@pytest.fixture
def machines(started):
    started.two()
    return started


def weights(folder, spec):
    """The file's tensors by their hash, and its spec: all but the seconds that it took."""
    with safe_open(folder / spec.file, "pt") as file:
        return {name: text for name, text in file.metadata().items() if name != "seconds"}


def local(folder, *specs):
    for spec in specs:
        train_model(spec, folder, checkpoints=folder / "checkpoints")
    return [weights(folder, spec) for spec in specs]


def checkpoint(folder, spec):
    return folder / "cluster" / spec.key / "checkpoint" / f"{spec.key}.safetensors"


def step_of(path):
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def test_weights_equal_the_local_ones_with_parents_before_children_and_a_line_for_each(machines, tmp_path, capsys):
    """A partly trained model, its child, two stages of one run; the zoo is the client's alone."""
    child = dataclasses.replace(SPEC, init_from=SPEC.key, trainable="last1")
    grandchild = dataclasses.replace(SPEC, init_from=child.key)
    stages = [dataclasses.replace(SPEC, recipe=Recipe(steps=n, batch=4, decay="none")) for n in (4, 2)]
    specs = [grandchild, child, *stages, SPEC]
    names = train_on_cluster(specs, machines.address, tmp_path / "zoo", checkpoints=tmp_path / "shared")
    lines = capsys.readouterr().err.splitlines()
    assert names == [spec.file for spec in specs] and verify(specs, tmp_path / "zoo") == []
    assert [weights(tmp_path / "zoo", spec) for spec in reversed(specs)] == local(tmp_path / "here", *reversed(specs))
    done = [line for line in lines if line.endswith(" is done")]
    order = [f"{k} of 5 models: {spec.name} is done" for k, spec in ((5, SPEC), (2, child), (1, grandchild))]
    assert [line for line in done if line in order] == order and len(done) == 4
    begun = [line for line in lines if re.fullmatch(r"\d of 5 models: .+, step 1 of \d, loss \S+, on worker-\d+", line)]
    assert len(begun) == 4 and sorted(begun + done) == sorted(lines)
    assert not list((tmp_path / "shared" / "cluster").iterdir()) and len(list((tmp_path / "zoo").iterdir())) == 5
    assert train_on_cluster(specs, "nowhere", tmp_path / "zoo") == []


def test_a_killed_workers_model_goes_on_elsewhere_from_its_checkpoint(machines, tmp_path, capsys):
    """One worker is asked to end, as when its time on a shared machine is over, and the next one is killed."""
    path, said = checkpoint(tmp_path / "shared", LONG), ""

    def begun(count):
        nonlocal said
        said += capsys.readouterr().err
        found = re.findall(r"step (\d+) of 150, .* on (worker-\d+)", said)
        return found if len(found) >= count else None

    with ThreadPoolExecutor(1) as pool:
        trained = pool.submit(train_on_cluster, [LONG], machines.address, tmp_path / "zoo",
                              checkpoints=tmp_path / "shared", every=0.0)
        for k, how in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
            (step, name), last = wait_for(lambda: begun(k))[-1], path.exists() and step_of(path)  # noqa: B023
            wait_for(lambda: path.exists() and step_of(path) >= last + 5)                         # noqa: B023
            machines.kill(machines.workers[name], how)
            before = step_of(path)
            machines.two()
        trained.result()
    (one, first), (step, second), (last, third) = begun(3)
    assert first != second != third and 1 == int(one) < 5 < int(step) < int(last) == before + 1 < 150
    assert [weights(tmp_path / "zoo", LONG)] == local(tmp_path / "here", LONG)


def test_ctrl_c_and_death_of_the_client_end_the_trainings_at_their_last_checkpoints(machines, tmp_path):
    """No thread of a worker trains on for nobody."""
    endless = [dataclasses.replace(SPEC, subset_size=n, recipe=Recipe(steps=100_000, batch=4)) for n in (16, 32)]
    paths_of = [checkpoint(tmp_path / "checkpoints", spec) for spec in endless]
    (tmp_path / "program.py").write_text(PROGRAM)
    for end in (signal.SIGINT, signal.SIGKILL):
        steps = [step_of(path) if path.exists() else 0 for path in paths_of]
        process = subprocess.Popen([sys.executable, "program.py", machines.address, *(spec.json for spec in endless)],
                                   cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(paths.ROOT)}, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(lambda: all(path.exists() and step_of(path) > k for path, k in zip(paths_of, steps)))  # noqa: B023
        process.send_signal(end)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == (130 if end == signal.SIGINT else -end) and "Traceback" not in output
        assert end != signal.SIGINT or output.splitlines()[-1] == "stopped; run again to go on"
        with distributed.Client(machines.address, set_as_default=False) as client:
            wait_for(lambda: not any(client.run(lambda dask_worker: len(dask_worker.active_threads)).values()), 20)  # noqa: B023


@pytest.fixture
def train(monkeypatch, tmp_path, capsys):
    """The command line with one model: its exit code, and what it says."""
    monkeypatch.setattr(commands, "find_profile", lambda name: dataclasses.replace(SMOKE, zoo=tmp_path / "zoo"))
    monkeypatch.setattr(commands, "all_models", lambda profile: [SPEC])
    monkeypatch.setattr(commands, "train_on_cluster", partial(train_on_cluster, patience=0.5))

    def run(address, *options):
        code = commands.main(["train", "--scheduler", address, "--checkpoints", str(tmp_path / "shared"), *options])
        return code, capsys.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "smoke://signals:8786"])
def test_a_scheduler_that_does_not_answer_is_one_line(train, address):
    code, lines = train(address)
    assert code == 1 and len(lines) == 1
    assert lines[0].startswith(f"error: no Dask scheduler answers at {address}: start one with `dask scheduler`")


def test_without_the_package_the_line_says_what_to_install(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, lines = train("tcp://127.0.0.1:1")
    assert code == 1 and lines == [f"error: {cluster.INSTALL}"]
    pinned = (paths.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "distributed==2026.8.0" in cluster.INSTALL and 'cluster = ["distributed==2026.8.0"]' in pinned


@pytest.mark.parametrize("package, who", [("distributed", "the scheduler at tcp"), ("torch", f"{SPEC.name}: the worker"),
                                          ("helpers", f"{SPEC.name}: the worker")])
def test_other_versions_are_one_line(train, machines, monkeypatch, package, who):
    ours = worker.versions() | {package: "0.1"}
    monkeypatch.setattr(cluster, "versions", lambda: ours)
    code, lines = train(machines.address)
    assert code == 1 and len(lines) == 1 and lines[0].startswith(f"error: {who}")
    assert f"has {package} {worker.versions()[package]} and not 0.1: install the same version" in lines[0]


def test_a_model_that_fails_is_one_line_that_names_it_and_the_worker(train, machines, tmp_path):
    path = checkpoint(tmp_path / "shared", SPEC)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a checkpoint")
    code, lines = train(machines.address)
    assert code == 1 and len(lines) == 1 and lines[0].startswith(f"error: {SPEC.name}: ")
    assert re.search(r"checkpoint .* is damaged.*delete it and train again.* \(on the worker at tcp://127", lines[0])


def test_a_worker_without_the_package_is_one_line(train, machines, tmp_path):
    (tmp_path / "helpers.py").touch()
    bare = machines.start("worker", machines.address, "--nthreads", 1, "--no-nanny", package=tmp_path)
    machines.wait_for_workers(3)
    code, lines = train(machines.address)
    machines.kill(bare)
    assert code == 1 and len(lines) == 1
    assert re.match(r"error: the worker at tcp://\S+ cannot import this package: install it", lines[0])


def test_a_scheduler_that_is_lost_is_one_line_and_its_workers_end(train, machines, tmp_path, monkeypatch):
    endless = dataclasses.replace(SPEC, recipe=Recipe(steps=100_000, batch=4))
    monkeypatch.setattr(commands, "all_models", lambda profile: [endless])
    monkeypatch.setattr(commands, "train_on_cluster", partial(train_on_cluster, every=0.0))
    with ThreadPoolExecutor(1) as pool:
        trained = pool.submit(train, machines.address)
        wait_for(checkpoint(tmp_path / "shared", endless).exists)
        machines.kill(machines.scheduler)
        code, lines = trained.result()
    assert code == 1 and lines[-1] == "error: the scheduler was lost: start it and its workers, and run again to go on"
    assert all(line.startswith("1 of 1 models: ") for line in lines[:-1])
    for process in machines.workers.values():
        process.wait(10)                                 # Dask would wait for a training thread for half a minute


def test_jobs_are_not_for_a_cluster(train, capsys):
    with pytest.raises(SystemExit, match="2"):
        train("tcp://127.0.0.1:1", "--jobs", "2")
    assert "--scheduler is for train, without --jobs" in capsys.readouterr().err


def test_a_worker_of_several_threads_refuses(monkeypatch, tmp_path):
    """Two models in one process would draw from one generator."""
    threads = SimpleNamespace(address="tcp://there:1", state=SimpleNamespace(nthreads=4))
    monkeypatch.setattr(distributed, "get_worker", lambda: threads)
    with pytest.raises(RuntimeError, match="tcp://there:1 has 4 threads.*--nthreads 1"):
        worker.train_run([SPEC.json], [], worker.versions(), "", "", "cpu", tmp_path, 0.0)


def test_each_worker_has_a_gpu_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: SimpleNamespace(uuid=f"card-{k}"))
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path))
    with worker.own_device("cuda") as first, worker.own_device("cuda") as second, worker.own_device("cpu") as none:
        assert (first, second, none) == ("cuda:0", "cuda:1", "cpu")
        with pytest.raises(RuntimeError, match="no GPU is free.*no more workers"), worker.own_device("cuda"):
            pass
    with worker.own_device("cuda") as again:
        assert again == "cuda:0"


def test_a_parents_parent_is_sent_where_the_parent_is_only_a_part(tmp_path):
    child = dataclasses.replace(SPEC, init_from=SPEC.key, trainable="last1")
    whole = dataclasses.replace(SPEC, init_from=child.key)
    local(tmp_path, SPEC, child, whole)
    last = dataclasses.replace(SPEC, init_from=whole.key, subset_size=8)
    assert [path.name for path in parents_of(whole, tmp_path)] == [child.file, SPEC.file]
    assert [path.name for path in parents_of(last, tmp_path)] == [whole.file]
