"""A chapter's parameters: what they are by default, and what a command line may make of them."""

import ast
import contextlib
import math
from typing import NamedTuple

from helpers.report.kernel import UsageError

LARGEST = 2**63 - 1    # a seed keys generators of 64 bits, and chapters count on from it
TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
TYPES = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "tuple": tuple, "dict": dict, "None": None}


class Kind(NamedTuple):
    """What a value may be: one of TYPES (None for the value None), and for a list or tuple what its items may be."""

    type: type | None
    items: tuple["Kind", ...] = ()

    def __str__(self) -> str:
        name = self.type.__name__ if self.type else "None"
        return f"{name}[{_named(self.items)}]" if self.items else name


def _named(kinds: tuple[Kind, ...]) -> str:
    return " | ".join(map(str, kinds))


def default_parameters(notebook) -> dict:
    """Names and default values in the cell tagged `parameters`: assignments of literals. A UsageError otherwise."""
    return {name: ast.literal_eval(value) for name, value, _ in _assignments(notebook)}


def parameter_kinds(notebook) -> dict[str, tuple[Kind, ...]]:
    """What each parameter may be: as its annotation says, `float`, `int | None`, `list[int]`, else of its default's type."""
    return {name: _annotated(name, annotation) if annotation else _kinds_of(ast.literal_eval(value))
            for name, value, annotation in _assignments(notebook)}


def _assignments(notebook) -> list[tuple[str, ast.expr, ast.expr | None]]:
    """Name, value and annotation of each parameter; all of them literals."""
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise UsageError(f"a chapter needs one cell tagged `parameters`, this one has {len(cells)}")
    found = []
    try:
        for node in ast.parse(cells[0].source).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found.append((node.targets[0].id, node.value, None))
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                found.append((node.target.id, node.value, node.annotation))
        for _, value, _ in found:
            ast.literal_eval(value)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"the cell tagged `parameters` holds more than assignments of literals: {error}") from error
    return found


def _kinds_of(default) -> tuple[Kind, ...]:
    """The kind of a default value; () for None, which does not say what else there could be."""
    return () if default is None else (Kind(type(default)),)


def _annotated(name: str, node: ast.expr) -> tuple[Kind, ...]:
    """The kinds that an annotation names."""
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _annotated(name, left) + _annotated(name, right)
        case ast.Constant(value=None):
            return (Kind(None),)
        case ast.Name(id=known) if known in TYPES:
            return (Kind(TYPES[known]),)
        case ast.Subscript(value=ast.Name(id="list" | "tuple" as known), slice=items):
            if isinstance(items, ast.Tuple) and len(items.elts) == 2 and ast.unparse(items.elts[1]) == "...":
                items = items.elts[0]
            return (Kind(TYPES[known], _annotated(name, items)),)
    raise UsageError(f"parameter {name!r} is annotated with {ast.unparse(node)}: known are {', '.join(TYPES)}, list[int], "
                     "and alternatives as int | None")


def convert(name: str, text: str, default, kinds: tuple[Kind, ...] | None = None):
    """The text of `-p name text` as the first of the kinds that it can be; None: the default's. A UsageError otherwise."""
    kinds = _kinds_of(default) if kinds is None else kinds
    if not kinds:
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(text)
        return text
    for kind in sorted(kinds, key=lambda kind: (kind.type is str, kind.type is not None)):      # any text is a str
        with contextlib.suppress(ValueError, TypeError, OverflowError, SyntaxError, MemoryError, RecursionError):
            value = _read(text, kind)
            break
    else:
        raise UsageError(f"parameter {name!r} is {_named(kinds)} (default {default!r}), so {text!r} is not a value for it")
    least = 0 if name == "seed" else -LARGEST
    if kind.type is int and not least <= value <= LARGEST:
        raise UsageError(f"parameter {name!r} is a whole number from {least} to {LARGEST}, not {text}")
    return value


def _read(text: str, kind: Kind):
    """A text as a value of a kind. ValueError if it is none."""
    if kind.type is bool:
        if text.lower() not in TRUTHS:
            raise ValueError(text)
        return TRUTHS[text.lower()]
    if kind.type in (int, float, str):
        return _checked(kind.type(text), kind)
    return _checked(ast.literal_eval(text), kind)


def _checked(value, kind: Kind):
    """The value, where a list may stand for a tuple and a whole number for a float. ValueError if it is not of the kind."""
    if kind.type in (list, tuple) and isinstance(value, list | tuple):
        return kind.type(_any_of(item, kind.items) for item in value)
    if kind.type is float and type(value) is int:
        value = float(value)
    if value is not None and type(value) is not kind.type or value is None and kind.type is not None:
        raise ValueError(value)
    if kind.type is float and not math.isfinite(value):
        raise ValueError(value)
    return value


def _any_of(value, kinds: tuple[Kind, ...]):
    """The value as the first of some kinds that it is; as it is where there are none. ValueError otherwise."""
    for kind in kinds:
        with contextlib.suppress(ValueError):
            return _checked(value, kind)
    if kinds:
        raise ValueError(value)
    return value


def choose_parameters(defaults: dict, given: list[tuple[str, str]],
                      kinds: dict[str, tuple[Kind, ...]] | None = None) -> dict:
    """The parameters that differ from the defaults, checked and converted; the last value given for a name counts."""
    chosen = {}
    for name, text in given:
        if name not in defaults:
            raise UsageError(f"unknown parameter {name!r}; this chapter knows: {', '.join(defaults) or 'none'}")
        chosen[name] = convert(name, text, defaults[name], (kinds or {}).get(name))
    return {name: value for name, value in chosen.items() if value != defaults[name]}
