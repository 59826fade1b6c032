"""Parameters from a command line: the type that the chapter says, and a file of its own for each choice."""

import ast
from types import SimpleNamespace

import pytest
from nbformat import v4

from helpers import run
from helpers.report.kernel import UsageError, write_tuples
from helpers.report.parameters import choose_parameters, default_parameters, parameter_kinds

CELL = """a = [1, 2]
t = (1, 2)
d = {"x": 1}
n = None
rate: float = 1
count: int | None = None
name: str = "x"
sizes: list[int] = [4]
pair: tuple[float, ...] = (0.5, 1)
either: int | str = 0
fast: bool = True
"""


def notebook(source):
    return v4.new_notebook(cells=[v4.new_code_cell(source, metadata={"tags": ["parameters"]})])


CHAPTER = notebook(CELL)


def chosen(*given, source=CHAPTER):
    return choose_parameters(default_parameters(source), list(given), parameter_kinds(source))


@pytest.mark.parametrize("name, text, value", [
    ("a", "[3, 4]", [3, 4]), ("a", "[]", []), ("a", "(3, 'b')", [3, "b"]), ("t", "[3, 4]", (3, 4)), ("t", "3,", (3,)),
    ("d", "{'y': [1]}", {"y": [1]}), ("n", "3", 3), ("n", "three", "three"), ("n", "[1]", [1]),
    ("rate", "2.5", 2.5), ("rate", "2", 2.0), ("count", "3", 3), ("name", "[3]", "[3]"), ("sizes", "[8, 16]", [8, 16]),
    ("pair", "[1, 2]", (1.0, 2.0)), ("either", "3", 3), ("either", "three", "three"), ("fast", "no", False)])
def test_a_value_has_the_type_that_the_chapter_says(name, text, value):
    found = chosen((name, text))
    assert found == {name: value} and type(found[name]) is type(value)
    if isinstance(value, tuple | list):
        assert [type(item) for item in found[name]] == [type(item) for item in value]


@pytest.mark.parametrize("name, text", [("count", "None"), ("rate", "1"), ("rate", "1.0"), ("a", "[1, 2]"), ("t", "1, 2")])
def test_a_default_given_by_name_is_a_default_run(name, text):
    assert chosen((name, text)) == {}


@pytest.mark.parametrize("name, text, words", [
    ("a", "3", "is list"), ("a", "[3", "is list"), ("a", "[x]", "is list"), ("t", "3", "is tuple"), ("d", "[1]", "is dict"),
    ("a", "[" * 10_000, "is list"), ("a", "__import__('os')", "is list"),
    ("rate", "fast", "is float"), ("rate", "inf", "is float"), ("count", "1.5", r"is int \| None"),
    ("sizes", "[1.5]", r"is list\[int\]"), ("sizes", "[True]", r"is list\[int\]"), ("sizes", "['4']", r"is list\[int\]"),
    ("pair", "['a']", r"is tuple\[float\]"), ("pair", "[1e999]", r"is tuple\[float\]"), ("fast", "2", "is bool")])
def test_another_value_is_refused(name, text, words):
    with pytest.raises(UsageError, match=words):
        chosen((name, text))


def test_an_annotation_that_is_not_known_is_refused():
    with pytest.raises(UsageError, match=r"'a' is annotated with np\.ndarray: known are int, float, "):
        parameter_kinds(notebook("a: np.ndarray = 1"))


def test_a_tuple_reaches_the_chapter_as_one():
    from papermill.translators import papermill_translators

    write_tuples()
    translate = papermill_translators.find_translator("python3", "python").translate
    for value in ((3, 4), (3,), (), [(1, "a'b\"")], {"x": (None, True, 0.5)}, "(3, 4)", -1):
        assert ast.literal_eval(translate(value)) == value             # as Python will read the injected cell


def stem(**values):
    return run.stem_of(SimpleNamespace(stem="07-tiny"), values)


def test_two_choices_never_have_one_file():
    values = ["a b", "a/b", "a_b", "a-b", "", [3, 4], (3, 4), "[3, 4]", "ä", "ö", "x" * 260, "x" * 261, "x" * 259 + "y",
              "1-b-2", "..", "../../a", -1, 1]
    choices = [{"a": value} for value in values] + [{"a": "1", "b": "2"}]
    stems = [stem(**choice) for choice in choices]
    assert len(set(stems)) == len(stems)
    for name in stems:
        assert len(f".{name}-failed.ipynb.part") < 255 and "/" not in name and name.isascii()
    assert [stem(**choice) for choice in choices] == stems


def test_short_plain_values_are_read_in_the_name():
    assert stem(seed=3, profile="smoke") == "07-tiny-profile-smoke-seed-3"
    assert stem(profile="/data/mine.toml", rate=-0.5) == "07-tiny-profile-mine-rate--0.5"
