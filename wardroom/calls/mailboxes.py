"""The calls about mailboxes and the quarantine that are one request each, for `Client` and `AsyncClient`."""

from typing import Any

from wardroom.calls.requests import LONGEST_WAIT, Answer, Requests, at, given


class MailboxCalls(Requests[Answer]):
    """Deliver, claim, acknowledge."""

    def mailbox(self, address: str) -> Answer:
        """Return the counts of a mailbox: new, claimed, admitted and quarantined messages."""
        return self.get(at("mailboxes", address))

    def deliver(self, address: str, message_kind: str, body: Any, **fields: Any) -> Answer:
        """Deliver one message. Return `{id, outcome}` once it is durable. The same `id` is the same message."""
        return self.post(at("mailboxes", address, "messages"), {"message_kind": message_kind, "body": body, **fields})

    def drain(
        self, address: str, *, limit: int | None = None, lease_secs: int | None = None, consumer: str | None = None
    ) -> Answer:
        """Claim messages in order, under a lease. Acknowledge them with `ack` before it ends."""
        body = given(limit=limit, lease_secs=lease_secs, consumer=consumer)
        return self.post(at("mailboxes", address, "drain"), body)

    def ack(self, address: str, claim: str, ids: list[str]) -> Answer:
        """Mark claimed messages as done. A repeat has the same result."""
        return self.post(at("mailboxes", address, "ack"), {"claim": claim, "ids": ids})

    def nack(self, address: str, claim: str, ids: list[str], *, delay_secs: int | None = None) -> Answer:
        """Return claimed messages, to be claimed again after the delay."""
        body = {"claim": claim, "ids": ids, **given(delay_secs=delay_secs)}
        return self.post(at("mailboxes", address, "nack"), body)

    def extend_claim(self, address: str, claim: str, *, lease_secs: int | None = None) -> Answer:
        """Extend the lease of the messages that this claim still holds."""
        return self.post(at("mailboxes", address, "extend"), {"claim": claim, **given(lease_secs=lease_secs)})

    def recover(self, address: str, *, lease_secs: int | None = None, consumer: str | None = None) -> Answer:
        """Claim the messages of ended claims again, and all messages of this consumer."""
        return self.post(at("mailboxes", address, "recover"), given(lease_secs=lease_secs, consumer=consumer))

    def reply(self, address: str, ask_id: str, answer: Any) -> Answer:
        """Answer an ask that was drained here, once."""
        return self.post(at("mailboxes", address, "reply"), {"ask_id": ask_id, "answer": answer})

    def mailbox_asked(self, address: str, ask_id: str, *, timeout: float = 0) -> Answer:
        """Return the answer to an ask, or its state after `timeout` seconds (at most 25)."""
        query = {"timeout": round(min(timeout, LONGEST_WAIT), 3)}
        return self.get(at("mailboxes", address, "asks", ask_id), query)

    # --- messages that could not be read or handled ---------------------------------------------------

    def quarantined(self, id: str) -> Answer:
        """Return one quarantined message with all its bytes."""
        return self.get(at("quarantine", id))

    def discard_quarantined(self, id: str, note: str) -> Answer:
        """Discard it for good, with a note that gives the reason."""
        return self.post(at("quarantine", id, "discard"), {"note": note})

    def requeue_quarantined(
        self, id: str, *, message: dict[str, Any] | None = None, address: str | None = None
    ) -> Answer:
        """Validate it again, as stored or as edited, and deliver it."""
        return self.post(at("quarantine", id, "requeue"), given(message=message, address=address))
