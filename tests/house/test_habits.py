"""Habits that a linter does not know."""

import re

from tests.house.sources import ROOT, app_files, files, name, python_files

# A machine's own folders say nothing to a reader, and tell where the author sat.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/[\w.-]+")
UNSAFE = re.compile(r"\bmark_safe\b|\|\s*safe\b|\bformat_html\(\s*f[\"']|\bautoescape\s+off\b")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
TEXTS = {
    ".py",
    ".md",
    ".html",
    ".txt",
    ".in",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".sh",
    ".js",
    ".mjs",
    ".css",
    ".svg",
    "",
}


def texts() -> dict[str, str]:
    return {name(path): path.read_text(errors="replace") for path in files() if path.suffix in TEXTS}


def lines_with(pattern: re.Pattern[str], sources: dict[str, str]) -> list[str]:
    return [
        f"{where}:{number}: {line.strip()[:100]}"
        for where, text in sources.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_is_shown_unescaped() -> None:
    sources = {name(path): path.read_text() for path in files() if path.suffix in (".py", ".html", ".js")}
    mine = name(ROOT / "tests/house/test_habits.py")
    assert lines_with(UNSAFE, {where: text for where, text in sources.items() if where != mine}) == []


def test_lines_end_where_a_shell_ends_them_and_no_cursor_outlives_its_statement() -> None:
    # str.splitlines ends lines at ten characters; a pooler gives each statement another connection.
    forbidden = re.compile(r"\.splitlines\(|\.iterator\(")
    sources = {name(path): path.read_text() for path in app_files()}
    assert lines_with(forbidden, sources) == []


def test_no_machine_is_named() -> None:
    assert lines_with(MACHINE_PATH, texts()) == []


def test_nothing_is_left_unfinished() -> None:
    sources = {where: text for where, text in texts().items() if not where.startswith("requirements")}
    assert lines_with(UNFINISHED, sources) == []


def test_tests_use_the_real_thing() -> None:
    mocks = re.compile(r"\bunittest\.mock\b|\bMagicMock\b|\bfakeredis\b|\bmocker\b")
    mine = "tests/house/test_habits.py"
    assert lines_with(mocks, {name(p): p.read_text() for p in python_files() if name(p) != mine}) == []


def test_a_body_is_described_by_its_struct_alone() -> None:
    """A serializer beside it would say the same again, and could say something else."""
    theirs = re.compile(r"rest_framework import .*\bserializers\b|rest_framework\.serializers|inline_serializer")
    assert lines_with(theirs, {name(path): path.read_text() for path in app_files()}) == []


def test_no_bare_print_in_the_servers_code() -> None:
    talkers = {"config", "server", "wardroom", "accounts", "orchestration", "ledger"}  # Commands and children.
    quiet = [path for path in app_files() if name(path).split("/")[0] not in talkers]
    printing = re.compile(r"^\s*print\(")
    assert lines_with(printing, {name(path): path.read_text() for path in quiet}) == []
