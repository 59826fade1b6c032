"""Writing a run's outputs: what cannot be written is found out before the work, and a reader never sees half a file."""

import os
from pathlib import Path

from helpers.report.kernel import UsageError

ROOM = 2**20    # bytes: no notebook of the book is larger


def reason(error: OSError) -> str:
    """Why the system refused, in its words: "No space left on device"."""
    return error.strerror or type(error).__name__


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def refuse_unwritable(target: Path) -> None:
    """A UsageError unless a file of ROOM bytes can be written where `target` will be; its folder is made if need be."""
    folder = target.parent
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, and outputs need a folder: name another one")
    if target.is_dir():
        raise UsageError(f"{target} is a folder, where the run will put a file: remove or rename it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _part(target).write_bytes(bytes(ROOM))
        finally:
            _part(target).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {reason(error)}") from error


def replace_all(contents: dict[Path, str]) -> None:
    """Write files all at once, or none where one cannot be written: target -> its text. OSError as the system gives it."""
    try:
        for target, text in contents.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            _part(target).write_text(text, encoding="utf-8")
        for target in contents:
            os.replace(_part(target), target)
    except BaseException:
        for target in contents:
            try:
                _part(target).unlink(missing_ok=True)
            except OSError:
                pass    # what made the write fail may also forbid this; the first error is the one to tell
        raise
