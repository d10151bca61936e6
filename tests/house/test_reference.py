"""docs/reference.md names only what exists, and has a row for everything that the reference systems have."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from core.limits import DEFAULTS
from tests.house.sources import APPS, ROOT, files, name, tree

PAGE = ROOT / "docs/reference.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
DOTTED = re.compile(rf"`((?:{'|'.join((*APPS, 'wardroom'))})(?:\.\w+)+)`")
CALL = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/api/v1/[^`?]*)`")
SETTING = re.compile(r"`LIMITS\.(\w+)`")
FRAME = re.compile(r"\bframe `(\w+)`")
EVENT = re.compile(r"\bevent `(\w+)`")
COMMAND = re.compile(r"`manage\.py (\w+)`")
VARIABLE = re.compile(r"`(WARDROOM_\w+)`")
FILE = re.compile(r"`?((?:docs|tests|wardroom)/[\w/.-]+\.(?:md|py))\b(?!::)")

SECTIONS = [f"1.{number}" for number in range(1, 15)] + [f"2.{number}" for number in range(1, 10)]
LETTERS = {"T": 28, "A": 8, "F": 55, "W": 32, "P": 12}


def page() -> str:
    return PAGE.read_text()


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table, without the heads."""
    for line in text.split("\n"):
        if line.startswith("| ") and line != "| there | here | shown by |":
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


@cache
def definitions(file: Path) -> frozenset[str]:
    """The names that a module defines or imports; those of a class as `Class.name`."""
    return frozenset(_named(tree(file).body))


def _named(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _named(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id
        elif isinstance(node, ast.Assign):
            yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (prefix + (alias.asname or alias.name) for alias in node.names)


def exists(dotted: str) -> bool:
    """Return True for a package, a module, or a name that is defined in a module."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return length == len(parts) or ".".join(parts[length:]) in definitions(file)
    return False


@cache
def calls() -> frozenset[tuple[str, str]]:
    """The calls of the API document: method and path."""
    found, path = set(), ""
    for line in (ROOT / "docs/openapi.yaml").read_text().split("\n"):
        if match := re.match(r"  (/api/v1/\S+):$", line):
            path = match[1]
        elif match := re.match(r"    (get|post|put|patch|delete):$", line):
            found.add((match[1].upper(), path))
    return frozenset(found)


@cache
def entry_point_groups() -> frozenset[str]:
    sources = "".join(path.read_text() for path in files() if name(path).startswith("orchestration/"))
    return frozenset(re.findall(r'"(wardroom\.\w+)"', sources))


def missing(text: str) -> list[str]:
    """The names of the page that do not exist."""
    frames = set(re.findall(r'tag="(\w+)"', (ROOT / "wardroom/frames.py").read_text()))
    events = set(re.findall(r"\b\w+\b", (ROOT / "docs/feed.md").read_text() + (ROOT / "docs/approvals.md").read_text()))
    commands = {path.stem for path in files() if "/management/commands/" in name(path)}
    variables = {word for path in files() if path.suffix == ".py" for word in _variables(path)}
    absent = [f"{file}::{test}" for file, test in TEST.findall(text) if not _is_test(ROOT / file, test)]
    absent += [dotted for dotted in DOTTED.findall(text) if not exists(dotted) and dotted not in entry_point_groups()]
    absent += [f"{method} {path}" for method, path in CALL.findall(text) if (method, path) not in calls()]
    for pattern, known in (
        (SETTING, set(DEFAULTS)),
        (FRAME, frames),
        (EVENT, events),
        (COMMAND, commands),
        (VARIABLE, variables),
        (FILE, {name(path) for path in files()}),
    ):
        absent += [word for word in pattern.findall(text) if word not in known]
    return absent


@cache
def _variables(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"WARDROOM_\w+", path.read_text()))


def _is_test(file: Path, test: str) -> bool:
    return file.is_file() and test.startswith("test_") and test in definitions(file)


def test_everything_that_the_page_names_exists() -> None:
    assert missing(page()) == []


@pytest.mark.parametrize(
    "broken",
    [
        "`tests/house/test_reference.py::test_nothing_of_this_name`",
        "`tests/house/test_absent.py::test_everything_that_the_page_names_exists`",
        "`orchestration.absent`",
        "`wardroom.child.Child.absent`",
        "`GET /api/v1/absent`",
        "`DELETE /api/v1/approvals`",
        "`LIMITS.absent_secs`",
        "the frame `absent`",
        "the event `absent_event`",
        "`manage.py absent`",
        "`WARDROOM_" + "ABSENT`",
        "docs/absent.md",
    ],
)
def test_a_name_that_does_not_exist_is_found(broken: str) -> None:
    assert len(missing(f"{page()}\n{broken}\n")) == 1


def test_every_row_is_shown_by_a_test_or_says_that_it_is_not_there() -> None:
    found = list(rows(page()))
    assert len(found) > 300
    odd = [row for row in found if len(row) != 3 or not (TEST.search(row[2]) or row[2].startswith("not yet"))]
    assert odd == []


def test_every_section_and_every_letter_has_its_place() -> None:
    headings = re.findall(r"^### ([12]\.\d+) ", page(), re.MULTILINE)
    assert headings == SECTIONS
    letters = [row[0].split(" ")[0] for row in rows(page()) if re.match(r"[TAFWP]\d+ ", row[0])]
    assert letters == [f"{letter}{number}" for letter, most in LETTERS.items() for number in range(1, most + 1)]
