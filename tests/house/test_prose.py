"""Docstrings are plain English: a subject first, and no relative clause in its place."""

import ast
import re
from collections import Counter

from tests.house.sources import app_files, name, tree

MOST_RELATIVES_PER_1000 = 2.0
MOST_STARTS_PERCENT = 2.0
MOST_MODULES = 22
RELATIVES = {"what", "who", "whoever", "whose", "whom"}
START = re.compile(r"(What|Who|Whose|Whether|Where|Which|That|How)\b")


def docstrings() -> list[tuple[str, str]]:
    """Every docstring of the server and the SDK, with its place."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    found = [
        (f"{name(path)}:{getattr(node, 'lineno', 1)}", ast.get_docstring(node))
        for path in app_files()
        for node in ast.walk(tree(path))
        if isinstance(node, kinds)
    ]
    return [(place, text) for place, text in found if text]


def test_few_docstrings_have_a_free_relative() -> None:
    words = {place: re.findall(r"[A-Za-z']+", text) for place, text in docstrings()}
    odd = {place: [word for word in said if word.lower() in RELATIVES] for place, said in words.items()}
    share = 1000 * sum(map(len, odd.values())) / sum(map(len, words.values()))
    assert share <= MOST_RELATIVES_PER_1000, {place: said for place, said in odd.items() if said}


def test_few_docstrings_begin_with_a_question_word() -> None:
    found = docstrings()
    odd = [place for place, text in found if START.match(text)]
    assert 100 * len(odd) / len(found) <= MOST_STARTS_PERCENT, odd


def test_no_folder_has_too_many_modules() -> None:
    folders = Counter(path.parent for path in app_files() if path.name != "__init__.py")
    assert {name(folder): count for folder, count in folders.items() if count > MOST_MODULES} == {}
