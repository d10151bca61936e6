"""Wait for an answer in a program of one's own. A wake-up ends the wait; a poll every few seconds finds a lost one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from core.limits import LIMITS
from core.web import problems
from ledger import subscription
from mailbox import delivery, questions
from mailbox.envelope import NewMessage
from mailbox.models import Message


@dataclass(frozen=True, slots=True)
class Asked:
    """A durable question, with its answer if one came. Any process can find it again by `id`."""

    project_id: UUID
    address: str
    id: str
    reply: Message | None = None

    def __repr__(self) -> str:
        return f"Asked({self.id!r}, {self.status})"

    @property
    def status(self) -> str:
        """`answered`, or `pending` while there is no answer."""
        return "pending" if self.reply is None else "answered"

    @property
    def answer(self) -> Any:
        """The answer. Raises LookupError while there is none."""
        if self.reply is None:
            raise LookupError("There is no answer yet: `status` says so, `wait` waits for it.")
        return self.reply.body["answer"]

    def wait(self, timeout_secs: float = 0) -> Asked:
        """Wait for at most this many seconds. Return the question with its answer, or still pending."""
        return _wait(self, timeout_secs)


def ask(project_id: UUID, address: str, question: NewMessage, timeout_secs: float) -> Asked:
    """Deliver the question and wait for the answer. 422 and 409 as for every delivery; RuntimeError inside a
    transaction.
    """
    if connection.in_atomic_block:
        raise RuntimeError("Ask outside of a transaction: an uncommitted question reaches nobody, so nobody answers.")
    (delivered,) = delivery.deliver(project_id, address, [question])
    return _wait(Asked(project_id, address, delivered.id), timeout_secs)


def again(project_id: UUID, address: str, ask_id: str, timeout_secs: float) -> Asked:
    """Return an earlier ask, after waiting for its answer. Raises 404."""
    if questions.find(project_id, address, ask_id) is None:
        raise problems.not_found("There is no such ask here.")
    return _wait(Asked(project_id, address, ask_id), timeout_secs)


def _wait(asked: Asked, timeout_secs: float) -> Asked:
    until = time.monotonic() + timeout_secs
    # Subscribe first, then look, then wait: an answer that comes in between is not missed.
    with subscription.to(questions.topic(asked.project_id, asked.id)) as listener:
        while True:
            reply = questions.answer_to(asked.project_id, asked.id)
            left = until - time.monotonic()
            if reply is not None or left <= 0:
                return Asked(asked.project_id, asked.address, asked.id, reply)
            listener.wait(min(left, LIMITS.hub_poll_secs))
