"""A process that asks for an approval at each line of its input: `python -m tests.approvals.rules.asking PROJECT`.

It says the status of the request, so a rule that another process has changed shows.
"""

from __future__ import annotations

import sys
from uuid import UUID, uuid4


def main(project: UUID) -> None:
    import django

    django.setup()

    from accounts.actors import Actor
    from approvals import requests
    from approvals.canonical_action import Ask

    for _ in sys.stdin:
        wanted = Ask(request_id=str(uuid4()), tool_name="shell", permission="execute", resource="")
        approval, _ = requests.ask(project, wanted, actor=Actor.system("tests"), via="rest")
        print(approval.status, flush=True)


if __name__ == "__main__":
    main(UUID(sys.argv[1]))
