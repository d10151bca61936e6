"""Docstrings are plain English: a subject first, and no relative clause in its place."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.house.sources import app_files, files_of_tests, name, tree

IDS = ["code", "tests"]
PATHS = [app_files(), files_of_tests()]

MOST_RELATIVES_PER_1000 = 2.0
MOST_STARTS_PERCENT = 2.0
MOST_MODULES = 21
RELATIVES = {"what", "who", "whoever", "whose", "whom"}
START = re.compile(r"(What|Who|Whose|Whether|Where|Which|That|How)\b")


def docstrings(paths: list[Path]) -> list[tuple[str, str]]:
    """Return every docstring of these files, with its place."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    found = [
        (f"{name(path)}:{getattr(node, 'lineno', 1)}", ast.get_docstring(node))
        for path in paths
        for node in ast.walk(tree(path))
        if isinstance(node, kinds)
    ]
    return [(place, text) for place, text in found if text]


@pytest.mark.parametrize("paths", PATHS, ids=IDS)
def test_few_docstrings_have_a_free_relative(paths: list[Path]) -> None:
    words = {place: re.findall(r"[A-Za-z']+", text) for place, text in docstrings(paths)}
    odd = {place: [word for word in said if word.lower() in RELATIVES] for place, said in words.items()}
    share = 1000 * sum(map(len, odd.values())) / sum(map(len, words.values()))
    assert share <= MOST_RELATIVES_PER_1000, {place: said for place, said in odd.items() if said}


@pytest.mark.parametrize("paths", PATHS, ids=IDS)
def test_few_docstrings_begin_with_a_question_word(paths: list[Path]) -> None:
    found = docstrings(paths)
    odd = [place for place, text in found if START.match(text)]
    assert 100 * len(odd) / len(found) <= MOST_STARTS_PERCENT, odd


def test_no_folder_has_too_many_modules() -> None:
    folders = Counter(path.parent for path in app_files() if path.name != "__init__.py")
    assert {name(folder): count for folder, count in folders.items() if count > MOST_MODULES} == {}
