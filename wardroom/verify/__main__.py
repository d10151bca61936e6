"""`python -m wardroom.verify`: check an exported audit chain or a receipt without a server and without a database.

The exit status is 0 if it holds, 1 if not, and 2 if a file cannot be read. It needs the extra `verify`.
"""

import argparse
import contextlib
import json
import re
import sys
from pathlib import Path

from wardroom.verify import chain, receipts


def main(arguments: list[str] | None = None) -> int:
    """Run the command. The last line of the output says what was found."""
    parser = argparse.ArgumentParser(prog="python -m wardroom.verify", description=str(__doc__).partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    audit = kinds.add_parser("audit", help="an export of the audit chain: GET /api/v1/audit?format=jsonl")
    audit.set_defaults(check=check_audit)
    audit.add_argument("file")
    audit.add_argument("--head", default="", help="the hash of a row that you noted earlier: it must be in the chain")
    receipt = kinds.add_parser("receipt", help="an answer of GET /api/v1/approvals/{id}/receipt, or its JWS alone")
    receipt.set_defaults(check=check_receipt)
    receipt.add_argument("file")
    receipt.add_argument("--keys", required=True, help="a copy of /.well-known/wardroom.json")
    receipt.add_argument("--digest", default="", help="the digest of the action that the receipt must be about")
    receipt.add_argument("--audit", default="", help="an export of the chain, which must hold the rows of the receipt")
    given = parser.parse_args(arguments)
    try:
        print(given.check(given))
    except (OSError, UnicodeDecodeError) as problem:
        print(f"a file cannot be read: {problem}", file=sys.stderr)
        return 2
    except chain.NotVerified as problem:
        print(f"NOT VERIFIED: {_seen(problem)}")
        return 1
    return 0


def check_audit(given: argparse.Namespace) -> str:
    """Check the file, and return the sentence for the user."""
    with open(given.file, "rb") as file:
        number, last = chain.check(file, head=given.head)
    return f"verified: {number} rows, the last hash is {last}"


def check_receipt(given: argparse.Namespace) -> str:
    """Check the receipt, and return its statement with the sentence for the user."""
    text = Path(given.file).read_text().strip()
    try:
        jws = json.loads(text)["receipt"] if text.startswith("{") else text
        keys = json.loads(Path(given.keys).read_bytes())
        if not isinstance(jws, str):
            raise TypeError("the receipt is no text")
    except (ValueError, KeyError, TypeError) as problem:
        raise chain.NotVerified(f"a file has another form: {problem}") from None
    with contextlib.ExitStack() as opened:
        lines = opened.enter_context(open(given.audit, "rb")) if given.audit else None
        if lines is not None:
            chain.check(lines)
            lines.seek(0)
        found = receipts.check(jws, keys, digest=given.digest, chain=lines)
    statement = json.dumps(found, indent=2, ensure_ascii=True)
    return f"{statement}\nverified: signed by {_seen(found['iss'])}, {_seen(found['status'])}"


def _seen(text: object) -> str:
    """Return one line of printable ASCII. Text of a forged file could move the cursor, or add a line."""
    return re.sub(r"[^ -~]", lambda sign: sign[0].encode("unicode_escape").decode(), str(text))


if __name__ == "__main__":
    sys.exit(main())
