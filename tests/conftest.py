"""One thread for each process of the unit tests: their tensors are small, and threads that wait for each other cost more
than they save. Several processes share the files (`make test`); the longest ones begin.

Some tests compare with other libraries. Where those are missing, one line says so instead of an error at every import.
"""

import ast
import importlib.util

import pytest
import torch

REFERENCES = ("diffusers", "deepinv", "azula")    # the extra `dev` of pyproject.toml

LONGEST = ("test_smoke.py", "test_training.py", "test_jobs.py", "test_run.py")

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
