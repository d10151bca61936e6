"""`python -m wardroom.verify`: check an exported audit chain without a server and without a database.

The exit status is 0 if it holds, 1 if not, and 2 if the file cannot be read. It needs the extra `verify`.
"""

import argparse
import sys

from wardroom.verify import chain


def main(arguments: list[str] | None = None) -> int:
    """Run the command. The last line of the output says what was found."""
    parser = argparse.ArgumentParser(prog="python -m wardroom.verify", description=str(__doc__).partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    audit = kinds.add_parser("audit", help="an export of the audit chain: GET /api/v1/audit?format=jsonl")
    audit.add_argument("file")
    audit.add_argument("--head", default="", help="the hash of a row that you noted earlier: it must be in the chain")
    given = parser.parse_args(arguments)
    try:
        with open(given.file, "rb") as file:
            number, last = chain.check(file, head=given.head)
    except OSError as problem:
        print(f"{given.file} cannot be read: {problem.strerror}", file=sys.stderr)
        return 2
    except chain.NotVerified as problem:
        print(f"NOT VERIFIED: {problem}")
        return 1
    print(f"verified: {number} rows, the last hash is {last}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
