"""The calls about sessions that are one request each, for `Client` and `AsyncClient`."""

from typing import Any

from wardroom.calls.requests import LONGEST_WAIT, Answer, Requests, at, given


class SessionCalls(Requests[Answer]):
    """Spawn, look, message, stop."""

    def spawn(self, assignment: str, *, idempotency_key: str | None = None, **fields: Any) -> Answer:
        """Spawn a session. `fields` as in `POST sessions` (role, runner, command, title, metadata, ...)."""
        return self.post("sessions", {"assignment": assignment, **fields}, idempotency_key)

    def session(self, id: str) -> Answer:
        """Return one session."""
        return self.get(at("sessions", id))

    def session_tree(self, id: str) -> Answer:
        """Return a session with its `children`, each in the same form."""
        return self.get(at("sessions", id, "tree"))

    def cancel(self, id: str, reason: str = "", *, cascade: bool = True) -> Answer:
        """Ask a session, and by default its descendants, to stop."""
        return self.post(at("sessions", id, "cancel"), {"cascade": cascade, **({"reason": reason} if reason else {})})

    def retry(self, id: str, *, idempotency_key: str | None = None) -> Answer:
        """Queue a new attempt with the same assignment."""
        return self.post(at("sessions", id, "retry"), {}, idempotency_key)

    def renew_token(self, id: str) -> Answer:
        """Return a fresh token for the current attempt of an external session. The former token ends."""
        return self.post(at("sessions", id, "token"), {})

    def wait_for_children(
        self,
        id: str,
        wait_for: str | None = None,
        *,
        children: list[str] | None = None,
        timeout_secs: int | None = None,
    ) -> Answer:
        """Record that the running attempt waits for children, and return at once. It needs the child's token."""
        body = given(wait_for=wait_for, children=children, timeout_secs=timeout_secs)
        return self.post(at("sessions", id, "wait"), body)

    def message(self, session: str, body: Any, *, message_kind: str = "task", **fields: Any) -> Answer:
        """Send a message to a session. Return `{id, outcome}`."""
        content = {"message_kind": message_kind, "body": body, **fields}
        return self.post(at("sessions", session, "messages"), content)

    def asked(self, session: str, ask_id: str, *, timeout: float = 0) -> Answer:
        """Return an earlier ask: its answer, even late, or its state after `timeout` seconds (at most 25)."""
        query = {"timeout": round(min(timeout, LONGEST_WAIT), 3)}
        return self.get(at("sessions", session, "asks", ask_id), query)

    def snapshot(self) -> Answer:
        """Return the sessions that are not over and the pending approvals, each with its own cursor of the feed."""
        return self.get("snapshot")
