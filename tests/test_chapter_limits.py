"""A chapter reads as a chapter: few open cells, short ones, a figure early, and folds that say what is inside.

Held against the text, so that a chapter can be written to these limits before it runs.
"""

import ast

import jupytext
import pytest

from helpers import run

CHAPTERS = list(run.chapters().values())
MAX_LINES, MAX_COLUMNS, OPEN_CELLS, MAX_IMPORT_CELLS = 20, 88, range(8, 15), 2
FOLDS = {"hide-input", "hide-cell"}          # a click opens these
CLOSED = FOLDS | {"remove-cell"}
PROMPTS = ("code_prompt_show", "code_prompt_hide")

pytestmark = pytest.mark.parametrize("text", CHAPTERS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def cells():
    """The cells of every chapter's text, by path."""
    return {path: jupytext.read(path).cells for path in CHAPTERS}


def tags(cell):
    return set(cell.metadata.get("tags", []))


def code(cells):
    """(number, cell) of the code cells, counted from 0 as the driver and nbval do."""
    return list(enumerate(cell for cell in cells if cell.cell_type == "code"))


def is_open(cell):
    return not tags(cell) & (CLOSED | {"parameters"})


def is_figure(cell):
    return "figure" in cell.metadata.get("mystnb", {})


def imports(cell):
    """The top-level imports of a cell."""
    return [node for node in ast.parse(cell.source).body if isinstance(node, ast.Import | ast.ImportFrom)]


def foreign_names(cell):
    """The names that a cell reads and nowhere binds itself."""
    nodes = list(ast.walk(ast.parse(cell.source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - bound


def test_there_is_a_chapter(text):
    assert text is not None and text.exists()


def test_cells_have_at_most_20_lines_of_88_columns(text, cells):
    long = [f"cell {k}: {len(cell.source.strip().splitlines())} lines" for k, cell in code(cells[text])
            if len(cell.source.strip().splitlines()) > MAX_LINES]
    wide = [f"cell {k}: {len(line)} columns: {line}" for k, cell in code(cells[text])
            for line in cell.source.splitlines() if len(line) > MAX_COLUMNS]
    assert long + wide == []


def test_8_to_14_cells_are_open(text, cells):
    found = [k for k, cell in code(cells[text]) if is_open(cell)]
    assert len(found) in OPEN_CELLS, f"{len(found)} open cells: {found}"


def test_the_first_figure_comes_before_what_the_paper_says(text, cells):
    paper = [k for k, cell in enumerate(cells[text]) if cell.cell_type == "markdown"
             and any(line.startswith("## What the paper says") for line in cell.source.splitlines())]
    figures = [k for k, cell in enumerate(cells[text]) if cell.cell_type == "code" and is_figure(cell)]
    assert len(paper) == 1, "one section begins with: ## What the paper says"
    assert figures and figures[0] < paper[0]


def test_imports_stand_in_at_most_two_folded_cells(text, cells):
    found = [(k, cell) for k, cell in code(cells[text]) if imports(cell)]
    assert len(found) <= MAX_IMPORT_CELLS, f"imports in cells {[k for k, _ in found]}"
    assert [k for k, cell in found if not tags(cell) & FOLDS] == [], "these import cells are not folded"


def test_a_folded_cell_says_what_is_inside(text, cells):
    """In the cell's metadata: mystnb: {code_prompt_show: "Code: draw figure 3", code_prompt_hide: "..."}."""
    for k, cell in code(cells[text]):
        if tags(cell) & FOLDS:
            show, hide = (cell.metadata.get("mystnb", {}).get(prompt, "") for prompt in PROMPTS)
            assert show.startswith("Code: ") and len(show) > len("Code: ") + 3, f"cell {k}: code_prompt_show is {show!r}"
            assert hide.strip() and "{type}" not in show + hide, f"cell {k}: code_prompt_hide is {hide!r}"


def test_open_cells_call_no_function_that_a_fold_hides(text, cells):
    """What the argument runs on is in sight: a fold may draw, import and keep books, but not hold the algorithm."""
    hidden = {node.name: k for k, cell in code(cells[text]) if tags(cell) & CLOSED
              for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    used = [f"cell {k} uses {name}, defined in folded cell {hidden[name]}" for k, cell in code(cells[text]) if is_open(cell)
            for name in sorted(foreign_names(cell) & set(hidden)) if hidden[name] < k]
    assert used == []
