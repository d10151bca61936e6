"""Run the benchmarks named, or all of them, each in a process of its own."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PARTS = {"__init__", "__main__", "crowd", "figures", "stage"}


def names() -> list[str]:
    """Every benchmark: a module of this package that is not part of its own machinery."""
    folder = Path(__file__).parent
    return sorted(path.stem for path in folder.glob("*.py") if path.stem not in PARTS and path.stem[0] != "_")


def main() -> int:
    """Print each table; with --write also put them into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; none: all")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are shown (default 3)")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/benchmarks.md")
    options = parser.parse_args()
    unknown = set(options.names) - set(names())
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    tables, failed = [], 0
    for name in options.names or names():
        table = _run(name, options.rounds)
        failed += table is None
        if table is not None:
            print(table.markdown(), flush=True)
            tables.append(table)
    if options.write and tables:
        _write(tables)
    return 1 if failed else 0


def _run(name: str, rounds: int) -> Table | None:
    print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    with tempfile.NamedTemporaryFile(suffix=".json") as kept:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--rounds", str(rounds), "--json", kept.name]
        if subprocess.run(command, cwd=ROOT).returncode:
            return None
        return Table.from_json(Path(kept.name).read_text())


def _write(tables: list[Table]) -> None:
    """Replace the sections of these tables, and leave the others as they are."""
    kept = Table.sections(PAGE.read_text()) if PAGE.exists() else {}
    for table in tables:
        kept[table.name] = table.markdown()
    head = (
        "# Benchmarks\n\nMade by `make bench ARGS=--write`: each figure is the median of interleaved rounds, beside a "
        "peer or limit in the same run,\nclient and servers sharing one machine. Trust the ratios, not the numbers.\n\n"
        f"Last written on {platform.system()} {platform.machine()}, Python {platform.python_version()}.\n\n"
    )
    PAGE.write_text(head + "\n".join(kept[name] for name in sorted(kept)))


if __name__ == "__main__":
    sys.exit(main())
