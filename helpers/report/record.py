"""What a chapter stores, data/results/NN.json: how it is written, read, and compared with what another run finds.

A stored value is a number (4 significant digits), a text, or a list of them; a text that is written twice is the same to
the byte. Another processor may change the last digits of float32, so a comparison has a tolerance.
"""

import json
import math
import platform
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from helpers.paths import RESULTS

ABSOLUTE, RELATIVE = 0.02, 0.02
DIGITS = 4


def usage() -> dict:
    """What this process has used so far: processor time, peak memory, and the device it computed on."""
    import torch

    spent = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"cpu_seconds": spent.ru_utime + spent.ru_stime, "peak_memory_mb": spent.ru_maxrss * unit / 2**20,
             "device": f"{platform.machine()} CPU", "threads": torch.get_num_threads()}
    if torch.cuda.is_initialized():
        found["device"] = torch.cuda.get_device_name()
        found["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def plain(value):
    """numpy and torch scalars and arrays as Python ones; True, text and None as they are."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be recorded: JSON has no such number")
    return value


def rounded(value):
    """Every float in a nested value to DIGITS significant digits; -0.0 becomes 0.0."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.{DIGITS}g}") + 0.0 if isinstance(value, float) else value


def canonical(content: dict) -> str:
    """The one text that a content has: sorted keys, two spaces, final newline."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def flatten(content: dict) -> dict[str, object]:
    """"claim rp.low" -> .7, "measurement gl.3" -> .9: every value that a comparison looks at, by name."""
    flat = {}
    for claim in content["claims"]:
        flat |= {f"claim {claim['id']}.{k}": v for k, v in claim.items() if k != "id"}
    for kind in ("measurement", "interval"):
        for name, value in content.get(f"{kind}s", {}).items():
            if isinstance(value, list):
                flat |= {f"{kind} {name}.{k}": v for k, v in _leaves(value)}
            else:
                flat[f"{kind} {name}"] = value
    return flat


def _leaves(values: list, prefix: str = ""):
    for k, value in enumerate(values):
        if isinstance(value, list):
            yield from _leaves(value, f"{prefix}{k}.")
        else:
            yield f"{prefix}{k}", value


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _claim(key: str) -> str:
    """The claim that a flattened value belongs to, or ""."""
    return key.split(".", 1)[0] if key.startswith("claim ") else ""


def count_numbers(content: dict) -> int:
    """How many numbers a comparison looks at."""
    return sum(_is_number(v) for v in flatten(content).values())


def compare(found: dict, stored: dict, tolerance: Callable[[str], float]) -> list[str]:
    """A line for each value that differs: numbers beyond the tolerance, anything else (verdicts, names) at all.

    A claim whose numbers differ within the tolerance, as another processor's rounding makes them, may have passed a rule's
    limit: its verdict and what goes with it are not compared then.
    """
    now, then = flatten(found), flatten(stored)
    differences = [f"{key}: only {'now' if key in now else 'stored'}" for key in sorted(now.keys() ^ then.keys())]
    moved = {_claim(key) for key in now.keys() & then.keys() if _is_number(then[key]) and now[key] != then[key]}
    for key in sorted(now.keys() & then.keys()):
        a, b = now[key], then[key]
        if _is_number(a) and _is_number(b):
            same = abs(a - b) <= tolerance(key.split(".", 1)[0]) + RELATIVE * abs(b)
        else:
            same = a == b or (_claim(key) in moved - {""} and key.endswith((".verdict", ".note", ".level")))
        if not same:
            differences.append(f"{key}: {a} now, {b} stored")
    return differences


def read(chapter: int, results: Path = RESULTS) -> dict | None:
    """The stored results of a chapter, or None where it has not been run."""
    path = results / f"{chapter:02d}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def read_all(results: Path = RESULTS) -> list[dict]:
    """The stored results of every chapter, in order."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("[0-9][0-9].json"))]
