"""The calls about plans that are one request each, for `Client` and `AsyncClient`."""

import secrets
from typing import Any

from wardroom.calls.requests import Answer, Requests, at, given


class PlanCalls(Requests[Answer]):
    """Ask for many calls at once, and look at an approved plan."""

    def ask_plan(
        self,
        steps: list[dict[str, Any]],
        *,
        resource: str,
        ordered: bool | None = None,
        expires_in_secs: int | None = None,
        request_id: str | None = None,
        **fields: Any,
    ) -> Answer:
        """Ask for a plan of these steps. Return the approval: decide it as any other.

        When it is approved, each call that a step announces passes when it is asked for. `expires_in_secs` counts from
        the approval. `fields` as in `POST approvals`: the `session` for a key, `question`, ...
        """
        plan = {"steps": steps, **given(ordered=ordered, expires_in_secs=expires_in_secs)}
        named = {"tool_name": "plan", "permission": "plan", "resource": resource}
        return self.post(
            "approvals", {"request_id": request_id or secrets.token_urlsafe(24), **named, "plan": plan, **fields}
        )

    def plan(self, id: str) -> Answer:
        """Return an approved plan, with the calls of each step, used and left. Its id is that of the request."""
        return self.get(at("plans", id))

    def revoke_plan(self, id: str) -> Answer:
        """End a plan now. No call passes by it any more."""
        return self.post(at("plans", id, "revoke"), {})
