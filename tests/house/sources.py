"""The files of the repository, read once for the rules of the house."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("config", "server", "orchestration", "approvals", "mailbox", "ledger", "accounts", "core")


@cache
def files() -> tuple[Path, ...]:
    """Every file that is in git or would be added to it."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return tuple(sorted(ROOT / name for name in names if name and (ROOT / name).is_file()))


@cache
def python_files() -> tuple[Path, ...]:
    """Every Python file but the migrations, which are generated."""
    return tuple(path for path in files() if path.suffix == ".py" and "migrations" not in path.parts)


def app_files() -> list[Path]:
    """The server's and the SDK's own code, without tests and benchmarks."""
    return [path for path in python_files() if name(path).split("/")[0] in (*APPS, "wardroom")]


def files_of_tests() -> list[Path]:
    return [path for path in python_files() if name(path).startswith("tests/")]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imported(path: Path) -> set[str]:
    """The dotted names that a file imports, also inside functions: `from a.b import c` gives a.b and a.b.c."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found
