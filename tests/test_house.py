"""The house stands: a room of `helpers` imports only from rooms on lower floors, and no room's modules form a circle."""

import ast
import re
from pathlib import Path

import pytest

from helpers.paths import ROOT

# From the ground up. Rooms on one floor do not know each other.
FLOORS = (
    {"paths", "parallel", "leftovers"},
    {"data", "noise"},
    {"denoiser"},
    {"kernels"},
    {"samplers", "operators", "adapters"},
    {"closed_form"},
    {"guidance"},
    {"models"},
    {"zoo"},
    {"measure"},
    {"report"},
    {"chapters", "audit"},
    {"run", "zoo.__main__", "report.__main__"},
)
HEIGHT = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def read(folder: Path) -> dict[str, ast.Module]:
    """Module name without `helpers.`, a package by its own name -> its syntax; the package itself, which re-exports, not."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(name: str, tree: ast.Module, modules: dict[str, ast.Module]) -> set[str]:
    """The modules of `helpers` that one of them imports, at its top or inside functions."""
    wanted = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relative to itself: write the whole name"
            wanted += [f"{node.module}.{alias.name}" for alias in node.names]
    found = set()
    for full in wanted:
        head, _, rest = full.partition(".")
        if head == "helpers":
            while rest and rest not in modules:        # what is imported may be a name inside a module
                rest = rest.rpartition(".")[0]
            found.add(rest or "helpers")
    return found


def room(name: str) -> str:
    """The room of a module: a command line lives above the room whose files it lies among."""
    return name if name in HEIGHT else name.partition(".")[0]


def offenses(modules: dict[str, ast.Module]) -> list[str]:
    """A line for each import that does not go down: `models.fewstep -> zoo.store`."""
    return [f"{name} -> {other}" for name, tree in modules.items() for other in sorted(imports(name, tree, modules))
            if room(other) != room(name) and HEIGHT.get(room(other), len(FLOORS)) >= HEIGHT[room(name)]]


def circles(modules: dict[str, ast.Module]) -> list[str]:
    """The modules that lie on a circle of imports. What is left when those that import nothing left are taken away,
    and those that nothing left imports."""
    arrows = {name: imports(name, tree, modules) - {name} for name, tree in modules.items()}
    while True:
        wanted = set().union(*arrows.values())
        kept = {name: others & set(arrows) for name, others in arrows.items() if name in wanted and others & set(arrows)}
        if kept == arrows:
            return sorted(kept)
        arrows = kept


def test_every_module_has_a_floor():
    modules = read(ROOT / "helpers")
    assert len(modules) > 30 and {room(name) for name in modules} == set(HEIGHT)


def test_imports_go_down():
    assert offenses(read(ROOT / "helpers")) == []


def test_no_imports_go_in_a_circle():
    assert circles(read(ROOT / "helpers")) == []


def test_contributing_draws_this_house():
    """Its list of rooms goes from the ground up and names all of them."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## helpers/\n")[1].split("\n## ")[0]
    drawn = re.findall(r"^    (\w+)(?:\.py|/) ", section, re.MULTILINE)
    rooms = {name for name in HEIGHT if "." not in name}
    assert set(drawn) == rooms and [HEIGHT[name] for name in drawn] == sorted(HEIGHT[name] for name in drawn)
    counted = re.search(r"(\d+) rooms on (\d+) floors", section)
    assert counted and counted.groups() == (str(len(rooms)), str(len(FLOORS)))


HOUSE = {"paths": "", "noise": "import helpers.paths", "samplers": "from helpers.samplers.solvers import f",
         "samplers.solvers": "from helpers.noise import f", "zoo": "", "zoo.__main__": "from helpers.chapters import f",
         "chapters": "from helpers import zoo"}


@pytest.mark.parametrize("module, text, offense", [
    ("noise", "from helpers.samplers import f", "noise -> samplers"),
    ("noise", "def g():\n    from helpers.samplers.solvers import f", "noise -> samplers.solvers"),
    ("noise", "import helpers.samplers.solvers as s", "noise -> samplers.solvers"),
    ("noise", "from helpers import samplers", "noise -> samplers"),
    ("noise", "from helpers import sample", "noise -> helpers"),
    ("zoo", "from helpers.zoo.__main__ import f", "zoo -> zoo.__main__"),
    ("samplers.solvers", "import helpers.operators", "samplers.solvers -> operators"),
])
def test_an_import_that_goes_up_or_sideways_is_found(module, text, offense):
    sound = {name: ast.parse(source) for name, source in (HOUSE | {"operators": ""}).items()}
    assert offenses(sound) == []
    assert offenses(sound | {module: ast.parse(text)}) == [offense]


def test_a_circle_is_found_and_what_hangs_on_it_is_not():
    sound = {name: ast.parse(source) for name, source in HOUSE.items()}
    assert circles(sound) == []
    round = {"samplers.solvers": ast.parse("from helpers.samplers import g")}
    assert circles(sound | round) == ["samplers", "samplers.solvers"]
