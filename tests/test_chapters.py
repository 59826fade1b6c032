"""What every committed chapter keeps: text and notebook agree; it is executed in order, quiet, small, described."""

import ast

import jupytext
import nbformat
import pytest

from helpers import run
from helpers.paths import NOTEBOOKS
from helpers.report.parameters import default_parameters

CHAPTERS = list(run.chapters().values())
MAX_LINES, MAX_PARAMETERS, MAX_BYTES, MIN_ALT = 20, 3, 1_500_000, 40

pytestmark = pytest.mark.parametrize("text", CHAPTERS or [None], ids=lambda path: path.stem if path else "none")


@pytest.fixture
def stored(text):
    """The committed notebook of a chapter."""
    if text is None:
        pytest.fail("there is no chapter in notebooks/")
    path = text.with_suffix(".ipynb")
    if not path.exists():
        pytest.fail(f"{path.name} is missing: run `make chapter-{int(text.name[:2])}`")
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook, kind):
    return [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == kind]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_text_and_notebook_hold_the_same_inputs(text, stored):
    source = jupytext.read(text)
    assert [(c.cell_type, c.source, tags(c), c.metadata.get("mystnb")) for c in source.cells] == [
        (c.cell_type, c.source, tags(c), c.metadata.get("mystnb")) for c in stored.cells
    ], f"{text.name} and its notebook differ: run `make chapter-{int(text.name[:2])}`"


def test_every_notebook_has_its_text(text):
    assert {p.stem for p in NOTEBOOKS.glob("*.ipynb")} == {p.stem for p in CHAPTERS}


def test_cells_were_executed_once_in_order(text, stored):
    counts = [cell.execution_count for cell in code_cells(stored)]
    assert counts == list(range(1, len(counts) + 1)) and counts


def test_no_errors_and_nothing_on_stderr(text, stored):
    assert not outputs_of(stored, "error")
    assert not [output.text for output in outputs_of(stored, "stream") if output.name == "stderr"]


def test_default_parameters_only(text, stored):
    assert not [cell for cell in stored.cells if "injected-parameters" in tags(cell)]
    assert 1 <= len(default_parameters(stored)) <= MAX_PARAMETERS and "profile" in default_parameters(stored)


def test_cells_are_short_and_end_without_a_semicolon(text, stored):
    for number, cell in enumerate(code_cells(stored)):
        lines = cell.source.strip().splitlines()
        assert len(lines) <= MAX_LINES, f"code cell {number} has {len(lines)} lines"
        assert not cell.source.rstrip().endswith(";"), f"code cell {number}: nbval sees what `;` hides"


def test_every_picture_is_described(text, stored):
    pictures = [cell for cell in code_cells(stored) if any("image/png" in o.get("data", {}) for o in cell.outputs)]
    assert pictures, "a chapter without a figure"
    for cell in pictures:
        about = cell.metadata.get("mystnb", {})
        alt, caption = about.get("image", {}).get("alt", ""), about.get("figure", {}).get("caption", "")
        assert len(alt) >= MIN_ALT, f"{cell.id}: alternative text of {len(alt)} characters, {MIN_ALT} are needed"
        assert alt.strip() != caption.strip(), f"{cell.id}: the alternative text repeats the caption"


def test_tables_of_numbers_are_not_compared_as_text(text, stored):
    """Another processor changes a last digit; report.close() compares the numbers themselves."""
    for cell in code_cells(stored):
        if ".table()" in cell.source:
            assert "nbval-ignore-output" in tags(cell), f"{cell.id}: tag it nbval-ignore-output"


def test_the_report_is_closed_last(text, stored):
    calls = [node for node in ast.walk(ast.parse(code_cells(stored)[-1].source)) if isinstance(node, ast.Call)]
    assert any(isinstance(c.func, ast.Attribute) and c.func.attr == "close" for c in calls)


def test_no_timings_in_the_metadata(text, stored):
    assert "papermill" not in stored.metadata and "version" not in stored.metadata.get("language_info", {})
    assert not [cell.id for cell in stored.cells if {"papermill", "execution"} & set(cell.metadata)]


def test_the_notebook_is_small(text, stored):
    assert text.with_suffix(".ipynb").stat().st_size < MAX_BYTES
