"""The driver: a chapter's text -> notebook -> papermill -> a normalized notebook, its results and its cost.

    python -m helpers.run 2                                run chapter 2 and store what it finds
    python -m helpers.run 2 -p seed 1 --profile smoke      a run of one's own, kept in _build/runs/
    python -m helpers.run all

`notebooks/NN-slug.md` is the only source. A run with default parameters replaces `notebooks/NN-slug.ipynb` and
`data/results/NN.json`; everything that changes from run to run (timings, random ids, versions) is taken out first, so
an unchanged chapter leaves unchanged files. A run with other parameters touches nothing that is committed.
"""

import argparse
import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat

from helpers import paths
from helpers.leftovers import remove_leftovers, temporary_suffix
from helpers.report import record
from helpers.report.files import reason, refuse_unwritable, replace_all
from helpers.report.kernel import ChapterError, UsageError, execute, refuse_another_checkout
from helpers.report.notebook import normalize, read_text
from helpers.report.parameters import choose_parameters, default_parameters, parameter_kinds

LONGEST_NAME = 80    # of the parameters in a file's name; file systems take 255 bytes for all of it


@dataclass(frozen=True)
class Folders:
    """Where chapters are read and where outputs go; tests put them elsewhere."""

    notebooks: Path = paths.NOTEBOOKS
    results: Path = paths.RESULTS
    runs: Path = paths.RUNS


def chapters(notebooks: Path = paths.NOTEBOOKS) -> dict[int, Path]:
    """Chapter number -> its text, in order."""
    return {int(p.name[:2]): p for p in sorted(notebooks.glob("[0-9][0-9]-*.md"))}


def find_chapter(number: str, notebooks: Path) -> Path:
    """The text of a chapter by its number; a UsageError with the known ones otherwise."""
    known = {str(k): path for k, path in chapters(notebooks).items()}
    if number.lstrip("0") not in known:
        listed = ", ".join(f"{k} ({path.stem})" for k, path in known.items()) or "none"
        raise UsageError(f"no chapter {number!r}; the chapters are: {listed}, or: all")
    return known[number.lstrip("0")]


def stem_of(path: Path, chosen: dict) -> str:
    """The name of a run's outputs: 02-two-regimes, or 02-two-regimes-seed-1 for a run with other parameters.

    Where values are long, or hold what file names had better not, the name ends in a hash of them, so that two runs have
    one name only if their parameters are equal.
    """
    shown = {name: Path(value).stem if name == "profile" else str(value) for name, value in sorted(chosen.items())}
    tail = "".join(f"-{name}-{value}" for name, value in shown.items())
    if len(tail) <= LONGEST_NAME and all(re.fullmatch(r"-?[A-Za-z0-9._]+", value) for value in shown.values()):
        return path.stem + tail
    digest = hashlib.sha256(json.dumps([shown, *map(repr, chosen.values())]).encode()).hexdigest()[:8]
    return path.stem + re.sub(r"[^A-Za-z0-9._-]", "_", tail)[:LONGEST_NAME] + f"-{digest}"


@dataclass(frozen=True)
class Run:
    """One run of a chapter, all of whose request was found to be possible: inputs, and where outputs go."""

    path: Path              # the text
    notebook: object        # the text as a notebook, as it was when the run was planned
    digest: str             # of the text
    chosen: dict            # the parameters that differ from the defaults
    cwd: Path
    ipynb: Path
    results: Path
    failed: Path            # the notebook, should a cell fail
    cost: dict | None       # the stored cost, where it stays


def plan(path: Path, given: list[tuple[str, str]], folders: Folders, out: Path | None, remeasure: bool) -> Run:
    """All that can be refused is refused here, before the work: a UsageError says what and why."""
    try:
        text, notebook = path.read_text(encoding="utf-8"), read_text(path)
    except ValueError as error:
        raise UsageError(f"{path.name} cannot be read as a chapter: {error}") from error
    digest = hashlib.sha256(text.encode()).hexdigest()
    defaults = default_parameters(notebook)
    chosen = choose_parameters(defaults, given, parameter_kinds(notebook))
    if chosen.get("profile", "").endswith(".toml"):     # the kernel runs in another folder than the command
        chosen["profile"] = str(Path(chosen["profile"]).expanduser().resolve())
    elsewhere = out or (folders.runs if chosen else None)
    stem = stem_of(path, chosen)
    ipynb = (elsewhere or folders.notebooks) / f"{stem}.ipynb"
    results = elsewhere / f"{stem}.json" if elsewhere else folders.results / f"{path.name[:2]}.json"
    for target in (ipynb, results):
        refuse_unwritable(target)
    if "profile" in defaults:
        # Imported here, because torch takes seconds to load and most errors need none of it.
        from helpers.chapters.ready import refuse_unready

        refuse_unready((defaults | chosen)["profile"], folders.notebooks)
    return Run(path, notebook, digest, chosen, folders.notebooks, ipynb, results,
               (elsewhere or folders.runs) / f"{stem}-failed.ipynb", None if remeasure else stored_cost(results, digest))


def stored_cost(results: Path, digest: str) -> dict | None:
    """The cost in a results file, if it is this text's: timings vary, files should not. None from a damaged file."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        cost = json.loads(results.read_text(encoding="utf-8")).get("cost", {})
        return cost if cost.get("text_sha256") == digest else None


def carry_out(run: Run) -> None:
    """Run the chapter and put notebook and results where they belong. A ChapterError says where what was done is kept."""
    work = workplace(run)
    executed, found = work / run.ipynb.name, work / run.results.name
    start = time.perf_counter()
    try:
        nbformat.write(run.notebook, work / "source.ipynb")
        execute(work / "source.ipynb", executed, run.chosen, found, run.cwd)
        if not found.exists():
            raise ChapterError("the chapter ran but never called report.close()")
    except (ChapterError, OSError) as error:
        raise ChapterError(f"{run.path.stem}: {error}{keep_failed(run, executed)}") from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    try:
        store(run, executed, found, time.perf_counter() - start)
    except OSError as error:
        raise ChapterError(f"{run.path.stem} ran, but {error.filename or 'its outputs'} cannot be written "
                           f"({reason(error)}): notebook and results are kept in {keep(work)}") from error
    shutil.rmtree(work, ignore_errors=True)


def workplace(run: Run) -> Path:
    """A new temporary folder with room for the outputs; a UsageError where there is none. What killed runs left goes."""
    try:
        remove_leftovers(Path(tempfile.gettempdir()), f"{run.path.stem}.*")
        work = Path(tempfile.mkdtemp(prefix=f"{run.path.stem}.", suffix=temporary_suffix()))
    except OSError as error:
        raise UsageError(f"no temporary folder can be made ({reason(error)}): set TMPDIR to a folder with room") from error
    refuse_unwritable(work / run.ipynb.name)
    return work


def keep(work: Path) -> Path:
    """Give a temporary folder a name under which no later run clears it away."""
    return work.rename(work.with_name(f"{work.name.removesuffix('.tmp')}.kept"))


def keep_failed(run: Run, executed: Path) -> str:
    """Put the notebook of a run that failed where it can be looked at: " (see ...)", or nothing where none was written."""
    if not executed.exists():
        shutil.rmtree(executed.parent, ignore_errors=True)
        return ""
    try:
        replace_all({run.failed: executed.read_text(encoding="utf-8")})
    except OSError:
        return f" (see {keep(executed.parent) / executed.name})"
    shutil.rmtree(executed.parent, ignore_errors=True)
    return f" (see {run.failed})"


def store(run: Run, executed: Path, found: Path, wall: float) -> None:
    """Normalize what was executed, add the cost to the report, and write both. OSError where they cannot be written."""
    done, report = nbformat.read(executed, as_version=4), json.loads(found.read_text(encoding="utf-8"))
    normalize(done, int(run.path.name[:2]))
    used = report.pop("usage")
    cost = run.cost or {"wall_seconds": wall, "text_sha256": run.digest, **used}
    content = record.canonical(report | {"cost": record.rounded(cost)})
    replace_all({run.ipynb: nbformat.writes(done) + "\n", run.results: content})
    run.failed.unlink(missing_ok=True)                  # of an earlier run, it says nothing of this one


def named_folder(text: str) -> Path:
    """A path from the command line; argparse refuses an empty one, which would be the folder that one is in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a folder's name is needed")
    return Path(text)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments; argparse ends with exit code 2 where they are off."""
    parser = argparse.ArgumentParser(prog="python -m helpers.run", description="Run chapters of the book.")
    parser.add_argument("chapter", help="its number, or: all")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="another value for a parameter of the chapter (may be repeated)")
    parser.add_argument("--profile", help="another size: shorthand for -p profile NAME")
    parser.add_argument("--out", type=named_folder, help="write the outputs into this folder instead")
    parser.add_argument("--remeasure", action="store_true",
                        help="store this run's cost although the chapter's text is unchanged")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, folders: Folders | None = None) -> int:
    """Run what the arguments ask for: 0, 1 for a failure, 2 for a request that cannot be met, 130 after Ctrl-C."""
    wanted = parse(argv)
    try:
        run_all(wanted, folders or Folders())
    except UsageError as error:
        return complain(f"error: {error}", 2)
    except (ChapterError, OSError) as error:
        return complain(f"error: {error}", 1)
    except KeyboardInterrupt:
        return complain("interrupted: nothing of this chapter was stored", 130)
    return 0


def run_all(wanted: argparse.Namespace, folders: Folders) -> None:
    """Plan every run that is asked for, then carry them out, with a line before and after each."""
    refuse_another_checkout(Path.cwd())
    every = wanted.chapter == "all"
    asked = chapters(folders.notebooks).values() if every else [find_chapter(wanted.chapter, folders.notebooks)]
    given = [tuple(pair) for pair in wanted.parameter]
    if wanted.profile is not None:
        given.append(("profile", wanted.profile))
    runs = [plan(path, given, folders, wanted.out, wanted.remeasure) for path in asked]
    if not runs:
        raise UsageError("there is no chapter to run")
    for run in runs:
        start = time.perf_counter()
        print(f"{run.path.stem} ...", flush=True)
        carry_out(run)
        print(f"{run.path.stem} done in {time.perf_counter() - start:.0f} s: {shown(run.ipynb)}", flush=True)


def complain(text: str, code: int) -> int:
    """One line on stderr, and the exit code."""
    print(" ".join(text.split()), file=sys.stderr)
    return code


def shown(path: Path) -> str:
    """The path as the user would type it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
