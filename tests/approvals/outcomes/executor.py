"""A process that runs approved actions: `python -m tests.approvals.outcomes.executor SESSION ATTEMPT FILE`.

Of each request id on its standard input it takes the execution, and says `taken` or the type of the refusal. At the
next line it appends the command to the file, which is the effect of the action. It reports nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID


def main(session: UUID, attempt: int, effects: Path) -> None:
    import django

    django.setup()

    from approvals import consumption
    from approvals.models import Approval
    from core.web.problems import Problem

    while request_id := sys.stdin.readline().strip():
        approval = Approval.objects.get(session=session, attempt=attempt, request_id=request_id)
        try:
            consumption.consume_request(session, attempt, request_id, digest=approval.digest, claim=request_id)
            print("taken", flush=True)
        except Problem as refusal:
            print(refusal.type, flush=True)
            continue
        if sys.stdin.readline().strip() == "run":
            with effects.open("a") as file:
                file.write(f"{approval.arguments['command']}\n")
        print("done", flush=True)


if __name__ == "__main__":
    main(UUID(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
