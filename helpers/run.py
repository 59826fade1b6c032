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
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat

from helpers.paths import NOTEBOOKS, RESULTS, RUNS
from helpers.report import record
from helpers.report.kernel import ChapterError, UsageError, execute, refuse_another_checkout
from helpers.report.notebook import default_parameters, normalize, read_text


@dataclass(frozen=True)
class Folders:
    """Where chapters are read and where outputs go; tests put them elsewhere."""

    notebooks: Path = NOTEBOOKS
    results: Path = RESULTS
    runs: Path = RUNS


def chapters(notebooks: Path = NOTEBOOKS) -> dict[int, Path]:
    """Chapter number -> its text, in order."""
    return {int(p.name[:2]): p for p in sorted(notebooks.glob("[0-9][0-9]-*.md"))}


def find_chapter(number: str, notebooks: Path) -> Path:
    """The text of a chapter by its number; a UsageError with the known ones otherwise."""
    known = chapters(notebooks)
    if not number.isdigit() or int(number) not in known:
        listed = ", ".join(f"{k} ({path.stem})" for k, path in known.items()) or "none"
        raise UsageError(f"no chapter {number!r}; the chapters are: {listed}, or: all")
    return known[int(number)]


def convert(name: str, text: str, default):
    """The text of `-p name text` as the type of the default; a UsageError otherwise."""
    kind = type(default)
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() in words:
            return words[text.lower()]
    else:
        with contextlib.suppress(ValueError, TypeError):
            return kind(text)
    raise UsageError(f"parameter {name!r} is {kind.__name__} (default {default!r}), so {text!r} is not a value for it")


def known_profiles() -> list[str]:
    """The names of the profiles; imported here, because torch takes seconds to load and most errors need none of it."""
    from helpers.chapters.profiles import PROFILES

    return list(PROFILES)


def choose_parameters(defaults: dict, given: list[tuple[str, str]], profile: str | None) -> dict:
    """The parameters that differ from the defaults, checked and converted."""
    pairs = [*given, ("profile", profile)] if profile is not None else list(given)
    chosen = {}
    for name, text in pairs:
        if name not in defaults:
            raise UsageError(f"unknown parameter {name!r}; this chapter knows: {', '.join(defaults) or 'none'}")
        value = convert(name, text, defaults[name])
        if name == "profile" and value not in known_profiles():
            raise UsageError(f"unknown profile {value!r}; the profiles are: {', '.join(known_profiles())}")
        if value != defaults[name]:
            chosen[name] = value
    return chosen


def stem_of(path: Path, chosen: dict) -> str:
    """The name of a run's outputs: 02-two-regimes, or 02-two-regimes-seed-1 for a run with other parameters."""
    tail = "".join(f"-{name}-{value}" for name, value in sorted(chosen.items()))
    return path.stem + re.sub(r"[^A-Za-z0-9._-]", "_", tail)


def replace(target: Path, text: str) -> None:
    """Write a file all at once: a reader, or a crash, never sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, target)


def with_cost(report: dict, wall: float, text: str, target: Path, remeasure: bool) -> dict:
    """The report with the run's cost. The stored cost stays while the text does: timings vary, files should not."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    used = report.pop("usage")
    cost = {"wall_seconds": wall, "text_sha256": digest, **used}
    if target.exists() and not remeasure:
        stored = json.loads(target.read_text(encoding="utf-8")).get("cost", {})
        cost = stored if stored.get("text_sha256") == digest else cost
    return report | {"cost": record.rounded(cost)}


def run_chapter(path: Path, given: list[tuple[str, str]], profile: str | None, folders: Folders,
                out: Path | None = None, remeasure: bool = False) -> tuple[Path, Path]:
    """Run one chapter and put its notebook and results where they belong; returns both paths."""
    notebook = read_text(path)
    chosen = choose_parameters(default_parameters(notebook), given, profile)
    elsewhere = out or (folders.runs if chosen else None)
    stem = stem_of(path, chosen)
    ipynb = (elsewhere or folders.notebooks) / f"{stem}.ipynb"
    results = elsewhere / f"{stem}.json" if elsewhere else folders.results / f"{path.name[:2]}.json"
    with tempfile.TemporaryDirectory() as temporary:
        source, executed, found = (Path(temporary) / name for name in ("source.ipynb", "executed.ipynb", results.name))
        nbformat.write(notebook, source)
        start = time.perf_counter()
        try:
            execute(source, executed, chosen, found, folders.notebooks)
        except ChapterError as error:
            replace(folders.runs / f"{stem}-failed.ipynb", executed.read_text(encoding="utf-8"))
            raise ChapterError(f"{path.stem}: {error} (see {folders.runs / f'{stem}-failed.ipynb'})") from error
        wall = time.perf_counter() - start
        if not found.exists():
            raise ChapterError(f"{path.stem}: the chapter ran but never called report.close()")
        report = json.loads(found.read_text(encoding="utf-8"))
        report = with_cost(report, wall, path.read_text(encoding="utf-8"), results, remeasure)
        done = nbformat.read(executed, as_version=4)
    normalize(done, int(path.name[:2]))
    replace(ipynb, nbformat.writes(done) + "\n")
    replace(results, record.canonical(report))
    return ipynb, results


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments; argparse ends with exit code 2 where they are off."""
    parser = argparse.ArgumentParser(prog="python -m helpers.run", description="Run chapters of the book.")
    parser.add_argument("chapter", help="its number, or: all")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="another value for a parameter of the chapter (may be repeated)")
    parser.add_argument("--profile", help="another size: shorthand for -p profile NAME")
    parser.add_argument("--out", type=Path, help="write the outputs there instead")
    parser.add_argument("--remeasure", action="store_true",
                        help="store this run's cost although the chapter's text is unchanged")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, folders: Folders | None = None) -> int:
    """Run what the arguments ask for: 0, 1 where a cell fails, 2 for a request that cannot be met."""
    folders = folders or Folders()
    wanted = parse(argv)
    try:
        refuse_another_checkout(Path.cwd())
        known = chapters(folders.notebooks)
        paths = list(known.values()) if wanted.chapter == "all" else [find_chapter(wanted.chapter, folders.notebooks)]
        if not paths:
            raise UsageError("there is no chapter to run")
        for path in paths:
            start = time.perf_counter()
            print(f"{path.stem} ...", flush=True)
            given = [tuple(pair) for pair in wanted.parameter]
            ipynb, _ = run_chapter(path, given, wanted.profile, folders, wanted.out, wanted.remeasure)
            print(f"{path.stem} done in {time.perf_counter() - start:.0f} s: {shown(ipynb)}", flush=True)
    except (UsageError, ChapterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def shown(path: Path) -> str:
    """The path as the user would type it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
