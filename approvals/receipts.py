"""Receipts: a signed statement of what was decided about one exact action, and whether it ran."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.actors import Actor
from approvals import schemas
from approvals.models import Approval
from approvals.selectors import find
from approvals.states import Status
from core.web import problems
from ledger.audit import export, signing

#: The `typ` of the signature's header.
KIND = "wardroom-receipt+jws"


def receipt(project_id: UUID, approval_id: UUID, actor: Actor) -> schemas.ApprovalReceipt:
    """Return the receipt of an approval that is settled. After a consumption it says so too.

    It names the audit rows of the approval by number and hash, so it can be compared with an export of the chain. It
    holds no arguments: the digest names them. Raises not-found, and `not-settled` while the approval is pending.
    """
    found = find(project_id, approval_id, actor, waiters=False)
    if found.status == Status.PENDING:
        raise problems.conflict("Nobody has answered yet, so there is no receipt. Wait for the answer.", "not-settled")
    signed, key_id = signing.sign(statement(found), KIND)
    return schemas.ApprovalReceipt(receipt=signed, key_id=key_id)


def statement(row: Approval) -> dict[str, Any]:
    """Return the content of a receipt. It changes only when the approval does."""
    shown = schemas.approval(row)
    decision, person = shown.decision, shown.decided_by
    rows = export.of_subject(row.project_id, f"approval:{row.id}")
    return {
        "v": 1,
        "iss": settings.WARDROOM_URL,
        "project": shown.project,
        "approval": shown.id,
        "request_id": shown.request_id,
        "session": shown.session,
        "attempt": shown.attempt,
        "tool_name": shown.tool_name,
        "permission": shown.permission,
        "digest": shown.digest,
        "proposed_digest": shown.proposed_digest,
        "status": shown.status,
        "decision": decision and {"kind": decision.kind, "via": decision.via},
        "decided_by": person and {"kind": person.kind, "name": person.name},
        "decided_at": shown.decided_at,
        "settled_at": shown.settled_at,
        "consumed_at": shown.consumed_at,
        "audit": [{"number": each.number, "action": each.action, "hash": each.hash} for each in rows],
    }
