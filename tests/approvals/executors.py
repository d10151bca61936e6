"""A process with eight executors: `python -m tests.approvals.executors PROJECT USER`.

Of each id on its standard input it says `read`. At the next line all eight consume, each with a claim of its own. It
says how each of them ended, in one line.
"""

from __future__ import annotations

import sys
from functools import partial
from uuid import UUID

EXECUTORS = 8


def main(project: UUID, user: int) -> None:
    import django

    django.setup()

    from accounts.actors import Actor
    from accounts.models import User
    from approvals import consumption, selectors
    from approvals.models import Approval
    from tests.approvals.racing import all_at_once

    actor = Actor.of_user(User.objects.get(pk=user))

    def consume(approval: Approval, number: int) -> str:
        claim = f"{user}-{number}"
        consumption.consume(project, approval.id, digest=approval.digest, claim=claim, actor=actor)
        return claim

    while approval_id := sys.stdin.readline().strip():
        approval = selectors.find(project, UUID(approval_id), actor)
        print("read", flush=True)
        sys.stdin.readline()
        print(*all_at_once([partial(consume, approval, number) for number in range(EXECUTORS)]), flush=True)


if __name__ == "__main__":
    main(UUID(sys.argv[1]), int(sys.argv[2]))
