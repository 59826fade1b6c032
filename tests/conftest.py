"""One thread for each process of the unit tests: their tensors are small, and threads that wait for each other cost more
than they save. Several processes share the files (`make test`); the longest ones begin.

Some tests compare with other libraries. Where those are missing, one line says so instead of an error at every import.
"""

import ast
import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from helpers.paths import ROOT
from tests.offline import offline

# The extra `dev` of pyproject.toml.
REFERENCES = ("diffusers", "deepinv", "azula", "playwright", "axe_playwright_python", "distributed")
ORIGIN = "https://reader:secret@github.com/Some-Body/the-book.git"

MEMORY = 6 * 2**30                      # bytes: what a build on NeuroLibre may take

LONGEST = ("test_smoke.py", "test_training.py", "test_jobs.py", "test_cluster.py", "test_run.py")

torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process is left with one when the others are done."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def imported(source: str) -> set[str]:
    """The top-level packages that a file imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector):
    """End the run, in one line, before a file of tests is imported whose reference implementations are not installed."""
    if isinstance(collector, pytest.Module) and imported(collector.path.read_text(encoding="utf-8")) & set(REFERENCES):
        if missing := [name for name in REFERENCES if importlib.util.find_spec(name) is None]:
            raise pytest.UsageError(f"{collector.path.name} needs packages that are not installed ({', '.join(missing)}): "
                                    "run `make test`, or `pip install -r requirements-dev.txt`")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The pages of a strict build, as in .ci/run, into a folder of its own, as from a clone whose git remote is ORIGIN.

    Built once, whatever the number of processes that share the tests.
    """
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared) / "book"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            build(folder)
    return folder / "_build/html"


def build(folder: Path) -> None:
    """Build the book with warnings as errors, without a network, within MEMORY; what failed is no folder, so that another
    process says why, too.
    """
    tool = Path(sys.executable).with_name("jupyter-book")
    command = [str(tool), "build", ".", "--toc", "book/_toc.yml", "-n", "-W", "--keep-going"]
    remote = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "remote.origin.url", "GIT_CONFIG_VALUE_0": ORIGIN}
    target = folder.with_name("book-in-the-making")
    target.mkdir(exist_ok=True)
    done = subprocess.run([*command, "--path-output", str(target)], cwd=ROOT, capture_output=True, text=True,
                          env=offline(target) | remote,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)))
    assert done.returncode == 0, [line for line in done.stderr.splitlines() if "WARNING" in line] or done.stderr[-2000:]
    target.rename(folder)
