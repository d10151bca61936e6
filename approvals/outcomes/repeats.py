"""Recognise an ask for an action that may have run already: its outcome was unknown, and no person said that it did
not run.
"""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Q

from approvals.models import Approval
from approvals.states import Outcome
from core.db import clock
from wardroom import jcs

#: The members of an action that make it the same action again, whoever asks for it.
SAME = ("tool_name", "permission", "resource", "arguments")
#: Only a person's *did not run*, which no later report contradicts, is certain.
MAY_HAVE_RUN = Q(outcome=Outcome.UNKNOWN) | (
    Q(outcome_settled_as__isnull=False) & ~Q(outcome_settled_as=Outcome.DID_NOT_RUN, outcome=Outcome.DID_NOT_RUN)
)


def digest_of(action: str) -> str:
    """Return the digest of what an action does: the same for another session, attempt and request id."""
    whole = json.loads(action)
    return jcs.digest_of(jcs.canonical({name: whole[name] for name in SAME}))


def warning_for(project_id: Any, tool_name: str, action: str) -> dict[str, Any] | None:
    """Return the warning of a new ask: the latest earlier approval of the same action that may have run.

    The digest is made only when an outcome of this tool was ever unknown: large arguments take time.
    """
    unknown = Approval.objects.filter(MAY_HAVE_RUN, project_id=project_id, repeat_digest__isnull=False)
    if not unknown.filter(tool_name=tool_name).exists():
        return None
    found = unknown.filter(tool_name=tool_name, repeat_digest=digest_of(action)).order_by("-outcome_unknown_at").first()
    if found is None:
        return None
    return {
        "approval_id": str(found.id),
        "outcome": found.outcome,
        "settled_as": found.outcome_settled_as,
        "consumed_at": None if found.consumed_at is None else clock.moment(found.consumed_at),
    }
