"""A process with eight askers: `python -m tests.approvals.grants.askers PROJECT SESSION`.

Of each word on its standard input it says `read`. At the next line all eight ask for the same action, each with a
request id of its own. It says the status of each, in one line.
"""

from __future__ import annotations

import sys
from functools import partial
from uuid import UUID, uuid4

ASKERS = 8


def main(project: UUID, session: UUID) -> None:
    import django

    django.setup()

    from approvals import requests
    from approvals.canonical_action import Ask
    from tests.approvals.conftest import child
    from tests.approvals.racing import all_at_once

    def ask(tool: str) -> str:
        words = {"permission": "execute", "resource": "ls -l", "arguments": {"command": "ls -l", "folder": "/tmp"}}
        wanted = Ask(
            session=session, attempt=1, request_id=str(uuid4()), tool_name=tool, risk="low", reversibility="reversible",
            **words,
        )  # fmt: skip
        return str(requests.ask(project, wanted, actor=child(session), via="connection")[0].status)

    while tool := sys.stdin.readline().strip():
        print("read", flush=True)
        sys.stdin.readline()
        print(*all_at_once([partial(ask, tool)] * ASKERS), flush=True)


if __name__ == "__main__":
    main(UUID(sys.argv[1]), UUID(sys.argv[2]))
