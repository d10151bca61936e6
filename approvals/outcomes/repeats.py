"""Recognise an ask for an action that may have run already: its outcome was unknown, and no person said that it did
not run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from approvals.models import Approval
from approvals.states import Outcome
from core.db import clock
from core.limits import LIMITS
from wardroom import jcs

#: Seconds after which the sweeper has surely found a run without a report.
SWEPT_WITHIN_SECS = 600
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


def open_runs(rows: Iterable[Approval]) -> dict[tuple[Any, str], Approval]:
    """Return the last run of the same action that was taken and has no report yet, by project and likeness.

    One that stays without a report becomes an unknown outcome, with a warning of its own.
    """
    wanted = {(row.project_id, row.likeness) for row in rows if row.likeness}
    if not wanted:
        return {}
    since = clock.later(-LIMITS.outcome_report_secs - SWEPT_WITHIN_SECS)
    runs = Approval.objects.filter(consumed_at__gt=since, consumed_at__isnull=False, outcome__isnull=True)
    runs = runs.filter(project__in={each for each, _ in wanted}, likeness__in={each for _, each in wanted})
    found = runs.only("pk", "project_id", "likeness", "consumed_at").order_by("consumed_at")
    return {(run.project_id, run.likeness): run for run in found}


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
