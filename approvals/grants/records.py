"""Record the life of a grant: its event, its audit row and its wake-up, in the transaction of the change."""

from __future__ import annotations

from typing import Any

from accounts.actors import Actor
from approvals.models import Grant
from core.db.clock import moment
from ledger import unit_of_work


def created(grant: Grant, actor: Actor) -> None:
    """Record the birth of a grant, with its bounds. Neither record holds arguments: the digest names the action."""
    bounds = {
        "scope": str(grant.scope),
        "uses": grant.uses,
        "expires_at": moment(grant.expires_at),
        "slots": sorted(grant.slots),
    }
    _record(grant, "created", actor, {"approval_id": str(grant.approval_id), **bounds})


def ended(grant: Grant, actor: Actor) -> None:
    """Record the end of a grant: revoked, used up, or with its session."""
    change = "revoked" if grant.end_reason == "revoked" else "ended"
    _record(grant, change, actor, {"reason": str(grant.end_reason), "used": grant.used})


def _record(grant: Grant, change: str, actor: Actor, detail: dict[str, Any]) -> None:
    told = {"grant_id": str(grant.id), "tool_name": grant.tool_name, **detail}
    unit_of_work.event(grant.project_id, f"grant_{change}", told, session=grant.session)
    unit_of_work.audit(
        grant.project_id, actor, f"grant.{change}", f"grant:{grant.id}", {"digest": grant.match_digest, **detail}
    )
    unit_of_work.wake("grants")
