"""A plain function behind an approval."""

import os
import sys

from wardroom import Client, NotApproved, require_approval

client = Client(os.environ["WARDROOM_URL"], os.environ["WARDROOM_KEY"])


@require_approval(client, permission="delete", resource="{path}", risk="high")
def delete_file(path: str) -> str:
    return f"deleted {path}"


def main(path: str = "/tmp/report.txt") -> None:
    print("Waiting for an answer in Wardroom ...", flush=True)
    try:
        print(delete_file(path))
    except NotApproved as refusal:
        print(f"Not done: {refusal}")


if __name__ == "__main__":
    main(*sys.argv[1:])
