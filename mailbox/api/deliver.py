"""`POST mailboxes/{address}/messages`: the order of its checks, and its answers.

Concurrent calls share a batch: one key check, one commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounts import bulk_authentication, permissions, scopes
from accounts.models import Credential
from core.web import parsers, problems, request_body
from core.web.problems import Problem
from mailbox import addresses, delivery, envelope
from mailbox.api import bodies
from mailbox.delivery import Post
from mailbox.envelope import NewMessage
from mailbox.schemas import MessageAccepted, MessageResult, MessageResults
from mailbox.store.insert import Outcome

SCOPE = "mailboxes:write"


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came. A body that could not be read is its refusal, which is reported after the key check."""

    token: str
    address: str
    body: bytes | Exception


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a caller: a status and a body."""

    status: int
    body: MessageAccepted | MessageResults


@dataclass(frozen=True, slots=True)
class _Checked:
    post: Post
    many: bool


def allow(holder: Credential, address: str) -> None:
    """Raise unless this key may deliver there. A message to a session also needs the scope that steers sessions."""
    permissions.allow(holder, SCOPE, owner_needs=scopes.STEER if addresses.is_session(address) else None)


def answer_all(calls: Sequence[Call]) -> list[Answer | Exception]:
    """Return each call's answer, or its refusal, in the same order.

    1. All keys are checked in one query. Nothing is cached, so a revoked key opens nothing.
    2. The bodies of permitted calls are read and validated. An error there belongs to that call alone.
    3. All valid messages are delivered in shared commits.
    """
    known = bulk_authentication.check_all({call.token for call in calls})
    read: list[_Checked | Exception] = []
    for call in calls:
        try:
            holder = known[call.token]
            if holder is None:
                raise problems.unauthenticated()
            allow(holder, call.address)
            if isinstance(call.body, Exception):
                raise call.body
            messages, many = _messages(parsers.decode(call.body))
            read.append(_Checked(Post(holder.project_id, call.address, messages), many))
        except Exception as error:
            read.append(error)
    checked = [each for each in read if isinstance(each, _Checked)]
    outcomes = iter(delivery.deliver_posts([each.post for each in checked]))
    answers: list[Answer | Exception] = []
    for each in read:
        if isinstance(each, Exception):
            answers.append(each)
            continue
        found = next(outcomes)
        try:
            answers.append(found if isinstance(found, Exception) else _answer_of(each, found))
        except Exception as error:
            answers.append(error)
    return answers


def _messages(data: Any) -> tuple[list[NewMessage | Problem], bool]:
    """Return the messages in a body, and True if it was a list. An unreadable message is returned as its problem."""
    if not isinstance(data, dict) or "messages" not in data:
        return [envelope.read(data, closed=True)], False
    found: list[NewMessage | Problem] = []
    for each in request_body.convert(data, bodies.NewMessages).messages:
        try:
            found.append(envelope.read(each, closed=True))
        except Problem as refusal:
            found.append(refusal)
    return found, True


def _answer_of(checked: _Checked, outcomes: Sequence[Outcome]) -> Answer:
    if checked.many:
        results = []
        for number, (message, outcome) in enumerate(zip(checked.post.messages, outcomes, strict=True)):
            if isinstance(outcome, Problem):
                named = message.id if isinstance(message, NewMessage) else None
                results.append(MessageResult(named, outcome.status, problem=outcome.body_of(f"messages[{number}]")))
            else:
                results.append(MessageResult(outcome.id, 201, seq=outcome.seq))
        return Answer(200, MessageResults(results))
    [outcome] = outcomes
    if isinstance(outcome, Problem):
        raise outcome
    return Answer(201, MessageAccepted(outcome.id, addresses.canonical(checked.post.address), outcome.seq))
