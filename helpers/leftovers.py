"""What a killed process leaves half done: files and folders called `<name>.<process>.tmp`, which the next one clears away.

Used by the zoo for weights, and by the chapters' driver for the folders in which chapters run.
"""

import os
import shutil
from pathlib import Path


def temporary_suffix() -> str:
    """The end of a name that says that it is temporary, and whose."""
    return f".{os.getpid()}.tmp"


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Delete what a process that was killed has left in a folder: `<name>.<process>.tmp` of no living process."""
    for path in folder.glob(f"{name}.tmp"):
        process = path.stem.rpartition(".")[2]
        if process.isdigit() and not _lives(int(process)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)                              # signal 0 only asks
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass                                             # it lives, and is somebody else's
    return True
