"""A process that decides approvals it has read before: `python -m tests.approvals.racers PROJECT USER DECISION`.

Of each id on its standard input it reads the row and says `read`. At the next line it decides, and says how that ended.
"""

from __future__ import annotations

import sys
from uuid import UUID


def main(project: UUID, user: int, decision: str) -> None:
    import django

    django.setup()

    from accounts.actors import Actor
    from accounts.models import User
    from approvals import decisions, selectors
    from core.web.problems import Problem
    from ledger import unit_of_work

    actor = Actor.of_user(User.objects.get(pk=user))
    while approval_id := sys.stdin.readline().strip():
        stale = selectors.find(project, UUID(approval_id), actor)
        print("read", flush=True)
        sys.stdin.readline()
        answer = decisions.Answer(decision=decision, digest=stale.digest, version=1)
        try:
            with unit_of_work.transaction():
                # The row was read before this transaction began: only the guarded UPDATE can tell that it changed.
                print(decisions._decide(stale, answer, actor, "rest").status, flush=True)
        except Problem as refusal:
            print(refusal.type, flush=True)


if __name__ == "__main__":
    main(UUID(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
