"""Two clones share an environment: each runs its own `helpers`, whatever is installed and whatever kernels there are."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from helpers.paths import ROOT

CHAPTER = """---
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---

# A chapter that says whose code it runs

```{code-cell} ipython3
:tags: [parameters]

profile = "laptop"
```

```{code-cell} ipython3
import helpers.owner
from helpers.paths import ZOO
from helpers.report.claims import Report
report = Report(7, profile=profile)
report.measure("owner", helpers.owner.NAME)
report.measure("zoo", str(ZOO))
print(helpers.owner.NAME)
```

```{code-cell} ipython3
report.close()
```
"""


def clone(folder, name):
    """A checkout with one chapter, whose helpers say its name."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=ignore)
    (folder / "helpers" / "owner.py").write_text(f"NAME = {name!r}\n")
    (folder / "notebooks").mkdir()
    (folder / "data").mkdir()
    for part in ("fashion-mnist", "zoo"):
        (folder / "data" / part).symlink_to(ROOT / "data" / part)
    (folder / "notebooks" / "07-owner.md").write_text(CHAPTER)
    for file in ("pyproject.toml", "notebooks/conftest.py"):
        shutil.copy(ROOT / file, folder / file)
    return folder


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    """Two clones; `env` has the helpers of `other` installed, and a kernel python3 that is no Python."""
    base = tmp_path_factory.mktemp("clones")
    mine, other = clone(base / "mine", "mine"), clone(base / "other", "other")
    foreign = base / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "not ours", "language": "python"}))
    env = os.environ | {"PYTHONPATH": str(other), "JUPYTER_PATH": str(base / "jupyter")}
    return SimpleNamespace(mine=mine, other=other, env=env)


def python(clones, *arguments, cwd):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=clones.env, capture_output=True, text=True, timeout=300)


def test_the_driver_and_nbval_run_the_code_of_their_own_clone(clones):
    done = python(clones, "-m", "helpers.run", "7", cwd=clones.mine)
    assert done.returncode == 0, done.stderr
    found = json.loads((clones.mine / "data" / "results" / "07.json").read_text())["measurements"]
    assert found == {"owner": "mine", "zoo": str(clones.mine / "data" / "zoo")}
    assert not (clones.other / "data" / "results").exists()

    # -P: as the command `pytest` does, without the working directory on the import path.
    done = python(clones, "-P", "-m", "pytest", "-q", "--nbval", "notebooks", cwd=clones.mine)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("command", [("helpers.run", "7"), ("helpers.report", "show")])
def test_a_command_that_would_run_another_clones_code_is_refused(clones, command):
    done = python(clones, "-m", *command, cwd=clones.mine / "notebooks")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"run the command from {clones.mine}" in done.stderr and str(clones.other) in done.stderr
