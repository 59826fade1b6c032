"""What is killed at random moments goes on, and ends as if nothing had happened.

    python -m tests.kills --kills 50 --seed 0        a quarter of an hour

Two things are killed again and again, each in a folder of its own: the training of a zoo by two worker processes, which
write a checkpoint after each step, and the run of a chapter that trains a model and stores its results. A SIGKILL hits the
whole group of processes, the first one alone, or one of its children, at a moment drawn uniformly from an undisturbed run's
duration. After each, every file that is there must be readable as what its name says, and nobody may still run. When the
run has been let through, its weights, results and notebooks must be those of the undisturbed one, bit for bit, and no
temporary file may be left. (What a training or a chapter cost is stored, too, and differs.)
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from safetensors import safe_open

from helpers import paths
from helpers.models.recipe import Recipe
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import read

SPECS = [ModelSpec(subset_size=n, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=40, batch=4))
         for n in (16, 32)]
LIMIT = 600.0                                   # seconds, for an end that does not come
MANY = ("group", "parent", "child")

# The zoo's command line on models of our own, with a checkpoint after every step.
ZOO = """
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
# A chapter's driver, in folders of our own.
CHAPTER = """
import sys
from pathlib import Path
from helpers import run

root = Path(sys.argv[1])
sys.exit(run.main(["7"], run.Folders(root / "notebooks", root / "results", root / "runs")))
"""
TEXT = """---
kernelspec: {{display_name: Python 3 (ipykernel), language: python, name: python3}}
---

# A chapter that trains a model

```{{code-cell}} ipython3
:tags: [parameters]

profile = "smoke"
seed = 0
```

```{{code-cell}} ipython3
import os
from pathlib import Path
from helpers.report.claims import Report
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import load_denoiser, train_model

report = Report(7, profile=profile, seed=seed)
spec, root = ModelSpec.parse({spec!r}), Path(os.environ["KILLS"])
train_model(spec, root / "zoo", checkpoints=root / "checkpoints", every=0.0)
network = load_denoiser(spec, zoo=root / "zoo").network
report.measure({{"weights": sum(p.abs().sum().item() for p in network.parameters())}})
report.close()
```
"""


@dataclass(frozen=True)
class Kind:
    """What is killed: how a folder is prepared and the program started there, and the files that must be alike."""

    program: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path], None]
    alike: tuple[str, ...]

    def start(self, folder: Path) -> subprocess.Popen:
        (folder / "program.py").write_text(self.program)
        (folder / "tmp").mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "program.py", str(folder), *self.arguments], cwd=folder, text=True, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(paths.ROOT), "TMPDIR": str(folder / "tmp"), "KILLS": str(folder)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _write_chapter(folder: Path) -> None:
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "07-tiny.md").write_text(TEXT.format(spec=SPECS[0].json))


KINDS = {
    "zoo": Kind(ZOO, tuple(spec.json for spec in SPECS), lambda folder: None, ("zoo/*.safetensors",)),
    "chapter": Kind(CHAPTER, (), _write_chapter,
                    ("zoo/*.safetensors", "runs/*.json", "runs/*.ipynb", "results/*.json", "notebooks/*")),
}


def relatives(folder: Path) -> list[psutil.Process]:
    """The processes that were started for a folder, however they are related by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("KILLS") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_after(process: subprocess.Popen, folder: Path, seconds: float, whom: str, chance: random.Random) -> bool:
    """Kill `whom` when a run has taken so long; wait until everybody is gone. Whether it was still running."""
    try:
        process.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        children = [one for one in relatives(folder) if one.pid != process.pid and not _is_python_s_own(one)]
    if whom == "group" or (whom == "child" and not children):
        for one in relatives(folder):
            _quietly(one.kill)
    else:
        _quietly(psutil.Process(process.pid).kill if whom == "parent" else chance.choice(children).kill)
    output, _ = process.communicate(timeout=LIMIT)
    deadline = time.monotonic() + LIMIT
    while relatives(folder):
        assert time.monotonic() < deadline, f"still running after a kill of the {whom}: {relatives(folder)}"
        time.sleep(0.05)
    assert "Traceback" not in output, output
    return True


def _is_python_s_own(process: psutil.Process) -> bool:
    """The tracker that multiprocessing starts beside its workers: without it Python complains, and everything goes on."""
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return True


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        pass


def readable(folder: Path) -> int:
    """Read every file of weights, results and notebooks below a folder; how many. Raises for one that is half written."""
    files = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".ipynb")]
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                [file.get_tensor(name) for name in file.keys()]
        else:
            json.loads(path.read_text(encoding="utf-8"))
    return len(files)


def outcome(kind: Kind, folder: Path) -> dict[str, object]:
    """Let a run through; the files that must be alike, by name. Nothing else may be left that a run makes for itself."""
    process = kind.start(folder)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    left = [*folder.rglob("*.tmp"), *(folder / "checkpoints").glob("*.safetensors")]
    assert not left and not relatives(folder), (left, relatives(folder))
    return {path.name: _content(path) for pattern in kind.alike for path in sorted(folder.glob(pattern))}


def _content(path: Path) -> object:
    """A file's bytes; of weights, the hash that they were read against; of results, all but what they cost."""
    if path.suffix == ".safetensors":
        return read(path)[1]["sha256"]
    return json.loads(path.read_text()) | {"cost": None} if path.suffix == ".json" else path.read_bytes()


def rounds(name: str, kills: int, seed: int, root: Path, each: int = 3) -> int:
    """Kill a kind `kills` times, at most `each` times in one folder before it is let through; how many files were read."""
    kind, chance, read, done = KINDS[name], random.Random(f"{name} {seed}"), 0, 0
    whole = _prepared(kind, root / name)
    begun = time.monotonic()
    expected, took = outcome(kind, whole), time.monotonic() - begun
    assert expected
    for number in range(10 * kills):
        folder = _prepared(kind, root / f"{name}-{number}")
        for _ in range(min(each, kills - done)):
            whom = chance.choice(MANY)
            if not kill_after(kind.start(folder), folder, chance.uniform(0.0, took), whom, chance):
                break
            done, read = done + 1, read + readable(folder)
        found = outcome(kind, folder)
        other = sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))
        assert not other, f"after kills {', '.join(other)} differ from an undisturbed run's"
        if done == kills:
            return read
    raise AssertionError(f"only {done} of {kills} kills met a run")


def _prepared(kind: Kind, folder: Path) -> Path:
    folder.mkdir(parents=True)
    kind.prepare(folder)
    return folder


def main(argv: list[str] | None = None) -> int:
    """Kill as often as is asked for, three of four times the zoo; 0, or 1 and what was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args(argv)
    if wanted.kills < 1:
        parser.error(f"--kills must be 1 or more, got {wanted.kills}")
    chapters = wanted.kills // 3
    with tempfile.TemporaryDirectory() as root:
        for name, kills in (("zoo", wanted.kills - chapters), ("chapter", chapters)):
            if kills:
                try:
                    read = rounds(name, kills, wanted.seed, Path(root))
                except AssertionError as error:
                    print(f"error: {name}: {error}", file=sys.stderr)
                    return 1
                print(f"{name}: {kills} kills, every run went on to the same weights and results; {read} files read in "
                      "between", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
