"""The driver refuses what it does not know, and an unchanged chapter gives unchanged files."""

import base64
import io
import json

import nbformat
import numpy as np
import pytest
from PIL import Image

from helpers import run
from helpers.report import kernel
from helpers.report import notebook as chapter

HEADER = """---
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---

# A chapter for tests

"""
PARAMETERS = """```{code-cell} ipython3
:tags: [parameters]

profile = "laptop"
seed = 0
rate = 0.5
fast = True
```

"""
BODY = """```{code-cell} ipython3
import os
from helpers.report.claims import Report
report = Report(7, profile=profile, seed=seed)
report.measure("seed", seed)
print(os.environ["TQDM_DISABLE"], end=" ")
print("one stream")
```

```{code-cell} ipython3
report.close()
```
"""


@pytest.fixture
def folders(tmp_path):
    """Folders with one tiny chapter."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "07-tiny.md").write_text(HEADER + PARAMETERS + BODY)
    return run.Folders(tmp_path / "notebooks", tmp_path / "results", tmp_path / "runs")


def test_two_runs_give_equal_bytes_and_keep_the_cost(folders):
    assert run.main(["7"], folders) == 0
    outputs = [folders.notebooks / "07-tiny.ipynb", folders.results / "07.json"]
    first = [path.read_bytes() for path in outputs]
    assert run.main(["all"], folders) == 0
    assert [path.read_bytes() for path in outputs] == first

    notebook = nbformat.read(outputs[0], as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert code[1].outputs[0].text == "1 one stream\n"
    assert code[2].outputs[0].text == "1 numbers and 0 verdicts agree with 07.json\n"
    assert [cell.id for cell in notebook.cells] == ["ch07-00", "ch07-01", "ch07-02", "ch07-03"]
    results = json.loads(outputs[1].read_text())
    assert results["parameters"] == {"profile": "laptop", "seed": 0} and results["cost"]["wall_seconds"] > 0
    assert not folders.runs.exists()


def test_other_parameters_touch_nothing_committed(folders):
    assert run.main(["7", "-p", "seed", "3"], folders) == 0
    assert json.loads((folders.runs / "07-tiny-seed-3.json").read_text())["measurements"] == {"seed": 3}
    assert not list(folders.notebooks.glob("*.ipynb")) and not folders.results.exists()


def test_lists_and_long_texts_reach_the_chapter_as_what_they_are(folders):
    text = PARAMETERS.replace("rate = 0.5", 'rate: float = 1\nsizes = [1, 2]\npair = (1, 2)\nname = "x"')
    look = 'report.measure({"a": (sizes, pair, rate, len(name)) == ([3, 4], (5, 6), 2.5, 260)})\n'
    (folders.notebooks / "07-tiny.md").write_text(HEADER + text + BODY.replace("report.close()", look + "report.close()"))
    given = [("sizes", "[3, 4]"), ("pair", "5, 6"), ("rate", "2.5"), ("name", "y" * 260)]
    assert run.main(["7", *(word for pair in given for word in ("-p", *pair))], folders) == 0
    (results,) = folders.runs.glob("*.json")
    found = json.loads(results.read_text())
    assert found["measurements"]["a"] and results.with_suffix(".ipynb").exists()


def test_a_failing_cell_is_one_line_and_leaves_the_notebook_to_look_at(folders, capsys):
    broken = BODY.replace("report.close()", 'raise ValueError("no such luck")')
    (folders.notebooks / "07-tiny.md").write_text(HEADER + PARAMETERS + broken)
    assert run.main(["7", "-p", "seed", "3"], folders) == 1
    message = capsys.readouterr().err
    assert "07-tiny: code cell 2 failed: ValueError: no such luck" in message and message.count("\n") == 1
    assert (folders.runs / "07-tiny-seed-3-failed.ipynb").exists()
    assert not list(folders.notebooks.glob("*.ipynb")) and not folders.results.exists()
    (folders.notebooks / "07-tiny.md").write_text(HEADER + PARAMETERS + BODY)
    assert run.main(["7", "-p", "seed", "3"], folders) == 0
    assert {path.name for path in folders.runs.iterdir()} == {"07-tiny-seed-3.ipynb", "07-tiny-seed-3.json"}


def test_normalizing_removes_what_varies_and_keeps_tags():
    notebook = nbformat.v4.new_notebook(metadata={"papermill": {}, "language_info": {"name": "python", "version": "3"}})
    cell = nbformat.v4.new_code_cell("1", metadata={"papermill": {}, "execution": {}, "tags": []}, execution_count=1)
    tagged = nbformat.v4.new_code_cell("2", metadata={"tags": ["hide-input"]})
    cell.outputs = [nbformat.v4.new_output("stream", text=text) for text in ("a", "b")]
    notebook.cells = [cell, tagged]
    chapter.normalize(notebook, 3)
    assert notebook.metadata == {"language_info": {"name": "python"}}
    assert cell.metadata == {} and tagged.metadata == {"tags": ["hide-input"]}
    assert [c.id for c in notebook.cells] == ["ch03-00", "ch03-01"] and cell.execution_count == 1
    assert [output.text for output in cell.outputs] == ["ab"]


def test_the_environment_is_restored(monkeypatch):
    import os

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with kernel.environment(CHAPTER_RESULTS="x"):
        assert os.environ["OMP_NUM_THREADS"] == "2" and os.environ["CHAPTER_RESULTS"] == "x"
        assert int(os.environ["MALLOC_TRIM_THRESHOLD_"]) > int(os.environ["MALLOC_MMAP_THRESHOLD_"]) >= 2**30
    assert os.environ["OMP_NUM_THREADS"] == "7" and "CHAPTER_RESULTS" not in os.environ


def test_figures_are_stored_with_few_colors_and_look_the_same():
    x = np.linspace(0, 1, 200)
    figure = (np.stack([np.outer(x, x), np.outer(x, 1 - x), np.full((200, 200), 0.5)], 2) * 255).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(figure).save(stored, "PNG", compress_level=0)
    text = base64.b64encode(stored.getvalue()).decode()
    small = chapter.small_png(text)
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(small))).convert("RGB")).astype(int)
    assert len(small) < len(text) / 2 and np.abs(back - figure).mean() < 6
    assert chapter.small_png(small) == small                           # what is small already stays as it is
