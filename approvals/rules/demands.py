"""The demands of rules on the answer to a request, as its REST body shows them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from approvals.models import Approval


class RequiredApprovers(Struct, frozen=True):
    users: list[str]
    groups: list[str]


def of(row: Approval) -> dict[str, Any]:
    """Return the members of a request's REST body that its rules have set."""
    return {
        "rule": row.rule,
        "rule_version": row.rule_version,
        "policy_version": row.policy_version,
        "quorum": row.quorum,
        "votes": row.vote_count,
        "four_eyes": row.four_eyes,
        "approvers": [RequiredApprovers(**each) for each in (row.terms or {}).get("approvers", [])],
        "break_glass": row.break_glass,
    }
