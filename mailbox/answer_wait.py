"""Waiting for an answer in a program of one's own: a nudge ends the wait, and a look every few seconds is behind it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from core.web import problems
from ledger import subscription
from mailbox import delivery, questions
from mailbox.envelope import NewMessage
from mailbox.models import Message


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is durable, and its answer if it came. `id` finds it again, in any process."""

    project_id: UUID
    address: str
    id: str
    reply: Message | None = None

    def __repr__(self) -> str:
        return f"Asked({self.id!r}, {self.status})"

    @property
    def status(self) -> str:
        """`answered`, or `pending`: no answer so far, which is no answer."""
        return "pending" if self.reply is None else "answered"

    @property
    def answer(self) -> Any:
        """What was answered; LookupError while nothing was."""
        if self.reply is None:
            raise LookupError("There is no answer yet: `status` says so, `wait` waits for it.")
        return self.reply.body["answer"]

    def wait(self, timeout_secs: float = 0) -> Asked:
        """The same after at most so many seconds, or as it stands now."""
        return _wait(self, timeout_secs)


def ask(project_id: UUID, address: str, question: NewMessage, timeout_secs: float) -> Asked:
    """Deliver the question and wait. 422, 409 as every delivery; RuntimeError inside a transaction."""
    if connection.in_atomic_block:
        raise RuntimeError("Ask outside of a transaction: what is not committed reaches nobody, so nobody answers.")
    (delivered,) = delivery.deliver(project_id, address, [question])
    return _wait(Asked(project_id, address, delivered.id), timeout_secs)


def again(project_id: UUID, address: str, ask_id: str, timeout_secs: float) -> Asked:
    """An ask of before. Raises 404."""
    if questions.find(project_id, address, ask_id) is None:
        raise problems.not_found("There is no such ask here.")
    return _wait(Asked(project_id, address, ask_id), timeout_secs)


def _wait(asked: Asked, timeout_secs: float) -> Asked:
    until = time.monotonic() + timeout_secs
    # Listen first, then look, then wait: an answer that falls between is not missed.
    with subscription.to(questions.topic(asked.project_id, asked.id)) as ears:
        while True:
            reply = questions.answer_to(asked.project_id, asked.id)
            left = until - time.monotonic()
            if reply is not None or left <= 0:
                return Asked(asked.project_id, asked.address, asked.id, reply)
            ears.wait(min(left, settings.WARDROOM["hub_poll_secs"]))
