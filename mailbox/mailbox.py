"""`Mailbox(address)`: a plain mailbox as one object, for programs that use this app alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from accounts import projects
from accounts.models import Project
from core.concurrency.batching import Batcher
from core.display import names
from core.web import faults, problems
from core.web.problems import Problem
from mailbox import addresses, answer_wait, claims, delivery, envelope, questions
from mailbox.answer_wait import Asked
from mailbox.claimed_message import ClaimedMessage
from mailbox.claims import Claim, Settled
from mailbox.delivery import Delivered, Outcome, Post
from mailbox.envelope import NewMessage
from mailbox.models import Message

_posts: Batcher[Post, list[Outcome]] = Batcher(delivery.deliver_posts)


class Mailbox:
    """One address of one project. The default is the first project.

        desk = Mailbox("desk", consumer="worker-1")
        desk.deliver({"id": "42", "message_kind": "task", "body": "look into it"})
        claim = desk.drain(limit=10)
        for message in claim.messages:
            handle(message.body)
        desk.ack(claim, [message.message_id for message in claim.messages])

    `consumer` is the name of the reader. With it, `recover` returns at once the messages of an earlier process of that
    name. Delivery is at least once: if a handler dies before the `ack`, its message comes again. So handlers check ids.
    """

    def __init__(self, address: str, *, project: Project | UUID | None = None, consumer: str = "") -> None:
        """Raise 422 for an invalid address or consumer name."""
        self.address = addresses.check(address)
        if consumer and not names.is_name(consumer, envelope.LONGEST_ID):
            raise problems.invalid([faults.wrong("consumer", consumer, envelope.NAME)])
        self.consumer = consumer
        self.project_id: UUID = project if isinstance(project, UUID) else (project or projects.default()).pk

    def __repr__(self) -> str:
        return f"Mailbox({self.address!r})"

    def deliver(self, *messages: NewMessage | Mapping[str, Any]) -> list[Delivered]:
        """Accept all of the messages, in order, or none. Inside a transaction of the caller they belong to it.

        422 lists the errors. 409 `conflict`: the same id with other content. The same message again is no error.
        """
        read = [each if isinstance(each, NewMessage) else envelope.read(each, closed=True) for each in messages]
        return delivery.deliver(self.project_id, self.address, read)

    async def adeliver(self, message: NewMessage | Mapping[str, Any]) -> Delivered:
        """`deliver` one message from an event loop. Concurrent callers share a commit.

        It is never part of a transaction: the message is durable when this returns.
        """
        read = message if isinstance(message, NewMessage) else envelope.read(message, closed=True)
        [outcome] = await _posts.ask(Post(self.project_id, self.address, [read]))
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def drain(self, limit: int = 100, lease_secs: float | None = None) -> Claim:
        """Claim up to `limit` messages, oldest first, for `lease_secs` (default 60)."""
        return claims.drain(self.project_id, self.address, limit, lease_secs, self.consumer)

    def ack(self, claim: Claim | str | UUID, ids: Collection[str] | None = None) -> Settled:
        """Mark these messages as done; without `ids`, all messages of a `Claim`. `unknown` lists ids that the claim
        does not hold.
        """
        return claims.ack(self.project_id, self.address, claim, ids)

    def next(self, claim: Claim, limit: int = 100, lease_secs: float | None = None) -> Claim:
        """`ack` all of this claim and `drain` the next messages, in one commit. `acked` holds the result of the ack.

        claim = desk.drain()
        while claim.messages:
            ...
            claim = desk.next(claim)
        """
        return claims.ack_and_claim(self.project_id, self.address, claim, limit, lease_secs, self.consumer)

    def nack(self, claim: Claim | str | UUID, ids: Collection[str] | None = None, *, delay_secs: float = 0) -> Settled:
        """Return these messages. They can be claimed again after the delay."""
        return claims.nack(self.project_id, self.address, claim, ids, delay_secs)

    def extend(self, claim: Claim | str | UUID, lease_secs: float | None = None) -> Claim:
        """Extend the lease of the messages that the claim still holds to `lease_secs` from now. Return an empty `Claim`
        if it holds none.
        """
        return claims.extend(self.project_id, self.address, claim, lease_secs)

    def recover(self, lease_secs: float | None = None) -> Claim:
        """Claim expired messages again, and all messages of this consumer."""
        return claims.recover(self.project_id, self.address, lease_secs, self.consumer)

    def ask(self, question: str, *, mode: str = "query", timeout_secs: float = 25, id: str | None = None) -> Asked:
        """Ask the reader of this mailbox, and wait for the answer. The result is *pending* if none came within
        `timeout_secs`.

        `.answer` is the answer. To go on waiting, use `.wait(secs)` of a pending result, `asked(id)` in another
        process, or the same question with the same `id`. Not inside a transaction: no reader could see the question.
        """
        return answer_wait.ask(self.project_id, self.address, questions.question(question, mode, id=id), timeout_secs)

    def asked(self, ask_id: str, timeout_secs: float = 0) -> Asked:
        """Return an earlier ask, after waiting up to `timeout_secs`. 404 if there is none, or if it was pruned."""
        return answer_wait.again(self.project_id, self.address, ask_id, timeout_secs)

    def reply(self, ask: ClaimedMessage | Message, answer: Any) -> Delivered:
        """Answer an ask that was drained here. The answer goes to the address of the asker, once.

        The same answer again is no error. Another one raises 409 `already-answered`, and the first stays.
        """
        claims.plain(self.address)
        found = questions.find(self.project_id, self.address, ask.message_id)
        if found is None:
            raise problems.not_found("There is no such ask here.")
        return questions.answer(found, {"answer": answer})

    def is_empty(self) -> bool:
        """True if no message is new or claimed."""
        return delivery.is_empty(self.project_id, self.address)

    def counts(self) -> dict[str, Any]:
        """Return `{new, claimed, admitted, quarantined, oldest_age_secs}`."""
        return delivery.counts(self.project_id, self.address)
