"""A chapter's parameters: what they are by default, and what a command line may make of them."""

import ast
import contextlib
import math

from helpers.report.kernel import UsageError

LARGEST = 2**63 - 1    # a seed keys generators of 64 bits, and chapters count on from it


def default_parameters(notebook) -> dict:
    """Names and default values in the cell tagged `parameters`: assignments of literals. A UsageError otherwise."""
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise UsageError(f"a chapter needs one cell tagged `parameters`, this one has {len(cells)}")
    found = {}
    try:
        for node in ast.parse(cells[0].source).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = ast.literal_eval(node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                found[node.target.id] = ast.literal_eval(node.value)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"the cell tagged `parameters` holds more than assignments of literals: {error}") from error
    return found


def convert(name: str, text: str, default):
    """The text of `-p name text` as the type of the default; a UsageError otherwise."""
    kind, value = type(default), None
    if kind is bool:
        value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower())
    else:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            value = kind(text)
    if value is None or kind is float and not math.isfinite(value):
        raise UsageError(f"parameter {name!r} is {kind.__name__} (default {default!r}), so {text!r} is not a value for it")
    least = 0 if name == "seed" else -LARGEST
    if kind is int and not least <= value <= LARGEST:
        raise UsageError(f"parameter {name!r} is a whole number from {least} to {LARGEST}, not {text}")
    return value


def choose_parameters(defaults: dict, given: list[tuple[str, str]]) -> dict:
    """The parameters that differ from the defaults, checked and converted; the last value given for a name counts."""
    chosen = {}
    for name, text in given:
        if name not in defaults:
            raise UsageError(f"unknown parameter {name!r}; this chapter knows: {', '.join(defaults) or 'none'}")
        chosen[name] = convert(name, text, defaults[name])
    return {name: value for name, value in chosen.items() if value != defaults[name]}
