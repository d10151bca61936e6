"""No file has more than 400 lines, no function more than 60."""

import ast

from tests.house.sources import name, python_files, tree

LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in python_files()}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = {
        f"{name(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in python_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION
    }
    assert long == {}
