"""The calls about approvals that are one request each, for `Client` and `AsyncClient`."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from wardroom.calls.requests import LONGEST_WAIT, Answer, Requests, at, given


class ApprovalCalls(Requests[Answer]):
    """Ask, look, wait and answer."""

    def ask_approval(
        self,
        tool_name: str,
        arguments: Mapping[str, Any],
        *,
        permission: str,
        resource: str,
        request_id: str | None = None,
        **fields: Any,
    ) -> Answer:
        """Ask for approval to run a tool with exactly these arguments. Return the approval. It is pending at first.

        The same `request_id` with the same action is the same request; without one, each call is a new request.
        `fields` as in `POST approvals` (session, question, risk, expires_in_secs, ...).
        """
        action = {"tool_name": tool_name, "arguments": dict(arguments), "permission": permission, "resource": resource}
        return self.post("approvals", {"request_id": request_id or secrets.token_urlsafe(24), **action, **fields})

    def approval(self, id: str) -> Answer:
        """Return one approval."""
        return self.get(at("approvals", id))

    def wait_approval(self, id: str, timeout: float = LONGEST_WAIT, *, version: int | None = None) -> Answer:
        """Wait for the answer, at most 25 s. `timed_out` in the result means that there is none yet.

        With `version` it also returns when the request has another version, for example when a person asks back.
        """
        query = given(timeout=round(min(timeout, LONGEST_WAIT), 3), version=version)
        return self.get(at("approvals", id, "wait"), query)

    def decide(self, approval: dict[str, Any], decision: str, **fields: Any) -> Answer:
        """Decide exactly the approval that was shown: its digest and version are sent along."""
        shown = {"digest": approval["digest"], "version": approval["version"]}
        return self.post(at("approvals", approval["id"], "decide"), {"decision": decision, **shown, **fields})

    def reveal_approval(self, id: str) -> Answer:
        """Return the values that other answers hide. Each call is an audit row. Needs the scope approvals:reveal."""
        return self.post(at("approvals", id, "reveal"), {})

    def withdraw_approval(self, id: str, reason: str | None = None) -> Answer:
        """Withdraw a request: the tool no longer needs the answer."""
        return self.post(at("approvals", id, "withdraw"), {"reason": reason} if reason else {})

    def fall_back(self, id: str, action: str) -> Answer:
        """Record that the caller went on without an answer: `deny_locally` or `proceed`. It is no decision.

        Raises Problem of the type `already-decided` when there is an answer.
        """
        return self.post(at("approvals", id, "fallback"), {"action": action})

    def report_outcome(
        self,
        id: str,
        outcome: str,
        *,
        claim: str | None = None,
        detail: str | None = None,
        probe: dict[str, Any] | None = None,
    ) -> Answer:
        """Report how the run of a consumed action ended: `ran`, `failed` or `unknown`. `claim` as you consumed it.

        `probe` is what you read back from the changed system. Raises Problem of the type `already-reported` for
        another outcome than before.
        """
        body = given(outcome=outcome, claim=claim, detail=detail, probe=probe)
        return self.post(at("approvals", id, "outcome"), body)

    def batch_decide(self, approvals: Iterable[dict[str, Any]], decision: str, **fields: Any) -> Answer:
        """Give the same decision to many approvals, each exactly as it was shown. Return `{results}`, one for each."""
        items = [
            {"id": each["id"], "digest": each["digest"], "version": each["version"], "decision": decision, **fields}
            for each in approvals
        ]
        return self.post("approvals/batch-decide", {"items": items})

    # --- while it is pending: for people who may answer -----------------------------------------------

    def claim_approval(self, id: str, lease_secs: int | None = None) -> Answer:
        """Tell other people that you look at it, for `lease_secs`. It stops nobody from answering."""
        return self.post(at("approvals", id, "claim"), {"lease_secs": lease_secs} if lease_secs else {})

    def release_approval(self, id: str) -> Answer:
        """Give up your claim."""
        return self.post(at("approvals", id, "release"), {})

    def delegate_approval(
        self, id: str, *, user: str | None = None, group: str | None = None, note: str | None = None
    ) -> Answer:
        """Hand it to a person or to a group, by name. It stays pending."""
        return self.post(at("approvals", id, "delegate"), given(user=user, group=group, note=note))

    def snooze_approval(self, id: str, for_secs: int) -> Answer:
        """Put it out of your own queue for some seconds; 0 brings it back."""
        return self.post(at("approvals", id, "snooze"), {"for_secs": for_secs})

    def extend_approval(self, id: str, expires_in_secs: int, note: str | None = None) -> Answer:
        """Move its deadline to this many seconds from now: a later time than before."""
        body = given(expires_in_secs=expires_in_secs, note=note)
        return self.post(at("approvals", id, "extend"), body)

    def escalate_approval(
        self, id: str, *, user: str | None = None, group: str | None = None, note: str | None = None
    ) -> Answer:
        """Mark it as urgent, and hand it to a person or a group if one is named."""
        return self.post(at("approvals", id, "escalate"), given(user=user, group=group, note=note))

    def remind(self, id: str, note: str | None = None) -> Answer:
        """Remind the people who may answer, at most once a minute. For the asker too."""
        return self.post(at("approvals", id, "remind"), given(note=note))

    def ask_back(self, id: str, question: str) -> Answer:
        """Ask the asker a question about its request, which stays pending."""
        return self.post(at("approvals", id, "ask-back"), {"question": question})

    def approval_questions(self, id: str) -> Answer:
        """Return `{results}`: the questions to the asker and its answers, oldest first."""
        return self.get(at("approvals", id, "questions"))

    def tool_schema(self, id: str) -> Answer:
        """Return `{tool_schema}`: the JSON Schema that an edit must fit, or None."""
        return self.get(at("approvals", id, "tool-schema"))

    def answer_question(self, id: str, question_id: str, answer: str) -> Answer:
        """Answer a question about your own request. It answers no approval."""
        return self.post(at("approvals", id, "questions", question_id, "answer"), {"answer": answer})

    def approval_history(self, id: str) -> Answer:
        """Return `{results}`: what happened to it before its answer, oldest first."""
        return self.get(at("approvals", id, "history"))

    def settle_outcome(self, id: str, settled_as: str, note: str) -> Answer:
        """Settle an unknown outcome, as a person who has looked: `ran` or `did_not_run`."""
        return self.post(at("approvals", id, "unknown-outcome"), {"settled_as": settled_as, "note": note})

    # --- records ----------------------------------------------------------------------------------------

    def count_approvals(self, **query: Any) -> Answer:
        """Return the number of approvals by status, and the time of the oldest pending one."""
        return self.get("approvals/count", query or None)

    def approval_outcome(self, id: str) -> Answer:
        """Return what is known about the run: reports, settlement, and the events of the attempt around it."""
        return self.get(at("approvals", id, "outcome"))

    def receipt(self, id: str) -> Answer:
        """Return `{receipt, key_id}`: a signed statement of the decision, and of the consumption if there was one."""
        return self.get(at("approvals", id, "receipt"))
