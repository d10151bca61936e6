"""Send messages by mail (Django's mail settings) and to chat rooms."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.message import BadHeaderError

from approvals.notify import chat
from approvals.notify.compose import Letter
from core.limits import LIMITS
from ledger.deliveries.senders import Job, Outcome, Sender
from ledger.models import Delivery

Sent = tuple[UUID, Letter]


def prepare_mail(rows: Sequence[Delivery]) -> Job:
    """Return the job that sends these mails over one connection."""
    letters = _letters(rows)
    return lambda: _in_a_thread(letters, lambda: _mail_all(letters))


def prepare_chat(rows: Sequence[Delivery]) -> Job:
    """Return the job that sends these messages to one room."""
    letters = _letters(rows)
    url = settings.CHAT_URLS.get(rows[0].lane.partition(":")[2], "")
    return lambda: _in_a_thread(letters, lambda: _chat_all(letters, url))


def message_id(delivery: UUID | str) -> str:
    """Return the Message-ID of a mail: the same in every try, so that a repeated one can be dropped."""
    return f"<{UUID(str(delivery)).hex}@{urlsplit(settings.WARDROOM_URL).hostname}>"


def _letters(rows: Sequence[Delivery]) -> list[Sent]:
    return [(row.pk, msgspec.json.decode(row.payload, type=Letter)) for row in rows]


async def _in_a_thread(letters: list[Sent], send: Callable[[], list[Outcome]]) -> list[Outcome]:
    """Run a call that blocks. After a bound the job ends without it, and the receiver pauses."""
    most = 3 * LIMITS.delivery_timeout_secs
    try:
        async with asyncio.timeout(most):
            return await asyncio.get_running_loop().run_in_executor(None, send)
    except TimeoutError:
        return [Outcome(delivery=letters[0][0], is_sent=False, error=f"not sent within {most:g} s")]


def _mail_all(letters: list[Sent]) -> list[Outcome]:
    """Send mails over one connection until the server fails, or the time of a job is over."""
    outcomes, end = list[Outcome](), time.monotonic() + LIMITS.delivery_timeout_secs
    connection = get_connection(timeout=LIMITS.delivery_timeout_secs)
    try:
        for number, letter in letters:
            if outcomes and time.monotonic() > end:
                break
            outcomes.append(_mail(connection, number, letter))
            if outcomes[-1].blames and not outcomes[-1].is_sent:
                break
    finally:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.close()
    return outcomes


def _mail(connection: Any, number: UUID, letter: Letter) -> Outcome:
    began = time.monotonic()

    def outcome(*, is_sent: bool = False, error: str = "", status: int | None = None, **more: bool) -> Outcome:
        took = round(1000 * (time.monotonic() - began))
        return Outcome(delivery=number, is_sent=is_sent, error=error, status=status, took_ms=took, **more)

    headers = {"Message-ID": message_id(number), "Auto-Submitted": "auto-generated"}
    if letter.references:
        known = [message_id(each) for each in letter.references]
        headers |= {"In-Reply-To": known[-1], "References": " ".join(known)}
    mail = EmailMessage(letter.subject, letter.text, settings.DEFAULT_FROM_EMAIL, [letter.to], headers=headers)
    try:
        connection.open()
        connection.send_messages([mail])
    except smtplib.SMTPRecipientsRefused as refusal:
        # The server works, and refuses this person: the mails of others go on.
        status, said = next(iter(refusal.recipients.values()), (0, b""))
        final = 500 <= status < 600
        return outcome(error=f"the recipient is refused: {_said(said)}", status=status, is_final=final, blames=False)
    except smtplib.SMTPResponseException as refusal:
        return outcome(error=f"the server answered: {_said(refusal.smtp_error)}", status=max(refusal.smtp_code, 0))
    except (BadHeaderError, UnicodeError, ValueError) as error:
        return outcome(error=f"no mail can be made of it: {error}", is_final=True, blames=False)
    except (OSError, smtplib.SMTPException) as error:
        return outcome(error=f"no connection: {error}")
    return outcome(is_sent=True)


def _said(text: bytes | str) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else text


def _chat_all(letters: list[Sent], url: str) -> list[Outcome]:
    """Post messages to one room until one fails, or the time of a job is over."""
    outcomes, end = list[Outcome](), time.monotonic() + LIMITS.delivery_timeout_secs
    for number, letter in letters:
        if outcomes and (time.monotonic() > end or not outcomes[-1].is_sent):
            break
        posted = chat.post(letter.subject, letter.text, url)
        outcomes.append(
            Outcome(
                delivery=number,
                is_sent=not posted.error,
                error=posted.error,
                status=posted.status,
                took_ms=posted.took_ms,
            )
        )
    return outcomes


MAIL, CHAT = Sender(prepare_mail), Sender(prepare_chat)
