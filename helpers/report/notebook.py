"""One chapter as a notebook: read from text and, once it is executed, freed of what changes from run to run.

The driver (`run.py`) decides what to run and where the outputs go; `kernel.py` runs it. Timings, random cell ids and
versions are taken out, so that an unchanged chapter gives an unchanged file and a difference in version control means
something.
"""

import base64
from pathlib import Path

import jupytext

from helpers.report.picture import smaller

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def read_text(path: Path):
    """The chapter's text as a notebook with ids that depend on position alone: ch02-07."""
    notebook = jupytext.read(path)
    for k, cell in enumerate(notebook.cells):
        cell["id"] = f"ch{path.name[:2]}-{k:02d}"
    notebook.metadata["kernelspec"] = KERNEL
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def normalize(notebook, number: int) -> None:
    """Take out, in place, all that changes from run to run while the chapter does not."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for k, cell in enumerate(notebook.cells):
        cell["id"] = f"ch{number:02d}-{k:02d}"
        for key in ("papermill", "execution", "ExecuteTime"):
            cell.metadata.pop(key, None)
        if cell.metadata.get("tags") == []:
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output["data"]["image/png"] = small_png(output["data"]["image/png"])


def small_png(text: str) -> str:
    """A figure, base64, with few colors: `picture.smaller`."""
    return base64.b64encode(smaller(base64.b64decode(text))).decode("ascii")


def merge_streams(outputs: list) -> list:
    """Neighboring prints as one output: how many pieces a stream arrives in is a matter of timing."""
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else {}
        if output.output_type == "stream" and last.get("output_type") == "stream" and last["name"] == output.name:
            last["text"] += output.text
        else:
            merged.append(output)
    return merged
